"""What may happen to a source, and who else may be at work: each is followed, waited for, or named with its silo."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

import whimbrel
from demo.servers import MariaDB, SqlServer
from tests.conftest import without_coverage
from tests.warehouse.places import Place, assert_same
from tests.warehouse.test_broken_off import following, until
from whimbrel.errors import Locked, PositionLost, WhimbrelError

pytestmark = pytest.mark.slow
MakePlace = Callable[[str], Place]


def shop(server: SqlServer) -> str:
    database = server.new_database()
    server.execute(
        "CREATE TABLE item (id INT PRIMARY KEY, n INT)", "INSERT INTO item VALUES (1, 1), (2, 2)", database=database
    )
    return database


@pytest.fixture(params=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> SqlServer:
    found: SqlServer = request.getfixturevalue(request.param)
    return found


GONE = {
    "renamed": ["RENAME TABLE item TO other"],
    "dropped": ["DROP TABLE item"],
    "made again": [
        "DROP TABLE item",
        "CREATE TABLE item (id INT PRIMARY KEY, n INT)",
        "INSERT INTO item VALUES (9, 9)",
    ],
    "swapped": ["CREATE TABLE new LIKE item", "RENAME TABLE item TO old, new TO item"],
    "truncated": ["TRUNCATE item"],
}


@pytest.mark.parametrize("how", GONE)
def test_a_table_that_is_gone_stops_its_silo_by_name(make_place: MakePlace, server: SqlServer, how: str) -> None:
    """And what the warehouse has stays, as the other silo's changes do."""
    place, first, second = make_place("duckdb"), shop(server), shop(server)
    place.add("first", server, first)
    place.add("second", server, second)
    place.converge()
    server.execute(*GONE[how], database=second)
    server.execute("UPDATE item SET n = 7", database=first)
    for _ in range(2):
        with pytest.raises(WhimbrelError, match=r"^second: ") as found:
            place.converge()
        assert "begin the silo again: drop its schema second, and" in found.value.hint
    assert place.rows("SELECT * FROM second.item ORDER BY id") == [(1, 1), (2, 2)]
    place.silos.pop()
    place.write()
    place.converge()
    assert_same(place, "first.item", server, first, "item", "*")


def test_a_binlog_that_was_purged_is_named(make_place: MakePlace, server: SqlServer) -> None:
    place, database = make_place("duckdb"), shop(server)
    place.add("shop", server, database)
    place.converge()
    server.execute("UPDATE item SET n = 7", database=database)
    server.execute("FLUSH BINARY LOGS")
    place.check()
    newest = server.execute("SHOW BINARY LOGS")[-1][0]
    give_up = time.monotonic() + 60
    while server.execute("SHOW BINARY LOGS")[0][0] != newest:  # whoever read it last is gone a moment later
        assert time.monotonic() < give_up
        server.execute(f"PURGE BINARY LOGS TO '{newest}'")
        time.sleep(0.2)
    for ask in (place.check, place.converge):
        with pytest.raises(PositionLost, match=r"^shop: "):
            ask()
    assert place.rows("SELECT * FROM shop.item ORDER BY id") == [(1, 1), (2, 2)]


def test_a_source_that_goes_away_is_waited_for(place: Place, mariadb: MariaDB) -> None:
    database = shop(mariadb)
    place.more = "batch_seconds = 0.1"
    place.add("shop", mariadb, database)
    place.converge()
    with following(place) as thread:
        mariadb.execute("INSERT INTO item VALUES (3, 3)", database=database)
        until(lambda: place.rows("SELECT COUNT(*) FROM shop.item") == [(3,)], thread)
        mariadb.kill()
        time.sleep(1)
        mariadb.start()
        mariadb.execute("INSERT INTO item VALUES (4, 4)", database=database)
        until(lambda: place.rows("SELECT COUNT(*) FROM shop.item") == [(4,)], thread)
    assert_same(place, "shop.item", mariadb, database, "item", "*")


def test_a_second_process_is_refused_and_verify_runs_beside_the_first(place: Place, mariadb: MariaDB) -> None:
    place.more = "batch_seconds = 0.1"
    place.add("shop", mariadb, shop(mariadb))
    place.converge()
    with following(place) as thread:
        until(lambda: (place.folder / ".whimbrel" / "status.json").exists(), thread)
        command = [sys.executable, "-m", "whimbrel", "converge", "--until-caught-up", "-p", str(place.project)]
        second = subprocess.run(command, env=without_coverage() | place.secrets, capture_output=True, text=True)
        assert (second.returncode, "Locked" in second.stderr) == (3, True), second.stderr
        with pytest.raises(Locked):
            whimbrel.converge(place.project)
        assert place.verify().equal


def test_sql_is_answered_while_it_loads_and_it_is_stopped_and_continued(place: Place, mariadb: MariaDB) -> None:
    """Each answer is of whole transactions: never more rows than there are, and never fewer than before."""
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE item (id INT PRIMARY KEY, words VARCHAR(100))",
        "INSERT INTO item SELECT seq, REPEAT('x', 100) FROM seq_1_to_300000",
        database=database,
    )
    place.add("shop", mariadb, database)
    place.project.write_text(place.project.read_text().replace("chunk_rows = 50", "chunk_rows = 20000"))
    command = [sys.executable, "-m", "whimbrel", "converge", "--until-caught-up", "-p", str(place.project)]
    seen: list[int] = []
    for seconds in (1.5, 2.0, 2.5, 30.0):
        with subprocess.Popen(command, env=without_coverage() | place.secrets, stderr=subprocess.DEVNULL) as process:
            ends = time.monotonic() + seconds
            while process.poll() is None and time.monotonic() < ends:
                seen += counted(place)
            if process.poll() is None:
                process.terminate()
    seen += counted(place)
    assert seen == sorted(seen)
    assert seen[-1] == 300_000
    assert place.verify().equal


def counted(place: Place) -> list[int]:
    """As ``query --warehouse`` answers; nothing before the table is there."""
    time.sleep(0.05)
    with place.environment():
        try:
            found = whimbrel.query_warehouse("SELECT COUNT(*) AS n FROM shop.item", project=place.project)
        except WhimbrelError:
            return []
    return [int(row["n"]) for row in found.to_pylist()]
