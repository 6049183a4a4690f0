"""Cutting a table into chunks along an index; the record of the cuts is ``plan.py``'s.

All comparing is done by the server: under a column's collation 'a', 'A' and 'a ' may be one key value, and only the
server knows. A chunk's bounds are values of rows, written as literals of the column's own type and character set, so
that the same comparison that orders the index decides about every row; rows that the collation calls equal in the
chunk's key columns are therefore always in one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whimbrel.errors import IncompleteRead, UnsupportedSource
from whimbrel.mysql.connect import Mysql, quoted
from whimbrel.mysql.estimated_cuts import EstimatedCuts
from whimbrel.mysql.facts import Facts
from whimbrel.mysql.key_index import KeyIndex, compared, from_index
from whimbrel.mysql.schema import leading_index
from whimbrel.mysql.types import select_expression
from whimbrel.records import Table, Value
from whimbrel.snapshot_files import Chunk

# ENUM and SET are ordered by number but compare with a literal as text: an index on them cannot be cut by comparing.
UNORDERED = {"enum", "set", "json", "geometry"}


Cutting = tuple[tuple[str, ...], str]  # the columns to cut by, and the index that orders them


def plan(
    connection: Mysql,
    table: Table,
    key_columns: tuple[str, ...],
    rows_per_chunk: int,
    *,
    after: Chunk | None = None,
    cutting: Cutting | None = None,
) -> Iterator[Chunk]:
    """The chunks that follow ``after``, in order; together with those before it they hold every possible key exactly
    once.

    Bounds lie on ``key_columns``, or on those at their front that an index orders as they compare; a table without
    such is one chunk. ``rows_per_chunk`` is exceeded where more rows than that are equal in the key, and chunks of
    thousands of rows have about as many: see ``EstimatedCuts``. ``cutting`` is what ``cutting_key`` said, where it was
    asked. Raises SourceUnreachable.
    """
    names, index = cutting or cutting_key(connection, table, key_columns)
    if after and after.high is None:
        return
    if not names:
        yield Chunk(1, None, None, ())
        return
    number, low = (after.number, after.high) if after else (0, None)
    keys = KeyIndex(connection, table, names, index)
    estimated = EstimatedCuts(keys, rows_per_chunk)
    while True:
        number += 1
        high = estimated.end_behind(low) if low else None
        if high is None and (high := keys.behind(low, rows_per_chunk)):
            estimated.stepped(low, high)
        if high is not None and high == low:
            raise UnsupportedSource(
                f"the key {_shown(high)} does not compare as it is stored", place=table.full_name, hint="Repair the row"
            )
        yield Chunk(number, low, high, names)
        if high is None:
            return
        low = high


def cutting_key(connection: Mysql, table: Table, key_columns: tuple[str, ...], facts: Facts | None = None) -> Cutting:
    """The columns to cut by and the index that orders them; ((), "") when the table can only be read as a whole.
    ``facts`` may have been asked for beforehand.
    """
    names = key_columns
    for position, name in enumerate(key_columns):
        if table.column(name).kind in UNORDERED:
            names = key_columns[:position]
            break
    while names:
        if index := leading_index(connection, table, names, facts):
            return names, index
        names = names[:-1]
    return (), ""


def chunk_statement(table: Table, chunk: Chunk, index: str) -> str:
    """The SELECT of a chunk's rows, in the order of its key."""
    expressions = ", ".join(select_expression(column) for column in table.columns)
    statement = f"SELECT {expressions} FROM {from_index(table, index)} WHERE {chunk_condition(table, chunk)}"
    return f"{statement} ORDER BY {', '.join(map(quoted, chunk.key))}" if chunk.key else statement


def chunk_count(table: Table, chunk: Chunk, index: str) -> str:
    """The SELECT of how many rows the chunk has."""
    return f"SELECT COUNT(*) FROM {from_index(table, index)} WHERE {chunk_condition(table, chunk)}"


def rest_count(table: Table, chunk: Chunk, index: str, last: tuple[Value, ...]) -> str:
    """The SELECT of how many rows the chunk has from the key ``last`` on."""
    at_least = compared([table.column(name) for name in chunk.key], last, ">", ">=")
    return f"{chunk_count(table, chunk, index)} AND {at_least}"


def all_there(table: Table, chunk: Chunk, rows: int, counted: list[tuple[Any, ...]]) -> None:
    """Raises IncompleteRead unless as many ``rows`` came of the chunk as its ``chunk_count`` says."""
    if counted != [(rows,)]:
        said = f"{counted[0][0]:,}" if counted else "nothing"
        raise IncompleteRead(
            f"the server sent {rows:,} rows and counts {said} in the same transaction, between the keys {chunk.low} "
            f"and {chunk.high}",
            place=table.full_name,
            hint="Something between the server and whimbrel truncates results: check its settings and any proxy.",
        )


def chunk_condition(table: Table, chunk: Chunk) -> str:
    """low < key <= high in SQL."""
    columns = [table.column(name) for name in chunk.key]
    conditions = []
    if chunk.low is not None:
        conditions.append(compared(columns, chunk.low, ">", ">"))
    if chunk.high is not None:
        conditions.append(compared(columns, chunk.high, "<", "<="))
    return " AND ".join(conditions) or "TRUE"


def _shown(values: tuple[Value, ...]) -> str:
    return ", ".join(map(repr, values))


def rows_at_worst(table: Table, size: int) -> int:
    """How many rows fit into ``size`` bytes at worst, by the columns' greatest lengths; at least 1."""
    longest = 0
    for column in table.columns:
        unbounded = column.kind == "geometry" or (column.kind == "json" and not column.length)
        longest += size if unbounded else max(24, column.length * (4 if column.charset else 1))
    return max(1, size // max(1, longest))
