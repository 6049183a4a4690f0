"""Entries within a map, a set or a list, on real servers: what a dictionary would give, however often repeated."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.dynamodb.conftest import FRAME, ItemTable, item, key
from whimbrel.dynamodb.write import Writer
from whimbrel.records import AttributeValue, Gathered, Inside, Item, Put, Update

ORDER = (("n", False),)


def update(table: ItemTable, kind: str, set_: dict[str, Any], *remove: str, number: int = 1) -> Update:
    frame: Item = {"kind": {"S": "order"}} if set_ else {}
    return Update(table.name, key(number), frame, (), FRAME, Inside("in side", kind, set_, remove, ORDER))


def element(number: int, text: str = "x") -> tuple[str, AttributeValue]:
    value = {"M": {"n": {"N": str(number)}, "text": {"S": text}}}
    return f"N{len(str(number))}:{number}", value


def only(table: ItemTable) -> Item:
    [found] = table.items().values()
    return found


def test_a_map_is_made_filled_emptied_and_gone(table: ItemTable, writer: Writer) -> None:
    one, two = {"a b": {"N": "1"}}, {"c.d": {"S": "x"}}
    for _ in range(2):
        assert writer.write([update(table, "M", one)]) == []
        assert only(table) == item(1, kind="order") | {"in side": {"M": one}}
        assert writer.write([update(table, "M", two, "a b")]) == []
        assert only(table) == item(1, kind="order") | {"in side": {"M": two}}
        for _ in range(2):
            assert writer.write([update(table, "M", {}, "c.d", "e")]) == []
            assert table.items() == {}


def test_a_map_of_many_entries_is_written_in_several_calls(table: ItemTable, writer: Writer) -> None:
    many = {f"e{n}": {"N": str(n)} for n in range(250)}
    assert writer.write([update(table, "M", many)]) == []
    assert only(table)["in side"] == {"M": many}
    assert writer.write([update(table, "M", {}, *list(many)[:249])]) == []
    assert only(table)["in side"] == {"M": {"e249": {"N": "249"}}}


@pytest.mark.parametrize("kind", ["SS", "NS"])
def test_a_set_is_made_and_gone(table: ItemTable, writer: Writer, kind: str) -> None:
    one, two, three = ("1", "2", "3.5")
    for _ in range(2):
        assert writer.write([update(table, kind, {one: {kind[0]: one}, two: {kind[0]: two}})]) == []
        assert writer.write([update(table, kind, {three: {kind[0]: three}}, one)]) == []
        assert sorted(only(table)["in side"][kind]) == [two, three]
        assert only(table)["kind"] == {"S": "order"}
        for _ in range(2):
            assert writer.write([update(table, kind, {}, one, two, three)]) == []
            assert table.items() == {}


def test_a_list_keeps_its_order_whatever_the_order_of_changes(table: ItemTable, writer: Writer) -> None:
    dice = random.Random(1)
    wanted: dict[str, AttributeValue] = {}
    for _ in range(30):
        entries = dict(element(dice.randrange(12), str(dice.random())) for _ in range(dice.randrange(3)))
        gone = [name for name in (element(dice.randrange(12))[0] for _ in range(3)) if name not in entries]
        for _ in range(dice.choice([1, 2])):
            assert writer.write([update(table, "L", entries, *gone)]) == []
        wanted = {name: each for name, each in {**wanted, **entries}.items() if name not in gone}
        elements = sorted(wanted.values(), key=lambda each: int(each["M"]["n"]["N"]))
        expected = item(1, kind="order") | {"in side": {"L": elements}}
        assert list(table.items().values()) == ([expected] if wanted else [])


TAGS, TEXTS = Gathered("tags", "SS"), Gathered("texts", "L", "text", ORDER)


@pytest.mark.parametrize("of", [TAGS, TEXTS])
@pytest.mark.parametrize("other", [False, True])
def test_what_is_gathered_is_of_the_entries_that_there_are(
    table: ItemTable, writer: Writer, of: Gathered, other: bool
) -> None:
    """A member is there as long as an entry gives it, however often changes are repeated."""
    dice = random.Random(f"{of} {other}")
    wanted: dict[str, AttributeValue] = {}
    if other:
        writer.write([Put(table.name, key(1), item(1, other="x"))])
    for _ in range(12):
        some = {str(dice.randrange(6)): dice.choice(["a", "b", None]) for _ in range(dice.randrange(4))}
        entries = {name: one_entry(of, name, text) for name, text in some.items()}
        gone = [name for name in (str(dice.randrange(6)) for _ in range(3)) if name not in entries]
        frame: Item = {"kind": {"S": "order"}} if entries else {}
        inside = Inside("in side", "M", entries, tuple(gone), (), of)
        for _ in range(dice.choice([1, 2])):
            assert writer.write([Update(table.name, key(1), frame, (), FRAME, inside)]) == []
        wanted = {name: each for name, each in {**wanted, **entries}.items() if name not in gone}
        found = next(iter(table.items().values()), {})
        assert found.get("in side", {"M": {}}) == {"M": wanted}
        assert bool(found) == (other or bool(wanted))
        if of is TAGS:
            members = {each["S"] for each in wanted.values() if "S" in each}
            assert set(found.get("tags", {"SS": []})["SS"]) == members
        else:
            assert found.get("texts", {"L": []})["L"] == [wanted[name]["M"]["text"] for name in sorted(wanted)]


def one_entry(of: Gathered, name: str, text: str | None) -> AttributeValue:
    value = {"NULL": True} if text is None else {"S": text}
    return value if of is TAGS else {"M": {"n": {"N": name}, "text": value}}


@pytest.mark.parametrize("kind", ["M", "SS", "L"])
def test_an_item_with_more_in_it_stays_when_the_last_entry_goes(table: ItemTable, writer: Writer, kind: str) -> None:
    name, value = element(7)
    writer.write([Put(table.name, key(1), item(1, other="x"))])
    writer.write([update(table, kind, {name: value})])
    assert "in side" in only(table)
    for _ in range(2):
        writer.write([update(table, kind, {}, name)])
        assert only(table) == item(1, other="x", kind="order")


def test_what_is_no_list_of_ours_is_rejected_and_left(table: ItemTable, writer: Writer) -> None:
    strange = key(1) | {"in side": {"L": [{"M": {"m": {"S": "x"}}}]}}
    writer.write([Put(table.name, key(1), strange)])
    name, value = element(1)
    [rejected] = writer.write([update(table, "L", {name: value})])
    assert "has no 'n', by which the list is ordered" in rejected.reason
    assert only(table) == strange


def test_an_update_that_is_too_large_is_rejected_whole(table: ItemTable, writer: Writer) -> None:
    large = {"S": "x" * 250_000}
    [rejected] = writer.write([update(table, "M", {"a": large, "b": large})])
    assert "bytes" in rejected.reason
    assert table.items() == {}
