"""Rows for any table, from what its columns are; and what an application might do to them afterwards."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pymysql.cursors import Cursor

INTEGERS = {"tinyint": 7, "smallint": 15, "mediumint": 23, "int": 31, "bigint": 63}
ROWS, LATER = 8, 4  # of each table: there at first, and inserted by the changes
MOVED, CHANGED = 2_000, 1_000  # added to a row's number for values that no other row has


@dataclass(frozen=True)
class Field:
    name: str
    kind: str  # DATA_TYPE
    words: str  # COLUMN_TYPE
    nullable: bool
    length: int
    charset: str
    generated: bool

    def value(self, n: int) -> Any:
        """One of many: as a rule another for each ``n``. NULL sometimes, where that may be."""
        return None if self.nullable and n % 5 == len(self.name) % 5 else self.some(n)

    def some(self, n: int) -> Any:
        if self.kind in INTEGERS:
            return n % (2 ** INTEGERS[self.kind] - 1) * (-1 if n % 3 == 0 and "unsigned" not in self.words else 1)
        if self.kind == "decimal":
            precision, scale = map(int, re.findall(r"\d+", self.words)[:2])
            return f"{n % 10 ** (precision - scale)}.{n % 10**scale:0{scale}}" if scale else str(n % 10**precision)
        if self.kind in ("enum", "set"):
            members = re.findall(r"'((?:[^']|'')*)'", self.words)
            return members[n % len(members)].replace("''", "'")
        if self.kind.endswith(("char", "text")):
            return self._text(n)
        if self.kind.endswith(("binary", "blob")):
            return (n.to_bytes(4, "big").lstrip(b"\0") + b"\0\xff\0")[: self.length]
        return self._other(n)

    def _text(self, n: int) -> str:
        """Distinct by its first characters."""
        if self.length < 4:
            return chr(97 + n % 26)
        more = {"utf8mb4": " é😀", "utf8mb3": " éß", "latin1": " é"}.get(self.charset, " x")
        return f"{n:x}{more}"[: self.length]

    def _other(self, n: int) -> Any:
        moment = datetime.datetime(2021, 1, 1) + datetime.timedelta(hours=n, microseconds=n * 1000)
        return {
            "float": n + 0.1, "double": n / 7, "bit": n % 2, "year": 1970 + n % 100, "date": moment.date(),
            "datetime": moment, "timestamp": moment, "time": datetime.timedelta(seconds=61 * n),
            "json": f'{{"n": {n}}}',
        }[self.kind]  # fmt: skip


@dataclass(frozen=True)
class TableRows:
    """A table's fields, and the key that tells its rows apart: () if it has none."""

    schema: str
    name: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]

    @property
    def quoted(self) -> str:
        return f"`{self.schema}`.`{self.name}`"

    def fill(self, cursor: Cursor, numbers: range) -> None:
        """What a unique key or a check forbids is left out: the rest are enough."""
        written = [each for each in self.fields if not each.generated]
        names = ", ".join(f"`{each.name}`" for each in written)
        marks = ", ".join(["%s"] * len(written))
        rows = [[each.some(n) if each.name in self.key else each.value(n) for each in written] for n in numbers]
        cursor.executemany(f"INSERT IGNORE INTO {self.quoted} ({names}) VALUES ({marks})", rows)

    def change(self, cursor: Cursor) -> None:
        """Update a half of the rows, move one, delete one, insert some."""
        where = " AND ".join(f"`{name}` = %s" for name in self.key)
        others = [each for each in self.fields if each.name not in self.key and not each.generated]
        cursor.execute(f"SELECT {', '.join(f'`{name}`' for name in self.key)} FROM {self.quoted}")
        keys = list(cursor.fetchall())
        for n, key in enumerate(keys[1::2] if others else []):
            sets = ", ".join(f"`{each.name}` = %s" for each in others)
            values = [each.value(n + CHANGED) for each in others]
            cursor.execute(f"UPDATE IGNORE {self.quoted} SET {sets} WHERE {where}", [*values, *key])
        if len(keys) > 2:
            [last] = [each for each in self.fields if each.name == self.key[-1]]
            moved = [last.some(MOVED), *keys[0]]
            cursor.execute(f"UPDATE IGNORE {self.quoted} SET `{last.name}` = %s WHERE {where}", moved)
            cursor.execute(f"DELETE FROM {self.quoted} WHERE {where}", keys[2])
        self.fill(cursor, range(ROWS, ROWS + LATER))


def tables_of(cursor: Cursor, schema: str) -> Iterator[TableRows]:
    """The base tables by name, as information_schema has them."""
    for name in _column(cursor, "TABLE_NAME", "TABLES", schema, "AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME"):
        cursor.execute(
            "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE = 'YES', COALESCE(CHARACTER_MAXIMUM_LENGTH, 0), "
            "COALESCE(CHARACTER_SET_NAME, ''), GENERATION_EXPRESSION != '' "
            "FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
            (schema, name),
        )
        fields = tuple(
            Field(row[0], row[1], _text(row[2]), bool(row[3]), int(row[4]), row[5], bool(row[6])) for row in cursor
        )
        yield TableRows(schema, name, fields, _key(cursor, schema, name, fields))


def _key(cursor: Cursor, schema: str, table: str, fields: tuple[Field, ...]) -> tuple[str, ...]:
    """The primary key, else the shortest unique key of whole columns without NULLs."""
    cursor.execute(
        "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s "
        "AND TABLE_NAME = %s AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        (schema, table),
    )
    indexes: dict[str, list[str]] = {}
    parts = set()
    nullable = {each.name for each in fields if each.nullable}
    for index, column, part in cursor.fetchall():
        indexes.setdefault(index, []).append(column)
        if index != "PRIMARY" and (part is not None or column in nullable):
            parts.add(index)
    if "PRIMARY" in indexes:
        return tuple(indexes["PRIMARY"])
    whole = [(len(columns), name, columns) for name, columns in indexes.items() if name not in parts]
    return tuple(min(whole)[2]) if whole else ()


def _column(cursor: Cursor, name: str, table: str, schema: str, more: str) -> list[str]:
    cursor.execute(f"SELECT {name} FROM information_schema.{table} WHERE TABLE_SCHEMA = %s {more}", (schema,))
    return [str(row[0]) for row in cursor.fetchall()]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
