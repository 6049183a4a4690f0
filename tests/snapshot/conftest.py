"""A small front of the tests for exporting a table and reading it by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.servers import SqlServer
from whimbrel.mysql.connect import Mysql, connect, rows_as_dicts
from whimbrel.mysql.schema import read_table
from whimbrel.mysql.snapshot import SnapshotResult, export_table
from whimbrel.records import Row, Table
from whimbrel.snapshot_files import Chunk, read_chunk


class Shop:
    """One database on a real server, as the migration's user sees it."""

    def __init__(self, server: SqlServer, database: str, folder: Path) -> None:
        self.server, self.database, self.folder = server, database, folder
        self.source = server.source(database)
        self.connection = connect(self.source)

    def execute(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        return self.server.execute("SET NAMES utf8mb4", "SET sql_mode = ''", *statements, database=self.database)

    def table(self, name: str = "t") -> Table:
        return read_table(self.connection, self.database, name)

    def export(self, table: Table, key: tuple[str, ...] | None = None, **more: Any) -> SnapshotResult:
        more.setdefault("stop", threading.Event())
        return export_table(
            more.pop("source", self.source), table, key or table.primary_key, more.pop("folder", self.folder), **more
        )

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("chunk-*.zst"))

    def rows(self) -> list[Row]:
        return [row for path in self.files() for rows in read_chunk(path) for row in rows]

    def rows_by_chunk(self) -> dict[Chunk, list[Row]]:
        exports = map(read_chunk, self.files())
        return {export.chunk: [row for rows in export for row in rows] for export in exports}


@pytest.fixture
def shop(source_server: SqlServer, database: str, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(source_server, database, tmp_path / "export")
    yield made
    if made.connection.open:
        made.connection.close()


def uses_tls(connection: Mysql) -> bool:
    return bool(rows_as_dicts(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0]["Value"])
