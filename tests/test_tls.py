"""TLS to servers with a certificate of a known authority: both ways to read a source, and every way to be refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from demo.certificates import make_certificates
from demo.servers import MariaDB, MySQL, ServerUnavailable, SqlServer
from tests.snapshot.conftest import uses_tls
from whimbrel.errors import PrivilegeError, ProjectError, SourceUnreachable
from whimbrel.mysql.binlog.stream import BinlogStream
from whimbrel.mysql.connect import connect, current_position
from whimbrel.mysql.readers import open_reader
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
    rows: list[Row | None] = []
    tables = {(table.schema, table.name): table}
    with connect(source) as connection:
        stream = BinlogStream(connection, start, tables, server_id=0, use_gtid=False, heartbeat=0.1)
        timer = threading.Timer(60, stream.close)
        timer.start()
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


# -- our own certificate -----------------------------------------------------------------------------------------------


@pytest.fixture
def certified(secured: SqlServer, source: Source, tmp_path: Path) -> Source:
    """An account that must show a certificate; ours is a copy, as the server's user owns its own folder."""
    for name in ("client.pem", "client.key"):
        (tmp_path / name).write_bytes((secured.folder / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    user = f"u{source.database[-12:]}"
    secured.execute(
        f"CREATE USER {user} IDENTIFIED BY '{source.password}' REQUIRE X509",
        f"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}",
    )
    return replace(source, user=user, tls_cert=str(tmp_path / "client.pem"), tls_key=str(tmp_path / "client.key"))


def test_an_account_that_requires_a_certificate_is_read_on_both_paths(
    secured: SqlServer, certified: Source, tmp_path: Path
) -> None:
    test_a_verified_snapshot_reads_every_row(secured, certified, tmp_path)
    secured.execute(f"DELETE FROM `{certified.database}`.t")
    test_a_verified_binlog_stream_reads_every_change(secured, certified)


def test_without_the_certificate_such_an_account_is_refused(certified: Source) -> None:
    with pytest.raises(PrivilegeError, match="tls_cert"):
        connect(replace(certified, tls_cert="", tls_key=""))


def test_a_certificate_is_shown_without_verifying_the_server_too(certified: Source) -> None:
    connect(replace(certified, tls="required", tls_ca="")).close()


def test_certificate_and_key_may_be_in_one_file(certified: Source, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.touch(mode=0o600)
    both.write_bytes(Path(certified.tls_cert).read_bytes() + Path(certified.tls_key).read_bytes())
    connect(replace(certified, tls_cert=str(both), tls_key="")).close()


def test_a_key_that_others_can_read_is_refused(certified: Source) -> None:
    Path(certified.tls_key).chmod(0o640)
    with pytest.raises(ProjectError, match=r"source\.tls_key: .* can be read by others \(mode 0640\); chmod 600"):
        connect(certified)


def test_a_key_with_a_pass_phrase_is_refused_without_asking_for_it(certified: Source) -> None:
    key = serialization.load_pem_private_key(Path(certified.tls_key).read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"open sesame")
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    Path(certified.tls_key).write_bytes(key.private_bytes(*form, locked))
    with pytest.raises(ProjectError, match=r"source\.tls_key: .* is protected by a passphrase"):
        connect(certified)


@pytest.mark.parametrize("setting", ["tls_ca", "tls_cert", "tls_key"])
@pytest.mark.parametrize("content", [None, b"", b"not a certificate", b"\0\xff"])
def test_a_file_that_is_not_what_its_setting_says_is_named(
    certified: Source, tmp_path: Path, setting: str, content: bytes | None
) -> None:
    file = tmp_path / "wrong.pem"
    if content is not None:
        file.touch(mode=0o600)
        file.write_bytes(content)
    changed: dict[str, Any] = {setting: str(file)}
    with pytest.raises(ProjectError, match=rf"source\.(tls_cert|{setting}): .* cannot be used"):
        connect(replace(certified, **changed))


def test_the_snapshot_s_readers_do_not_believe_another_host_name(source: Source) -> None:
    with pytest.raises(SourceUnreachable, match="tls_ca"):
        asyncio.run(open_reader(replace(source, host="localhost")))
