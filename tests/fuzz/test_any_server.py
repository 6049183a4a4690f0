"""A real server whose answers are changed on their way: bytes flipped, lost, doubled, made up. Whatever comes of it, it
ends soon, in a result or in an error of ours; never in a traceback of somebody else's, and never in a wait without end.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demo.servers import SqlServer
from whimbrel.errors import WhimbrelError
from whimbrel.mysql.binlog.stream import BinlogStream
from whimbrel.mysql.connect import connect, current_position, replica_status, server_info
from whimbrel.mysql.points import count_rows, read_rows
from whimbrel.mysql.preflight import source_faults, variables
from whimbrel.mysql.schema import estimated_rows, read_table, table_names
from whimbrel.mysql.snapshot import export_table
from whimbrel.project import Source
from whimbrel.records import Commit, Position, Table

SEEDS = int(os.environ.get("WHIMBREL_FUZZ_SEEDS", "6"))
LONGEST = 20.0  # seconds for one try
WITHIN = (200, 4_000, 8_000, 16_000, 60_000)  # bytes of a connection, within which the first change is made


class Mutating:
    """A TCP proxy that changes what the server says, by ``seed``; ``sound`` connections first pass as they are."""

    def __init__(self, server: SqlServer, seed: int, sound: int = 0) -> None:
        self._to = (server.host, server.port)
        self._chance = random.Random(seed)
        self._sound = sound
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._open.append(near)
                far = socket.create_connection(self._to)
                self._open.append(far)
                sound, self._sound = self._sound > 0, self._sound - 1
                threading.Thread(target=self._pass, args=(near, far, 1 << 62), daemon=True).start()
                after = 1 << 62 if sound else self._chance.randrange(self._chance.choice(WITHIN))
                threading.Thread(target=self._pass, args=(far, near, after), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, after: int) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                if after < len(data):
                    data, after = self._changed(data, after), self._chance.randrange(1, 8_000)
                after -= len(data)
                other.sendall(data)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _changed(self, data: bytes, at: int) -> bytes:
        chance = self._chance
        at = max(at, 0)
        some = chance.randbytes(chance.choice((1, 1, 2, 4, 20)))
        kind = chance.randrange(5)
        if kind == 0:
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        if kind == 1:
            return data[:at] + some + data[at + len(some) :]
        if kind == 2:
            return data[:at] + some + data[at:]
        if kind == 3:
            return data[:at] + data[at + len(some) :]
        return data[:at] + data[at : at + 30] + data[at:]

    def __enter__(self) -> Mutating:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture(scope="module")
def numbers(source_server: SqlServer) -> tuple[SqlServer, Source, Table, Position]:
    """A table, and a Position before its rows were written."""
    database = source_server.new_database()
    source = source_server.source(database, tls="off", read_timeout=2, connections=2, chunk_rows=20)
    source_server.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(50), d DECIMAL(9,2), b BLOB, j JSON, f DOUBLE, n DATETIME(3))",
        database=database,
    )
    source_server.connect(user=source.user).close()  # MySQL: its password is in the cache now
    with contextlib.closing(connect(source)) as connection:
        table, start = read_table(connection, database, "t"), current_position(connection)
    rows = ", ".join(f"({n}, 'v{n}', {n}.25, X'00FF', '[{n}]', {n}.5, '2026-01-01 00:00:00')" for n in range(60))
    source_server.execute(f"INSERT INTO t VALUES {rows}", "UPDATE t SET v = 'x'", "DELETE FROM t", database=database)
    source_server.execute(f"INSERT INTO t VALUES {rows}", database=database)
    return source_server, source, table, start


@contextlib.contextmanager
def ends_soon() -> Iterator[None]:
    began = time.monotonic()
    with contextlib.suppress(WhimbrelError):
        yield
    assert time.monotonic() - began < LONGEST


@pytest.mark.parametrize("seed", range(SEEDS))
def test_questions(numbers: tuple[SqlServer, Source, Table, Position], seed: int) -> None:
    server, source, table, _ = numbers
    with Mutating(server, seed) as proxy, ends_soon():
        ask_everything(replace(source, port=proxy.port), table)


def ask_everything(source: Source, table: Table) -> None:
    with contextlib.closing(connect(source)) as connection:
        server_info(connection)
        variables(connection)
        list(source_faults(connection, [table]))
        replica_status(connection)
        current_position(connection)
        for name in table_names(connection, source.database):
            estimated_rows(connection, [read_table(connection, source.database, name)])
        count_rows(connection, table)
        read_rows(connection, table, "TRUE")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_snapshot(
    numbers: tuple[SqlServer, Source, Table, Position], seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, source, table, _ = numbers
    monkeypatch.setattr("whimbrel.mysql.readers.TRIES", 2)
    with Mutating(server, seed, sound=seed % 3) as proxy, ends_soon():
        export_table(replace(source, port=proxy.port), table, ("id",), tmp_path, stop=threading.Event())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_stream(numbers: tuple[SqlServer, Source, Table, Position], seed: int) -> None:
    server, source, table, start = numbers
    tables = {(table.schema, table.name): table}
    with (
        Mutating(server, seed + 1000) as proxy,
        ends_soon(),
        contextlib.closing(connect(replace(source, port=proxy.port))) as connection,
    ):
        stream = BinlogStream(connection, start, tables, server_id=0, use_gtid=False, heartbeat=0.1)
        timer = threading.Timer(5, stream.close)
        timer.start()
        try:
            commits = 0
            for output in stream:
                commits += isinstance(output, Commit)
                if commits >= 3:
                    break
        finally:
            timer.cancel()
            stream.close()
