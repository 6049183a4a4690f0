"""The memory of loading, writing and verifying is bounded: for a million narrow rows, 600,000 of which one transaction
changes, and for rows of 200 KB.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from demo.servers import MariaDB
from tests.conftest import without_coverage
from tests.warehouse.places import Place, assert_same

MOST = 300.0  # MB


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_load_changes_and_verify_stay_below(place: Place, mariadb: MariaDB) -> None:
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE narrow (id INT PRIMARY KEY, a INT, b VARCHAR(30), c DECIMAL(10,2))",
        "INSERT INTO narrow SELECT seq, seq, CONCAT('text ', seq), seq / 3 FROM seq_1_to_1000000",
        database=database,
    )
    place.add("big", mariadb, database)
    place.project.write_text(place.project.read_text().replace("chunk_rows = 50", ""))
    peaks = {"load": peak(place, "converge", "--until-caught-up")}
    mariadb.execute("UPDATE narrow SET a = a + 1 WHERE id % 5 < 3", database=database)
    peaks["changes"] = peak(place, "converge", "--until-caught-up")
    peaks["verify"] = peak(place, "verify")
    print(place.engine, peaks)
    assert max(peaks.values()) < MOST, peaks


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_wide_rows_stay_below(place: Place, mariadb: MariaDB) -> None:
    """300 MB of them; half are changed in transactions of 50 rows, then in one transaction, and then all in one."""
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE wide (id INT PRIMARY KEY, a INT, b MEDIUMTEXT)",
        "INSERT INTO wide SELECT seq, seq, REPEAT(MD5(seq), 6250) FROM seq_1_to_1500",
        database=database,
    )
    place.add("big", mariadb, database)
    place.project.write_text(place.project.read_text().replace("chunk_rows = 50", ""))
    peaks = {"load": peak(place, "converge", "--until-caught-up")}
    some = [f"UPDATE wide SET a = a + 1 WHERE id % 2 AND id BETWEEN {n} AND {n + 99}" for n in range(1, 1500, 100)]
    mariadb.execute(*some, database=database)
    peaks["changes"] = peak(place, "converge", "--until-caught-up")
    peaks["verify"] = peak(place, "verify")
    print(place.engine, peaks)
    assert max(peaks.values()) < MOST, peaks
    for which in ("id % 2", "1"):
        mariadb.execute(f"UPDATE wide SET a = a + 1 WHERE {which}", database=database)
        peaks[f"one transaction: {which}"] = peak(place, "converge", "--until-caught-up")
    mariadb.execute("UPDATE wide SET a = a + 1", database=database)
    parts = killed_in_between(place)
    assert (parts > 2) == (place.engine == "duckdb"), parts
    peaks["the rest"] = peak(place, "converge", "--until-caught-up")
    print(place.engine, peaks)
    assert max(peaks.values()) < MOST, peaks
    assert place.verify().equal


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("width", "rows"), [(1_000, 200_000), (4_000, 40_000), (20_000, 10_000), (100, 2_000_000)])
def test_one_transaction_of_rows_of_any_width_stays_below(
    place: Place, mariadb: MariaDB, width: int, rows: int
) -> None:
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a INT, b MEDIUMTEXT)",
        f"INSERT INTO t SELECT seq, seq, REPEAT(MD5(seq), {width // 32}) FROM seq_1_to_{rows}",
        database=database,
    )
    place.add("big", mariadb, database)
    place.project.write_text(place.project.read_text().replace("chunk_rows = 50", ""))
    peaks = {"load": peak(place, "converge", "--until-caught-up")}
    mariadb.execute("UPDATE t SET a = a + 1", database=database)
    peaks["one transaction"] = peak(place, "converge", "--until-caught-up")
    print(place.engine, width, rows, peaks)
    assert max(peaks.values()) < MOST, peaks
    assert_same(place, "big.t", mariadb, database, "t", "COUNT(*), SUM(a)")


def killed_in_between(place: Place) -> int:
    """``converge``, killed ten times while it writes; how many different parts of a transaction were there then."""
    command = [sys.executable, "-m", "whimbrel", "converge", "--until-caught-up", "-p", str(place.project)]
    parts = set()
    for _ in range(10):
        before = transactions(place)
        with subprocess.Popen(command, env=without_coverage() | place.secrets, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and transactions(place) == before:
                time.sleep(0.02)
            ended = process.poll() is not None
            process.kill()
        if ended:
            break
        parts.add(transactions(place)[1])
    return len(parts)


def transactions(place: Place) -> tuple[int, int]:
    """How many were written, and what is there of one in part."""
    [found] = place.rows("SELECT transactions, part FROM whimbrel.silo")
    return found


def peak(place: Place, *words: str) -> float:
    """Of a command, in MB."""
    command = [sys.executable, "-m", "whimbrel", *words, "-p", str(place.project)]
    found = [0.0]
    with subprocess.Popen(
        command, env=without_coverage() | place.secrets, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:

        def watch() -> None:
            while process.poll() is None:
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                except OSError:
                    return
                for line in status.splitlines():
                    if line.startswith("VmHWM"):
                        found[0] = max(found[0], int(line.split()[1]) / 1000)
                time.sleep(0.05)

        thread = threading.Thread(target=watch)
        thread.start()
        output, _ = process.communicate(timeout=400)
        thread.join()
    assert process.returncode == 0, output.decode()[-2000:]
    return found[0]
