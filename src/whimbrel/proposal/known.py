"""What is known of a source table, or assumed of it: how many rows, how long, and how many have the same value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from whimbrel.mapping.values import NUMBER_KINDS
from whimbrel.records import Column, Table

ROWS = 1000.0  # of a table that has none yet
SHARING = 10.0  # rows that share a value of which nothing is known
LONGEST = 10.0  # times the average, where the most is not known
_TEXT, _LONG_TEXT, _BYTES = 40.0, 200.0, 200.0
_OF_KIND = {
    "int": 5.0,
    "year": 3.0,
    "bit": 2.0,
    "float": 5.0,
    "double": 8.0,
    "date": 10.0,
    "time": 8.0,
    "datetime": 19.0,
    "timestamp": 20.0,
    "uuid": 36.0,
    "inet4": 12.0,
    "inet6": 20.0,
    "json": _LONG_TEXT,
    "geometry": 25.0,
}


class Amount(NamedTuple):
    """Rows with one value of some columns: on average, and at most."""

    average: float
    most: float


class Link(NamedTuple):
    """``columns`` hold the primary key of a row of ``parent``, a full name."""

    columns: tuple[str, ...]
    parent: str


@dataclass(frozen=True)
class KnownTable:
    """``bytes`` are of a column's value in an item, on average; ``amounts`` says how many rows share values of columns.

    ``assumed`` says in words what of it nobody has counted.
    """

    table: Table
    rows: float
    bytes: Mapping[str, float]
    amounts: Callable[[tuple[str, ...]], Amount]
    links: tuple[Link, ...] = ()
    assumed: Sequence[str] = ()

    def text_bytes(self, column: str) -> float:
        """Of the value in a template: digits take a byte each there."""
        size = self.bytes[column]
        return max(1.0, 2 * size - 2) if self.table.column(column).kind in NUMBER_KINDS else size


def usual_bytes(column: Column) -> float:
    """Of a value that nobody has seen, by its type."""
    if column.kind in ("enum", "set"):
        return max(map(len, column.members), default=1) or 1.0
    if column.kind == "decimal":
        return column.precision / 2 + 2
    if column.kind == "text":
        return column.length / 2 if column.length <= 2 * _TEXT else _TEXT if column.length < 4096 else _LONG_TEXT
    if column.kind == "binary":
        return min(float(column.length or _BYTES), _BYTES)
    return _OF_KIND.get(column.kind, 10.0)


def guessed(
    table: Table, rows: float, unique: tuple[tuple[str, ...], ...], parents: Mapping[tuple[str, ...], float]
) -> Callable[[tuple[str, ...]], Amount]:
    """Amounts where nothing was counted: ``parents`` has the rows of the tables that columns are links to."""

    def amounts(columns: tuple[str, ...]) -> Amount:
        if any(set(key) <= set(columns) for key in unique):
            return Amount(1.0, 1.0)
        values = [_values(table.column(name), rows, parents) for name in columns]
        average = rows
        for each in values:
            average /= each
        average = max(1.0, average)
        return Amount(average, min(rows, average * LONGEST))

    return amounts


def _values(column: Column, rows: float, parents: Mapping[tuple[str, ...], float]) -> float:
    if column.kind == "enum":
        return float(max(1, len(column.members)))
    return max(1.0, min(rows, parents.get((column.name,), rows / SHARING)))
