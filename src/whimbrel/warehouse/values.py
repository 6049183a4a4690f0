"""Rows become columns of values that an engine can hold, or the row that it cannot hold is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from whimbrel.errors import BEGIN_AGAIN, UnsupportedSource
from whimbrel.records import Row
from whimbrel.warehouse.stored import StoredColumn, StoredTable
from whimbrel.warehouse.types import DATES

Values = list[Any]


def columns_of(table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row]) -> list[Values]:
    """The values of each of ``columns`` of ``table``, in its form. Raises UnsupportedSource."""
    found = list(map(list, zip(*rows, strict=True))) if rows else [[] for _ in columns]
    for number, column in enumerate(columns):
        if column.form in DATES:
            found[number] = _days(table, columns, number, found[number], rows)
        elif column.form == "text" and column.source.kind in _NOT_TEXT:
            found[number] = [None if value is None else _text(value) for value in found[number]]
        elif column.form == "bytes" and column.source.kind not in ("binary", "geometry"):
            found[number] = [None if value is None else value.encode() for value in found[number]]
    return found


_NOT_TEXT = ("int", "bit", "year", "float", "double")


def _text(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _days(
    table: StoredTable, columns: Sequence[StoredColumn], place: int, values: Values, rows: Sequence[Row]
) -> Values:
    """The engines' dates begin with the year 1, and have no month or day that is not in the calendar."""
    bad = {day for day in {value[:10] for value in values if value is not None} if not _is_day(day)}
    if not bad:
        return values
    if columns[place].nulls:
        return [None if value is None or value[:10] in bad else value for value in values]
    number = next(n for n, value in enumerate(values) if value is not None and value[:10] in bad)
    raise refused(
        table,
        columns,
        place,
        rows[number],
        f"{values[number]!r} is not a date of the calendar",
        f'Say zero_dates = "text" (dates become texts) or "null" in its [[silo]], and {BEGIN_AGAIN}.',
    )


@lru_cache(100_000)
def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def refused(
    table: StoredTable, columns: Sequence[StoredColumn], place: int, row: Row, reason: str, hint: str
) -> UnsupportedSource:
    """The column at ``place`` of ``row`` has a value that the engine cannot hold."""
    key = {each.source.name: value for each, value in zip(columns, row, strict=True) if each.name in table.key}
    return UnsupportedSource(
        f"column {columns[place].source.name!r}: {reason}", place=f"{table.full_name}, row {key}", hint=hint
    )
