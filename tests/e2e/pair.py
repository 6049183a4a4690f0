"""A primary and its replica, by real replication between two servers of each kind, and a table that is migrated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demo.servers import MariaDB, Ministack, MySQL, SqlServer
from tests.e2e import judge
from tests.e2e.work import Work

RECORD = 'shape = "record"\npartition_key = { name = "id", type = "N" }\n'
KINDS: dict[str, tuple[type[SqlServer], tuple[str, ...]]] = {
    "mariadb": (MariaDB, ("--log-slave-updates=ON",)),
    "mysql": (MySQL, ()),
}


@dataclass
class Pair:
    """A primary and its replica; ``primary`` and ``replica`` change places with ``promote``."""

    primary: SqlServer
    replica: SqlServer

    @property
    def mariadb(self) -> bool:
        return isinstance(self.primary, MariaDB)

    def replicate(self) -> None:
        """The replica begins with the primary's first transaction."""
        old = self.primary
        where = f"_HOST='{old.host}', {{0}}_PORT={old.port}, {{0}}_USER='{old.admin}', {{0}}_PASSWORD='{old.password}'"
        if self.mariadb:
            to = "MASTER" + where.format("MASTER")
            self.replica.execute(f"CHANGE MASTER TO {to}, MASTER_USE_GTID=slave_pos", "START SLAVE")
        else:
            to = "SOURCE" + where.format("SOURCE")
            options = "SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"
            self.replica.execute(f"CHANGE REPLICATION SOURCE TO {to}, {options}", "START REPLICA")

    def wait(self) -> None:
        """Until the replica has what the primary has."""
        if self.mariadb:
            [(gtid,)] = self.primary.execute("SELECT @@gtid_binlog_pos")
            [(late,)] = self.replica.execute(f"SELECT MASTER_GTID_WAIT('{gtid}', 30)")
        else:
            [(gtid,)] = self.primary.execute("SELECT @@gtid_executed")
            [(late,)] = self.replica.execute(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{gtid}', 30)")
        assert late == 0, self.replica.log_tail()

    def stop_replication(self) -> None:
        self.replica.execute("STOP SLAVE" if self.mariadb else "STOP REPLICA")

    def promote(self) -> None:
        """The replica is the primary from now on, and forgets that it was a replica. The old primary is not touched."""
        self.stop_replication()
        self.replica.execute("RESET SLAVE ALL" if self.mariadb else "RESET REPLICA ALL")
        self.primary, self.replica = self.replica, self.primary


NUMBERED = (("a", 101), ("b", 102))  # folders and server ids


class Shop:
    """A table of the pair's primary that is migrated."""

    def __init__(self, make: Callable[..., Work], pair: Pair, endpoint: Ministack) -> None:
        self.pair = pair
        self.work: Work = make(pair.primary, endpoint, table="t", mapping=RECORD)
        self.sql("CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20))", "INSERT INTO t VALUES (1, 'one'), (2, 'two')")

    def sql(self, *statements: str) -> Any:
        return self.pair.primary.execute(*statements, database=self.work.database)

    def fail_over(self) -> None:
        """The project's URL leads to the promoted replica."""
        self.pair.wait()
        old = self.pair.primary
        self.pair.promote()
        old.kill()
        self.point()

    def point(self) -> None:
        self.work.source = self.pair.primary
        self.work.write_project()

    def items(self) -> dict[str, str]:
        found = judge.items(self.work.endpoint, self.work.target, "id")
        return {str(item["id"]): item["a"] for item in found.values()}
