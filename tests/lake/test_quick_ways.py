"""What is quick is what is slow: lines of plain items, and keys."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lake.test_hostile_lines import BAD
from whimbrel.item import identified_by, key_id
from whimbrel.lake import sources
from whimbrel.lake.items import BadLine, check_item, flat_change, flat_item, load_json, unchecked_item
from whimbrel.lake.line_digests import text_of
from whimbrel.lake.shapes import MOST_SHAPES, Shapes
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


PUT_IN = st.binary(max_size=2) | st.sampled_from(
    [b'"', b'":{"', b"\\", b"\\n", b"\\u0041", b"}", b"},", b" ", b"\n", b"\xff"]
)
KEYS = st.one_of(
    st.text(max_size=5).map(lambda text: {"S": text}),
    st.integers(-99, 10**19).map(lambda number: {"N": str(number)}),
    st.binary(max_size=4).map(lambda value: {"B": base64.b64encode(value).decode()}),
)


@given(st.lists(st.tuples(KEYS, ITEMS), min_size=1, max_size=4), ITEMS, st.integers(0, 300), PUT_IN)
def test_a_key_that_is_read_without_the_item_is_that_of_a_line_that_every_check_takes(
    learnt: list[tuple[dict[str, str], Item]], other: Item, at: int, with_: bytes
) -> None:
    """Whatever shapes are known, and whatever is put into a line, or instead of a byte of it."""
    shapes, items = Shapes(["k"]), [item | {"k": key} for key, item in learnt]
    for item in items:
        if flat_item(orjson.dumps({"Item": item})):
            shapes.learn(item)
    for item in [*items, *(item | other for item in items), other]:
        line = orjson.dumps({"Item": item})
        for changed in (line, line[:at] + with_ + line[at:], line[:at] + with_ + line[at + 1 :], line[:-2] + line[8:]):
            if found := shapes.read(changed):
                value = load_json(changed)
                assert value.keys() == {"Item"}
                assert found[0] == orjson.dumps({"k": check_item(value["Item"])["k"]})
                assert load_json(found[1]) == value["Item"]


def test_items_of_one_shape_are_read_without_parsing() -> None:
    shapes = Shapes(["pk", "sk"])
    of_all_types: Item = {"s": {"S": 'é"\n'}, "n": {"N": "-1.5"}, "b": {"B": "AQ=="}, "x": {"BOOL": True}}
    first: Item = {"sk": {"N": "1"}, "pk": {"S": "é"}, "z": {"NULL": True}, **of_all_types}
    assert shapes.read(orjson.dumps({"Item": first})) is None
    shapes.learn(first)
    second = first | {"pk": {"S": "2"}, "s": {"S": ""}, "x": {"BOOL": False}}
    for item in (first, second):
        key = {"pk": item["pk"], "sk": item["sk"]}
        assert shapes.read(orjson.dumps({"Item": item})) == (orjson.dumps(key), orjson.dumps(item))
    others: list[Item] = [{"s": {"N": "1"}}, {"more": {"S": "1"}}, {"n": {"N": "1e5"}}, {"sk": {"S": "1"}}]
    for strange in others:
        assert shapes.read(orjson.dumps({"Item": second | strange})) is None


def test_only_so_many_shapes_are_known_and_the_last_one_is_tried_first() -> None:
    shapes = Shapes(["k"])
    items: list[Item] = [{"k": {"S": "1"}, f"a{number}": {"S": "x"}} for number in range(MOST_SHAPES + 1)]
    for item in items:
        shapes.learn(item)
    for _ in range(2):
        read = [shapes.read(orjson.dumps({"Item": item})) for item in items]
        assert [found is not None for found in read] == [True] * MOST_SHAPES + [False]


_IN_ORDER = ("Metadata", "Keys", "OldImage", "NewImage")  # as DynamoDB writes them
PARTS = st.sampled_from(_IN_ORDER)
CHANGES = st.fixed_dictionaries(
    {"Metadata": st.just({"WriteTimestampMicros": {"N": "1700000000000000"}}), "Keys": ITEMS},
    optional={"OldImage": ITEMS, "NewImage": ITEMS},
).map(lambda change: {part: change[part] for part in _IN_ORDER if part in change})


@given(CHANGES.filter(lambda change: all(change.values())), st.booleans())
def test_most_changes_of_scalars_are_read_at_once(change: dict[str, Item], of_its_key: bool) -> None:
    if of_its_key and "NewImage" in change:
        change["NewImage"] |= change["Keys"]
    line = orjson.dumps(change)
    found, image = flat_change(line), orjson.dumps(change["NewImage"]) if "NewImage" in change else b""
    items = [item for part, item in change.items() if part != "Metadata"]
    if all(flat_item(orjson.dumps({"Item": item})) for item in items):
        assert found == (change, image)
    else:
        assert found is None
    if found and of_its_key:
        assert sources.read_line(line, "incremental") == (change["Keys"], change.get("NewImage"), image)


@given(CHANGES, PARTS, st.integers(0, 400), st.binary(max_size=2) | st.sampled_from([b'"', b'":{"', b"}", b"},", b" "]))
def test_a_change_that_is_read_at_once_is_one_that_every_check_takes(
    change: dict[str, Item], part: str, at: int, with_: bytes
) -> None:
    """Whatever is put into a line, or instead of a byte of it; and whatever part of it is there twice."""
    line = orjson.dumps(change)
    twice = orjson.dumps({part: change.get(part, {})})[:-1] + b"," + line[1:]
    for changed in (line, twice, line[:at] + with_ + line[at:], line[:at] + with_ + line[at + 1 :]):
        if found := flat_change(changed):
            value, image = load_json(changed), found[1]
            assert value == found[0]
            assert value.keys() - {"NewImage", "OldImage"} == {"Metadata", "Keys"}
            assert all(check_item(item) == item for name, item in value.items() if name != "Metadata")
            assert load_json(image or b"null") == value.get("NewImage")


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


@pytest.mark.parametrize("case", BAD)
def test_no_change_with_a_bad_item_is_read_at_once(case: str) -> None:
    head, good = b'{"Metadata":{"WriteTimestampMicros":{"N":"1"}},"Keys":', b'{"a":{"S":"1"}}'
    try:
        check_item(load_json(BAD[case][0]))
    except BadLine:
        assert flat_change(head + BAD[case][0] + b"}") is None
        assert flat_change(head + good + b',"OldImage":' + BAD[case][0] + b"}") is None
        assert flat_change(head + good + b',"NewImage":' + BAD[case][0] + b"}") is None


@given(st.lists(SCALARS.filter(lambda value: value.keys() <= {"S", "N", "B"}), min_size=1, max_size=2))
def test_a_key_has_one_identity(values: list[dict[str, str]]) -> None:
    key = [(name, next(iter(value))) for name, value in zip("zk", values, strict=False)]
    item: Item = {"more": {"S": "x"}} | {name: value for (name, _), value in zip(key, values, strict=True)}
    assert identified_by(key)(item) == key_id({name: item[name] for name, _ in key})
