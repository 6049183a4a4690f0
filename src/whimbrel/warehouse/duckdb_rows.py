"""Rows as DuckDB is given them: in lines of JSON, as export files have them, of which it makes columns itself.

A line is an array of rows, and a row is an array of values, each a number, a text or NULL; bytes are in base64. Every
value is taken as its text and cast to its column's type, within the statement that uses it. So a row that was read from
a file never becomes values of Python.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import orjson

from whimbrel.records import Row, Value
from whimbrel.snapshot_files import over_columns
from whimbrel.warehouse.stored import StoredColumn
from whimbrel.warehouse.types import DATES

LONGEST_LINE = 8 << 20  # bytes: DuckDB has several copies of a line in memory while it reads it
LINE_ROWS, LINE_BYTES = 100, 256 << 10  # of a line that is made here, about
_LINES = """(SELECT unnest(from_json_strict(line, '[["VARCHAR"]]')) AS r FROM (SELECT unnest(?::VARCHAR[]) AS line))"""
_LISTS = "(SELECT unnest(?::VARCHAR[][]) AS r)"
_NUMBERS = ("int", "bit", "year", "float", "double")


def is_as_in_files(column: StoredColumn) -> bool:
    """Not a number that is carried as text: DuckDB has its own way to print one."""
    return column.form != "text" or column.source.kind not in _NUMBERS


def lines_of(columns: Sequence[StoredColumn], rows: Iterable[Row]) -> Iterator[bytes]:
    plain = over_columns(len(columns), dict(_encoders(columns)))
    left, number = iter(rows), 1
    while some := list(islice(left, number)):
        line = orjson.dumps(plain(some))
        yield line
        number = max(1, min(2 * number, LINE_ROWS, LINE_BYTES * len(some) // len(line)))


def source_of(lines: Sequence[bytes]) -> tuple[str, list[Any]]:
    """What stands in a FROM for the rows of ``lines``, with the one column ``r``; and the values of its parameters."""
    if max(map(len, lines), default=0) <= LONGEST_LINE:
        return _LINES, [[line.decode() for line in lines]]
    rows = [row for line in lines for row in orjson.loads(line)]
    return _LISTS, [[[None if value is None else _text(value) for value in row] for row in rows]]


def cast(column: StoredColumn, place: int) -> str:
    """The value at ``place`` of ``r``, counted from 0, as the column has it. An error of DuckDB where it cannot."""
    form, text = column.form, f"r[{place + 1}]"
    if form == "text":
        return text
    if form == "bytes":
        return f"from_base64({text})" if _is_base64(column) else f"encode({text})"
    if form not in DATES:
        return f"CAST({text} AS {column.sql})"
    utc = " || '+00'" if form == "timestamp" else ""
    if column.nulls:
        return f"CASE WHEN {text} >= '0001' THEN TRY_CAST({text}{utc} AS {column.sql}) END"
    # DuckDB has a year 0, and nobody else.
    return f"CAST(CASE WHEN {text} < '0001' THEN 'no date' ELSE {text}{utc} END AS {column.sql})"


def _encoders(columns: Sequence[StoredColumn]) -> Iterator[tuple[int, Callable[[Any], Value]]]:
    for place, column in enumerate(columns):
        if _is_base64(column):
            yield place, _base64
        elif not is_as_in_files(column):
            yield place, _text


def _is_base64(column: StoredColumn) -> bool:
    return column.form == "bytes" and column.source.kind in ("binary", "geometry")


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()


def _text(value: Value) -> str:
    return repr(value) if isinstance(value, float) else str(value)
