"""TLS to servers with a certificate of a known authority: both ways to read a source, and every way to be refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demo.certificates import make_certificates
from demo.servers import MariaDB, MySQL, ServerUnavailable, SqlServer
from whimbrel.errors import SourceUnreachable
from whimbrel.mysql.binlog.stream import BinlogStream
from whimbrel.mysql.connect import connect, current_position
from whimbrel.mysql.readers import uses_tls
from whimbrel.mysql.schema import read_table
from whimbrel.mysql.snapshot import export_table
from whimbrel.project import Source
from whimbrel.records import Commit, Row

ROW = 1, "x" * 100_000  # longer than a TLS record


@pytest.fixture(scope="module", params=[MariaDB, MySQL])
def secured(request: pytest.FixtureRequest) -> Iterator[SqlServer]:
    try:
        server = request.param(tls=True).start()
    except ServerUnavailable as reason:
        pytest.skip(str(reason))
    with server:
        yield server


@pytest.fixture
def source(secured: SqlServer) -> Source:
    """Names the authority and verifies; the server refuses its user without TLS."""
    name = secured.new_database()
    secured.execute(
        "ALTER USER whimbrel REQUIRE SSL",
        f"CREATE TABLE `{name}`.t (id INT PRIMARY KEY, v LONGTEXT)",
    )
    return secured.source(name, tls="verify", tls_ca=str(secured.ca))


def insert(server: SqlServer, source: Source) -> None:
    with server.connect(source.database) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (%s, %s)", ROW)


def test_a_verified_snapshot_reads_every_row(secured: SqlServer, source: Source, tmp_path: Path) -> None:
    insert(secured, source)
    with connect(source) as connection:
        table = read_table(connection, source.database, "t")
    assert export_table(source, table, ("id",), tmp_path, stop=threading.Event()).rows == 1


def test_a_verified_binlog_stream_reads_every_change(secured: SqlServer, source: Source) -> None:
    with connect(source) as connection:
        table, start = read_table(connection, source.database, "t"), current_position(connection)
    insert(secured, source)
    stream = BinlogStream(
        connect(source), start, {(table.schema, table.name): table}, server_id=0, use_gtid=False, heartbeat=0.1
    )
    timer = threading.Timer(60, stream.close)
    timer.start()
    rows: list[Row | None] = []
    for output in stream:
        if isinstance(output, list):
            rows += [change.after for change in output]
        elif isinstance(output, Commit) and rows:
            break
    timer.cancel()
    stream.close()
    assert rows == [ROW]


def test_another_authority_is_not_believed(source: Source, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    with pytest.raises(SourceUnreachable, match="tls_ca"):
        connect(replace(source, tls_ca=str(tmp_path / "ca.pem")))


def test_another_host_name_is_not_believed(source: Source) -> None:
    with pytest.raises(SourceUnreachable, match="tls_ca"):
        connect(replace(source, host="localhost"))


def test_preferred_tls_is_taken_where_it_is_offered(source: Source) -> None:
    """And without looking at the certificate."""
    with connect(replace(source, tls="preferred", tls_ca="")) as connection:
        assert uses_tls(connection)


def test_required_tls_is_never_given_up_and_preferred_is() -> None:
    with MariaDB(options=["--skip-ssl"]) as server:
        for _ in range(2):
            with connect(server.source("", tls="preferred")) as connection:
                assert not uses_tls(connection)
            with pytest.raises(SourceUnreachable, match="tls"):
                connect(server.source("", tls="required"))
