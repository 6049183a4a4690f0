"""Keys of a table, as an index has them in order.

All comparing is done by the server. A key that a row has is written as literals of the columns' own types and character
sets, so that what orders the index also decides where the key lies.
"""

from __future__ import annotations

import itertools
from typing import Any

from whimbrel.mysql.charsets import python_codec
from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts, translated
from whimbrel.mysql.types import decoded, literal, select_expression
from whimbrel.records import Column, Table, Value

Key = tuple[Value, ...]


class KeyIndex:
    """The values of ``names`` in ``index``, which orders them as they compare; a key may also have the first of them
    only. Raises SourceUnreachable.
    """

    def __init__(self, connection: Mysql, table: Table, names: tuple[str, ...], index: str) -> None:
        self.columns = [table.column(name) for name in names]
        self._connection, self._place = connection, table.full_name
        self._order = [quoted(name) for name in names]
        self._expressions = ", ".join(map(select_expression, self.columns))
        self._from, self._may_use = from_index(table, index), from_index(table, index, "USE")

    def behind(self, low: Key | None, rows: int) -> Key | None:
        """The key of the row that is ``rows`` rows behind ``low``; None when there are fewer. The server reads all of
        these.
        """
        where = self._compared(low, ">", ">") if low else "TRUE"
        for skipped in itertools.count(rows - 1):
            row = self._row(f"WHERE {where} ORDER BY {', '.join(self._order)} LIMIT 1 OFFSET {skipped}")
            if row is None:
                break
            if bound := self._key(row):
                return bound
        return None

    def first(self, low: Key, start: Key, high: Key | None = None) -> Key | None:
        """The first key that is greater than ``low``, at least ``start``, and less than ``high``."""
        between = [self._compared(low, ">", ">"), self._compared(start, ">", ">=")]
        if high:
            between.append(self._compared(high, "<", "<"))
        row = self._row(f"WHERE {' AND '.join(between)} ORDER BY {', '.join(self._order)} LIMIT 1")
        return self._key(row) if row else None

    def last(self, low: Key, start: Key) -> Key | None:
        """The greatest key that is greater than ``low``, of those that begin with ``start``."""
        begins = [f"{name} = {literal(*value)}" for name, value in zip(self._order, self._paired(start), strict=False)]
        where = " AND ".join([self._compared(low, ">", ">"), *begins])
        row = self._row(f"WHERE {where} ORDER BY {', '.join(f'{name} DESC' for name in self._order)} LIMIT 1")
        return self._key(row) if row else None

    def estimate(self, low: Key | None, high: Key) -> int:
        """How many rows have a key greater than ``low`` up to ``high``, by the server's look at a few pages of the
        index; 0 where it does not say.
        """
        where = (f"{self._compared(low, '>', '>')} AND " if low else "") + self._compared(high, "<", "<=")
        # With FORCE INDEX, MySQL does not look.
        statement = f"SELECT {self._expressions} FROM {self._may_use} WHERE {where} ORDER BY {', '.join(self._order)}"
        rows = rows_as_dicts(self._connection, f"EXPLAIN {statement}")
        return int(rows[0]["rows"] or 0) if rows else 0

    def _compared(self, key: Key, strict: str, last: str) -> str:
        return compared(self.columns[: len(key)], key, strict, last)

    def _paired(self, key: Key) -> list[tuple[Column, Value]]:
        return list(zip(self.columns, key, strict=False))

    def _row(self, rest: str) -> tuple[Any, ...] | None:
        with translated(self._place), self._connection.cursor() as cursor:
            cursor.execute(f"SELECT {self._expressions} FROM {self._from} {rest}")
            row: tuple[Any, ...] | None = cursor.fetchone()
        return row

    def _key(self, row: tuple[Any, ...]) -> Key | None:
        """None where it would be another key as a literal: some Asian character sets have two codes for one
        character.
        """
        key = tuple(decoded(column, value) for column, value in zip(self.columns, row, strict=True))
        return key if all(map(_same_literal, self.columns, row, key)) else None


def compared(columns: list[Column], bound: Key, strict: str, last: str) -> str:
    """``(a, b) > (1, 2)`` written out as ``(a > 1 OR (a = 1 AND (b > 2)))``: only so do the servers use the index."""
    name, value = quoted(columns[0].name), literal(columns[0], bound[0])
    if len(columns) == 1:
        return f"({name} {last} {value})"
    rest = compared(columns[1:], bound[1:], strict, last)
    return f"({name} {strict} {value} OR ({name} = {value} AND {rest}))"


def from_index(table: Table, index: str, how: str = "FORCE") -> str:
    name = f"{quoted(table.schema)}.{quoted(table.name)}"
    return f"{name} {how} INDEX ({quoted(index)})" if index else name


def _same_literal(column: Column, read: Any, value: Value) -> bool:
    return not isinstance(value, str) or read == value or python_codec(column.charset).encode(value) == read
