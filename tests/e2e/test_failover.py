"""The source's server dies, and a replica takes over: real replication between two servers of each kind."""

from __future__ import annotations

import pytest

from tests.e2e.pair import Pair, Shop


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


def test_gtids_are_turned_off_after_a_failover(shop: Shop) -> None:
    """Then nothing says where to go on, until they are on again."""
    if shop.pair.mariadb:
        pytest.skip("MariaDB's are always on")
    shop.work.call("migrate", "--until-caught-up")
    shop.fail_over()
    shop.sql("INSERT INTO t VALUES (3, 'new')")
    shop.work.call("migrate", "--until-caught-up")
    for mode in ("ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"):
        shop.sql(f"SET GLOBAL gtid_mode = {mode}")
    assert "gtid_mode" in shop.work.call("migrate", "--until-caught-up", code=3).output
    for mode in ("OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"):
        shop.sql(f"SET GLOBAL gtid_mode = {mode}")
    shop.sql("INSERT INTO t VALUES (4, 'newer')")
    shop.work.call("migrate", "--until-caught-up")
    assert shop.items() == {"1": "one", "2": "two", "3": "new", "4": "newer"}
