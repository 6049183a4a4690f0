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
from tests.warehouse.places import Place

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
    """300 MB of them; half are changed in transactions of 50 rows. All of these in one transaction are too much for the
    memory that DuckDB has at first, and nothing of it is written.
    """
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
    mariadb.execute("UPDATE wide SET a = a + 1 WHERE id % 2", database=database)
    if place.engine == "duckdb":
        command = [sys.executable, "-m", "whimbrel", "converge", "--until-caught-up", "-p", str(place.project)]
        small = subprocess.run(command, env=without_coverage() | place.secrets, capture_output=True, text=True)
        assert (small.returncode, "raise warehouse.memory" in small.stderr) == (3, True), small.stderr
        place.project.write_text(place.project.read_text().replace("[warehouse]", f"[warehouse]\nmemory = {1 << 30}"))
    at_once = peak(place, "converge", "--until-caught-up")
    print(place.engine, "one transaction", at_once)
    assert at_once < (1_000.0 if place.engine == "duckdb" else MOST)
    assert place.verify().equal


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
