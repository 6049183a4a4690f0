"""Races, each named by its schedule and driven step by step: what happens between which steps is written down, not left
to chance.

The order that must hold: start fixed, then rows read, then items loaded, then the log played from its first record.
"""

from __future__ import annotations

from typing import Any

import pytest

from demo.servers import MariaDB, SqlServer
from tests.e2e.conftest import MakeWork
from tests.e2e.orders import CHANGES, exported_rows, finish, sql, with_orders
from tests.e2e.work import Work


@pytest.fixture
def shop(work: Work) -> Work:
    """Six orders, o1 to o6, of two products each, a chunk of the snapshot for each."""
    return with_orders(work)


def test_start_then_snapshot_then_changes_then_capture(shop: Work) -> None:
    """The snapshot reads every row before its change."""
    shop.begin()
    shop.call("snapshot")
    sql(shop, *CHANGES.values())
    finish(shop)


def test_start_then_changes_then_capture_then_snapshot(shop: Work) -> None:
    """The snapshot reads every row after its change, which the log plays over it again."""
    shop.begin()
    sql(shop, *CHANGES.values())
    shop.call("capture", "--until-caught-up")
    shop.call("snapshot")
    finish(shop)


def test_start_then_changes_then_snapshot_then_the_opposite_changes(shop: Work) -> None:
    """Each row is seen in a state that is neither its first nor its last."""
    shop.begin()
    sql(shop, *CHANGES.values())
    shop.call("snapshot")
    sql(
        shop,
        "DELETE FROM purchase WHERE productid = 'p3'",
        "INSERT INTO purchase VALUES ('c', 'o4', 'p1', 1)",
        "UPDATE purchase SET orderid = 'o1' WHERE orderid = 'o7'",
        "UPDATE purchase SET productid = 'p2' WHERE productid = 'p8'",
        "DELETE FROM purchase WHERE orderid = 'o9'",
    )
    finish(shop)


def test_the_log_is_played_twice(shop: Work) -> None:
    """The checkpoint is behind what was written: a whole suffix of the log is applied again."""
    shop.begin()
    shop.call("snapshot")
    sql(shop, *CHANGES.values())
    shop.call("capture", "--until-caught-up")
    shop.call("load")
    before = (shop.state / "checkpoint.json").read_bytes()
    shop.call("apply", "--until-caught-up")
    shop.assert_equal()
    shop.set_back(before)
    shop.call("apply", "--until-caught-up")
    shop.assert_equal()


# -- the start ---------------------------------------------------------------------------------------------------------


def test_a_transaction_is_open_while_the_start_is_fixed_and_commits_after_the_snapshot(
    make_work: MakeWork, source_server: SqlServer, ministack: Any
) -> None:
    shop = with_orders(make_work(source_server, ministack))
    with source_server.connect(shop.database, autocommit=False) as session, session.cursor() as cursor:
        for statement in CHANGES.values():
            cursor.execute(statement)
        said = shop.call("capture", "--until-caught-up").output
        assert "Start fixed at " in said
        assert "no write waited for it" in said
        shop.call("snapshot")
        assert exported_rows(shop) == 12
        session.commit()
    finish(shop)


def test_an_account_that_may_lock_nothing_loses_no_open_transaction(shop: Work, mariadb: MariaDB) -> None:
    """The start does not wait for the transaction, so all of it is behind the start."""
    mariadb.execute(
        "CREATE OR REPLACE USER humble IDENTIFIED BY 'humble-secret'",
        f"GRANT SELECT ON `{shop.database}`.* TO humble",
        "GRANT REPLICATION SLAVE, REPLICATION CLIENT, BINLOG MONITOR ON *.* TO humble",
    )
    shop.environment = {"WHIMBREL_SOURCE_PASSWORD": "humble-secret"}
    file = shop.folder / "whimbrel.toml"
    file.write_text(file.read_text().replace("mysql://whimbrel@", "mysql://humble@"))
    with mariadb.connect(shop.database, autocommit=False) as session, session.cursor() as cursor:
        for statement in CHANGES.values():
            cursor.execute(statement)
        shop.begin()
        session.commit()
    assert shop.checkpoint()["phase"] == "snapshot"
    shop.call("snapshot")
    finish(shop)
