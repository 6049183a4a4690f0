"""The whole export of a table: while it is written to, stopped, cut off, damaged, held back, and refused the lock."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pymysql
import pytest

from tests.snapshot.conftest import Shop, uses_tls
from whimbrel.errors import SchemaDrift, SourceUnreachable, StateError
from whimbrel.mysql import pace, readers
from whimbrel.mysql.chunks import rows_at_worst
from whimbrel.mysql.connect import connect
from whimbrel.project import Source
from whimbrel.records import Column, Row, Table
from whimbrel.snapshot_files import ExportFile, read_chunk

# What is tested is how we go about it, and not what the server says.
OUR_SIDE = pytest.mark.parametrize(
    "source_server", ["mariadb", pytest.param("mysql", marks=pytest.mark.slow)], indirect=True
)


LONGEST = 0.3  # seconds that a write of the application may wait because of us


def numbers(shop: Shop, rows: int, name: str = "t") -> Table:
    """A table of ``rows`` rows (id, v = 10)."""
    digits = "(" + " UNION ALL ".join(f"SELECT {digit} AS n" for digit in range(10)) + ")"
    places = range(len(str(rows - 1)))
    shop.execute(
        f"CREATE TABLE {name} (id INT PRIMARY KEY, v INT NOT NULL)",
        f"INSERT INTO {name} SELECT x, 10 FROM (SELECT {' + '.join(f'd{p}.n * {10**p}' for p in places)} AS x FROM "
        f"{', '.join(f'{digits} d{p}' for p in places)}) numbers WHERE x < {rows}",
    )
    return shop.table(name)


def in_chunks(shop: Shop, rows: int, **more: object) -> Source:
    return dataclasses.replace(shop.source, chunk_rows=rows, **more)  # type: ignore[arg-type]


def by_hand(shop: Shop) -> list[Row]:
    return list(shop.execute("SELECT id, v FROM t ORDER BY id"))


class Switch(threading.Event):
    """Set by the n-th call of ``when``."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def when(self, _: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.set()


def until_killed(cursor: Any, statement: str) -> None:
    with contextlib.suppress(pymysql.err.Error):
        cursor.execute(statement)


def until(true: Callable[[], object], seconds: float = 20) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


@OUR_SIDE
def test_stopped_anywhere_and_resumed(shop: Shop) -> None:
    table, source = numbers(shop, 1000), in_chunks(shop, 50, connections=2)
    plans: list[str] = []
    for after in (1, 3, 5):
        stop = Switch(after)
        result = shop.export(table, source=source, stop=stop, on_chunk=stop.when)
        assert result.chunks < 21
        (shop.folder / "chunk-00000009.jsonl.zst.part").write_bytes(b"left by a crash")
        plans.append((shop.folder / "plan.jsonl").read_text())
    with (shop.folder / "plan.jsonl").open("a") as file:
        file.write('{"number": 99, "lo')  # torn by a crash
    seen: list[ExportFile] = []
    result = shop.export(table, source=in_chunks(shop, 70), on_chunk=seen.append)
    assert {file.chunk.number for file in seen} == set(range(1, result.chunks + 1))
    assert sorted(shop.rows()) == by_hand(shop)
    assert result.rows == 1000
    assert not list(shop.folder.glob("*.part"))
    for earlier, later in zip(plans, [*plans[1:], (shop.folder / "plan.jsonl").read_text()], strict=True):
        assert later.startswith(earlier)
    again = shop.export(table, source=source)
    assert (again.chunks, again.rows) == (result.chunks, 1000)


@OUR_SIDE
def test_stop_is_prompt(shop: Shop) -> None:
    table, stop = numbers(shop, 1000), Switch(1)
    began = time.monotonic()
    result = shop.export(table, source=in_chunks(shop, 100, max_rows_per_second=5), stop=stop, on_rows=stop.when)
    assert time.monotonic() - began < 5
    assert len(shop.files()) == result.chunks < 10  # small ones, under this cap, that were being read
    assert not list(shop.folder.glob("*.part"))


@OUR_SIDE
def test_a_damaged_or_foreign_file_is_made_again(shop: Shop) -> None:
    table, source = numbers(shop, 300), in_chunks(shop, 100)
    shop.export(table, source=source)
    first, second, third, _ = shop.files()
    first.write_bytes(first.read_bytes()[:-30])
    second.write_bytes(third.read_bytes())
    third.unlink()
    result = shop.export(table, source=source)
    assert (result.chunks, result.rows, len(shop.files())) == (4, 300, 4)
    assert sorted(shop.rows()) == by_hand(shop)


@OUR_SIDE
def test_chunks_in_done_are_not_announced(shop: Shop) -> None:
    table, source = numbers(shop, 300), in_chunks(shop, 100)
    shop.export(table, source=source)
    seen: list[ExportFile] = []
    shop.export(table, source=source, done={1, 3}, on_chunk=seen.append)
    assert [file.chunk.number for file in seen] == [2, 4]


@OUR_SIDE
def test_another_key_or_another_table_does_not_go_on_in_the_same_folder(shop: Shop) -> None:
    shop.execute("CREATE TABLE t (a INT, b INT, PRIMARY KEY (a, b))")
    table = shop.table()
    shop.export(table)
    with pytest.raises(StateError, match=r"made for the key \['a', 'b'\], not \['a'\].*Remove"):
        shop.export(table, ("a",))
    shop.execute("ALTER TABLE t ADD c INT")
    with pytest.raises(SchemaDrift, match="has changed since its export began"):
        shop.export(shop.table())
    gone = dataclasses.replace(table, columns=(*table.columns, Column("gone", "int")))
    with pytest.raises(SchemaDrift, match="gone"):
        shop.export(gone, folder=shop.folder / "other")


@OUR_SIDE
def test_connections_cut_in_the_middle(shop: Shop) -> None:
    """Each reader is killed while it streams; its chunk is read again, whole and once."""
    table, killed = numbers(shop, 20000), []
    counted: list[int] = []

    def kill(_: int) -> None:
        counted.append(_)
        if len(counted) in (5, 25, 45):
            user = shop.source.user
            sql = f"SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{user}' AND INFO LIKE 'SELECT `id`%'"
            for (number,) in shop.execute(sql):
                shop.server.execute(f"KILL {number}")
                killed.append(number)

    source = in_chunks(shop, 10000, connections=2, max_rows_per_second=40000)
    result = shop.export(table, source=source, on_rows=kill)
    assert result.rows == sum(counted) == 20000
    assert sorted(shop.rows()) == by_hand(shop)


@OUR_SIDE
def test_the_server_is_killed_and_comes_back(shop: Shop) -> None:
    table, counted = numbers(shop, 4000), []

    def crash(rows: int) -> None:
        counted.append(rows)
        if len(counted) == 5:
            shop.server.kill()
            shop.server.start()  # not in a thread: it would die with it

    result = shop.export(table, source=in_chunks(shop, 500, max_rows_per_second=8000), on_rows=crash)
    assert result.rows == 4000
    assert sorted(shop.rows()) == by_hand(shop)


@OUR_SIDE
def test_a_server_that_stays_away_is_an_error_in_the_end(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "TRIES", 2)
    table, counted = numbers(shop, 4000), []

    def crash(rows: int) -> None:
        counted.append(rows)
        if len(counted) == 3:
            shop.server.kill()

    try:
        with pytest.raises(SourceUnreachable, match="2 times in a row"):
            shop.export(table, source=in_chunks(shop, 500, max_rows_per_second=8000), on_rows=crash)
    finally:
        shop.server.start()
    assert shop.export(table).rows == 4000
    assert sorted(shop.rows()) == by_hand(shop)


@OUR_SIDE
def test_the_cap_holds_over_all_connections(shop: Shop) -> None:
    table, times = numbers(shop, 3000), []
    began = time.monotonic()
    source = in_chunks(shop, 250, connections=4, max_rows_per_second=2000)
    shop.export(table, source=source, on_rows=lambda rows: times.append((time.monotonic() - began, rows)))
    total = 0
    for seconds, rows in times:
        total += rows
        assert total <= 2000 * seconds + 4 * 200 + 200  # what each connection has just read, and one more
    assert total == 3000
    assert times[-1][0] > 0.8


def test_an_alter_does_not_wait_for_the_cap(shop: Shop) -> None:
    """Nor do the application's writes, which wait behind the ALTER."""
    table, stop, longest = numbers(shop, 3000), threading.Event(), dict.fromkeys(("alter", "write"), 0.0)

    def timed(what: str, statement: str) -> None:
        began = time.perf_counter()
        shop.execute(statement)
        longest[what] = max(longest[what], time.perf_counter() - began)

    def write() -> None:
        while not stop.is_set():
            timed("write", "UPDATE t SET v = v WHERE id = 7")

    read: list[int] = []
    source = in_chunks(shop, 10_000, connections=2, max_rows_per_second=400)
    exporting = threading.Thread(
        target=lambda: shop.export(table, source=source, stop=stop, on_rows=read.append), daemon=True
    )
    writing = threading.Thread(target=write, daemon=True)
    exporting.start()
    writing.start()
    try:
        for number in range(4):
            before = sum(read)
            until(lambda before=before: sum(read) > before)  # type: ignore[misc]
            timed("alter", f"ALTER TABLE t ADD c{number} INT")
        assert sum(read) < 3000
    finally:
        stop.set()
        exporting.join()
        writing.join()
    assert max(longest.values()) < LONGEST, longest


@OUR_SIDE
def test_pauses_while_threads_run(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LOOK_EVERY", 0.05)
    table = numbers(shop, 2000)
    baseline = pace.threads_running(shop.connection) - 1
    source = in_chunks(shop, 500, max_threads_running=baseline + 2, max_rows_per_second=20000)
    load = [shop.server.connect() for _ in range(4)]
    busy = [threading.Thread(target=until_killed, args=(c.cursor(), "SELECT SLEEP(60)"), daemon=True) for c in load]
    counted: list[tuple[float, int]] = []
    looks: list[bool] = []
    real = pace.LoadGate._set

    def seen(gate: pace.LoadGate, reason: str) -> None:
        real(gate, reason)
        looks.append(bool(reason))
        if len(looks) == 10:
            for connection in load:
                shop.server.execute(f"KILL {connection.thread_id()}")

    monkeypatch.setattr(pace.LoadGate, "_set", seen)
    for thread in busy:
        thread.start()
    until(lambda: pace.threads_running(shop.connection) > baseline + 4)
    shop.export(table, source=source, on_rows=lambda rows: counted.append((len(looks), rows)))
    before = sum(rows for look, rows in counted if 2 <= look < 10)
    assert looks[:5] == [True] * 5
    assert before <= 500 * 4
    assert sum(rows for _, rows in counted) == 2000
    assert looks[-1] is False
    for thread, connection in zip(busy, load, strict=True):
        thread.join(10)
        connection.close()


def test_pauses_while_a_replica_lags(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is made to say that it lags: three times, then that replication has stopped, then that all is well."""
    monkeypatch.setattr(pace, "LOOK_EVERY", 0.02)
    answers = [*[{"Seconds_Behind_Source": 9}] * 3, {"Seconds_Behind_Master": None}, {"Seconds_Behind_Source": 0}]
    looked: list[object] = []

    def status(_: object) -> list[object]:
        looked.append(answers[min(len(looked), 4)])
        return [looked[-1]]

    monkeypatch.setattr(pace, "replica_status", status)
    table, when = numbers(shop, 1000), []
    source = in_chunks(shop, 1000, max_replica_lag=5.0, max_rows_per_second=100000)
    shop.export(table, source=source, on_rows=lambda _: when.append(len(looked)))
    assert when
    assert when[-1] >= 5
    assert len(shop.rows()) == 1000


def test_a_server_that_is_no_replica_does_not_lag(shop: Shop) -> None:
    with shop.server.connect() as connection:
        assert pace.replica_lag(connection) == 0.0


@pytest.mark.parametrize(("tls", "encrypted"), [("off", False), ("required", True)])
def test_tls(shop: Shop, tls: str, encrypted: bool) -> None:
    if encrypted and shop.server.flavor == "mariadb":
        pytest.skip("this MariaDB has no certificate")
    source = dataclasses.replace(shop.source, tls=tls)
    with connect(source) as connection:
        assert uses_tls(connection) == encrypted
    table = numbers(shop, 100)
    assert shop.export(table, source=source).rows == 100


MEMORY = """
import json, sys, threading
from pathlib import Path
from whimbrel.mysql.connect import connect
from whimbrel.mysql.schema import read_table
from whimbrel.mysql.snapshot import export_table
from whimbrel.project import Source
source = Source(**json.loads(sys.stdin.read()))
table = read_table(connect(source), source.database, "t")
rows = export_table(source, table, table.primary_key, Path(sys.argv[1]), stop=threading.Event()).rows
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(rows, int(peak) // 1024)
"""


@pytest.mark.parametrize("wide", [False, True], ids=["many rows", "wide rows"])
def test_memory_is_bounded(shop: Shop, wide: bool) -> None:
    """In a process of its own: 200,000 rows, or 120 MB in rows of a megabyte; the same 150 MB for both."""
    if shop.server.flavor == "mysql":
        pytest.skip("it is our own memory: MariaDB is enough")
    if wide:
        shop.execute(
            "SET SESSION sql_log_bin = 0",
            "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)",
            *["INSERT INTO t (b) VALUES " + ",".join(["(REPEAT(x'00ff', 500000))"] * 10)] * 12,
        )
    else:
        numbers(shop, 200_000)
    settings = dataclasses.asdict(shop.source)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(shop.folder)],
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    rows, peak = map(int, done.stdout.split())
    assert rows == (120 if wide else 200_000)
    assert peak < 150, f"{peak} MB"


def test_rows_fetched_at_once_are_bounded_by_their_length() -> None:
    def of(*columns: Column) -> int:
        return rows_at_worst(Table("s", "t", columns, ("a",)), 4 << 20)

    assert of(Column("a", "int"), Column("b", "text", length=20, charset="latin1")) > 10000
    assert of(Column("a", "text", length=65535, charset="utf8mb4")) == 16
    assert of(Column("a", "binary", length=2**32 - 1)) == of(Column("a", "json")) == 1


@OUR_SIDE
def test_nothing_but_whole_files_after_a_kill(shop: Shop) -> None:
    """SIGKILL in the middle; what has a final name is whole, and a new process goes on from there."""
    table = numbers(shop, 30_000)
    source = in_chunks(shop, 1000, max_rows_per_second=30_000)
    command = [sys.executable, "-c", MEMORY, str(shop.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin
        process.stdin.write(json.dumps(dataclasses.asdict(source)).encode())
        process.stdin.close()
        until(lambda: len(shop.files()) >= 3)
        process.kill()
    whole = [read_chunk(path) for path in shop.files()]
    assert 3 <= len(whole) < 31
    result = shop.export(table, source=in_chunks(shop, 1000))
    assert result.rows == 30_000
    assert sorted(shop.rows()) == by_hand(shop)
