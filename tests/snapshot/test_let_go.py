"""What became of a chunk is nobody's while the next one is read: it may be all of the rows."""

from __future__ import annotations

import threading
import time
import weakref
from dataclasses import replace

from tests.snapshot.conftest import Shop
from whimbrel.mysql.whole_table import read_table
from whimbrel.records import Row


class Taker:
    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, rows: list[Row]) -> None:
        self.rows += rows

    def end(self) -> None: ...

    def drop(self) -> None: ...


def test_the_taker_of_a_chunk_is_gone_when_the_next_begins(shop: Shop) -> None:
    values = ", ".join(f"({number})" for number in range(60))
    shop.execute("CREATE TABLE t (id INT PRIMARY KEY)", f"INSERT INTO t VALUES {values}")
    known: list[weakref.ref[Taker]] = []
    alive: list[int] = []

    def begin() -> Taker:
        until = time.monotonic() + 1.0  # the thread that closed the last one may not have ended yet
        while any(taker() for taker in known) and time.monotonic() < until:
            time.sleep(0.001)
        alive.append(sum(taker() is not None for taker in known))
        taker = Taker()
        known.append(weakref.ref(taker))
        return taker

    source = replace(shop.source, connections=1, chunk_rows=10)
    table = shop.table()
    read = read_table(source, table, table.primary_key, begin, stop=threading.Event(), on_rows=lambda rows: None)
    assert read == 60
    assert len(alive) > 5
    assert set(alive) == {0}
