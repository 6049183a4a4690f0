"""A statement of the warehouse fails, or its answer is lost, at every place in turn: what is there afterwards is what
the source has, once. A server that goes away is waited for; somebody who reads the file of DuckDB, too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pytest

import whimbrel
from demo.servers import MariaDB, PostgreSQL
from tests.warehouse.places import Place, assert_same
from whimbrel.errors import WarehouseError, WarehouseUnreachable
from whimbrel.warehouse.duckdb_file import DuckDBSession
from whimbrel.warehouse.postgres import PostgresSession

SESSIONS: dict[str, type[Any]] = {"duckdb": DuckDBSession, "postgres": PostgresSession}
MOST = 200  # places, which end before


class Cut(WarehouseError):
    """The process ends here."""


@pytest.fixture
def pairs(mariadb: MariaDB) -> str:
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE a (id INT PRIMARY KEY, v VARCHAR(20))",
        "CREATE TABLE b (id INT PRIMARY KEY, n INT)",
        "INSERT INTO a SELECT seq, CONCAT('v', seq) FROM seq_1_to_120",
        "INSERT INTO b SELECT seq, seq FROM seq_1_to_60",
        database=database,
    )
    return database


@pytest.mark.parametrize("answered", [False, True], ids=["not done", "done, and nobody knows"])
def test_every_statement_is_the_last_in_turn(
    place: Place, mariadb: MariaDB, pairs: str, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """Each run ends at one statement later than the one before it: ``answered`` after it was carried out."""
    place.add("cut", mariadb, pairs)
    session = SESSIONS[place.engine]
    whole = session.execute
    left = [0]

    def execute(self: Any, sql: str, values: Any = ()) -> int:
        left[0] -= 1
        if not left[0] and not answered:
            raise Cut("cut off")
        done: int = whole(self, sql, values)
        if not left[0]:
            raise Cut("cut off")
        return done

    monkeypatch.setattr(session, "execute", execute)
    ran = 0
    for number in (*range(1, 40, 4), *range(41, MOST, 17)):
        left[0] = number
        mariadb.execute(
            f"UPDATE a SET v = 'x{number}' WHERE id % 7 = {number % 7}",
            f"UPDATE IGNORE b SET id = id + 500 WHERE id = {number}",
            f"REPLACE INTO b VALUES ({number % 9}, {number})",
            f"DELETE FROM a WHERE id = {number}",
            database=pairs,
        )
        try:
            place.converge()
        except Cut:
            ran += 1
        if left[0] > 0:
            break
    assert ran > 5
    left[0] = 0
    place.converge()
    for table in ("a", "b"):
        assert_same(place, f"cut.{table}", mariadb, pairs, table, "*")
    assert place.verify().equal


@pytest.mark.slow
@pytest.mark.parametrize("answered", [False, True], ids=["not done", "done, and nobody knows"])
@pytest.mark.parametrize("statement", ['CREATE TABLE "cut"."a"', "INSERT INTO whimbrel.chunk", "COMMIT"])
def test_a_warehouse_that_is_away_during_the_load_is_waited_for(
    place: Place, mariadb: MariaDB, pairs: str, monkeypatch: pytest.MonkeyPatch, answered: bool, statement: str
) -> None:
    """Once, at the first such statement; the COMMIT is that of the first chunk."""
    place.add("cut", mariadb, pairs)
    session = SESSIONS[place.engine]
    whole = session.execute
    seen = list[str]()

    def execute(self: Any, sql: str, values: Any = ()) -> int:
        is_it = sql.startswith(statement) and "away" not in seen
        is_it = is_it and (statement != "COMMIT" or any(each.startswith("INSERT INTO whimbrel.chunk") for each in seen))
        seen.append("away" if is_it else sql)
        if is_it and not answered:
            raise WarehouseUnreachable("it is away")
        done: int = whole(self, sql, values)
        if is_it:
            raise WarehouseUnreachable("it is away")
        return done

    monkeypatch.setattr(session, "execute", execute)
    place.converge()
    assert "away" in seen
    for table in ("a", "b"):
        assert_same(place, f"cut.{table}", mariadb, pairs, table, "*")


@contextmanager
def following(place: Place) -> Iterator[threading.Thread]:
    """``whimbrel converge`` until the end of the block; what it raised is raised there."""
    stop, failures = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            whimbrel.converge(place.project, until_caught_up=False, stop=stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    with place.environment():
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join()
            if failures:  # rather than that the thread is not alive
                raise failures[0]


COUNTED = 'batch_seconds = 0.1\n[[report]]\nname = "counted"\nsql = "SELECT COUNT(*) AS n FROM away.b"\n'


def until(done: Callable[[], bool], beside: threading.Thread) -> None:
    give_up = time.monotonic() + 60
    while not done():
        assert beside.is_alive()
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_a_server_that_goes_away_is_waited_for(
    make_place: Callable[[str], Place], mariadb: MariaDB, postgres: PostgreSQL, pairs: str
) -> None:
    place = make_place("postgres")
    place.more = COUNTED
    place.add("away", mariadb, pairs)
    place.converge()
    with following(place) as thread:
        mariadb.execute("INSERT INTO b VALUES (1000, 1)", database=pairs)
        until(lambda: place.rows("SELECT COUNT(*) FROM away.b") == [(61,)], thread)
        postgres.kill()
        mariadb.execute("INSERT INTO b VALUES (1001, 1)", database=pairs)
        time.sleep(0.5)
        postgres.start()
        until(lambda: place.rows("SELECT COUNT(*) FROM away.b") == [(62,)], thread)
        until(lambda: place.rows("SELECT n FROM reports.counted") == [(62,)], thread)
    assert_same(place, "away.b", mariadb, pairs, "b", "*")


@pytest.mark.slow
def test_who_reads_a_table_that_is_altered_is_waited_for_and_stops_nobody(
    make_place: Callable[[str], Place], mariadb: MariaDB, postgres: PostgreSQL, pairs: str
) -> None:
    """Nor does whoever reads a report that is to be made again."""
    place = make_place("postgres")
    place.more = COUNTED
    place.add("away", mariadb, pairs)
    place.converge()
    with postgres.connect(place.database) as reader:
        with reader.transaction(), following(place) as thread:
            reader.execute("SELECT * FROM reports.counted")
            mariadb.execute("INSERT INTO b VALUES (1000, 1)", database=pairs)
            until(lambda: place.rows("SELECT COUNT(*) FROM away.b") == [(61,)], thread)
            reader.execute("SELECT * FROM away.b")
            mariadb.execute("ALTER TABLE b ADD c INT", "INSERT INTO b VALUES (1001, 1, 1)", database=pairs)
            time.sleep(8)  # it waits for both, and is told to stop while it does
        assert reader.execute("SELECT COUNT(*) FROM away.b").fetchall() == [(61,)]
    place.converge()
    assert_same(place, "away.b", mariadb, pairs, "b", "*")
    assert place.rows("SELECT n FROM reports.counted") == [(62,)]


def test_who_reads_the_file_is_waited_for(make_place: Callable[[str], Place], mariadb: MariaDB, pairs: str) -> None:
    place = make_place("duckdb")
    place.more = "batch_seconds = 0.1"
    place.add("read", mariadb, pairs)
    place.converge()
    with following(place) as thread:
        reader = open_to_read(place)
        mariadb.execute("INSERT INTO b VALUES (1000, 1)", database=pairs)
        time.sleep(0.5)
        assert reader.execute("SELECT COUNT(*) FROM read.b").fetchall() == [(60,)]
        reader.close()
        until(lambda: place.rows("SELECT COUNT(*) FROM read.b") == [(61,)], thread)


def open_to_read(place: Place) -> duckdb.DuckDBPyConnection:
    """In the same process DuckDB hands out one instance of a file: so this waits until nobody has it."""
    while True:
        try:
            return duckdb.connect(str(place.file), read_only=True)
        except duckdb.Error:
            time.sleep(0.01)


def test_a_source_that_is_always_written_to_is_written_by_the_clock(
    make_place: Callable[[str], Place], mariadb: MariaDB, pairs: str
) -> None:
    """Each batch has what came in a second, though there is never a moment at which nothing is left."""
    place = make_place("duckdb")
    place.more = "batch_seconds = 1"
    place.add("busy", mariadb, pairs)
    place.converge()
    [(before,)] = place.rows("SELECT transactions FROM whimbrel.silo")
    ended = time.monotonic() + 4
    with following(place) as thread, mariadb.connect(pairs) as connection, connection.cursor() as cursor:
        number = 1_000
        while time.monotonic() < ended:
            number += 1
            cursor.execute(f"INSERT INTO b VALUES ({number}, 0)")
            time.sleep(0.002)
        until(lambda: place.rows("SELECT MAX(id) FROM busy.b") == [(number,)], thread)
    [(after,)] = place.rows("SELECT transactions FROM whimbrel.silo")
    assert 1 <= after - before <= 8
