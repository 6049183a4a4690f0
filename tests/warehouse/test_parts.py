"""A transaction of the source that is too large for DuckDB goes there in parts, and none of it twice. PostgreSQL has
all of it at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import whimbrel
from demo.servers import MariaDB
from tests.warehouse.places import Place, assert_same
from whimbrel.changelog.files import Taken
from whimbrel.errors import WarehouseError
from whimbrel.warehouse.duckdb_file import DuckDBSession
from whimbrel.warehouse.postgres import PostgresSession

SESSIONS: dict[str, type[Any]] = {"duckdb": DuckDBSession, "postgres": PostgresSession}
ROWS = 40


class Cut(WarehouseError):
    """The process ends here."""


@pytest.fixture
def shop(mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with one table; a batch has 7 changes, and so has a part."""
    monkeypatch.setattr("whimbrel.warehouse.apply.PORTION", 7)
    monkeypatch.setattr("whimbrel.warehouse.apply.PART", Taken(1, 1))
    monkeypatch.setattr("whimbrel.warehouse.apply.BATCH", Taken(1, 1))
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE item (id INT PRIMARY KEY, n INT, words VARCHAR(20))",
        f"INSERT INTO item SELECT seq, 0, CONCAT('w', seq) FROM seq_1_to_{ROWS}",
        database=database,
    )
    return database


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``cut(n, done)``: the process ends at its nth COMMIT, after it where it is ``done``; 0 for never."""
    left = [0, False]
    for session in SESSIONS.values():

        def execute(self: Any, sql: str, values: Any = (), whole: Any = session.execute) -> int:
            if sql == "COMMIT":
                left[0] -= 1
                if not left[0] and not left[1]:
                    raise Cut("cut off")
            count: int = whole(self, sql, values)
            if sql == "COMMIT" and not left[0]:
                raise Cut("cut off")
            return count

        monkeypatch.setattr(session, "execute", execute)

    def at(number: int, *, done: bool = True) -> None:
        left[:] = [number, done]

    return at


def changed(place: Place) -> int:
    [(count,)] = place.rows("SELECT COUNT(*) FROM shop.item WHERE n > 0")
    return int(count)


def part(place: Place) -> int:
    [(count,)] = place.rows("SELECT part FROM whimbrel.silo")
    return int(count)


def test_each_part_is_there_once_whatever_is_killed(
    place: Place, mariadb: MariaDB, shop: str, cut: Callable[..., None]
) -> None:
    """Cut off at one commit after the other: in DuckDB another part is there each time, in PostgreSQL all or nothing.
    Each row changes twice in the transaction, so that no part could be left out or written over again.
    """
    place.add("shop", mariadb, shop, "history = true")
    place.converge()
    mariadb.execute(
        *("BEGIN", "UPDATE item SET n = 1", "UPDATE item SET n = 2, id = -id WHERE id % 2", "COMMIT"), database=shop
    )
    mariadb.execute("UPDATE item SET n = 3 WHERE id = 2", database=shop)
    seen = []
    for number in range(1, 40):
        cut(number % 2 + 2, done=number % 3 > 0)
        try:
            place.converge()
        except Cut:
            cut(0)
            seen.append(part(place))
        else:
            break
    cut(0)
    assert_same(place, "(SELECT * FROM shop.item WHERE valid_to IS NULL) AS now", mariadb, shop, "item", "id, n, words")
    assert part(place) == 0
    versions = place.rows("SELECT id, n, COUNT(*) FROM shop.item WHERE n > 0 AND valid_to IS NULL GROUP BY id, n")
    assert {count for _, _, count in versions} == {1}
    old = place.rows("SELECT id, COUNT(*) FROM shop.item WHERE n = 0 GROUP BY id")
    assert sorted(old) == [(number, 1) for number in range(1, ROWS + 1)]
    assert place.verify().equal
    assert (len(set(seen)) > 5) == (place.engine == "duckdb"), seen


def test_while_a_transaction_is_there_in_part_nobody_takes_it_for_whole(
    make_place: Callable[[str], Place],
    mariadb: MariaDB,
    shop: str,
    cut: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Reports keep their answers, a query is told, and a column that came is filled when the rest is there."""
    place = make_place("duckdb")
    place.add("shop", mariadb, shop)
    place.silos.append('[[report]]\nname = "done"\nsql = "SELECT COUNT(*) AS n FROM shop.item WHERE n > 0"\n')
    place.write()
    place.converge()
    mariadb.execute(
        "ALTER TABLE item ADD more INT NOT NULL DEFAULT 5", "UPDATE item SET n = 1, more = 6", database=shop
    )
    cut(2)  # the first one is of the ledger
    with pytest.raises(Cut):
        place.converge()
    cut(0)
    with place.environment():
        found = whimbrel.query_warehouse("SELECT * FROM reports.done", project=place.project)
    assert found.to_pylist() == [{"n": 0}]
    assert re.search("shop: a large transaction of the source is there in part", caplog.text)
    assert (changed(place), part(place)) == (7, 7)
    assert place.rows("SELECT COUNT(more) FROM shop.item") == [(7,)]
    assert place.verify().equal  # which writes the rest first
    place.converge()
    assert place.rows("SELECT * FROM reports.done") == [(ROWS,)]
    assert_same(place, "shop.item", mariadb, shop, "item", "*")
