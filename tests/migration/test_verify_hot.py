"""Items that never stand still: the target must have what the source had since the look at them began."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.migration.sides import RECORD, TABLE, Sides
from whimbrel.migration import second_look
from whimbrel.records import Position


def late(both: Sides, behind: int, said: int) -> None:
    """A row that is another at each look at the source, or at the applier; the target has what it was ``behind`` looks
    before, and the applier says ``said``.
    """

    def applied() -> Position:
        move()
        return Position("bin.000001", both.at - said)

    rows, number = list[dict[Any, Any]](), itertools.count()

    def move() -> None:
        both.insert((1, next(number), "moves"))
        rows.append(dict(both.rows["shop.things"]))
        if len(rows) > behind:
            now = both.rows["shop.things"]
            both.rows["shop.things"] = rows[-1 - behind]
            both.migrate()
            both.rows["shop.things"] = now
        both.at += 1

    both.moves, both.applied = move, applied


def test_what_never_stands_still_is_equal_to_what_it_was_since_it_was_read(sides: Callable[..., Sides]) -> None:
    """The target is always three looks behind, and the applier says so."""
    both = sides((RECORD, TABLE))
    both.insert((1, 1, "a"), (2, 2, "b"))
    both.migrate()
    both.item("thing#1")["name"] = {"S": "stale"}
    late(both, behind=3, said=3)
    report = both.run()
    assert report.equal
    assert report.candidates == 1


def test_what_the_target_had_before_the_look_is_not_what_it_should_have(sides: Callable[..., Sides]) -> None:
    """An applier that says more than it has done: what never stands still does not hide that."""
    both = sides((RECORD, TABLE))
    both.insert((1, 1, "a"))
    both.migrate()
    both.item("thing#1")["name"] = {"S": "stale"}
    late(both, behind=9, said=3)
    assert both.run().counts == {"unsettled": 1}


def test_many_that_never_stand_still_are_watched_a_few_at_a_time(
    sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look, "HOT_ITEMS", 2)
    both = sides((RECORD, TABLE))
    for key in range(7):
        both.insert((key, 1, "a"))
    both.migrate()
    for key in range(7):
        both.item(f"thing#{key}")["name"] = {"S": "stale"}
    at = itertools.count(100)
    history = list[dict[Any, Any]]()

    def move() -> None:
        number = next(at)
        for key in range(7):
            both.insert((key, number, "moves"))
        history.append(dict(both.rows["shop.things"]))
        both.rows["shop.things"] = history[-4:][0]
        both.migrate()
        both.rows["shop.things"] = history[-1]
        both.at += 1

    def applied() -> Position:
        move()
        return Position("bin.000001", both.at - 3)

    both.moves, both.applied = move, applied
    assert both.run().equal


@pytest.mark.parametrize(("length", "first"), [(40, 100), (1 << 30, second_look.FIRST_UNSURE)])
def test_what_an_old_estimate_says_of_long_rows_is_not_believed(
    sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch, length: int, first: int
) -> None:
    """The server says 100 bytes a row, from when the table was new."""
    columns = tuple(replace(each, length=length) if each.kind == "text" else each for each in TABLE.columns)
    both = sides((RECORD, replace(TABLE, columns=columns)))
    for key in range(100):
        both.insert((key, 1, "a"))
    both.migrate()
    for key in range(100):
        both.item(f"thing#{key}")["name"] = {"S": "other"}
    asked = list[int]()
    read = both.of_items

    def counted(connection: Any, mapping: Any, keys: list[Any]) -> Any:
        asked.append(len(keys))
        return read(connection, mapping, keys)

    monkeypatch.setattr(second_look, "rows_of_items", counted)
    assert both.run().counts == {"changed": 100}
    assert asked[0] == first
