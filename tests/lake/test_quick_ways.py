"""What is quick is what is slow: lines of plain items, and keys."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lake.test_hostile_lines import BAD
from whimbrel.item import identified_by, key_id
from whimbrel.lake.items import BadLine, check_item, flat_item, load_json, unchecked_item
from whimbrel.lake.line_digests import text_of
from whimbrel.records import Item

TEXTS = st.text(st.sampled_from('a"\\\n:{}[],é😀\0'), max_size=6) | st.text(max_size=20)
NUMBERS = st.integers(-(10**20), 10**20).map(str) | st.sampled_from(["0", "-0", "1.50", "007", "1e5", "+1", ".5", "5."])
SCALARS = st.one_of(
    TEXTS.map(lambda text: {"S": text}),
    NUMBERS.map(lambda text: {"N": text}),
    st.booleans().map(lambda value: {"BOOL": value}),
    st.just({"NULL": True}),
    st.binary(max_size=9).map(lambda value: {"B": base64.b64encode(value).decode()}),
)
NESTED = st.lists(SCALARS, max_size=3).map(lambda values: {"L": values})
ITEMS = st.dictionaries(TEXTS, SCALARS | NESTED, max_size=4)


@given(st.dictionaries(TEXTS, SCALARS, min_size=1, max_size=6))
def test_most_items_of_scalars_are_read_at_once(item: Item) -> None:
    found = flat_item(orjson.dumps({"Item": item}))
    usual = all(value.get("N", "1") not in ("1e5", "+1", ".5", "5.") for value in item.values())
    usual &= all(len(value.get("N", "")) <= 18 for value in item.values())
    assert found == item if usual else found in (item, None)


@given(ITEMS, st.integers(0, 300), st.binary(max_size=2) | st.sampled_from([b'"', b'":{"', b"\\", b"}", b"},", b" "]))
def test_a_line_that_is_read_at_once_is_one_that_every_check_takes(item: Item, at: int, with_: bytes) -> None:
    """Whatever is put into a line, or instead of a byte of it."""
    line = orjson.dumps({"Item": item})
    for changed in (line, line[:at] + with_ + line[at:], line[:at] + with_ + line[at + 1 :], line[:-2] + line[8:]):
        if (found := flat_item(changed)) is not None:
            value = load_json(changed)
            assert value.keys() == {"Item"}
            assert check_item(value["Item"]) == found


@given(ITEMS, st.integers(0, 300), st.binary(max_size=2) | st.sampled_from([b'"', b'"a":1,', b"\\", b"}", b"},", b" "]))
def test_an_unchecked_item_has_no_name_twice(item: Item, at: int, with_: bytes) -> None:
    line = orjson.dumps({"Item": item})
    assert unchecked_item(line) == (item, text_of(item))
    for changed in (line[:at] + with_ + line[at:], line[:at] + with_ + line[at + 1 :], line[:-1] + b"," + line[1:]):
        if found := unchecked_item(changed):
            value = load_json(changed)
            assert (value.keys(), value["Item"], text_of(value["Item"])) == ({"Item"}, *found)


@pytest.mark.parametrize("case", BAD)
def test_no_bad_line_is_read_at_once(case: str) -> None:
    """Some are items, and bad only as those of a table with a key."""
    line = b'{"Item":' + BAD[case][0] + b"}"
    try:
        item = check_item(load_json(line)["Item"])
    except BadLine:
        assert flat_item(line) is None
    else:
        assert flat_item(line) in (item, None)


@given(st.lists(SCALARS.filter(lambda value: value.keys() <= {"S", "N", "B"}), min_size=1, max_size=2))
def test_a_key_has_one_identity(values: list[dict[str, str]]) -> None:
    key = [(name, next(iter(value))) for name, value in zip("zk", values, strict=False)]
    item: Item = {"more": {"S": "x"}} | {name: value for (name, _), value in zip(key, values, strict=True)}
    assert identified_by(key)(item) == key_id({name: item[name] for name, _ in key})
