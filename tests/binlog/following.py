"""What a migration would hold that follows a source: its rows at the start, and every change and alteration after it.

The judge reads the source by plain SELECTs of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pymysql

from tests.binlog.conftest import Source
from whimbrel.errors import WhimbrelError
from whimbrel.mapping.versions import Versions
from whimbrel.mysql.altered import altered
from whimbrel.mysql.binlog.alterations import Alteration
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Position, Table

Name = tuple[str, str]
Rows = dict[Any, tuple[Any, ...]]  # by their ids


class Following:
    """``new_columns = "ignore"`` is the rule of all ``tables``: rows keep the columns of the start. ``admin`` is a
    plain connection to the source.
    """

    def __init__(self, source: Source, admin: Any, tables: Sequence[Table], start: Position) -> None:
        self._source, self._admin, self._start = source, admin, start
        self._now = {(table.schema, table.name): table for table in tables}
        self._first = dict(self._now)
        self._rules = {name: Versions(_rule(table), table) for name, table in self._now.items()}
        self.held = {name: self.plain(name) for name in self._now}
        self.altered: list[str] = []

    def plain(self, name: Name) -> Rows:
        """The rows of a table as the source has them; none if there is no such table."""
        columns = ", ".join(f"`{column}`" for column in self._first[name].names)
        try:
            with self._admin.cursor() as cursor:
                cursor.execute(f"SELECT {columns} FROM `{name[0]}`.`{name[1].replace('`', '``')}`")
                return {row[0]: row for row in cursor.fetchall()}
        except pymysql.err.MySQLError as error:
            if error.args[0] in (1049, 1146):
                return {}
            if error.args[0] == 1054:
                return {"a column": ("is gone",)}
            raise

    def follow(self, end: Position) -> WhimbrelError | None:
        """Up to ``end``, or to the error that stopped it."""
        tables, hooks = self._now.values(), {"redefine": self._redefine, "reprove": self._reprove}
        try:
            for output in self._source.read(self._start, *tables, end=end, **hooks):
                for change in output if isinstance(output, list) else ():
                    self._apply(change)
        except WhimbrelError as error:
            return error
        return None

    def _apply(self, change: Change) -> None:
        name = (change.table.schema, change.table.name)
        held, first = self.held[name], self._first[name]
        if change.before is not None:
            held.pop(change.before[change.table.names.index("id")])
        if change.after is not None:
            row = dict(zip(change.table.names, change.after, strict=True))
            held[row["id"]] = tuple(row[column] for column in first.names)

    def _redefine(self, name: Name, position: Position, sql: str, alteration: Alteration) -> Table:
        found = altered(self._source.source, self._source.identity(), self._now[name], position, sql, alteration)
        self._rules[name].of(found.table, found.replaced)
        self._now[name] = found.table
        return found.table

    def _reprove(self, name: Name, position: Position, sql: str, alteration: Alteration) -> None:
        self.altered.append(sql)

    def differences(self) -> list[str]:
        """Where a table is not what is held of it."""
        return [
            f"{name}: held {held}, the source has {there}"
            for name, held in self.held.items()
            if held != (there := self.plain(name))
        ]


def _rule(table: Table) -> TableRule:
    return TableRule(
        source=table.full_name,
        target="items",
        shape="record",
        partition_key=KeyRule("id", "${id}", "N"),
        new_columns="ignore",
    )
