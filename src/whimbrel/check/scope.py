"""Which rows of a table are looked at: all of a small one, slices spread over a large one. And some rows to map."""

from __future__ import annotations

from typing import NamedTuple

from whimbrel.check.ask import Asker
from whimbrel.mysql.chunks import cutting_key
from whimbrel.mysql.connect import quoted
from whimbrel.mysql.points import read_rows
from whimbrel.records import Row, Table

SLICES = 20


class Scope(NamedTuple):
    """``sql`` is what stands after FROM. ``words`` say what part of the table it is, "" for the whole."""

    sql: str
    words: str

    @property
    def whole(self) -> bool:
        return not self.words


def whole_table(table: Table) -> Scope:
    return Scope(_name(table), "")


def scope_of(asker: Asker, table: Table, estimate: int, limit: int) -> Scope:
    """The whole table if it has about ``limit`` rows or fewer (0: always), else so many of its rows.

    They are in SLICES ranges spread over a key that begins with a number, else the first ones of the key's order. No
    row is in two slices.
    """
    if not limit or estimate <= limit:
        return whole_table(table)
    conditions = _slices(asker, table)
    order = _order(asker, table)
    each = max(1, limit // len(conditions))
    parts = [f"(SELECT * FROM {_name(table)} WHERE {one}{order} LIMIT {each})" for one in conditions]
    where = f"{len(parts)} slices spread over {table.primary_key[0]}" if len(parts) > 1 else "the first ones by its key"
    sql = f"({' UNION ALL '.join(parts)}) AS {quoted(table.name)}"
    return Scope(sql, f"about {min(limit, estimate):,} of about {estimate:,} rows were read: {where}")


def some_rows(asker: Asker, table: Table, wanted: int) -> list[Row]:
    """``wanted`` rows at most, spread over the table if its key begins with a number, else its first."""
    conditions = _slices(asker, table)
    order = _order(asker, table)
    rows: list[Row] = []
    for number, one in enumerate(conditions):
        each = -(-(wanted - len(rows)) // (len(conditions) - number))
        if each > 0:
            rows += read_rows(asker.connection, table, f"{one}{order} LIMIT {each}")
    return rows


def _slices(asker: Asker, table: Table) -> list[str]:
    """Conditions for ranges of the key's first column, no two of which overlap."""
    first = table.column(table.primary_key[0])
    if first.kind not in ("int", "year"):
        return ["TRUE"]
    name = quoted(first.name)
    low, high = asker.row(f"SELECT MIN({name}), MAX({name}) FROM {_name(table)}", table.full_name)
    if low is None or high - low < SLICES:
        return ["TRUE"]
    starts = [low + (high - low) * number // SLICES for number in range(SLICES)]
    ends = [f" AND {name} < {end}" for end in starts[1:]] + [""]
    return [f"{name} >= {start}{end}" for start, end in zip(starts, ends, strict=True)]


def _order(asker: Asker, table: Table) -> str:
    names, _index = cutting_key(asker.connection, table, table.primary_key)
    return f" ORDER BY {', '.join(map(quoted, names))}" if names else ""


def _name(table: Table) -> str:
    return f"{quoted(table.schema)}.{quoted(table.name)}"
