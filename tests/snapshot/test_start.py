"""The start: all of its past is visible, and no write of the application waits for it."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest

from demo.servers import MySQL, SqlServer
from tests.snapshot.conftest import Shop
from whimbrel.errors import PrivilegeError, SourceUnreachable
from whimbrel.mysql import locked, visible
from whimbrel.mysql.connect import current_position
from whimbrel.mysql.visible import Start, fixed_start
from whimbrel.project import Source

LONGEST = 0.3  # seconds that a write may wait because of us
STALL = {  # a second, or two, between the binlog and the engine
    "mysql": ["binlog_group_commit_sync_delay = 1000000"],
    "mariadb": [
        "rpl_semi_sync_master_timeout = 2000",
        "rpl_semi_sync_master_wait_point = AFTER_SYNC",
        "rpl_semi_sync_master_wait_no_slave = ON",
        "rpl_semi_sync_master_enabled = ON",
    ],
}
NO_STALL = {"mysql": "binlog_group_commit_sync_delay = 0", "mariadb": "rpl_semi_sync_master_enabled = OFF"}
TRANSACTIONS = {
    "autocommit": ([], "INSERT INTO t VALUES (7, 7)"),
    "transaction": (["BEGIN", "INSERT INTO other VALUES (7)", "INSERT INTO t VALUES (7, 7)"], "COMMIT"),
    "xa": (["XA START 'x'", "INSERT INTO t VALUES (7, 7)", "XA END 'x'", "XA PREPARE 'x'"], "XA COMMIT 'x'"),
}


def until(true: Callable[[], object], seconds: float = 20) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.005)


@pytest.fixture
def tables(shop: Shop) -> Shop:
    shop.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE other (id INT PRIMARY KEY)")
    shop.execute("INSERT INTO t VALUES (1, 1)", "INSERT INTO other VALUES (1)")
    return shop


def start(shop: Shop, source: Source | None = None) -> Start:
    return fixed_start(source or shop.source, [shop.table()], time.sleep)


@contextlib.contextmanager
def within_a_commit(shop: Shop, kind: str) -> Iterator[None]:
    """A transaction that puts row 7 into t is in the binlog, and the engine does not show it yet."""
    before, last = TRANSACTIONS[kind]
    flavor = shop.server.flavor
    with shop.server.connect(shop.database) as session:
        for statement in before:
            session.query(statement)
        at = current_position(shop.connection)
        shop.server.execute(*(f"SET GLOBAL {setting}" for setting in STALL[flavor]))
        commit = threading.Thread(target=session.query, args=(last,))
        commit.start()
        try:
            until(lambda: current_position(shop.connection).order > at.order)
            yield
        finally:
            commit.join()
            shop.server.execute(f"SET GLOBAL {NO_STALL[flavor]}")


@pytest.mark.parametrize("kind", list(TRANSACTIONS))
def test_what_is_before_the_start_is_visible(tables: Shop, kind: str) -> None:
    with within_a_commit(tables, kind):
        plain = current_position(tables.connection)
        assert not seen(tables), "else the test shows nothing"
        found = start(tables)
        visible = seen(tables)
        assert visible or not found.position.at_or_after(plain)
        assert found.held_ms == 0
    assert seen(tables)
    assert start(tables).position == current_position(tables.connection)


def seen(shop: Shop) -> bool:
    return bool(shop.execute("SELECT 1 FROM t WHERE id = 7"))


@pytest.mark.parametrize("kind", list(TRANSACTIONS))
def test_under_a_lock_too(tables: Shop, mysql: MySQL, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if tables.server is not mysql:
        pytest.skip("MariaDB needs no lock")
    monkeypatch.setattr(locked, "LIMIT", 5.0)  # the stall is ours, not the lock's
    monkeypatch.setattr(visible, "sees_commits", lambda connection: False)
    with within_a_commit(tables, kind):
        plain = current_position(tables.connection)
        found = start(tables)
        assert seen(tables) or not found.position.at_or_after(plain)
        assert found.way == "under a read lock"


# -- what may run meanwhile --------------------------------------------------------------------------------------------


def slow_select(session: Any) -> None:
    session.query("SELECT SLEEP(60) FROM t")


def slow_select_of_another(session: Any) -> None:
    session.query("SELECT SLEEP(60) FROM other")


def open_transaction(session: Any) -> None:
    session.query("BEGIN")
    session.query("UPDATE t SET v = 1 WHERE id = 1")


def idle_reader(session: Any) -> None:
    session.query("BEGIN")
    session.query("SELECT * FROM t")
    session.query("SELECT * FROM other")


def slow_update(session: Any) -> None:
    session.query("UPDATE other SET id = id + 1000 + SLEEP(60)")


def long_ddl(session: Any) -> None:
    session.query("CREATE TABLE copied AS SELECT SLEEP(60) FROM other")


def waiting_alter(session: Any) -> None:
    """Behind an idle reader of the same table."""
    session.query("ALTER TABLE other ADD later INT")


def backup(session: Any) -> None:
    if session.server_version.startswith("5.5.5-") or "MariaDB" in session.server_version:
        for stage in ("START", "FLUSH", "BLOCK_DDL"):
            session.query(f"BACKUP STAGE {stage}")
    else:
        session.query("LOCK INSTANCE FOR BACKUP")


RUNNING: dict[str, list[Callable[[Any], None]]] = {
    "nothing": [],
    "slow select": [slow_select],
    "slow select of another table": [slow_select_of_another],
    "open transaction": [open_transaction],
    "idle reader": [idle_reader],
    "slow update": [slow_update],
    "long statement of DDL": [long_ddl],
    "alter that waits": [idle_reader, waiting_alter],
    "backup": [backup],
    "backup and slow select": [backup, slow_select],
}


@contextlib.contextmanager
def running(shop: Shop, name: str) -> Iterator[None]:
    sessions, threads = [], []
    for work in RUNNING[name]:
        session = shop.server.connect(shop.database)
        thread = threading.Thread(target=until_killed, args=(work, session), daemon=True)
        thread.start()
        sessions.append(session)
        threads.append(thread)
        until(lambda s=session, t=thread: not t.is_alive() or is_running(shop, s.thread_id()))  # type: ignore[misc]
    try:
        yield
    finally:
        for session in sessions:
            with contextlib.suppress(pymysql.err.Error):
                shop.server.execute(f"KILL {session.thread_id()}")
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


def until_killed(work: Callable[[Any], None], session: Any) -> None:
    with contextlib.suppress(pymysql.err.Error):
        work(session)


def is_running(shop: Shop, number: int) -> bool:
    rows = shop.server.execute("SHOW FULL PROCESSLIST")
    return any(row[0] == number and row[7] and ("SLEEP" in row[7] or "later" in row[7]) for row in rows)


class Writer(threading.Thread):
    """Writes to the captured table without a pause, and measures its longest write."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(daemon=True)
        self._shop, self._done = shop, threading.Event()
        self.longest, self.writes = 0.0, 0

    def run(self) -> None:
        with self._shop.server.connect(self._shop.database) as session:
            while not self._done.is_set():
                began = time.perf_counter()
                session.query(f"INSERT INTO t VALUES ({self.writes + 1000}, 0)")
                self.longest = max(self.longest, time.perf_counter() - began)
                self.writes += 1

    def __enter__(self) -> Writer:
        self.start()
        until(lambda: self.writes > 10)
        return self

    def __exit__(self, *_: object) -> None:
        until(lambda writes=self.writes: self.writes > writes)  # type: ignore[misc]
        self._done.set()
        self.join()


def account(shop: Shop, *grants: str) -> Source:
    """One that may read its database, and what else is granted."""
    user = f"u{shop.database}"[:30]
    shop.execute(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'secret word'")
    for grant in ("SELECT ON {database}.*", "REPLICATION SLAVE, REPLICATION CLIENT ON *.*", *grants):
        shop.execute(f"GRANT {grant.format(database=shop.database)} TO '{user}'@'%'")
    return dataclasses.replace(shop.source, user=user, password="secret word")


@pytest.mark.parametrize("name", list(RUNNING))
def test_no_write_waits_for_the_start(tables: Shop, name: str) -> None:
    with running(tables, name), Writer(tables) as writer:
        assert start(tables).held_ms == 0
    assert writer.longest < LONGEST


@pytest.mark.parametrize("name", list(RUNNING))
def test_no_write_waits_long_for_a_lock(tables: Shop, mysql: MySQL, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if tables.server is not mysql:
        pytest.skip("MariaDB needs no lock")
    monkeypatch.setattr(locked, "PAUSES", (0.05, 0.1))
    source = account(tables, "LOCK TABLES ON {database}.*")
    with running(tables, name), Writer(tables) as writer:
        if name == "open transaction":
            with pytest.raises(
                SourceUnreachable, match=r"could not acquire a read lock after.*writers waited for at most"
            ):
                start(tables, source)
        else:
            found = start(tables, source)
            assert found.way == "under a read lock"
            assert 0 < found.held_ms < LONGEST * 1000
    assert writer.longest < LONGEST


def test_an_account_that_may_not_lock_is_told_so(tables: Shop, mysql: MySQL) -> None:
    if tables.server is not mysql:
        assert start(tables, account(tables, "BINLOG MONITOR ON *.*")).position
        return
    with pytest.raises(PrivilegeError, match=r"cannot acquire the read lock.*GRANT SELECT ON performance_schema"):
        start(tables, account(tables))


def test_a_prepared_xa_transaction_stops_the_start_by_name(
    tables: Shop, source_server: SqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source_server.flavor == "mysql":
        pytest.skip("the capture names it when it is committed")
    monkeypatch.setattr(visible, "PATIENCE", 0.2)
    with source_server.connect(tables.database) as session:
        for statement in ("XA START 'left'", "INSERT INTO t VALUES (5, 5)", "XA END 'left'", "XA PREPARE 'left'"):
            session.query(statement)
        with pytest.raises(SourceUnreachable, match=r"prepared XA transactions.*left"):
            start(tables)
        session.query("XA ROLLBACK 'left'")
    assert start(tables).position


@pytest.mark.parametrize("kind", list(TRANSACTIONS))
def test_until_visible(tables: Shop, kind: str) -> None:
    """Replicas have a transaction before the engine shows it: what is read after this call has it too."""
    with within_a_commit(tables, kind):
        logged = current_position(tables.connection)
        assert not seen(tables), "else the test shows nothing"
        visible.until_visible(tables.source, [tables.table()], logged, time.sleep)
        assert seen(tables)
