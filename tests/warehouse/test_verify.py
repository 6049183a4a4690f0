"""The proof finds what is wrong in the warehouse, and nothing where only time has passed."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.servers import MariaDB
from tests.warehouse.places import Place
from whimbrel.spill import DIGEST_BYTES, KeyedDigests
from whimbrel.warehouse.verify import _ChunkDigests

ROWS = 2_000


@pytest.fixture
def stock(mariadb: MariaDB) -> str:
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE stock (code VARCHAR(20) PRIMARY KEY, n INT, price DOUBLE, data VARBINARY(9), at TIME(2))",
        f"INSERT INTO stock SELECT CONCAT('c', seq), seq, seq / 7, x'00ff', '-1:02:03.5' FROM seq_1_to_{ROWS}",
        database=database,
    )
    return database


def test_each_kind_of_difference_is_found_and_named(place: Place, mariadb: MariaDB, stock: str) -> None:
    place.add("store", mariadb, stock)
    place.converge()
    assert place.verify().equal
    place.execute(
        "DELETE FROM store.stock WHERE code = 'c7'",
        "UPDATE store.stock SET n = -1 WHERE code = 'c8'",
        "INSERT INTO store.stock (code, n) VALUES ('zz', 1)",
        "UPDATE store.stock SET price = NULL WHERE code = 'c9'",
    )
    report = place.verify().tables[0]
    assert report.counts == {"missing": 1, "changed": 2, "extra": 1}
    assert {(each.kind, each.key["code"]) for each in report.differences} == {
        ("missing", "c7"),
        ("changed", "c8"),
        ("changed", "c9"),
        ("extra", "zz"),
    }
    assert (report.rows, report.found) == (ROWS, ROWS)


def test_a_row_that_is_there_twice_is_a_difference(
    make_place: Callable[[str], Place], mariadb: MariaDB, stock: str
) -> None:
    place = make_place("duckdb")
    place.add("store", mariadb, stock)
    place.converge()
    place.execute("INSERT INTO store.stock SELECT * FROM store.stock WHERE code = 'c5'")
    assert place.verify().tables[0].counts == {"changed": 1}


@pytest.fixture
def busy(mariadb: MariaDB, stock: str) -> Iterator[None]:
    """Somebody who writes to the source all the time."""
    ended = threading.Event()

    def write() -> None:
        with mariadb.connect(stock) as connection, connection.cursor() as cursor:
            number = 0
            while not ended.is_set():
                number += 1
                cursor.execute(
                    f"UPDATE IGNORE stock SET n = n + 1, code = CONCAT('m', {number}) WHERE n = {number % ROWS}"
                )
                cursor.execute(f"INSERT INTO stock (code, n) VALUES ('b{number}', 1)")
                cursor.execute(f"DELETE FROM stock WHERE code = 'b{number - 20}'")
                time.sleep(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    yield
    ended.set()
    thread.join()


def test_a_live_source_makes_no_difference(place: Place, mariadb: MariaDB, stock: str, busy: None) -> None:
    place.add("store", mariadb, stock)
    place.converge()
    found = place.verify()
    assert found.equal, found.tables[0].differences[:3]


def test_no_row_of_a_chunk_is_kept_however_large(tmp_path: Path) -> None:
    """The server may say that rows are short, and a chunk then has all of a table."""
    digests = KeyedDigests(tmp_path / "source", 1)
    chunk = _ChunkDigests(digests, lambda rows: ([b"key"] * len(rows), [bytes(DIGEST_BYTES)] * len(rows)))
    tracemalloc.start()
    try:
        for number in range(50):
            chunk.add([(number, f"{number:08}" * 125_000)])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    chunk.end()
    assert held < 1_000_000
    assert digests.added == 50
