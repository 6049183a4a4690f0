"""The longest write of an application while the start of a capture is fixed, and a slow SELECT runs.

A writer updates one row without a pause. Each way is tried ``--repeat`` times; beside it, the longest write of as much
time without whimbrel. ``python -m benchmarks.start [--repeat 10] [--json]``
"""

from __future__ import annotations

import argparse
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from unittest import mock

import pymysql

from demo.servers import MariaDB, MySQL, SqlServer
from whimbrel.errors import SourceUnreachable
from whimbrel.mysql import locked, visible
from whimbrel.mysql.connect import connect
from whimbrel.mysql.schema import read_table

LIMIT = 300  # milliseconds that a write may wait because of us


def longest_write(server: SqlServer, database: str, work: Callable[[], None]) -> float:
    """Milliseconds of the longest UPDATE that began while ``work`` ran."""
    done, longest = threading.Event(), [0.0]

    def write() -> None:
        with closing(server.connect(database)) as session:
            while not done.is_set():
                began = time.perf_counter()
                session.query("UPDATE busy SET v = v + 1")
                longest[0] = max(longest[0], time.perf_counter() - began)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        work()
    finally:
        done.set()
        writer.join()
    return longest[0] * 1000


@contextlib.contextmanager
def slow_select(server: SqlServer, database: str) -> Iterator[None]:
    session = server.connect(database)
    number = session.thread_id()  # type: ignore[no-untyped-call]

    def select() -> None:
        with contextlib.suppress(pymysql.err.Error):
            session.query("SELECT SLEEP(600) FROM busy")

    thread = threading.Thread(target=select)
    thread.start()
    while not any(row[7] and "SLEEP" in str(row[7]) for row in server.execute("SHOW FULL PROCESSLIST")):
        time.sleep(0.01)
    try:
        yield
    finally:
        server.execute(f"KILL {number}")
        thread.join()


def measure(server: SqlServer, repeat: int, *, lock: bool) -> dict[str, Any]:
    database = server.new_database()
    server.execute("CREATE TABLE busy (id INT PRIMARY KEY, v INT)", "INSERT INTO busy VALUES (1, 0)", database=database)
    source = server.source(database)
    with closing(connect(source)) as connection:
        table = read_table(connection, database, "busy")

    def start() -> None:
        with contextlib.suppress(SourceUnreachable):  # it gave the lock up, as it should
            visible.fixed_start(source, [table], time.sleep)

    hidden = mock.patch.object(visible, "sees_commits", return_value=not lock)
    one_try = mock.patch.object(locked, "PAUSES", ())
    with slow_select(server, database), hidden, one_try:
        began = time.perf_counter()
        writes = [longest_write(server, database, start) for _ in range(repeat)]
        seconds = (time.perf_counter() - began) / repeat
        alone = [longest_write(server, database, lambda: time.sleep(seconds)) for _ in range(repeat)]
    way = "under a read lock" if lock else "without a lock"
    return {"way": f"{server.name}, {way}", "longest_ms": max(writes), "alone_ms": max(alone)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with MariaDB() as mariadb, MySQL() as mysql:
        results = [
            measure(mariadb, options.repeat, lock=False),
            measure(mysql, options.repeat, lock=False),
            measure(mysql, options.repeat, lock=True),
        ]
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'longest write beside a slow SELECT, ms':40}{'start':>8}{'alone':>8}")
    for result in results:
        print(f"{result['way']:40}{result['longest_ms']:>8.1f}{result['alone_ms']:>8.1f}")
    kept = all(result["longest_ms"] <= LIMIT for result in results)
    print(f"at most {LIMIT} ms: {'yes' if kept else 'NO'}")


if __name__ == "__main__":
    main()
