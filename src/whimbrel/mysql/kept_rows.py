"""Rows that a reverse stream took away and may have to bring back, kept in the transaction that took them.

- A row that is **deleted** may only have moved: its item's deletion and the other item's insertion come in any order.
  What the items do not say of it, the columns that no item carries, waits here for a row of the same key.
- A row that is **aside** stood in the way of another by a unique index. DynamoDB has no such index, so an item may take
  a value before the change that gives it up has come. The row comes back with its own item's next change, or when it
  is in nobody's way any more; what is still here at the end is a conflict of two items.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from whimbrel.mysql.charsets import invalid_text
from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts, translated
from whimbrel.mysql.reverse_tables import ROWS, short
from whimbrel.mysql.row_statements import Destination
from whimbrel.mysql.types import decoded, select_expression
from whimbrel.records import Row, RowChange, Table, Value

_AT_ONCE = 1000  # rows aside that are looked at in one transaction: they are in memory, and locked


class KeptRow(NamedTuple):
    """``values`` has all columns by name, also generated ones; ``place`` is where it is kept."""

    place: bytes
    table: str
    aside: bool
    values: dict[str, Value]


class KeptRows:
    """Of one epoch, through one connection. ``some``, which all writers of the epoch have in common, is set before the
    first row is kept: until then nobody asks for any.
    """

    def __init__(self, connection: Mysql, schema: str, epoch: int, some: threading.Event) -> None:
        self._connection, self._epoch, self._some = connection, epoch, some
        self._name = f"{quoted(schema)}.{quoted(ROWS)}"
        if not some.is_set() and self._rows(f"SELECT 1 FROM {self._name} WHERE epoch = %s LIMIT 1", (epoch,)):
            some.set()

    def keep(self, to: Destination, condition: str, *, aside: bool) -> list[dict[str, Value]]:
        """Keep the table's rows that meet ``condition``, which are about to be deleted; all of each, by column."""
        rows = whole_rows(self._connection, to.table, condition)
        for row in rows:
            self._save(to.table, row, aside)
        return rows

    def find(self, table: Table, keys: Sequence[Row]) -> dict[Row, KeptRow]:
        """Those that are kept of ``keys``, locked."""
        if not self._some.is_set() or not keys:
            return {}
        places = {_place(table, key): key for key in keys}
        listed = ", ".join(["%s"] * len(places))
        where = f"WHERE epoch = %s AND place IN ({listed}) FOR UPDATE"
        rows = self._rows(f"SELECT place, aside, saved FROM {self._name} {where}", (self._epoch, *places))
        return {places[row["place"]]: _kept(row) for row in rows}

    def remove(self, table: Table, key: Row) -> None:
        self._execute(f"DELETE FROM {self._name} WHERE epoch = %s AND place = %s", (self._epoch, _place(table, key)))

    def aside(self, after: bytes) -> list[KeptRow]:
        """The next rows behind the place ``after`` that are still in somebody's way, or were; none at the end. Locked,
        so that nobody else brings one back meanwhile.
        """
        if not self._some.is_set():
            return []
        where = f"WHERE epoch = %s AND aside = 1 AND place > %s ORDER BY place LIMIT {_AT_ONCE} FOR UPDATE"
        statement = f"SELECT place, aside, saved FROM {self._name} {where}"
        return [_kept(row) for row in self._rows(statement, (self._epoch, after))]

    def count_aside(self) -> int:
        if not self._some.is_set():
            return 0
        statement = f"SELECT COUNT(*) AS rows_aside FROM {self._name} WHERE epoch = %s AND aside = 1"
        return int(self._rows(statement, (self._epoch,))[0]["rows_aside"])

    def let_go(self, table: Table, key: Row) -> None:
        """The row that was put aside is gone at its item. It may still come again at another one."""
        where = "WHERE epoch = %s AND place = %s"
        self._execute(f"UPDATE {self._name} SET aside = 0 {where}", (self._epoch, _place(table, key)))

    def _save(self, table: Table, row: dict[str, Value], aside: bool) -> None:
        saved = orjson.dumps({"table": table.full_name, "row": {name: _plain(value) for name, value in row.items()}})
        self._some.set()  # before the commit: who finds the row gone looks here
        statement = f"REPLACE INTO {self._name} VALUES (%s, %s, %s, %s)"
        self._execute(statement, (self._epoch, _place(table, _key(table, row)), int(aside), saved))

    def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        with translated(self._name), self._connection.cursor() as cursor:
            cursor.execute(statement, values)

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        return rows_as_dicts(self._connection, statement, values)


def whole_rows(connection: Mysql, table: Table, condition: str) -> list[dict[str, Value]]:
    """Rows in their canonical form, locked until the transaction ends."""
    columns = ", ".join(map(select_expression, table.columns))
    statement = f"SELECT {columns} FROM {quoted(table.schema)}.{quoted(table.name)} WHERE {condition} FOR UPDATE"
    with translated(table.full_name), connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall()
    try:
        return [
            {column.name: decoded(column, value) for column, value in zip(table.columns, row, strict=True)}
            for row in rows
        ]
    except UnicodeDecodeError as error:
        raise invalid_text(error, table.full_name) from error


def is_guarded(kept: Mapping[str, Value], change: RowChange) -> bool:
    """Whether a kept row is still the item's that ``change`` deletes it from."""
    return all(kept.get(name) == value for name, value in change.guard)


def _key(table: Table, row: Mapping[str, Value]) -> Row:
    return tuple(row[name] for name in table.primary_key)


def _place(table: Table, key: Row) -> bytes:
    return short(orjson.dumps([table.full_name, [_plain(value) for value in key]]))


def _plain(value: Value) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _kept(row: dict[str, Any]) -> KeptRow:
    saved = orjson.loads(row["saved"])
    values = {
        name: base64.b64decode(value["base64"]) if isinstance(value, dict) else value
        for name, value in saved["row"].items()
    }
    return KeptRow(row["place"], saved["table"], bool(row["aside"]), values)
