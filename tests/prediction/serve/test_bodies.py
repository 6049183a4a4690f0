"""What is wrong with a body is said in its sender's terms."""

from __future__ import annotations

import csv
import io
import json
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whimbrel.prediction.serve.bodies import BodyError, load_json, rows_of


def message(body: bytes, content_type: str) -> str:
    with pytest.raises(BodyError) as caught:
        list(rows_of(body, content_type, ["a", "b"], 10))
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"Infinity"])
def test_what_python_writes_and_json_does_not_have_is_named(value: bytes) -> None:
    expected = f"{value.decode()} is not JSON; a missing value is null"
    assert expected in message(b'{"instances": [{"features": [1.5, ' + value + b"]}]}", "application/json")
    assert expected in message(b'{"a": ' + value + b"}\n", "application/jsonlines")


def test_a_body_without_a_content_type_is_json_or_refused() -> None:
    assert "no Content-Type" in message(b"1,2\n", "")
    assert list(rows_of(b'{"instances": [[1, 2]]}', "", ["a", "b"], 10)) == [[[1, 2]]]


def test_a_text_that_says_nan_is_not_blamed() -> None:
    assert "missing value" not in message(b'{"instances": [["NaN", ]]}', "application/json")


def read_by_python(body: bytes) -> list[list[str]] | None:
    """The fields of CSV without a header, without blanks around them; None for what is not valid, or empty."""
    try:
        text = body.decode("utf-8-sig")
        lines = [each for each in csv.reader(io.StringIO(text, newline=""), strict=True) if each]
    except (UnicodeDecodeError, csv.Error):
        return None
    spaced = " " in text or "\t" in text
    return [[each.strip() if spaced else each for each in line] for line in lines] or None


@given(st.text('a,b1.5 \t"\r\n\x00é', max_size=12).map(str.encode) | st.binary(max_size=6))
@example(b"1,2\n")
@example(b" 1, 2")
@example(b"1,\x0b2")
@example(b"\xef\xbb\xbf1,2")
@example(b",\n")
@example(b"\n")
@example(b"1,2\r\n")
@example(b"1\n2")
@example(b'"1",2')
@example(b"1" * 140_000)
def test_csv_is_what_pythons_reader_makes_of_it(body: bytes) -> None:
    try:
        rows = [row for part in rows_of(body, "text/csv", ["first", "second"], 10) for row in part]
    except BodyError:
        rows = None
    assert rows == read_by_python(body)


@pytest.mark.parametrize("header", [b"a,b", b"b,a\n", b"b, a", b"a,b,c\n"])
def test_a_header_alone_is_not_a_row(header: bytes) -> None:
    assert message(header, "text/csv") == "the body has no row"


def test_a_header_with_a_column_twice_is_refused() -> None:
    assert "has the column 'a' twice" in message(b"a,b,a\n1,2,3", "text/csv")


TWICE = {
    "a document": b'{"instances": [[1, 2]], "instances": [[3, 4]]}',
    "an instance": b'{"instances": [{"a": 1, "b": 2}, {"a": 1, "b": 2, "a": 3}]}',
    "features": b'{"instances": [{"features": [1, 2], "features": [3, 4]}]}',
    "sparse features": b'{"instances": [{"features": {"keys": [0], "values": [1], "keys": [1]}}]}',
    "a map": b'{"instances": [{"a": {"x": 1, "x": 2}, "b": 1}]}',
    "a split": b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]], "data": [[3, 4]]}}',
    "blanks before the colon": b'{"instances": [{"a"  : 1, "a"\n:2}]}',
    "blanks before one colon": b'{"instances": [{"a": 1, "a"\t:2}]}',
    "a colon in a string": b'{"instances": [{"a": "\\":", "b": 1, "a": 2}]}',
}


@pytest.mark.parametrize("body", TWICE.values(), ids=TWICE)
def test_a_name_that_occurs_twice_in_an_object_is_refused(body: bytes) -> None:
    assert "occurs twice" in message(body, "application/json")
    if body.startswith(b'{"instances": [{') and b"\n" not in body:
        line = body.removeprefix(b'{"instances": [').removesuffix(b"]}").replace(b"}, {", b"}\n{")
        assert "occurs twice" in message(line, "application/jsonlines")


NAMES = st.sampled_from(["a", "b", '":', '" :', "\\", "é"])
TREES = st.recursive(
    st.none() | st.integers(0, 9) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(NAMES, inner), max_size=3).map(tuple),
    max_leaves=8,
)


def spelled(tree: Any, ways: random.Random) -> str:
    """JSON, in which a tuple of pairs is an object whose names may occur twice."""
    if isinstance(tree, tuple):
        colon = ways.choice([":", ": ", " : ", "  :", "\n:"])
        return "{" + ",".join(f"{json.dumps(name)}{colon}{spelled(each, ways)}" for name, each in tree) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(spelled(each, ways) for each in tree) + "]"
    return json.dumps(tree, ensure_ascii=ways.random() < 0.5)


def has_a_name_twice(tree: Any) -> bool:
    if isinstance(tree, tuple):
        names = [name for name, _ in tree]
        return len(set(names)) < len(names) or any(has_a_name_twice(each) for _, each in tree)
    return isinstance(tree, list) and any(map(has_a_name_twice, tree))


@given(TREES, st.randoms(use_true_random=False))
def test_json_is_refused_exactly_where_a_name_occurs_twice(tree: Any, ways: random.Random) -> None:
    text = spelled(tree, ways).encode()
    if has_a_name_twice(tree):
        with pytest.raises(BodyError, match="occurs twice"):
            load_json(text, "")
    else:
        assert load_json(text, "") == json.loads(text)


@pytest.mark.parametrize(
    "kind", ["text/csv; charset=utf-16", "application/json;charset=ISO-8859-1", 'text/csv;Charset="x"']
)
def test_text_in_another_encoding_is_refused_by_name(kind: str) -> None:
    with pytest.raises(BodyError, match="charset") as caught:
        list(rows_of(b"1,2", kind, ["a", "b"], 10))
    assert caught.value.status == 415


@pytest.mark.parametrize("kind", ["text/csv; charset=utf-8", "text/csv;header=absent", 'text/csv; charset="UTF-8"'])
def test_text_in_utf_8_may_say_so(kind: str) -> None:
    assert list(rows_of(b"1,2", kind, ["a", "b"], 10)) == [[["1", "2"]]]


def test_a_sparse_row_has_a_key_once() -> None:
    assert "a key occurs twice" in message(b'{"keys": [0, 0], "values": [1, 2], "shape": [2]}', "application/jsonlines")
