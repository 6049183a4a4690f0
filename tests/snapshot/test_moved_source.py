"""A source that becomes another server while a table is read: what a killed run read of it is not taken as good."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.servers import MariaDB
from whimbrel.checkpoint import TableProgress
from whimbrel.errors import SourceUnreachable
from whimbrel.mapping.design import compile_mapping
from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.migration.snapshot import Snapshot, SnapshotTable
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.mysql.connect import connect
from whimbrel.mysql.plan import Plan
from whimbrel.mysql.schema import read_table
from whimbrel.project import KeyRule, TableRule
from whimbrel.snapshot_files import read_chunk


class Killed(BaseException):
    pass


def killed() -> str:
    raise Killed


class Reading:
    """One table of 40 rows; each ``read`` is a run that begins with what the one before left."""

    def __init__(self, server: MariaDB, folder: Path) -> None:
        self.server, self.database = server, server.new_database()
        server.execute(
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO t SELECT seq, 0 FROM seq_1_to_40",
            database=self.database,
        )
        self.source = server.source(self.database)
        with connect(self.source) as connection:
            table = read_table(connection, self.database, "t")
        rule = TableRule(f"{self.database}.t", "items", "record", KeyRule("pk", "${id}"))
        self.mapping = compile_mapping(rule, table)
        self.folder = StateFolder(folder)
        self.checkpoints = CheckpointStore(self.folder.checkpoint)

    def read(self, *proved: Callable[[], str]) -> Plan:
        """``proved`` are what the proofs of this run give, in turn."""
        answers = iter(proved)
        counts = Progress(tables={self.mapping.source: TableCounts()})
        stop = threading.Event()
        exported = SnapshotTable(self.mapping.source, self.mapping.table, self.mapping.table.primary_key)
        return Snapshot(
            self.source, lambda: next(answers)(), exported, self.folder, self.checkpoints, counts, stop
        ).whole()

    @property
    def progress(self) -> TableProgress:
        return self.checkpoints.now.table(self.mapping.source)

    def values(self, plan: Plan) -> set[object]:
        return {row[1] for chunk in plan.chunks for rows in read_chunk(plan.file(chunk)) for row in rows}


def old() -> str:
    return "old"


def new() -> str:
    return "new"


@pytest.fixture
def reading(mariadb: MariaDB, tmp_path: Path) -> Reading:
    return Reading(mariadb, tmp_path)


def test_chunks_of_a_killed_run_are_read_again_from_another_server(reading: Reading) -> None:
    with pytest.raises(Killed):
        reading.read(old, killed)
    reading.server.execute("UPDATE t SET v = 1", database=reading.database)
    plan = reading.read(new, new, new)
    assert reading.values(plan) == {1}
    assert reading.progress.rows_exported == 40


def test_chunks_of_a_killed_run_stay_where_the_server_does(reading: Reading) -> None:
    with pytest.raises(Killed):
        reading.read(old, killed)
    reading.server.execute("UPDATE t SET v = 1", database=reading.database)
    assert reading.values(reading.read(old, old, old)) == {0}


def test_a_whole_export_stays_whatever_server_comes(reading: Reading) -> None:
    reading.read(old, old)
    reading.server.execute("UPDATE t SET v = 1", database=reading.database)
    assert reading.values(reading.read()) == {0}


def test_a_run_that_sees_the_change_discards_what_it_read(reading: Reading) -> None:
    with pytest.raises(SourceUnreachable, match="the source changed from old to new while tables were read"):
        reading.read(old, new)
    reading.server.execute("UPDATE t SET v = 1", database=reading.database)
    assert reading.values(reading.read(new, new)) == {1}
