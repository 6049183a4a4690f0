"""Silos that keep rows that are gone, or every version of a row, judged by what the source was, step by step."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from demo.servers import MariaDB
from tests.warehouse.places import Place, assert_same, same, sorted_rows

STEPS = 12


@pytest.fixture
def stock(mariadb: MariaDB) -> str:
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE stock (id INT PRIMARY KEY, n INT)",
        "INSERT INTO stock SELECT seq, 0 FROM seq_1_to_40",
        database=database,
    )
    return database


def clock_of(mariadb: MariaDB, seconds: int) -> str:
    """Commits have the time of the session: so each step has a second of its own, without waiting for it."""
    return f"SET SESSION timestamp = {seconds}"


def test_every_version_is_there_from_its_commit_to_the_next(place: Place, mariadb: MariaDB, stock: str) -> None:
    place.add("versions", mariadb, stock, "history = true")
    place.converge()
    [(began,)] = set(place.rows("SELECT valid_from FROM versions.stock"))
    first = int(began.timestamp()) + 1000
    pick, states = random.Random(7), [dict.fromkeys(range(1, 41), 0)]
    for step in range(STEPS):
        state = dict(states[-1])
        statements = []
        for _ in range(5):
            key, other = pick.randrange(60), pick.randrange(60)
            if pick.random() < 0.3:
                statements.append(f"DELETE FROM stock WHERE id = {key}")
                state.pop(key, None)
            elif key in state and other not in state and pick.random() < 0.5:
                statements.append(f"UPDATE stock SET id = {other}, n = n + 1 WHERE id = {key}")
                state[other] = state.pop(key) + 1
            else:
                statements.append(f"REPLACE INTO stock VALUES ({key}, {step})")
                state[key] = step
        with mariadb.connect(stock, autocommit=False) as connection, connection.cursor() as cursor:
            for statement in (clock_of(mariadb, first + 10 * step), *statements):
                cursor.execute(statement)
            connection.commit()
        states.append(state)
        if pick.random() < 0.4:
            place.converge()
    place.converge()
    for step, state in enumerate(states):
        at = f"to_timestamp({first + 10 * (step - 1) + 5})"
        found = place.rows(
            f"SELECT id, n FROM versions.stock WHERE valid_from <= {at} AND (valid_to > {at} OR valid_to IS NULL)"
        )
        assert sorted_rows(found) == sorted_rows(list(state.items())), f"after step {step}"
    assert place.verify().equal
    assert_now(place, mariadb, stock)


def test_no_version_ends_before_it_begins_where_the_clock_went_back(
    make_place: Callable[[str], Place], mariadb: MariaDB, stock: str
) -> None:
    """In the batch of the version before, and in a later one."""
    place = make_place("duckdb")
    place.add("versions", mariadb, stock, "history = true")
    place.converge()
    [(began,)] = set(place.rows("SELECT valid_from FROM versions.stock"))
    later, before = clock_of(mariadb, int(began.timestamp()) + 1000), clock_of(mariadb, 1_000_000)
    for number in (1, 3):
        one, other = (f"UPDATE stock SET n = {n} WHERE id = 1" for n in (number, number + 1))
        mariadb.execute(later, one, before, other, "DELETE FROM stock WHERE id = 2", database=stock)
        place.converge()
    assert place.rows("SELECT COUNT(*) FROM versions.stock WHERE valid_to < valid_from") == [(0,)]
    assert place.rows("SELECT n FROM versions.stock WHERE id = 1 ORDER BY valid_from, valid_to NULLS LAST") == [
        (0,),
        (2,),
        (4,),
    ]
    assert place.rows("SELECT COUNT(*) FROM versions.stock WHERE valid_from < '2000-01-01'") == [(0,)]
    assert place.verify().equal


def assert_now(place: Place, mariadb: MariaDB, stock: str) -> None:
    found = place.rows("SELECT id, n FROM versions.stock WHERE valid_to IS NULL")
    assert sorted_rows(found) == sorted_rows(mariadb.execute("SELECT id, n FROM stock", database=stock))


def test_what_the_load_saw_of_later_changes_is_put_right(
    make_place: Callable[[str], Place], mariadb: MariaDB, stock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows change after the start and before they are read: their first change says what they were at the start."""
    from whimbrel.warehouse.run import SiloRun

    whole = SiloRun.snapshot

    def later(self: SiloRun) -> None:
        if self.phase == "snapshot":
            mariadb.execute(
                "UPDATE stock SET n = 1 WHERE id = 1",
                "DELETE FROM stock WHERE id = 2",
                "INSERT INTO stock VALUES (100, 5)",
                "UPDATE stock SET id = 101 WHERE id = 3",
                database=stock,
            )
        whole(self)

    monkeypatch.setattr(SiloRun, "snapshot", later)
    place = make_place("duckdb")
    place.add("versions", mariadb, stock, "history = true")
    place.converge()
    rows: list[tuple[Any, ...]] = place.rows(
        "SELECT id, n, valid_to IS NULL FROM versions.stock WHERE id IN (1, 2, 3, 100, 101) ORDER BY id, n"
    )
    assert [tuple(map(same, row)) for row in rows] == [
        (1, 0, False),
        (1, 1, True),
        (2, 0, False),
        (3, 0, False),
        (100, 5, True),
        (101, 0, True),
    ]
    assert place.verify().equal


def test_rows_that_are_gone_stay_and_say_when(place: Place, mariadb: MariaDB, stock: str) -> None:
    place.add("marked", mariadb, stock, 'deletes = "mark"')
    place.converge()
    mariadb.execute("UPDATE stock SET n = 9 WHERE id = 1", "DELETE FROM stock WHERE id <= 3", database=stock)
    mariadb.execute("INSERT INTO stock VALUES (2, 7)", database=stock)
    place.converge()
    found = place.rows("SELECT id, n, deleted_at IS NULL FROM marked.stock WHERE id <= 3 ORDER BY id")
    assert found == [(1, 9, False), (2, 7, True), (3, 0, False)]
    assert place.verify().equal
    mariadb.execute("INSERT INTO stock VALUES (3, 1)", "DELETE FROM stock WHERE id = 3", database=stock)
    place.converge()
    assert place.rows("SELECT n, deleted_at IS NULL FROM marked.stock WHERE id = 3") == [(1, False)]


def test_the_names_that_versions_need_are_taken(make_place: Callable[[str], Place], mariadb: MariaDB) -> None:
    database = mariadb.new_database()
    mariadb.execute("CREATE TABLE t (id INT PRIMARY KEY, Valid_From INT)", database=database)
    place = make_place("duckdb")
    place.add("versions", mariadb, database, "history = true")
    with pytest.raises(Exception, match="the engine has 'valid_from' for itself"):
        place.converge()
    place.silos.clear()
    place.add("plain", mariadb, database)
    place.converge()
    assert_same(place, "plain.t", mariadb, database, "t", "*")
