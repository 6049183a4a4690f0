"""The stream on real servers: transactions, positions, resuming, and everything that must be refused by name."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

from demo.servers import MariaDB, MySQL
from tests.binlog.conftest import TABLE, Source, commits, images
from whimbrel.errors import (
    Retryable,
    SchemaDrift,
    SourceUnreachable,
    UndecodableEvent,
)
from whimbrel.mysql.connect import connect
from whimbrel.records import Commit, Idle, Table

THREE = ["INSERT INTO t VALUES (1, 'x', 1), (2, 'y', NULL)", "UPDATE t SET n = 7", "DELETE FROM t WHERE id = 1"]
IMAGES = [
    (None, (1, "x", 1)),
    (None, (2, "y", None)),
    ((1, "x", 1), (1, "x", 7)),
    ((2, "y", None), (2, "y", 7)),
    ((1, "x", 7), None),
]


def test_changes_and_commits(source: Source, table: Table, use_gtid: bool) -> None:
    start = source.position()
    source.execute(*THREE)
    outputs = source.read(start, table, use_gtid=use_gtid)
    assert images([c for output in outputs if isinstance(output, list) for c in output]) == IMAGES
    assert [type(output) for output in outputs] == [list, Commit, list, Commit, list, Commit]
    last = outputs[-1].position
    assert last == source.position()
    assert [len({change.position for change in output}) for output in outputs[::2]] == [1, 1, 1]
    assert abs(outputs[-1].timestamp - source.execute("SELECT UNIX_TIMESTAMP()")[0][0]) < 60


def test_resume_at_every_commit(source: Source, table: Table, use_gtid: bool) -> None:
    """What follows a Commit is what a new stream reads from its Position: nothing lost, nothing twice."""
    start = source.position()
    source.execute(*THREE, "FLUSH BINARY LOGS", "INSERT INTO t VALUES (5, 'z', 1)", "CREATE TABLE u (a INT)")
    end = source.position()
    whole = source.read(start, table, use_gtid=use_gtid, end=end)
    for i, output in enumerate(whole[:-1]):
        if isinstance(output, Commit):
            rest = source.read(output.position, table, use_gtid=use_gtid, end=end)
            assert [o for o in rest if isinstance(o, list)] == [o for o in whole[i + 1 :] if isinstance(o, list)]
            # After the last of them there may be events of the server's own, such as MariaDB's binlog checkpoint.
            assert commits(rest)[-1:] == commits(whole[i + 1 :])[-1:]


def test_a_transaction_of_many_statements_and_tables(source: Source, table: Table) -> None:
    source.execute("CREATE TABLE u (id INT PRIMARY KEY)", "CREATE TABLE other (id INT PRIMARY KEY)")
    start = source.position()
    source.execute(
        "BEGIN",
        "INSERT INTO t VALUES (1, 'x', 1)",
        "SAVEPOINT s",
        "INSERT INTO t VALUES (3, 'gone', 1)",
        "ROLLBACK TO s",
        "INSERT INTO other VALUES (1)",
        "INSERT INTO u VALUES (4)",
        "COMMIT",
        "BEGIN",
        "INSERT INTO t VALUES (9, 'never', 1)",
        "ROLLBACK",
    )
    outputs = source.read(start, table, source.table("u"))
    assert [type(output) for output in outputs] == [list, list, Commit]
    assert [(c.table.name, c.after) for o in outputs[:2] for c in o] == [("t", (1, "x", 1)), ("u", (4,))]


def test_transactions_of_other_tables_move_the_position(source: Source, table: Table, use_gtid: bool) -> None:
    source.execute("CREATE TABLE other (id INT PRIMARY KEY)")
    start = source.position()
    source.execute(*[f"INSERT INTO other VALUES ({n})" for n in range(50)])
    outputs = source.read(start, table, use_gtid=use_gtid)
    assert {type(output) for output in outputs} <= {Commit, Idle}
    assert outputs[-1].position == source.position()
    assert len(outputs) < 50


def test_idle_says_where_the_log_ends(source: Source, table: Table, use_gtid: bool) -> None:
    source.execute(*THREE, "FLUSH BINARY LOGS")
    end = source.position()
    with source.stream(end, table, use_gtid=use_gtid) as stream:
        idle = next(output for output in stream if isinstance(output, Idle))
    assert idle.position.at_or_after(end)
    assert idle.position.gtid == end.gtid


def test_a_rotation_alone_moves_the_resume_position(source: Source, table: Table) -> None:
    start = source.position()
    source.execute("FLUSH BINARY LOGS")
    outputs = source.read(start, table)
    assert [output.position.file for output in outputs if isinstance(output, Commit)] == [source.position().file]


def test_gtid_set_is_known_from_the_next_file_on(source: Source, table: Table) -> None:
    start = source.position()._replace(gtid="")
    source.execute(THREE[0], "FLUSH BINARY LOGS", THREE[1])
    positions = [commit.position for commit in commits(source.read(start, table))]
    assert positions[0].gtid == ""
    assert (positions[-1].file, positions[-1].gtid) == (source.position().file, source.position().gtid)


def test_close_from_another_thread(source: Source, table: Table) -> None:
    ended = threading.Event()
    with source.stream(source.position(), table, heartbeat=20) as stream:
        reader = threading.Thread(target=lambda: (list(stream), ended.set()))  # type: ignore[func-returns-value]
        reader.start()
        stream.close()
        assert ended.wait(5)
        reader.join()


def test_close_under_tls(mysql: MySQL) -> None:
    source = Source(mysql, mysql.new_database())
    source.execute(TABLE)
    connection = connect(source.server.source(source.database, tls="required"))
    assert "TLS" in connection._sock.version()
    connection.close()
    source.source = source.server.source(source.database, tls="required")
    table, start = source.table(), source.position()
    source.execute(*THREE)
    assert images(source.changes(start, table)) == IMAGES
    with source.stream(source.position(), table) as stream:
        assert isinstance(next(iter(stream)), Idle)
        threading.Timer(0.05, stream.close).start()
        assert all(isinstance(output, Idle) for output in stream)


def test_killed_connection(source: Source, table: Table) -> None:
    with source.stream(source.position(), table) as stream:
        outputs = iter(stream)
        next(outputs)
        source.end_dumps()
        with pytest.raises(SourceUnreachable, match="replication connection lost") as caught:
            list(outputs)
    assert isinstance(caught.value, Retryable)


# Larger than a packet, and compressed


def test_a_row_larger_than_a_packet(source: Source) -> None:
    source.execute("SET GLOBAL max_allowed_packet = 134217728")
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, a LONGBLOB, b LONGTEXT)")
    table, start = source.table(), source.position()
    size = 0xFFFFFF
    for n, length in enumerate((size - 60, size + 5, 2 * size + 3)):
        source.execute(f"INSERT INTO t VALUES ({n}, REPEAT('ab', {length // 2}), 'end')")
    rows = [change.after for change in source.changes(start, table)]
    assert [(row[0], len(row[1]), row[2]) for row in rows] == [  # type: ignore[arg-type]
        (n, length // 2 * 2, "end") for n, length in enumerate((size - 60, size + 5, 2 * size + 3))
    ]
    assert all(row[1] == b"ab" * (len(row[1]) // 2) for row in rows)  # type: ignore[arg-type]


def test_mariadb_compressed_events(mariadb: MariaDB) -> None:
    source = Source(mariadb, mariadb.new_database())
    source.execute(TABLE)
    table, start = source.table(), source.position()
    try:
        source.execute("SET GLOBAL log_bin_compress = 1", "SET GLOBAL log_bin_compress_min_len = 10")
        source.execute(
            "INSERT INTO t SELECT seq, REPEAT('x', 200), seq FROM seq_1_to_500",
            "UPDATE t SET n = n + 1",
            f"CREATE TABLE other (a INT) COMMENT '{'long ' * 50}'",
            "DELETE FROM t",
        )
    finally:
        source.execute("SET GLOBAL log_bin_compress = 0", "SET GLOBAL log_bin_compress_min_len = DEFAULT")
    text = "x" * 200
    expected: list[Any] = [(None, (n, text, n)) for n in range(1, 501)]
    expected += [((n, text, n), (n, text, n + 1)) for n in range(1, 501)]
    expected += [((n, text, n + 1), None) for n in range(1, 501)]
    assert images(source.changes(start, table)) == expected
    source.execute("SET GLOBAL log_bin_compress = 1", "SET GLOBAL log_bin_compress_min_len = 10")
    start = source.position()
    source.execute(f"ALTER TABLE t ADD c INT COMMENT '{'long ' * 50}'")
    source.execute("SET GLOBAL log_bin_compress = 0", "SET GLOBAL log_bin_compress_min_len = DEFAULT")
    with pytest.raises(SchemaDrift, match="ALTER TABLE t"):
        source.read(start, table)


def test_mysql_compressed_transactions(mysql: MySQL, use_gtid: bool) -> None:
    source = Source(mysql, mysql.new_database())
    source.execute(TABLE)
    table, start = source.table(), source.position()
    rows = ", ".join(f"({n}, REPEAT(SHA2({n}, 256), 4), {n})" for n in range(3000))
    source.execute(
        "SET SESSION binlog_transaction_compression = ON", f"INSERT INTO t VALUES {rows}", "UPDATE t SET n = -1"
    )
    outputs = source.read(start, table, use_gtid=use_gtid)
    changes = [change for output in outputs if isinstance(output, list) for change in output]
    assert [change.after for change in changes[3000:]] == source.rows(table)
    assert [change.before for change in changes[3000:]] == [change.after for change in changes[:3000]]
    assert len(commits(outputs)) == 2
    assert commits(outputs)[-1].position == source.position()
    assert {change.position.offset for change in changes[3000:]} == {source.position().offset}


def test_mysql_tagged_gtids(mysql: MySQL, use_gtid: bool) -> None:
    source = Source(mysql, mysql.new_database())
    if not mysql.execute("SELECT VERSION() >= '8.3'")[0][0]:
        pytest.skip("tags came with MySQL 8.3")
    source.execute(TABLE)
    table, start = source.table(), source.position()
    source.execute("SET gtid_next = 'AUTOMATIC:my_tag'", *THREE)
    source.execute("INSERT INTO t VALUES (8, 'untagged', 0)")
    middle, *_, last = commits(outputs := source.read(start, table, use_gtid=use_gtid))
    assert last.position == source.position()
    assert ":my_tag:" in last.position.gtid
    rest = source.read(middle.position, table, use_gtid=use_gtid)
    assert rest == outputs[2:]


# Positions that the server cannot serve


# What cannot be carried exactly


def test_the_same_as_mysql_replication(mariadb: MariaDB) -> None:
    """The oracle, on what it can read."""
    source = Source(mariadb, mariadb.new_database())
    source.execute(TABLE)
    table, start = source.table(), source.position()
    source.execute("INSERT INTO t SELECT seq, CONCAT('é', seq), NULLIF(seq % 7, 0) FROM seq_1_to_3000", *THREE[1:])
    end = source.position()
    settings = {"host": mariadb.host, "port": mariadb.port, "user": mariadb.admin, "passwd": mariadb.password}
    oracle = BinLogStreamReader(
        connection_settings=settings,
        server_id=4711,
        resume_stream=True,
        log_file=start.file,
        log_pos=start.offset,
        only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
        only_schemas=[source.database],
    )
    theirs = []
    for event in oracle:
        for row in event.rows:
            after = row.get("after_values", row["values"] if isinstance(event, WriteRowsEvent) else None)
            before = row.get("before_values", row["values"] if isinstance(event, DeleteRowsEvent) else None)
            theirs.append(tuple(values and tuple(values.values()) for values in (before, after)))
    oracle.close()
    assert images(source.changes(start, table, end=end)) == theirs
    assert len(theirs) > 5000


def test_xa(source: Source, table: Table) -> None:
    source.execute("CREATE TABLE other (id INT PRIMARY KEY)")
    start = source.position()
    source.execute("XA START 'a'", THREE[0], "XA END 'a'", "XA COMMIT 'a' ONE PHASE")
    source.execute("XA START 'b'", "INSERT INTO other VALUES (1)", "XA END 'b'", "XA PREPARE 'b'", "XA COMMIT 'b'")
    outputs = source.read(start, table)
    assert images([c for output in outputs if isinstance(output, list) for c in output]) == IMAGES[:2]
    assert commits(outputs)[-1].position == source.position()
    source.execute("XA START 'c'", "DELETE FROM t", "XA END 'c'", "XA PREPARE 'c'", "XA COMMIT 'c'")
    with pytest.raises(UndecodableEvent, match="XA transaction with changes of a captured table"):
        source.read(start, table)


# Other settings


@pytest.mark.parametrize("server_id", [0, 4_000_000_000])
def test_no_checksums(source: Source, table: Table, server_id: int) -> None:
    try:
        source.execute("SET GLOBAL binlog_checksum = NONE")
        start = source.position()
        source.execute(*THREE, "FLUSH BINARY LOGS")
        source.execute("SET GLOBAL binlog_checksum = CRC32")
        source.execute("INSERT INTO t VALUES (8, 'checked', 1)")
        assert images(source.changes(start, table, server_id=server_id)) == [*IMAGES, (None, (8, "checked", 1))]
    finally:
        source.execute("SET GLOBAL binlog_checksum = CRC32")


@pytest.mark.parametrize("digits", range(7))
def test_mariadb_old_temporal_format(mariadb: MariaDB, digits: int) -> None:
    source = Source(mariadb, mariadb.new_database())
    try:
        source.execute("SET GLOBAL mysql56_temporal_format = OFF")
        of = f"({digits})"
        source.execute(f"CREATE TABLE t (id INT PRIMARY KEY, a TIME{of}, b DATETIME{of}, c TIMESTAMP{of} NULL, d DATE)")
    finally:
        source.execute("SET GLOBAL mysql56_temporal_format = ON")
    table, start = source.table(), source.position()
    source.execute(
        "SET time_zone = '+00:00'",
        "INSERT INTO t VALUES (1, '-838:59:59.999999', '9999-12-31 23:59:59.999999', '2037-12-31 1:2:3.123456', NULL)",
        "INSERT INTO t VALUES (2, '-0:0:0.999999', '0000-00-00', 0, '0000-00-00')",
        "INSERT INTO t VALUES (3, '838:59:59.999999', '2020-02-00 01:02:03.000001', '1970-01-01 00:00:01', NULL)",
    )
    assert [change.after for change in source.changes(start, table)] == source.rows(table)
