"""Changes of a live MariaDB into DuckDB, in batches by the clock: how many a second one process keeps up with, and how
old they are when they can be asked for.

A writer on the same machine changes rows at a steady pace. CPU is that of ``whimbrel converge`` while it follows. How
late it is, its status file says twice a second.

``python -m benchmarks.followed [--paces 20000 30000] [--seconds 60] [--json]``
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

from benchmarks.warehouse import Bench
from demo.servers import MariaDB

ROWS, TOGETHER = 300_000, 100  # of the table, and changes of one transaction
GIVE_UP = 120.0  # seconds


class Followed:
    """``whimbrel converge`` at work in ``folder``."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._status, self._process = folder / ".whimbrel" / "status.json", process
        self.late: list[float] = []
        self.batches: dict[float, dict[str, float]] = {}  # by the time at which each was written

    def look(self) -> dict[str, Any]:
        assert self._process.poll() is None, "it has ended"
        try:
            status: dict[str, Any] = json.loads(self._status.read_bytes())
        except (OSError, ValueError):
            return {}
        [silo] = status["silos"].values() if status.get("silos") else [{}]
        self.batches |= {batch["time"]: batch for batch in silo.get("batches", [])}
        return status

    def until(self, done: str, value: Any) -> None:
        give_up = time.monotonic() + GIVE_UP
        while self.look().get(done) != value:
            assert time.monotonic() < give_up, f"{done} is not {value}"
            time.sleep(0.1)

    def cpu(self) -> float:
        """In seconds, since it began."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM"))


@contextmanager
def following(folder: Path, source: MariaDB) -> Iterator[Followed]:
    command = [sys.executable, "-m", "whimbrel", "converge"]
    environment = os.environ | {"WHIMBREL_SOURCE_PASSWORD": source.password}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=folder, env=environment, **quiet) as process:  # type: ignore[call-overload]
        try:
            yield Followed(folder, process)
        finally:
            process.terminate()


def write(bench: Bench, followed: Followed, pace: int, seconds: float) -> int:
    """How many changes were made. A writer that cannot keep the pace makes fewer."""
    began, made, looked = time.monotonic(), 0, 0.0
    with bench.source.connect(bench.database, autocommit=False) as connection, connection.cursor() as cursor:
        while (now := time.monotonic() - began) < seconds:
            if now - looked > 0.5:
                looked, status = now, followed.look()
                if status.get("lag_seconds") is not None:
                    followed.late.append(status["lag_seconds"])
            if made > now * pace:
                time.sleep(0.002)
                continue
            first = 1 + made * 7 % (ROWS - TOGETHER)
            last = first + TOGETHER - 1
            cursor.execute(f"UPDATE purchase SET quantity = quantity + 1 WHERE id BETWEEN {first} AND {last}")
            connection.commit()
            made += TOGETHER
    return made


def measured(source: MariaDB, folder: Path, pace: int, seconds: float) -> dict[str, Any]:
    bench = Bench(source, None, ROWS, folder)
    place = bench.project("duckdb")
    with following(place, source) as followed:
        followed.until("phase", "apply")
        cpu, began = followed.cpu(), time.monotonic()
        made = write(bench, followed, pace, seconds)
        wrote = time.monotonic() - began
        followed.until("applied", made)
        behind = time.monotonic() - began - wrote
        figures = {"cpu_us": (followed.cpu() - cpu) / made * 1e6, "megabytes": followed.megabytes()}
    [(wanted,)] = source.execute("SELECT SUM(quantity) FROM purchase", database=bench.database)
    with duckdb.connect(str(place / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.execute("SELECT sum(quantity) FROM shop.purchase").fetchone()
    assert found == (wanted,), f"{found} and not {wanted}"
    batches = [batch["changes"] for batch in followed.batches.values()]
    return {
        "per_second": made / wrote,
        **figures,
        "batches": len(batches),
        "changes_a_batch": median(batches),
        "late_median": median(followed.late),
        "late_most": max(followed.late),
        "behind_at_the_end": behind,
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--paces", type=int, nargs="*", default=[20_000, 30_000])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder, MariaDB(Path(folder) / "source") as source:
        for pace in asked.paces:
            place = Path(folder) / str(pace)
            place.mkdir(mode=0o700)
            found.append({"pace": pace} | measured(source, place, pace, asked.seconds))
    if asked.json:
        print(json.dumps(found))
        return 0
    print("    pace  written/s  CPU µs    MB  batches  changes each   late s: median   most   when it ends")
    for each in found:
        print(
            f"{each['pace']:>8,} {each['per_second']:>10,.0f} {each['cpu_us']:>7.1f} {each['megabytes']:>5.0f} "
            f"{each['batches']:>8} {each['changes_a_batch']:>13,.0f} {each['late_median']:>16.1f} "
            f"{each['late_most']:>6.1f} {each['behind_at_the_end']:>14.1f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
