"""How tables of Redshift are distributed and sorted: by their keys, and by what the reports ask."""

from __future__ import annotations

import pytest

from demo.sports import CONVERGED
from whimbrel.project import NO_SOURCE, Silo
from whimbrel.records import Column, Table
from whimbrel.warehouse.layout import Layout, layout
from whimbrel.warehouse.stored import StoredTable, stored_table

JOINED = CONVERGED.format(sports="sourcemysql", tickets="ticketing")
SELECTED = "SELECT * FROM ticketing.ticket t WHERE t.day BETWEEN '2026-01-01' AND '2026-02-01' AND price > 3"


def table(name: str, *columns: str, schema: str = "ticketing", key: tuple[str, ...] = ("id",)) -> StoredTable:
    made = tuple(Column(each, "int", type_name="int") for each in columns)
    return stored_table("redshift", Silo(schema, NO_SOURCE), Table("db", name, made, key))


@pytest.mark.parametrize(
    ("stored", "statements", "expected"),
    [
        (table("ticket", "id", "v"), [], Layout("id", ("id",))),
        (table("ticket", "id", "v", key=("id", "v")), [], Layout("", ("id", "v"))),
        (table("ticket", "id", "v"), ["no SQL at all ("], Layout("id", ("id",))),
        (table("sporting_event_ticket", "id", "sporting_event_id"), [JOINED], Layout("sporting_event_id", ("id",))),
        (table("sport_team", "id", schema="sourcemysql"), [JOINED], Layout("id", ("id",))),
        (table("ticket", "id", "day", "price"), [SELECTED, SELECTED], Layout("id", ("day", "id"))),
        (table("ticket", "id", "day", schema="other"), [SELECTED], Layout("id", ("id",))),
    ],
)
def test_a_layout_is_of_the_key_and_of_what_is_asked(
    stored: StoredTable, statements: list[str], expected: Layout
) -> None:
    assert layout(stored, statements) == expected


def test_the_clause_is_read_by_redshift() -> None:
    assert Layout("a", ("b", "a")).clause == 'DISTSTYLE KEY DISTKEY ("a") SORTKEY ("b", "a")'
    assert Layout("", ("a",)).clause == 'DISTSTYLE AUTO SORTKEY ("a")'
