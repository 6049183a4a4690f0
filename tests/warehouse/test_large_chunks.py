"""A chunk that is larger than a transaction of the load goes in line by line, and is continued at the line where the
process ended; from its beginning, if its file is another one by then.
"""

from __future__ import annotations

import pytest

from demo.servers import MariaDB
from tests.warehouse.places import Place, assert_same
from whimbrel.errors import WarehouseError
from whimbrel.warehouse import lines, load
from whimbrel.warehouse.ledger import Ledger

ROWS = 3_000


class Cut(WarehouseError):
    """The process ends here."""


@pytest.fixture
def one(place: Place, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch) -> str:
    """A silo whose only table is one chunk, and an empty one; each line of it is a transaction of the load."""
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE a (id INT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO a SELECT seq, CONCAT('v', seq) FROM seq_1_to_{ROWS}",
        database=database,
    )
    place.add("one", mariadb, database)
    place.project.write_text(place.project.read_text().replace("chunk_rows = 50", f"chunk_rows = {ROWS}"))
    monkeypatch.setattr(load, "TOGETHER", 1)
    monkeypatch.setattr(lines, "BYTES", 1)
    return database


def cut_off(place: Place, monkeypatch: pytest.MonkeyPatch, transactions: int) -> None:
    """Converge until so many transactions of the load are there."""
    left, whole = [transactions], Ledger.add_chunk

    def add_chunk(self: Ledger, *values: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Cut("cut off")
        whole(self, *values)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "add_chunk", add_chunk)
        with pytest.raises(Cut):
            place.converge()


def test_it_is_continued_where_it_ended(
    place: Place, mariadb: MariaDB, one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        cut_off(place, monkeypatch, 1)
    [(there,)] = place.rows("SELECT COUNT(*) FROM one.a")
    assert 0 < there < ROWS
    assert place.rows("SELECT SUM(row_count) FROM whimbrel.chunk") == [(there,)]
    place.converge()
    assert_same(place, "one.a", mariadb, one, "a", "*")
    assert place.rows("SELECT SUM(row_count) FROM whimbrel.chunk WHERE export NOT LIKE '% %'") == [(ROWS,)]
    assert place.rows("SELECT COUNT(*) FROM whimbrel.chunk WHERE export LIKE '% %'") == [(0,)]


def test_it_is_begun_again_if_its_file_is_another_one(
    place: Place, mariadb: MariaDB, one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(place, monkeypatch, 2)
    mariadb.execute("DELETE FROM a WHERE id < 1000", "UPDATE a SET v = 'new' WHERE id % 3", database=one)
    file = min(each for each in place.folder.rglob("*.zst") if "silos" in str(each))
    file.write_bytes(b"damaged")
    place.converge()
    assert_same(place, "one.a", mariadb, one, "a", "*")
    assert place.verify().equal
