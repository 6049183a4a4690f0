"""Cutting a table into chunks along an index; the record of the cuts is ``plan.py``'s.

All comparing is done by the server: under a column's collation 'a', 'A' and 'a ' may be one key value, and only the
server knows. A chunk's bounds are values of rows, written as literals of the column's own type and character set, so
that the same comparison that orders the index decides about every row; rows that the collation calls equal in the
chunk's key columns are therefore always in one chunk.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from whimbrel.errors import IncompleteRead, UnsupportedSource
from whimbrel.mysql.charsets import python_codec
from whimbrel.mysql.connect import Mysql, quoted, translated
from whimbrel.mysql.facts import Facts
from whimbrel.mysql.schema import leading_index
from whimbrel.mysql.types import decoded, literal, select_expression
from whimbrel.records import Column, Table, Value
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
    such is one chunk. ``rows_per_chunk`` is exceeded where more rows than that are equal in the key. ``cutting``
    is what ``cutting_key`` said, where it was asked. Raises SourceUnreachable.
    """
    names, index = cutting or cutting_key(connection, table, key_columns)
    if after and after.high is None:
        return
    if not names:
        yield Chunk(1, None, None, ())
        return
    number, low = (after.number, after.high) if after else (0, None)
    while True:
        number += 1
        high = _nth_key(connection, table, names, index, low, rows_per_chunk)
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
    statement = f"SELECT {expressions} FROM {_from(table, index)} WHERE {chunk_condition(table, chunk)}"
    return f"{statement} ORDER BY {_list(chunk.key)}" if chunk.key else statement


def chunk_count(table: Table, chunk: Chunk, index: str) -> str:
    """The SELECT of how many rows the chunk has."""
    return f"SELECT COUNT(*) FROM {_from(table, index)} WHERE {chunk_condition(table, chunk)}"


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


def compared(columns: list[Column], bound: tuple[Value, ...], strict: str, last: str) -> str:
    """``(a, b) > (1, 2)`` written out as ``(a > 1 OR (a = 1 AND (b > 2)))``: only so do the servers use the index."""
    name, value = quoted(columns[0].name), literal(columns[0], bound[0])
    if len(columns) == 1:
        return f"({name} {last} {value})"
    rest = compared(columns[1:], bound[1:], strict, last)
    return f"({name} {strict} {value} OR ({name} = {value} AND {rest}))"


def _nth_key(
    connection: Mysql, table: Table, names: tuple[str, ...], index: str, low: tuple[Value, ...] | None, rows: int
) -> tuple[Value, ...] | None:
    """The key of the row that is ``rows`` rows behind ``low``; None when there are fewer."""
    columns = [table.column(name) for name in names]
    expressions = ", ".join(select_expression(column) for column in columns)
    where = compared(columns, low, ">", ">") if low else "TRUE"
    statement = f"SELECT {expressions} FROM {_from(table, index)} WHERE {where} ORDER BY {_list(names)}"
    for skipped in itertools.count(rows - 1):
        with translated(table.full_name), connection.cursor() as cursor:
            cursor.execute(f"{statement} LIMIT 1 OFFSET {skipped}")
            row: tuple[Any, ...] | None = cursor.fetchone()
        if row is None:
            break
        bound = tuple(decoded(column, value) for column, value in zip(columns, row, strict=True))
        # Some Asian character sets have two codes for one character. Written as a literal, such a value would be
        # another.
        if all(map(_same_literal, columns, row, bound)):
            return bound
    return None


def _same_literal(column: Column, read: Any, value: Value) -> bool:
    return not isinstance(value, str) or read == value or python_codec(column.charset).encode(value) == read


def _from(table: Table, index: str) -> str:
    name = f"{quoted(table.schema)}.{quoted(table.name)}"
    return f"{name} FORCE INDEX ({quoted(index)})" if index else name


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(map(quoted, names))


def _shown(values: tuple[Value, ...]) -> str:
    return ", ".join(map(repr, values))


def rows_at_worst(table: Table, size: int) -> int:
    """How many rows fit into ``size`` bytes at worst, by the columns' greatest lengths; at least 1."""
    longest = 0
    for column in table.columns:
        unbounded = column.kind == "geometry" or (column.kind == "json" and not column.length)
        longest += size if unbounded else max(24, column.length * (4 if column.charset else 1))
    return max(1, size // max(1, longest))
