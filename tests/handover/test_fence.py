"""What the fence rests on, on real servers: whom it refuses, what it waits for, and how it goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest

from demo.servers import SqlServer
from tests.handover.conftest import BACK, Fenced
from whimbrel.errors import FenceBroken, PrivilegeError, TablesBusy
from whimbrel.mysql import barrier as barriers
from whimbrel.mysql.barrier import Barrier, barrier, prepared_transactions
from whimbrel.mysql.connect import connect, current_position
from whimbrel.mysql.triggers import (
    FenceTrigger,
    drop_triggers,
    fence_faults,
    fence_triggers,
    first_triggers,
    make_triggers,
    standing,
)

CLOSED = 1644  # SIGNAL
WRITES = [
    "INSERT INTO t VALUES (5, 5)",
    "INSERT IGNORE INTO t VALUES (1, 5)",
    "REPLACE INTO t VALUES (1, 5)",
    "INSERT INTO t VALUES (1, 5) ON DUPLICATE KEY UPDATE v = 9",
    "UPDATE t SET v = v",
    "DELETE FROM t",
]


@contextmanager
def locked(fenced: Fenced, *tables: str, patience: float = 30.0) -> Iterator[Barrier]:
    names = [(fenced.database, table) for table in tables or ("t", "u")]
    with barrier(fenced.source, names, lambda seconds: time.sleep(seconds), hold=10, patience=patience) as held:
        yield held


def close(fenced: Fenced, *tables: str, exempt: str = BACK, epoch: int = 1) -> list[FenceTrigger]:
    triggers = fence_triggers([(fenced.database, table) for table in tables or ("t", "u")], epoch, exempt)
    with locked(fenced, *tables) as held:
        first = first_triggers(held.session, [each.table for each in triggers])
        make_triggers(held.execute, triggers, first)
    return triggers


def tried(connection: Any, statement: str) -> int:
    """The error's number, 0 for success."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(statement)
        except pymysql.err.Error as error:
            return int(error.args[0])
    return 0


def tried_once(session: Any, statement: str) -> int:
    """The same, of a session that ends then."""
    with closing(session):
        return tried(session, statement)


def names(triggers: list[FenceTrigger]) -> list[tuple[str, str]]:
    return [(each.table[0], each.name) for each in triggers]


def test_all_writes_are_refused_but_the_reverse_accounts(fenced: Fenced) -> None:
    with closing(fenced.session()) as app, closing(fenced.session(BACK)) as back:
        triggers = close(fenced)  # these sessions are older than the fence
        for statement in WRITES:
            assert tried(app, statement) == CLOSED
            assert tried_once(fenced.server.connect(fenced.database), statement) == CLOSED
        assert fenced.sql("SELECT * FROM t") == ((1, 1),)
        assert [tried(back, statement) for statement in WRITES] == [0] * len(WRITES)
    with closing(connect(fenced.source)) as ours:
        assert fence_faults(ours, triggers) == []
        assert tried_once(fenced.session("whimbrel"), WRITES[0]) == CLOSED


def test_whatever_writes_is_refused(fenced: Fenced, tmp_path: Path) -> None:
    """Statements of many rows and of several tables, a load of a file, a view, a routine and an event of root's, in an
    application's transaction and with its own idea of what an error is.
    """
    fenced.sql(
        "CREATE VIEW seen AS SELECT * FROM t",
        "CREATE TABLE free (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
        "INSERT INTO free VALUES (1, 1), (8, 8)",
        "CREATE PROCEDURE writes() SQL SECURITY DEFINER UPDATE t SET v = 7",
        "CREATE EVENT writes ON SCHEDULE EVERY 1 SECOND DISABLE DO BEGIN INSERT INTO free VALUES (NULL, 9); "
        "REPLACE INTO t VALUES (1, 9); END",
        "SET GLOBAL local_infile = 1",
    )
    file = tmp_path / "rows"
    file.write_text("1\t5\n6\t6\n")
    close(fenced)
    app = fenced.server.connect(fenced.database, user="app", local_infile=True, autocommit=False)
    with closing(app):
        assert tried(app, "SET SESSION sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES', foreign_key_checks = 0") == 0
        assert tried(app, "INSERT INTO free VALUES (20, 20)") == 0
        for statement in (
            "INSERT INTO t SELECT id + 30, v FROM free",
            "INSERT IGNORE INTO t SELECT * FROM free",
            "UPDATE free, t SET free.v = 2, t.v = 2 WHERE free.id = t.id",
            "UPDATE IGNORE t SET v = 2",
            "DELETE t, free FROM t JOIN free ON t.id = free.id",
            "DELETE IGNORE FROM t",
            "INSERT INTO seen VALUES (9, 9)",
            "UPDATE seen SET v = 2",
            "CALL writes()",
            f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE t",
            f"LOAD DATA LOCAL INFILE '{file}' REPLACE INTO TABLE t",
            f"LOAD DATA LOCAL INFILE '{file}' IGNORE INTO TABLE t",
        ):
            assert tried(app, statement) == CLOSED, statement
        app.commit()
    [(before,)] = fenced.sql("SELECT @@GLOBAL.event_scheduler")
    fenced.sql("SET GLOBAL event_scheduler = ON", "ALTER EVENT writes ENABLE")
    try:
        end = time.monotonic() + 20
        while not fenced.sql("SELECT 1 FROM free WHERE v = 9"):
            assert time.monotonic() < end, "the event does not come"
            time.sleep(0.05)
    finally:
        fenced.sql("DROP EVENT writes", f"SET GLOBAL event_scheduler = {before}")
    assert fenced.sql("SELECT * FROM t") == ((1, 1),)
    assert fenced.sql("SELECT v FROM free WHERE id = 20") == ((20,),)  # its transaction goes on


def test_nobody_is_exempt_where_no_account_is_named(fenced: Fenced) -> None:
    close(fenced, exempt="")
    for user in ("app", BACK, "admin"):
        assert tried_once(fenced.session(user), WRITES[0]) == CLOSED


def test_it_goes_and_may_go_again(fenced: Fenced) -> None:
    triggers = close(fenced)
    for _ in range(2):
        with locked(fenced) as held:
            drop_triggers(held.execute, names(triggers))
    with closing(connect(fenced.source)) as ours:
        assert standing(ours, [(fenced.database, "t"), (fenced.database, "u")]) == []
    assert [tried_once(fenced.session(), statement) for statement in WRITES] == [0] * len(WRITES)


def test_what_somebody_did_to_it_is_seen(fenced: Fenced) -> None:
    triggers = close(fenced)
    other = fence_triggers([(fenced.database, "u")], 2, BACK)
    fenced.sql(f"DROP TRIGGER {triggers[0].name}", f"DROP TRIGGER {triggers[4].name}")
    fenced.sql(f"CREATE TRIGGER {triggers[4].name} BEFORE UPDATE ON u FOR EACH ROW {other[1].body}")
    with closing(connect(fenced.source)) as ours:
        gone, changed = fence_faults(ours, triggers)
    assert f"{triggers[0].name} of {fenced.database}.t is gone" in gone
    assert "has another text" in changed


def test_it_runs_before_the_triggers_of_the_user(fenced: Fenced) -> None:
    """Theirs may do what no rollback takes back."""
    fenced.sql(
        "CREATE TRIGGER `their``s` BEFORE INSERT ON t FOR EACH ROW SET @ran = 1",
        "CREATE TRIGGER second BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 7",
    )
    triggers = close(fenced)
    with closing(fenced.session()) as app, app.cursor() as cursor:
        assert tried(app, WRITES[0]) == CLOSED
        cursor.execute("SELECT @ran")
        assert cursor.fetchone() == (None,)
    with closing(connect(fenced.source)) as ours:
        assert fence_faults(ours, triggers) == []
        assert standing(ours, [(fenced.database, "t")]) == names(triggers[:3])


def test_names_are_short_plain_and_unlike(fenced: Fenced) -> None:
    tables = ["x" * 64, "x" * 63 + "y", "Zürich `täglich`", "日本語" * 10, "case", "CASE"]
    made = fence_triggers([(fenced.database, table) for table in tables], 1, BACK)
    assert len({each.name.lower() for each in made}) == 3 * len(tables)
    assert all(len(each.name) <= 64 and each.name.isascii() for each in made)
    for table in tables[:4]:
        fenced.sql(f"CREATE TABLE `{table.replace('`', '``')}` (id INT PRIMARY KEY)")
        triggers = close(fenced, table)
        assert tried_once(fenced.session(), f"DELETE FROM `{table.replace('`', '``')}` WHERE 1 = 0") == 0
        assert tried_once(fenced.session(), f"INSERT INTO `{table.replace('`', '``')}` VALUES (1)") == CLOSED
        with closing(connect(fenced.source)) as ours:
            assert fence_faults(ours, triggers) == []


def test_a_server_that_trusts_no_creators_is_named(fenced: Fenced) -> None:
    fenced.server.execute("SET GLOBAL log_bin_trust_function_creators = 0")
    try:
        with pytest.raises(FenceBroken, match="log_bin_trust_function_creators = 1"):
            close(fenced)
    finally:
        fenced.server.execute("SET GLOBAL log_bin_trust_function_creators = 1")
    assert tried_once(fenced.session(), WRITES[0]) == 0


def test_an_account_that_may_not_is_named(fenced: Fenced) -> None:
    fenced.server.execute(f"REVOKE TRIGGER ON `{fenced.database}`.* FROM 'whimbrel'@'%'")
    with pytest.raises(PrivilegeError, match="GRANT TRIGGER"):
        close(fenced)


# -- the barrier -------------------------------------------------------------------------------------------------------


def test_a_transaction_that_writes_is_waited_for_and_is_before_the_end(fenced: Fenced) -> None:
    """It commits between two tries: nobody else waits for longer than one try."""
    with closing(fenced.session()) as app:
        tried(app, "SET autocommit = 0")
        tried(app, "UPDATE t SET v = 2")
        tables = [(fenced.database, "t"), (fenced.database, "u")]
        with barrier(fenced.source, tables, lambda _: app.commit(), hold=10) as held:
            end = held.position()
            assert held.waited_ms >= barriers.LIMIT * 1000 * 0.9
            assert held.rows("SELECT v FROM t") == [{"v": 2}]
            assert held.position() == end
    with closing(connect(fenced.source)) as ours:
        fenced.sql("UPDATE t SET v = 3")
        assert not end.at_or_after(current_position(ours))


def test_one_that_does_not_end_has_an_end_and_writers_go_on_between(fenced: Fenced) -> None:
    """gh-ost tried for ever. Between the tries, and after them, the application writes as if nothing were."""
    with closing(fenced.session()) as app, closing(fenced.session()) as other:
        tried(app, "SET autocommit = 0")
        tried(app, "UPDATE t SET v = 2 WHERE id = 1")
        waits: list[float] = []

        def write() -> None:
            while not ended.is_set():
                began = time.monotonic()
                assert tried(other, f"INSERT INTO t VALUES ({len(waits) + 10}, 1)") == 0
                waits.append(time.monotonic() - began)

        ended = threading.Event()
        writer = threading.Thread(target=write)
        writer.start()
        try:
            with (
                pytest.raises(TablesBusy, match="could not lock the tables within 2 seconds"),
                locked(fenced, patience=2.0),
            ):
                raise AssertionError("the lock was granted")
        finally:
            ended.set()
            writer.join()
        app.rollback()
    assert len(waits) > 10


@pytest.mark.parametrize("sees", ["PROCESS ON *.*", "SELECT ON performance_schema.*", ""])
def test_a_reader_that_keeps_it_away_is_named_meanwhile(
    fenced: Fenced, monkeypatch: pytest.MonkeyPatch, sees: str
) -> None:
    """Idle within its transaction: no statement of it runs. Once it ends, little is waited for."""
    if "performance" in sees and fenced.server.flavor == "mariadb":
        pytest.skip("MariaDB's metadata locks are in a plugin that is not there by itself")
    monkeypatch.setattr(barriers, "TOLD_AFTER", 0.3)
    said: list[str] = []
    ended: list[float] = []
    if sees:
        fenced.server.execute(f"GRANT {sees} TO '{fenced.server.user}'@'%'")
    try:
        with closing(fenced.session()) as app:
            tried(app, "SET autocommit = 0")
            tried(app, "SELECT * FROM t")

            def tell(text: str) -> None:
                said.append(text)
                app.rollback()
                ended.append(time.monotonic())

            tables = [(fenced.database, "t"), (fenced.database, "u")]
            with barrier(fenced.source, tables, lambda seconds: time.sleep(seconds), hold=10, tell=tell):
                assert time.monotonic() - ended[0] < 5
            number = app.thread_id()
    finally:
        if sees:
            fenced.server.execute(f"REVOKE {sees} FROM '{fenced.server.user}'@'%'")
    assert "not locked yet" in said[0]
    named = f"session {number} of app@" in said[0]
    assert named or (not sees and "may not see" in said[0])


def test_a_prepared_transaction_holds_it_and_is_told(fenced: Fenced) -> None:
    """No session has it any more, and no metadata lock on MariaDB: InnoDB's own lock is what holds."""
    app = fenced.session()
    for step in ("XA START 'mine'", "UPDATE t SET v = 2", "XA END 'mine'", "XA PREPARE 'mine'"):
        assert tried(app, step) == 0
    app.close()
    try:
        with closing(connect(fenced.source)) as ours:
            assert prepared_transactions(ours) == ["mine"]
        with pytest.raises(TablesBusy), locked(fenced, patience=0.5):
            raise AssertionError("the lock was granted")
    finally:
        fenced.server.execute("XA ROLLBACK 'mine'")


def test_who_may_not_ask_for_prepared_ones_is_told(
    mysql: SqlServer, make_fenced: Callable[[SqlServer], Fenced]
) -> None:
    fenced = make_fenced(mysql)
    mysql.execute("REVOKE XA_RECOVER_ADMIN ON *.* FROM 'whimbrel'@'%'")
    with closing(connect(fenced.source)) as ours, pytest.raises(PrivilegeError, match="XA_RECOVER_ADMIN"):
        prepared_transactions(ours)


def test_what_is_done_under_the_lock_keeps_it(fenced: Fenced) -> None:
    fenced.sql("CREATE TABLE own (id INT PRIMARY KEY, step INT)", "INSERT INTO own VALUES (1, 1)")
    triggers = fence_triggers([(fenced.database, "t")], 1, BACK)
    with locked(fenced, "t", "own") as held, closing(fenced.session()) as app:
        make_triggers(held.execute, triggers, {})
        assert held.execute("UPDATE own SET step = 2 WHERE step = 1") == 1
        held.execute("COMMIT")
        assert held.prepared() == []
        assert fence_faults(held.session, triggers) == []
        tried(app, "SET lock_wait_timeout = 1")
        assert tried(app, "SELECT * FROM t") == 1205
        held.release()
        assert tried(app, "SELECT * FROM t") == 0


def test_the_fence_outlives_a_kill_of_the_server(source_server: SqlServer, make_fenced: Callable[..., Fenced]) -> None:
    fenced = make_fenced(source_server)
    for table in ("t", "u"):
        fenced.sql(f"CREATE TABLE {table} (id INT PRIMARY KEY, v INT)")
    triggers = close(fenced)
    source_server.kill()
    source_server.start()
    assert tried_once(fenced.session(), WRITES[0]) == CLOSED
    assert tried_once(fenced.session(BACK), WRITES[0]) == 0
    with closing(connect(fenced.source)) as ours:
        assert fence_faults(ours, triggers) == []
