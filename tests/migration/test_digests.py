"""What the first look keeps of an item: the same for equal items, another for others; and the process that reads."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from whimbrel.item import item_text, key_id
from whimbrel.mapping.design import compile_mapping
from whimbrel.mapping.provenance import ChangeMetadata
from whimbrel.migration.digests import DELETED, ItemDigests, as_written
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Item, Table

DIGESTS = ItemDigests([("pk", "S")], [])

numbers = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-10_000, max_value=10_000)
spellings = st.sampled_from(["{:f}", "{:e}", "{:E}", "{:+f}", "{:f}0", "0{:f}"])
texts = st.text(st.sampled_from("aSN\":[]{}\\'é\n0."), max_size=12)


def spelled(value: Decimal, form: str) -> str:
    text = form.format(value)
    return text.replace("0-", "-0")


@st.composite
def values(draw: Any, depth: int = 0) -> tuple[Any, Any]:
    """An attribute value, and what boto3 would make of it, as something that equal values have in common."""
    kinds = ["S", "N", "NULL", "BOOL", "NS", "SS"] + ["M", "L"] * (depth < 2)
    kind = draw(st.sampled_from(kinds))
    if kind == "S":
        text = draw(texts)
        return {"S": text}, ("S", text)
    if kind == "N":
        number = draw(numbers)
        return {"N": spelled(number, draw(spellings))}, ("N", number + 0)
    if kind in ("NULL", "BOOL"):
        return {kind: True}, (kind, True)
    if kind == "SS":
        members = draw(st.lists(texts, unique=True, min_size=1, max_size=4))
        return {"SS": members}, ("SS", frozenset(members))
    if kind == "NS":
        several = draw(st.lists(numbers, unique=True, min_size=1, max_size=4))
        return {"NS": [spelled(each, draw(spellings)) for each in several]}, ("NS", frozenset(several))
    if kind == "M":
        inside = draw(st.dictionaries(texts, values(depth + 1), max_size=3))
        plain = frozenset((name, same) for name, (_, same) in inside.items())
        return {"M": {name: value for name, (value, _) in inside.items()}}, ("M", plain)
    listed = draw(st.lists(values(depth + 1), max_size=3))
    return {"L": [value for value, _ in listed]}, ("L", tuple(same for _, same in listed))


items = st.dictionaries(texts, values(), max_size=3)


@settings(max_examples=300, deadline=None)
@given(one=items, other=items)
@example(one={"a": ({"S": '"N":"1.0"'}, ("S", 1))}, other={"a": ({"S": '"N":"1"'}, ("S", 2))})
@example(one={"a": ({"N": "1.0"}, ("N", 1))}, other={"a": ({"N": "1"}, ("N", 1))})
@example(one={"a": ({"N": "1E+50"}, ("N", 1))}, other={"a": ({"N": f"1{'0' * 50}"}, ("N", 1))})
@example(one={"a": ({"N": "-0.0"}, ("N", 0))}, other={"a": ({"N": "0"}, ("N", 0))})
@example(one={"a": ({"N": "10"}, ("N", 10))}, other={"a": ({"N": "100"}, ("N", 100))})
@example(one={"a": ({"SS": ["1", "0"]}, ("SS", 1))}, other={"a": ({"SS": ["0", "1"]}, ("SS", 1))})
@example(one={"a": ({"SS": ["1"]}, ("SS", 1))}, other={"a": ({"NS": ["1"]}, ("NS", 1))})
def test_two_items_have_one_text_exactly_if_they_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    made = [item_text({name: value for name, (value, _) in each.items()}) for each in (one, other)]
    same = [{name: plain for name, (_, plain) in each.items()} for each in (one, other)]
    assert (made[0] == made[1]) == (same[0] == same[1])
    turned = dict(reversed([(name, value) for name, (value, _) in one.items()]))
    assert item_text(turned) == made[0]


@pytest.mark.parametrize("names", [[("a", "S")], [("b", "S"), ("a", "N")], [("b", "S"), ("a", "B")]])
def test_keys_are_what_they_are_looked_up_by(names: list[tuple[str, str]]) -> None:
    item = {"b": {"S": "x"}, "c": {"S": "y"}, "a": {names[-1][1]: "1.0"}}
    keys, _ = ItemDigests(names, []).of([item])
    assert keys == [key_id({name: item[name] for name, _ in names})]


def test_a_number_that_is_none_is_left_to_the_second_look() -> None:
    assert item_text({"a": {"N": "none"}}) == b'{"a":{"N":"none"}}'


def test_only_what_was_found_can_say_that_its_row_went() -> None:
    metadata = ChangeMetadata(frozenset({("state",)}), (("state",), {"S": "D"}))
    digests = ItemDigests([("pk", "S")], [ChangeMetadata(), metadata])
    item: Item = {"pk": {"S": "x"}, "state": {"S": "D"}}
    assert digests.of_found([item])[1] == [DELETED]
    ((made,), (found,)) = (digests.of([item])[1], digests.of_found([item | {"state": {"S": "U"}}])[1])
    assert made == found == DIGESTS.of([{"pk": {"S": "x"}}])[1][0]


# -- whether values come back in the very form in which they were written ----------------------------------------------


def written_alike(*columns: Column, **more: Any) -> bool:
    rule = TableRule("shop.t", "items", **{"shape": "record", "partition_key": KeyRule("pk", "t#${id}"), **more})
    return as_written(compile_mapping(rule, Table("shop", "t", (ID, *columns), ("id",))).design)


ID = Column("id", "int", nullable=False)
PRICE = Column("price", "decimal", length=10)
NAME = Column("name", "text", nullable=False, charset="utf8mb4", length=20)


@pytest.mark.parametrize(
    ("column", "alike"),
    [
        (NAME, True),
        (Column("raw", "binary", length=8), True),
        (Column("n", "int"), True),
        (Column("y", "year"), True),
        (PRICE, False),  # 1.50 comes back as 1.5
        (Column("f", "float"), False),
        (Column("s", "set", members=("b", "a")), True),
    ],
)
def test_a_column_comes_back_as_it_was_written(column: Column, alike: bool) -> None:
    assert written_alike(column) is alike


def test_types_keys_and_what_is_added_count_too() -> None:
    assert written_alike(PRICE, types={"price": "S"})
    assert written_alike(NAME, types={"id": "S"})
    assert not written_alike(Column("s", "set", members=("b", "a")), types={"s": "SS"})
    assert written_alike(partition_key=KeyRule("id", "${id}", "N"))
    assert not written_alike(PRICE, types={"price": "S"}, sort_key=KeyRule("cost", "${price}", "N"), exclude=("price",))
    assert written_alike(NAME, attributes={"full": "${name}!"})
    number = {"m": {"M": {"n": {"N": "${id}"}}}}
    assert not written_alike(NAME, attributes=number)
    group = {"shape": "group", "partition_key": KeyRule("pk", "g#${name}"), "entry_value": "id", "entry_into": "ids"}
    assert not written_alike(NAME, **group, entry_as="number-set")
    assert written_alike(NAME, **{**group, "entry_into": ""}, entry_name="e${id}")
