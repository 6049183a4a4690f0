"""Entries within an item: a map or a list is what a dictionary says, however many there are."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from typing import Any

import pytest

from tests.dynamodb import test_writer
from tests.dynamodb.test_writer import FRAME, held, key
from tests.memory import Body, MemoryWire
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import RequestRefused
from whimbrel.records import Gathered, Inside, Item, Update

# Its fixtures: a table in memory, and no waits.
without_waits, wire, writer = test_writer.without_waits, test_writer.wire, test_writer.writer
ORDER = (("n", False),)


def entry(kind: str, number: int, text: str) -> tuple[str, Any]:
    """The name of an entry and its value."""
    if kind == "L":
        return f"N{len(str(number))}:{number}", {"M": {"n": {"N": str(number)}, "text": {"S": text}}}
    return f"e {number}", {"S": text}


def within(kind: str, sets: dict[int, str], *remove: int) -> Update:
    entries = dict(entry(kind, number, text) for number, text in sets.items())
    gone = tuple(entry(kind, number, "")[0] for number in remove)
    inside = Inside("in side", kind, entries, gone, ORDER if kind == "L" else ())
    return Update("t", key(1), {"kind": {"S": "order"}} if sets else {}, (), FRAME, inside)


def whole(kind: str, entries: dict[int, str]) -> Any:
    made = [entry(kind, number, entries[number]) for number in sorted(entries)]
    if kind == "M":
        return {"M": dict(made)}
    return {kind: [value for _, value in made] if kind == "L" else sorted(name for name, _ in made)}


@pytest.mark.parametrize("kind", ["M", "L", "SS"])
@pytest.mark.parametrize("other", [False, True])
def test_entries_are_what_a_dictionary_says(wire: MemoryWire, writer: Writer, kind: str, other: bool) -> None:
    """However often it is repeated; what is left empty goes, and with it an item that has nothing else."""
    chance = random.Random(f"{kind} {other}")
    entries: dict[int, str] = {}
    rest = {"other": {"S": "x"}} if other else {}
    if other:
        wire.table()[wire.identity(key(1))] = key(1) | rest
    for _ in range(120):
        some = chance.sample(range(5), chance.randrange(4))
        sets = {number: chance.choice("ab") for number in some[: chance.randrange(4)]}
        gone = [number for number in some if number not in sets]
        if not sets and not gone:
            continue
        entries = {number: text for number, text in (entries | sets).items() if number not in gone}
        for _ in range(chance.choice((1, 2))):
            assert writer.write([within(kind, sets, *gone)]) == []
        found = next(iter(held(wire)), None)
        kept = {name: value for name, value in (found or {}).items() if name not in ("pk", "sk", "kind", "other")}
        assert kept == ({"in side": whole(kind, entries)} if entries else {})
        assert (found is None) == (not entries and not other)
        if found and sets:
            assert found["kind"] == {"S": "order"}
    assert writer.stats.rejected == 0


def test_a_map_of_more_entries_than_one_call_takes(wire: MemoryWire, writer: Writer) -> None:
    many = dict.fromkeys(range(250), "x")
    assert writer.write([within("M", many)]) == []
    assert held(wire)[0]["in side"] == whole("M", many)
    assert writer.write([within("M", {}, *range(249))]) == []
    assert held(wire)[0]["in side"] == whole("M", {249: "x"})
    assert writer.write([within("M", {}, *range(250))]) == []
    assert held(wire) == []


def test_a_list_that_is_not_ours_is_left_alone(wire: MemoryWire, writer: Writer) -> None:
    for theirs, words in (({"S": "x"}, "is not a list"), ({"L": [{"M": {"z": {"S": "x"}}}]}, "has no 'n'")):
        wire.table()[wire.identity(key(1))] = item = key(1) | {"in side": theirs}
        (rejected,) = writer.write([within("L", {1: "a"})])
        assert words in rejected.reason
        assert held(wire) == [item]


@pytest.mark.parametrize("kind", ["M", "L", "SS"])
def test_entries_that_are_too_large_are_not_written(wire: MemoryWire, writer: Writer, kind: str) -> None:
    sets = dict.fromkeys(range(450), "y" * 1000)
    if kind == "SS":
        update = within(kind, {})
        names = {f"{number}{'y' * 1000}": {"S": ""} for number in sets}
        update = update._replace(inside=update.inside._replace(set=names))
    else:
        update = within(kind, sets)
    (rejected,) = writer.write([update])
    assert "that DynamoDB allows" in rejected.reason
    assert wire.calls == []


def test_somebody_else_who_takes_the_map_away_in_between(wire: MemoryWire, writer: Writer) -> None:
    """Neither condition holds for a moment: it is tried again."""
    calls = itertools.count()

    def taken_away(operation: str, body: Body) -> None:
        number = next(calls)
        item = key(1) | ({"in side": {"M": {}}} if number % 2 else {})
        if number < 6:
            wire.table()[wire.identity(key(1))] = item

    wire.disturb = taken_away
    assert writer.write([within("M", {1: "a"})]) == []
    assert held(wire)[0]["in side"] == whole("M", {1: "a"})


def counted(sets: dict[int, str], *remove: int) -> Update:
    entries = {str(number): {"S": text} for number, text in sets.items()}
    inside = Inside("in side", "M", entries, tuple(map(str, remove)), (), Gathered("tags", "SS"))
    return Update("t", key(1), {"kind": {"S": "order"}} if sets else {}, (), FRAME, inside)


def counted_item(entries: dict[str, str]) -> Item:
    made = {"M": {name: {"S": text} for name, text in entries.items()}}
    return key(1) | {"kind": {"S": "order"}, "in side": made, "tags": {"SS": list(dict.fromkeys(entries.values()))}}


def test_a_lost_answer_to_what_is_gathered_is_harmless(wire: MemoryWire, writer: Writer) -> None:
    """The call was carried out: its repetition finds another map than it read, and reads again."""
    lost = iter([False, True, False, False, False, True])
    wire.lose_answer = lambda operation, body: next(lost, False)
    assert writer.write([counted({1: "a", 2: "a"})]) == []
    assert held(wire) == [counted_item({"1": "a", "2": "a"})]
    assert writer.write([counted({3: "b"}, 1)]) == []
    assert held(wire) == [counted_item({"2": "a", "3": "b"})]


def test_a_late_call_does_not_undo_what_came_after_it(wire: MemoryWire, writer: Writer) -> None:
    """It says which map it was made for."""
    assert writer.write([counted({1: "a"})]) == []
    assert writer.write([counted({2: "b"})]) == []
    late = [json.dumps(body).encode() for operation, body in wire.calls if operation == "UpdateItem"]
    assert writer.write([counted({1: "c"}, 2)]) == []
    for body in late:
        with pytest.raises(RequestRefused, match="condition"):
            asyncio.run(wire.ask("UpdateItem", body))
    assert held(wire) == [counted_item({"1": "c"})]


def test_somebody_else_between_the_reading_and_the_writing(wire: MemoryWire, writer: Writer) -> None:
    """Their entry stays, and counts."""
    assert writer.write([counted({1: "a"})]) == []
    others = iter([counted_item({"1": "a", "9": "z"})])

    def meanwhile(operation: str, body: Body) -> None:
        if operation == "UpdateItem" and (item := next(others, None)):
            wire.table()[wire.identity(key(1))] = item

    wire.disturb = meanwhile
    assert writer.write([counted({2: "b"})]) == []
    assert held(wire) == [counted_item({"1": "a", "9": "z", "2": "b"})]


def test_what_is_no_map_of_ours_is_left_alone(wire: MemoryWire, writer: Writer) -> None:
    for theirs, words in (({"S": "x"}, "is not a map"), ({"M": {"1": {"BOOL": True}}}, "not of the form")):
        wire.table()[wire.identity(key(1))] = item = key(1) | {"in side": theirs}
        (rejected,) = writer.write([counted({2: "a"})])
        assert words in rejected.reason
        assert held(wire) == [item]


def test_a_store_that_takes_no_map_for_itself(wire: MemoryWire, writer: Writer) -> None:
    """It is asked once, and then written all the same: nobody else writes the item meanwhile."""
    assert writer.write([counted({1: "a"})]) == []

    def never(operation: str, body: Body) -> None:
        if " = :was" in body.get("ConditionExpression", ""):
            raise RequestRefused("the condition does not hold", code="ConditionalCheckFailedException")

    wire.disturb = never
    wire.calls.clear()
    assert writer.write([counted({2: "b"})]) == []
    assert held(wire) == [counted_item({"1": "a", "2": "b"})]
    assert [operation for operation, _ in wire.calls] == ["GetItem", "UpdateItem"] * 2
