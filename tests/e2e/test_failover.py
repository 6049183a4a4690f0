"""The source's server dies, and a replica takes over: real replication between two servers of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.servers import MariaDB, Ministack, MySQL, ServerUnavailable, SqlServer
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
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


@pytest.fixture(params=["mariadb", pytest.param("mysql", marks=pytest.mark.slow)])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    kind, options = KINDS[request.param]
    with ExitStack() as stack:
        try:
            servers = [kind(tmp_path / f"{name}{number}", options=options, server_id=number) for name, number in _PAIR]
        except ServerUnavailable as reason:
            pytest.skip(str(reason))
        servers[1].password = servers[0].password  # replicas have the accounts of their primaries
        for server in servers:
            stack.enter_context(server)
        made = Pair(*servers)
        made.replicate()
        yield made


_PAIR = (("a", 101), ("b", 102))


class Shop:
    """A table of the pair's primary that is migrated."""

    def __init__(self, make: MakeWork, pair: Pair, endpoint: Ministack) -> None:
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


@pytest.fixture
def shop(make_work: MakeWork, pair: Pair, ministack: Ministack) -> Shop:
    return Shop(make_work, pair, ministack)


def test_a_promoted_replica_is_followed_on(shop: Shop) -> None:
    """Its binlog has other files; what it wrote by itself while it was a replica is a change like any other. And back
    again, when the first server has caught up with it.
    """
    shop.work.call("migrate", "--until-caught-up")
    shop.sql("FLUSH BINARY LOGS", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (3, 'captured by none')")
    shop.fail_over()
    shop.sql("INSERT INTO t VALUES (4, 'new')", "UPDATE t SET a = 'changed' WHERE id = 1", "DELETE FROM t WHERE id = 2")
    shop.work.call("migrate", "--until-caught-up")
    assert shop.items() == {"1": "changed", "3": "captured by none", "4": "new"}
    shop.work.verify()
    assert shop.work.checkpoint()["applied_position"]["epoch"] == 1
    shop.pair.replica.start()
    shop.pair.replicate() if not shop.pair.mariadb else _replicate_back(shop.pair)
    shop.fail_over()
    shop.sql("INSERT INTO t VALUES (5, 'back')")
    shop.work.call("migrate", "--until-caught-up")
    assert shop.items() == {"1": "changed", "3": "captured by none", "4": "new", "5": "back"}
    assert shop.work.checkpoint()["applied_position"]["epoch"] == 2


def _replicate_back(pair: Pair) -> None:
    """MariaDB's primary has no gtid_slave_pos until somebody says where it stands."""
    pair.replica.execute("SET GLOBAL gtid_slave_pos = @@gtid_binlog_pos")
    pair.replicate()


def test_a_captured_transaction_that_the_new_primary_never_got_is_named(shop: Shop) -> None:
    shop.work.call("migrate", "--until-caught-up")
    shop.pair.wait()
    shop.pair.stop_replication()
    shop.sql("INSERT INTO t VALUES (3, 'lost')")
    shop.work.call("migrate", "--until-caught-up")
    gtid = "gtid_binlog_pos" if shop.pair.mariadb else "gtid_executed"
    [(before,)] = shop.pair.replica.execute(f"SELECT @@{gtid}")
    [(after,)] = shop.pair.primary.execute(f"SELECT @@{gtid}")
    lost = after if shop.pair.mariadb else f"{after.split(':')[0]}:{after.rpartition('-')[2]}"
    assert before != after
    shop.pair.promote()
    shop.point()
    # As many of its own as the old primary had more: sequence numbers alone say nothing.
    shop.sql("INSERT INTO t VALUES (4, 'new')", "INSERT INTO t VALUES (5, 'newer')")
    for command in (("migrate", "--until-caught-up"), ("verify",), ("capture", "--until-caught-up")):
        said = shop.work.call(*command, code=3).output
        assert "never got" in said, said
        assert lost in said, said
    assert shop.items() == {"1": "one", "2": "two", "3": "lost"}
    # The server that has it all is still followed.
    shop.pair.primary, shop.pair.replica = shop.pair.replica, shop.pair.primary
    shop.point()
    shop.work.call("migrate", "--until-caught-up")


def test_a_failover_in_the_snapshot(shop: Shop) -> None:
    """Rows come from the new server; changes since the start from both. A replica that has not executed everything up
    to the start is not read from.
    """
    shop.pair.wait()
    shop.pair.stop_replication()
    shop.sql("INSERT INTO t VALUES (3, 'before the start')")
    shop.work.begin()
    shop.sql("INSERT INTO t VALUES (4, 'after the start')")
    old, new = shop.pair.primary, shop.pair.replica
    shop.work.source = new
    shop.work.write_project()
    assert "never got" in shop.work.call("snapshot", code=3).output
    shop.pair.replica.execute("START SLAVE" if shop.pair.mariadb else "START REPLICA")
    shop.fail_over()
    shop.sql("UPDATE t SET a = 'new' WHERE id = 1")
    shop.work.call("migrate", "--until-caught-up")
    assert old.running is False
    assert shop.items() == {"1": "new", "2": "two", "3": "before the start", "4": "after the start"}
    shop.work.verify()
