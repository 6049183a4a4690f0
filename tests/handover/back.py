"""A small front of the tests for writing items' changes back into a real server."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from demo.servers import SqlServer
from whimbrel.item import key_id
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.inverse import inverse_of
from whimbrel.mapping.items_back import ItemInverse
from whimbrel.mysql.connect import connect
from whimbrel.mysql.reverse_tables import Lane, Place, make_tables, open_gate, place_at, read_places
from whimbrel.mysql.row_statements import Destination
from whimbrel.mysql.schema import filled_by_server, other_unique_keys, read_table
from whimbrel.mysql.snapshot import rows_where_equal
from whimbrel.mysql.write_rows import ItemChange, Refusal, RowWriter
from whimbrel.project import KeyRule, Source, TableRule
from whimbrel.records import Item, Row

LANE = Lane("stream", "shard", 0)
GRANTS = "SELECT, INSERT, UPDATE, DELETE, CREATE"


def reverse_account(server: SqlServer, database: str) -> Source:
    """The account that only the reverse stream uses, with what it needs and no more."""
    user = "reverse"
    server.execute(
        f"CREATE USER IF NOT EXISTS {user}@'%' IDENTIFIED BY '{server.password}'",
        f"ALTER USER {user}@'%' IDENTIFIED BY '{server.password}'",
        f"GRANT {GRANTS} ON `{database}`.* TO {user}@'%'",
    )
    return replace(server.source(database), user=user)


class Back:
    """One table, its mapping and inverse, and a writer."""

    def __init__(self, server: SqlServer, database: str, rule: TableRule, new_attributes: str = "stop") -> None:
        self.server, self.database = server, database
        self.source = reverse_account(server, database)
        with connect(self.source) as connection:
            make_tables(connection, database)
            open_gate(connection, database, 1)
            name = rule.source.partition(".")[2]
            self.table = read_table(connection, database, name)
            filled = filled_by_server(connection, self.table)
            self.to = Destination(
                self.table, filled, other_unique_keys(connection, self.table), row_alias=server.flavor == "mysql"
            )
        self.mapping: TableMapping = compile_mapping(rule, self.table)
        self.inverse = ItemInverse([inverse_of(self.mapping, filled, new_attributes)], new_attributes)
        self.writer = self.new_writer()
        self.refused: list[Refusal] = []
        self.sequence = 0

    def new_writer(self) -> RowWriter:
        return RowWriter(self.source, 1, {self.table.full_name: self.to}, threading.Event(), threading.Event().wait)

    def items(self) -> dict[bytes, Item]:
        """As the mapping makes them of the table's rows."""
        puts, faults = self.mapping.put_items(self.rows())
        assert not faults
        return {key_id(put.key): put.item for put in puts}

    def change(self, old: Item | None, new: Item | None) -> ItemChange:
        self.sequence += 1
        changes, reasons = self.inverse.changes(old, new)
        item: Item = new or old or {}
        key = {name: item[name] for name, _ in self.mapping.key_attributes}
        return ItemChange(LANE, self.sequence, self.mapping.target, key_id(key), changes, "; ".join(reasons))

    def write(self, *changes: ItemChange, writer: RowWriter | None = None) -> None:
        (writer or self.writer).write(changes, {LANE: at(changes[-1].sequence)}, self.refused.extend)

    def execute(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        return self.server.execute("SET NAMES utf8mb4", "SET sql_mode = ''", *statements, database=self.database)

    def rows(self) -> list[Row]:
        with connect(self.server.source(self.database)) as connection:
            return sorted(
                rows_where_equal(connection, self.table, self.table.primary_key, self._keys(connection)), key=repr
            )

    def _keys(self, connection: Any) -> list[Row]:
        with connection.cursor() as cursor:
            columns = ", ".join(f"`{name}`" for name in self.table.primary_key)
            cursor.execute(f"SELECT {columns} FROM `{self.table.schema}`.`{self.table.name}`")
            return [tuple(row) for row in cursor.fetchall()]

    def place(self) -> Place | None:
        with connect(self.source) as connection:
            return read_places(connection, self.database, 1).get(LANE)


def record(database: str, table: str = "t", key: str = "id", kind: str = "N", **more: Any) -> TableRule:
    return TableRule(f"{database}.{table}", "target", "record", KeyRule(key, f"${{{key}}}", kind), **more)


def at(sequence: int, *, ended: bool = False) -> Place:
    return place_at(str(sequence), ended=ended)
