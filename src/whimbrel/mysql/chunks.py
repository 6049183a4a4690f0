"""Cutting a table into chunks along an index, and the record of the cuts.

All comparing is done by the server: under a column's collation 'a', 'A' and 'a ' may be one key value, and only the
server knows. A chunk's bounds are values of rows, written as literals of the column's own type and character set, so
that the same comparison that orders the index decides about every row; rows that the collation calls equal in the
chunk's key columns are therefore always in one chunk.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import sync_folder
from whimbrel.errors import LogCorrupt, SchemaDrift, StateError, UnsupportedSource
from whimbrel.export import Chunk, chunk_from_json, chunk_to_json, table_to_json
from whimbrel.mysql.charsets import python_codec
from whimbrel.mysql.connect import Mysql, quoted, translated
from whimbrel.mysql.schema import leading_index
from whimbrel.mysql.types import decoded, literal, select_expression
from whimbrel.records import Column, Table, Value

# ENUM and SET are ordered by number but compare with a literal as text: an index on them cannot be cut by comparing.
UNORDERED = {"enum", "set", "json", "geometry"}
PLAN_FILE = "plan.jsonl"


def plan(
    connection: Mysql, table: Table, key_columns: tuple[str, ...], rows_per_chunk: int, *, after: Chunk | None = None
) -> Iterator[Chunk]:
    """The chunks that follow ``after``, in order; together with those before it they hold every possible key exactly
    once.

    Bounds lie on ``key_columns``, or on those at their front that an index orders as they compare; a table without
    such is one chunk. ``rows_per_chunk`` is exceeded where more rows than that are equal in the key. Raises
    SourceUnreachable.
    """
    names, index = cutting_key(connection, table, key_columns)
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


def cutting_key(connection: Mysql, table: Table, key_columns: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The columns to cut by and the index that orders them; ((), "") when the table can only be read as a whole."""
    names = key_columns
    for position, name in enumerate(key_columns):
        if table.column(name).kind in UNORDERED:
            names = key_columns[:position]
            break
    while names:
        if index := leading_index(connection, table, names):
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


def forget_other_export(folder: Path, table: Table) -> None:
    """Remove what was exported of another version of ``table``: its rows are read anew, all by the same columns."""
    plan_file = folder / PLAN_FILE
    if not plan_file.exists():
        return
    header = plan_file.read_bytes().partition(b"\n")
    if header[1] and orjson.loads(header[0])["table"] != orjson.loads(orjson.dumps(table_to_json(table))):
        shutil.rmtree(folder)


class Plan:
    """``plan.jsonl``: a header with the table and its key, then each chunk in order. After a restart chunk 7 is still
    chunk 7.

    A chunk is durable here before its file may exist. A last line that a crash cut short is removed.
    """

    def __init__(self, folder: Path, table: Table, key_columns: tuple[str, ...]) -> None:
        self.path = folder / PLAN_FILE
        self.chunks: list[Chunk] = []
        header = {"table": table_to_json(table), "key": list(key_columns)}
        lines = self._whole_lines()
        if lines:
            self._check_header(orjson.loads(lines[0]), header)
            self.chunks = [chunk_from_json(orjson.loads(line)) for line in lines[1:]]
        else:
            self._append(header)
            sync_folder(folder)

    @property
    def last(self) -> Chunk | None:
        return self.chunks[-1] if self.chunks else None

    @property
    def complete(self) -> bool:
        return bool(self.chunks) and self.chunks[-1].high is None

    def add(self, chunk: Chunk) -> None:
        """Durable when it returns."""
        self._append(chunk_to_json(chunk))
        self.chunks.append(chunk)

    def _append(self, record: dict[str, Any]) -> None:
        with self.path.open("ab") as file:
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())

    def _whole_lines(self) -> list[bytes]:
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.truncate(self.path, end)
        lines = data[:end].splitlines()
        try:
            for line in lines:
                orjson.loads(line)
        except orjson.JSONDecodeError as error:
            hint = "Remove the folder: the table is exported anew"
            raise LogCorrupt(f"is damaged: {error}", place=str(self.path), hint=hint) from error
        return lines

    def _check_header(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        place, hint = str(self.path), f"Remove {self.path.parent} to export the table anew"
        if found["key"] != wanted["key"]:
            raise StateError(f"was made for the key {found['key']}, not {wanted['key']}", place=place, hint=hint)
        if found["table"] != orjson.loads(orjson.dumps(wanted["table"])):
            raise SchemaDrift("the table has changed since its export began", place=place, hint=hint)
