"""What DynamoDB calls equal may be written in several ways: no difference, and mostly not even a second look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.migration.sides import RECORD, TABLE, Sides, filled
from whimbrel.migration import second_look


def test_numbers_in_another_spelling_are_equal(sides: Callable[..., Sides]) -> None:
    both = sides((RECORD, TABLE))
    both.insert((1, 10, "a"))
    both.migrate()
    both.item("thing#1")["owner"] = {"N": "1E+1"}
    report = both.run()
    assert report.equal
    assert report.candidates == 1  # no number of this mapping is written in two ways: that costs a second look
    both.item("thing#1")["owner"] = {"N": "10.1"}
    assert both.run().counts == {"changed": 1}


def test_all_items_in_another_spelling_are_looked_at_in_groups(
    sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look, "RECHECKED_AT_ONCE", 7)
    both = sides((RECORD, TABLE))
    filled(both, 1)
    for item in both.items.values():
        item["owner"] = {"N": f"{item['owner']['N']}.0"}
    report = both.run()
    assert (report.equal, report.candidates) == (True, 59)
    asked = [body["RequestItems"]["items"]["Keys"] for name, body in both.wire.calls if name == "BatchGetItem"]
    assert max(map(len, asked)) == 7


@pytest.mark.parametrize(
    ("kind", "said", "given"), [("decimal", "", "1.50"), ("double", "", 1e-7), ("text", "N", "2.0")]
)
def test_where_a_number_is_written_in_several_ways_they_are_equal_at_first_sight(
    sides: Callable[..., Sides], kind: str, said: str, given: Any
) -> None:
    column = replace(TABLE.columns[1], kind=kind, precision=10, scale=2)
    table = replace(TABLE, columns=(TABLE.columns[0], column, TABLE.columns[2]))
    both = sides((replace(RECORD, types={"owner": said} if said else {}), table))
    both.insert((1, given, "a"))
    both.migrate()
    for text in (f"{float(given):.9f}", f"{float(given):e}"):
        both.item("thing#1")["owner"] = {"N": text}
        report = both.run()
        assert (report.equal, report.candidates) == (True, 0)
    both.item("thing#1")["owner"] = {"N": "3"}
    assert both.run().counts == {"changed": 1}
