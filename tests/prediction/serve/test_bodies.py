"""What is wrong with a body is said in its sender's terms."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whimbrel.prediction.serve.bodies import BodyError, rows_of


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
