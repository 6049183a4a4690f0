"""A database on a real server, and what the binlog says was done to it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pymysql
import pytest

from demo.servers import SqlServer
from whimbrel.mysql.binlog.stream import BinlogStream, Output
from whimbrel.mysql.connect import connect, current_position, server_info
from whimbrel.mysql.points import read_rows
from whimbrel.mysql.schema import read_table
from whimbrel.records import Change, Commit, Position, Row, Table

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(300), n INT)"
LONGEST = 30  # seconds that any reading may take


class Source:
    def __init__(self, server: SqlServer, database: str) -> None:
        self.server, self.database = server, database
        self.source = server.source(database)
        self.flavor = server.flavor

    def execute(self, *statements: str, **more: Any) -> tuple[tuple[Any, ...], ...]:
        return self.server.execute("SET NAMES utf8mb4", "SET sql_mode = ''", *statements, database=self.database)

    def position(self) -> Position:
        with connect(self.source) as connection:
            return current_position(connection)

    def identity(self) -> str:
        with connect(self.source) as connection:
            return server_info(connection).server_uuid

    def table(self, name: str = "t") -> Table:
        with connect(self.source) as connection:
            return read_table(connection, self.database, name)

    def rows(self, table: Table, where: str = "TRUE") -> list[Row]:
        with connect(self.source) as connection:
            return read_rows(connection, table, where)

    def end_dumps(self) -> None:
        """Kill the server's replication threads, and wait until they are gone."""
        dumps = "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'"
        deadline = time.monotonic() + LONGEST
        while processes := self.execute(dumps):
            assert time.monotonic() < deadline, processes
            for (process,) in processes:
                with contextlib.suppress(pymysql.err.OperationalError):  # it ended by itself
                    self.execute(f"KILL {process}")

    def purge_to(self, file: str) -> None:
        """Until it is done: files that a replica reads, or that recovery may need, are left where they are."""
        deadline = time.monotonic() + LONGEST
        while self.execute("SHOW BINARY LOGS")[0][0] != file:
            assert time.monotonic() < deadline, file
            self.end_dumps()
            self.execute(f"PURGE BINARY LOGS TO '{file}'")

    @contextmanager
    def stream(self, start: Position, *tables: Table, **more: Any) -> Iterator[BinlogStream]:
        """Closed at the end, or when it takes too long."""
        options = {"server_id": 0, "use_gtid": False, "heartbeat": 0.1} | more
        captured = {(table.schema, table.name): table for table in tables}
        with closing(connect(self.source)) as connection:
            stream = BinlogStream(connection, start, captured, **options)
            timer = threading.Timer(LONGEST, stream.close)
            timer.start()
            try:
                yield stream
            finally:
                timer.cancel()
                stream.close()

    def read(self, start: Position, *tables: Table, end: Position | None = None, **more: Any) -> list[Output]:
        """Everything up to ``end``, or to where the binlog ends now."""
        end = end or self.position()
        outputs: list[Output] = []
        with self.stream(start, *tables, **more) as stream:
            for output in stream:
                outputs.append(output)
                if not isinstance(output, list) and output.position.at_or_after(end):
                    return outputs
        raise AssertionError(f"the binlog ended before {end}: {outputs[-3:]}")

    def changes(self, start: Position, *tables: Table, **more: Any) -> list[Change]:
        return [change for output in self.read(start, *tables, **more) if isinstance(output, list) for change in output]


def images(changes: list[Change]) -> list[tuple[Row | None, Row | None]]:
    return [(change.before, change.after) for change in changes]


def commits(outputs: list[Output]) -> list[Commit]:
    return [output for output in outputs if isinstance(output, Commit)]


@pytest.fixture
def source(source_server: SqlServer, database: str) -> Source:
    return Source(source_server, database)


@pytest.fixture(params=[False, True], ids=["file", "gtid"])
def use_gtid(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def table(source: Source) -> Table:
    source.execute(TABLE)
    return source.table()
