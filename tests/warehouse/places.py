"""Warehouses for the tests, and rows as plain drivers read them: nothing of it is whimbrel's own reading."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
from pyarrow import MonthDayNano

import whimbrel
from demo.servers import PostgreSQL, SqlServer
from whimbrel.api.warehouse import ConvergePlan, ConvergeResult, WarehouseVerification


class Place:
    """A warehouse of one engine, and the project in ``folder`` whose silos converge in it."""

    def __init__(self, engine: str, folder: Path, server: PostgreSQL | None = None) -> None:
        self.engine, self.folder, self.server = engine, folder, server
        self.file = folder / "warehouse.duckdb"
        self.database = server.new_database() if server else ""
        self.silos: list[str] = []
        self.secrets: dict[str, str] = {"WHIMBREL_WAREHOUSE_PASSWORD": server.password} if server else {}
        self.more = ""  # for [warehouse]

    @property
    def project(self) -> Path:
        return self.folder / "whimbrel.toml"

    def add(self, name: str, server: SqlServer, database: str, more: str = "") -> None:
        """One more silo, and the project file with it."""
        variable = f"PASSWORD_OF_{name.upper()}"
        self.secrets[variable] = server.password
        self.silos.append(
            f'[[silo]]\nname = "{name}"\nurl = "{server.url(database)}"\npassword_env = "{variable}"\n'
            f'tls = "off"\nchunk_rows = 50\n{more}\n'
        )
        self.write()

    def write(self) -> None:
        url = self.server.url(self.database) if self.server else self.file.name
        tls = 'tls = "off"' if self.server else ""
        head = f'[warehouse]\nengine = "{self.engine}"\nurl = "{url}"\n{tls}\n{self.more}\n'
        self.project.write_text(head + "\n".join(self.silos))

    @contextmanager
    def environment(self) -> Iterator[None]:
        before = {name: os.environ.get(name) for name in self.secrets}
        os.environ.update(self.secrets)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    def converge(self) -> ConvergeResult:
        with self.environment():
            return whimbrel.converge(self.project)

    def check(self) -> None:
        """Raises what ``whimbrel check`` says."""
        self.plan()

    def plan(self) -> ConvergePlan:
        with self.environment():
            return whimbrel.plan_converge(self.project)

    def verify(self) -> WarehouseVerification:
        with self.environment():
            return whimbrel.verify_warehouse(self.project)

    def execute(self, *statements: str) -> None:
        """As somebody else who writes to the warehouse."""
        for statement in statements:
            self.rows(statement, read_only=False)

    def rows(self, sql: str, *, read_only: bool = True) -> list[tuple[Any, ...]]:
        """By the engine's own driver."""
        if self.server:
            with self.server.connect(self.database, options="-c TimeZone=UTC") as connection:
                cursor = connection.execute(sql)
                return cursor.fetchall() if cursor.description else []
        with _opened(self.file, read_only=read_only) as connection:
            found = connection.sql(sql)
            return [] if found is None else [tuple(row.values()) for row in found.to_arrow_table().to_pylist()]


@contextmanager
def _opened(file: Path, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """Whoever writes has the file for a moment only. Opened to write, it would have its groups of rows merged."""
    until = time.monotonic() + 30
    while True:
        try:
            connection = duckdb.connect(str(file), read_only=read_only)
            break
        except duckdb.Error:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def same(value: Any) -> Any:
    """What is equal whichever driver read it: a moment in UTC has no zone, a UUID is its text."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, MonthDayNano):
        assert not value.months
        return timedelta(days=value.days, microseconds=value.nanoseconds // 1000)
    return bytes(value) if isinstance(value, memoryview | bytearray) else value


def single(value: float | None) -> bytes | None:
    """A FLOAT's four bytes: drivers print it with more digits or fewer."""
    return None if value is None else struct.pack("<f", value)


def sorted_rows(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return sorted((tuple(map(same, row)) for row in rows), key=repr)


def assert_same(place: Place, target: str, server: SqlServer, database: str, source: str, columns: str) -> None:
    """The table ``target`` has exactly the rows of ``source``, by a plain SELECT on both sides."""
    quoted = columns.replace("`", '"').lower() if columns != "*" else "*"
    found = sorted_rows(place.rows(f"SELECT {quoted} FROM {target}"))
    utc = "SET SESSION time_zone = '+00:00'"
    wanted = sorted_rows(server.execute(utc, f"SELECT {columns} FROM `{source}`", database=database))
    assert found == wanted, f"{target}: {len(found)} rows, {source}: {len(wanted)} rows"
