"""Under binlog_alter_two_phase MariaDB logs an ALTER twice: where it begins, and where it takes effect or failed."""

from __future__ import annotations

import threading
import time
from typing import Any

import pymysql
import pytest

from demo.servers import MariaDB
from tests.binlog.conftest import LONGEST, Source, images
from whimbrel.errors import SchemaDrift
from whimbrel.mysql.altered import altered
from whimbrel.mysql.binlog.alterations import Alteration
from whimbrel.mysql.binlog.stream import Output
from whimbrel.records import Position, Row, Table

TWO_PHASES = "SET SESSION binlog_alter_two_phase = ON"
ADD = "ALTER TABLE t ADD w INT NOT NULL DEFAULT 7, ADD KEY (v), FORCE, LOCK=NONE"


@pytest.fixture
def source(mariadb: MariaDB) -> Source:
    return Source(mariadb, mariadb.new_database())


class Followed:
    """What the stream told of alterations."""

    def __init__(self, source: Source, table: Table) -> None:
        self.source, self.table = source, table
        self.redefined: list[str] = []
        self.reproved: list[str] = []

    def redefine(self, name: Any, position: Position, sql: str, found: Alteration) -> Table:
        self.redefined.append(sql)
        self.table = altered(self.source.source, self.source.identity(), self.table, position, sql, found).table
        return self.table

    def reprove(self, name: Any, position: Position, sql: str, found: Alteration) -> None:
        self.reproved.append(sql)

    def images(self, start: Position, *, use_gtid: bool) -> list[tuple[Row | None, Row | None]]:
        table, hooks = self.table, {"redefine": self.redefine, "reprove": self.reprove}
        return images(self.source.changes(start, table, use_gtid=use_gtid, **hooks))


def written_while(source: Source, statement: str) -> None:
    """Carry out ``statement`` while another session writes rows to t, until some were written between its phases."""
    ended = threading.Event()

    def write() -> None:
        with source.server.connect(source.database, autocommit=True) as connection, connection.cursor() as cursor:
            number = 1_000_000
            while not ended.is_set():
                number += 1
                cursor.execute("INSERT INTO t (id, v) VALUES (%s, 'meanwhile')", (number,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        source.execute(TWO_PHASES, statement)
    finally:
        ended.set()
        writer.join(LONGEST)


def between_phases(source: Source, start: Position) -> bool:
    """Whether the binlog has rows after the beginning of the first ALTER and before its end."""
    events = source.execute(f"SHOW BINLOG EVENTS IN '{start.file}' FROM {start.offset}")
    infos = [f"{event[2]} {event[5]}" for event in events]
    begun = next(i for i, info in enumerate(infos) if "START ALTER" in info)
    done = next(i for i, info in enumerate(infos) if "COMMIT ALTER" in info)
    return any(info.startswith("Write_rows") for info in infos[begun:done])


def test_rows_between_the_phases_are_of_the_old_definition(source: Source, use_gtid: bool) -> None:
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(200))")
    source.execute("INSERT INTO t SELECT seq, REPEAT('y', 200) FROM seq_1_to_5000")
    give_up = time.monotonic() + LONGEST
    while True:
        before, start = source.table(), source.position()
        known = {row[0]: row for row in source.rows(before)}
        written_while(source, ADD)
        if between_phases(source, start):
            break
        assert time.monotonic() < give_up, "no row was written while the ALTER ran"
        source.execute("ALTER TABLE t DROP w, DROP KEY v", "DELETE FROM t WHERE id > 1000000")
    source.execute("DELETE FROM t WHERE id <= 4000", "UPDATE t SET w = w + 1 WHERE id > 4000")
    followed = Followed(source, before)
    for old, new in followed.images(start, use_gtid=use_gtid):
        if old is not None:
            assert known.pop(old[0])[:2] == old[:2]
        if new is not None:
            known[new[0]] = new
    assert followed.redefined == [ADD]
    assert sorted(known.values()) == sorted(source.rows(followed.table))


def test_an_alter_that_fails_has_no_effect(source: Source, use_gtid: bool) -> None:
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(200))", "INSERT INTO t VALUES (1, 'x'), (2, 'x')")
    followed, start = Followed(source, source.table()), source.position()
    for statement in ("ALTER TABLE t ADD w INT, ADD UNIQUE (v)", "CREATE UNIQUE INDEX u ON t (v)"):
        with pytest.raises(pymysql.err.IntegrityError):
            source.execute(TWO_PHASES, statement)
    source.execute("INSERT INTO t VALUES (3, 'z')", TWO_PHASES, "CREATE INDEX i ON t (v)")
    assert followed.images(start, use_gtid=use_gtid) == [(None, (3, "z"))]
    assert (followed.redefined, followed.reproved) == ([], ["CREATE INDEX i ON t (v)"])


def test_what_ends_a_table_does_so_at_its_second_phase(source: Source) -> None:
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(200))", "CREATE TABLE u LIKE t")
    table, start = source.table(), source.position()
    source.execute(TWO_PHASES, "ALTER TABLE u ADD w INT", "INSERT INTO t VALUES (3, 'z')")
    source.execute(TWO_PHASES, "ALTER IGNORE TABLE t ADD UNIQUE (v)")
    outputs: list[Output] = []
    with source.stream(start, table) as stream, pytest.raises(SchemaDrift, match="ALTER IGNORE TABLE t"):
        outputs.extend(stream)
    assert [change.after for output in outputs if isinstance(output, list) for change in output] == [(3, "z")]
