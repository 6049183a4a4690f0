"""Which rows of a table are looked at: all of a small one, slices spread over a large one. And some rows to map."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from whimbrel.checks.ask import TimedQueries
from whimbrel.mysql.chunks import cutting_key
from whimbrel.mysql.connect import quoted
from whimbrel.mysql.key_index import compared
from whimbrel.mysql.points import read_rows
from whimbrel.mysql.schema import average_row_bytes
from whimbrel.mysql.types import decoded, select_expression
from whimbrel.records import Row, Table

SLICES = 20
BYTES_AT_ONCE = 128 << 20  # of memory for rows that are looked at together
TEXT_TIMES, VALUE_BYTES = 3, 60  # what their text takes, and each value beside it
FEW = 10  # rows, to see how long they are
ALL_BELOW = 2  # a table with less than so many times the rows to read is read in full


class Scope(NamedTuple):
    """``sql`` is what stands after FROM, with a WHERE. ``words`` say what part of the table it is, "" for all of it."""

    sql: str
    words: str

    @property
    def whole(self) -> bool:
        return not self.words


def whole_table(table: Table) -> Scope:
    return Scope(f"{_name(table)} WHERE TRUE", "")


def scope_of(queries: TimedQueries, table: Table, estimate: int, limit: int) -> Scope:
    """The whole table if it has about ``limit`` rows or not many more (0: always), else about so many of its rows.

    They are in SLICES ranges spread over a key that begins with a number, else the first ones of the key's order.
    """
    if not limit or estimate < ALL_BELOW * limit:
        return whole_table(table)
    slices = _slices(queries, table, limit / estimate)
    where = f"{SLICES} slices spread over {table.primary_key[0]}" if slices else "the first ones by its key"
    condition = " OR ".join(f"({each})" for each in slices) if slices else _first(queries, table, limit)
    if not condition:
        return whole_table(table)
    words = f"about {limit:,} of about {estimate:,} rows were read: {where}"
    return Scope(f"{_name(table)} WHERE ({condition})", words)


def bearable_rows(queries: TimedQueries, table: Table) -> int:
    """How many rows fit in memory, by the server's estimate of their length."""
    row_bytes = TEXT_TIMES * average_row_bytes(queries.connection, table, queries.facts) + VALUE_BYTES * len(
        table.columns
    )
    return max(1, BYTES_AT_ONCE // row_bytes)


def some_rows(queries: TimedQueries, table: Table, wanted: int) -> list[Row]:
    """``wanted`` rows at most, and no more than fit in memory, spread over the table if its key begins with a number,
    else its first. What the server estimates of their length may be far off.
    """
    conditions = _slices(queries, table, 1.0) or ["TRUE"]
    names, _index = cutting_key(queries.connection, table, table.primary_key, queries.facts)
    order = f" ORDER BY {', '.join(map(quoted, names))}" if names else ""
    rows = read_rows(queries.connection, table, f"{conditions[0]}{order} LIMIT {min(FEW, wanted)}")
    most = BYTES_AT_ONCE // TEXT_TIMES
    wanted = min(wanted, max(1, most * len(rows) // max(1, _text_bytes(rows))))
    rows, size = [], 0
    for number, one in enumerate(conditions):
        each = -(-(wanted - len(rows)) // (len(conditions) - number))
        if each > 0 and size < most:
            more = read_rows(queries.connection, table, f"{one}{order} LIMIT {each}")
            size += _text_bytes(more)
            rows += more
    return rows


def _text_bytes(rows: list[Row]) -> int:
    return sum(len(value) for row in rows for value in row if isinstance(value, str | bytes))


def _slices(queries: TimedQueries, table: Table, part: float) -> list[str]:
    """Conditions for ranges of the key's first column that do not overlap, and have ``part`` of its values together;
    none if it is not a number of many values.
    """
    first = table.column(table.primary_key[0])
    if first.kind not in ("int", "year"):
        return []
    name = quoted(first.name)
    low, high = queries.row(f"SELECT MIN({name}), MAX({name}) FROM {_name(table)}", table.full_name)
    if low is None or high - low < SLICES / part:
        return []
    span = high - low + 1
    starts = [low + span * number // SLICES for number in range(SLICES + 1)]
    length = max(1, span * int(part * 1_000_000) // 1_000_000 // SLICES)
    ends = starts[1:] if part == 1.0 else [min(start + length, end) for start, end in pairwise(starts)]
    return [f"{name} >= {start} AND {name} < {end}" for start, end in zip(starts, ends, strict=False)]


def _first(queries: TimedQueries, table: Table, limit: int) -> str:
    """The condition for the first ``limit`` rows in the key's order; "" if the server cannot tell them apart."""
    names, _index = cutting_key(queries.connection, table, table.primary_key, queries.facts)
    if not names:
        return ""
    columns = [table.column(name) for name in names]
    expressions, order = ", ".join(map(select_expression, columns)), ", ".join(map(quoted, names))
    last = queries.rows(
        f"SELECT {expressions} FROM {_name(table)} ORDER BY {order} LIMIT 1 OFFSET {limit}", table.full_name
    )
    if not last:
        return ""
    bound = tuple(decoded(column, value) for column, value in zip(columns, last[0], strict=True))
    return compared(columns, bound, "<", "<")


def _name(table: Table) -> str:
    return f"{quoted(table.schema)}.{quoted(table.name)}"
