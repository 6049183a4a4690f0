"""The source's address leads to another server while migrate follows: what is followed, and what is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.servers import SqlServer
from tests.e2e.door import Door
from tests.e2e.pair import KINDS, Shop
from tests.e2e.proving import ended, following

SLOW = pytest.mark.slow


@pytest.fixture
def door(shop: Shop) -> Iterator[Door]:
    """Leads to the primary; the shop's table is migrated through it."""
    with Door(shop.pair.primary) as door:
        shop.work.source = door  # type: ignore[assignment]
        shop.work.write_project()
        shop.work.call("migrate", "--until-caught-up")
        yield door


@pytest.fixture
def stranger(shop: Shop, tmp_path: Path) -> Iterator[SqlServer]:
    """A server of the same kind that never heard of the others, with the server id of the primary."""
    kind, options = KINDS["mariadb" if shop.pair.mariadb else "mysql"]
    server = kind(tmp_path / "stranger", options=options, server_id=shop.pair.primary.server_id)
    server.password = shop.pair.primary.password
    with ExitStack() as stack:
        yield stack.enter_context(server)


def copy(shop: Shop, server: SqlServer) -> None:
    """The same data, by a dump without GTIDs."""
    name = shop.work.database
    rows = shop.sql("SELECT id, a FROM t")
    server.execute(f"CREATE DATABASE `{name}`")
    server.execute("CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20))", database=name)
    for number, text in rows:
        server.execute(f"INSERT INTO t VALUES ({number}, '{text}')", database=name)


@pytest.mark.parametrize("cut", [False, pytest.param(True, marks=SLOW)])
def test_a_replica_that_has_everything_is_followed(shop: Shop, door: Door, cut: bool) -> None:
    """Also where the connections to the old one are still open, and it still writes."""
    with following(shop.work) as process:
        shop.sql("INSERT INTO t VALUES (3, 'before')")
        shop.pair.wait()
        door.point(shop.pair.replica)
        shop.sql("INSERT INTO t VALUES (4, 'on the old one')")
        shop.pair.wait()
        if cut:
            door.cut()
        shop.work.wait_for(lambda: shop.work.checkpoint()["applied_position"].get("epoch") == 1, process)
        old = shop.pair.primary
        shop.pair.promote()
        old.kill()
        shop.sql("INSERT INTO t VALUES (5, 'on the new one')", "DELETE FROM t WHERE id = 1")
        shop.work.wait_for(lambda: "1" not in shop.items(), process)
    expected = {"2": "two", "3": "before", "4": "on the old one", "5": "on the new one"}
    assert shop.items() == expected
    shop.work.call("migrate", "--until-caught-up")
    shop.work.verify()


@SLOW
@pytest.mark.parametrize("cut", [True, False])
def test_a_replica_that_lacks_something_is_named(shop: Shop, door: Door, cut: bool) -> None:
    shop.pair.wait()
    shop.pair.stop_replication()
    with following(shop.work) as process:
        shop.sql("INSERT INTO t VALUES (3, 'lost')")
        shop.work.wait_for(lambda: "3" in shop.items(), process)
        door.point(shop.pair.replica)
        shop.pair.replica.execute("INSERT INTO t VALUES (4, 'newer')", database=shop.work.database)
        if cut:
            door.cut()
        assert "never got" in ended(shop.work, process)
    assert "4" not in shop.items()


@SLOW
@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("longer", [True, False])
def test_the_same_data_without_our_transactions_is_named(
    shop: Shop, door: Door, stranger: SqlServer, cut: bool, longer: bool
) -> None:
    """Also where its binlog is longer than the one that was followed, so that our place is in it."""
    copy(shop, stranger)
    if longer:
        for number in range(300):
            stranger.execute(f"INSERT INTO t VALUES ({100 + number}, 'own')", database=shop.work.database)
    with following(shop.work) as process:
        door.point(stranger)
        if cut:
            door.cut()
        said = ended(shop.work, process)
        assert _named(said), said
    assert shop.items() == {"1": "one", "2": "two"}
    assert _named(shop.work.call("migrate", "--until-caught-up", code=3).output)


@SLOW
def test_a_server_without_the_tables_is_named(shop: Shop, door: Door, stranger: SqlServer) -> None:
    with following(shop.work) as process:
        door.point(stranger)
        door.cut()
        said = ended(shop.work, process)
        assert _named(said) or "does not exist" in said or "Unknown database" in said, said


def _named(said: str) -> bool:
    return any(words in said for words in ("never got", "it was reset", "the server has", "never had"))
