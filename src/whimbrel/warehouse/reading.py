"""What an engine gives of a column becomes the value that the source has, as records.py says it.

Numbers are given as they are, bytes too, and all else as the engine's own text. Nothing of it is shared with what
writes rows: a verification reads by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from whimbrel.mysql.floats import as_double, shortest
from whimbrel.records import Row
from whimbrel.warehouse.json_value import same_json
from whimbrel.warehouse.stored import StoredColumn

AS_IT_IS = ("int", "double", "bytes", "bool")  # forms that are selected as they are; FLOAT is selected as a DOUBLE


def row_reader(columns: Sequence[StoredColumn]) -> Callable[[Sequence[Any]], Row]:
    readers = [_reader(column) for column in columns]

    def read(row: Sequence[Any]) -> Row:
        return tuple(None if value is None else of(value) for of, value in zip(readers, row, strict=True))

    return read


def _reader(column: StoredColumn) -> Callable[[Any], Any]:
    digits = column.source.scale
    if column.form == "int":
        return int
    if column.form == "float":
        return lambda value: shortest(as_double(float(value)))
    if column.form == "bytes":
        return bytes
    if column.form == "super":
        return same_json
    if column.form == "decimal":
        return _decimal
    if column.form in ("datetime", "timestamp"):
        return lambda value: _with_digits(value.removesuffix("+00"), digits)
    if column.form == "time":
        return lambda value: _time(value, digits)
    return lambda value: value


def _decimal(text: str) -> str:
    """DuckDB leaves the zero out where no digit stands before the point: ``-.5``."""
    sign, plain = ("-", text[1:]) if text.startswith("-") else ("", text)
    return f"{sign}0{plain}" if plain.startswith(".") else text


def _time(text: str, digits: int) -> str:
    """``-1:02:03.5`` as MySQL has it: two digits of hours at least."""
    sign, plain = ("-", text[1:]) if text.startswith("-") else ("", text)
    hours, _, rest = plain.partition(":")
    return f"{sign}{hours.zfill(2)}:{_with_digits(rest, digits)}"


def _with_digits(text: str, digits: int) -> str:
    """With as many digits behind the point as the column has; engines leave zeros out."""
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(digits, '0')}" if digits else text


def so_many(rows: Sequence[Sequence[Any]], *, most: int, size: int) -> int:
    """From 1 to ``most``, how many rows to read next: they have ``size`` bytes, if they weigh what ``rows`` do."""
    weight = sum(len(value) for row in rows for value in row if isinstance(value, str | bytes))
    return max(1, min(most, size * len(rows) // max(weight, 1)))
