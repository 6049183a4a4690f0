"""The correlation query of the post over 1 M calls: as Parquet and as CSV by whimbrel, beside sqlite and pandas.

``python -m benchmarks.query [--rows N] [--rounds N]``. Everybody opens the data again in each round, as a command
does; sqlite has had its rows loaded before, which is not counted. pandas is in the environment of rivals.py; the
start of its process and its import are not counted either.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from benchmarks.rivals import their_python
from demo import bank
from whimbrel.lake.convert import ConvertRules, from_files
from whimbrel.lake.csvfile import FILE, columns_for, default_folder, write_csv
from whimbrel.lake.opened import OpenLake
from whimbrel.lake.sources import SourceFile
from whimbrel.lake.sql import Database

INNER = "SELECT age, duration, campaign, y, CASE WHEN contact = 'telephone' THEN 1 ELSE 0 END AS contact FROM {table}"
NAMES = ("age", "duration", "campaign", "contact")
PANDAS = """
import json, sys, time
import pandas
columns, names = json.loads(sys.argv[2]), json.loads(sys.argv[3])
cpu, wall = time.process_time(), time.perf_counter()
frame = pandas.read_csv(sys.argv[1], names=columns)
frame["contact"] = (frame["contact"] == "telephone").astype(int)
found = [float(frame[name].corr(frame["y"])) for name in names]
print(json.dumps([found, time.process_time() - cpu, time.perf_counter() - wall]))
"""
DDL = {str: "string", int: "int", float: "double"}


class Answer(NamedTuple):
    """The correlations, and the seconds that they took."""

    found: list[float]
    cpu: float
    wall: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.rows)
        answers = {name: run(Path(folder)) for name, run in contestants().items()}
        first = next(iter(answers.values()))
        for name, answer in answers.items():
            assert all(abs(a - b) < 1e-9 for a, b in zip(first.found, answer.found, strict=True)), (name, answer, first)
        print(table(measure(Path(folder), options.rounds)))


def prepare(folder: Path, count: int) -> None:
    """The same rows as a data set, as CSV, and in sqlite."""
    items = folder / "items.json"
    with items.open("wb") as file:
        for row in bank.rows(count, 0):
            file.write(orjson.dumps(bank.item(row)) + b"\n")
    manifest = from_files(folder, ConvertRules("bank", "bank", ("customer_id",)), [SourceFile(items, "plain")]).manifest
    columns = columns_for(manifest, exclude=("customer_id",))
    write_csv(folder, manifest, default_folder(folder, "bank") / FILE, columns, header=False)
    with sqlite3.connect(folder / "bank.sqlite") as connection:
        names = ", ".join(f'"{name}"' for name in bank.COLUMNS)
        connection.execute(f"CREATE TABLE datasource ({names})")
        rows: Iterator[tuple[object, ...]] = (tuple(row.values()) for row in bank.rows(count, 0))
        connection.executemany(f"INSERT INTO datasource VALUES ({', '.join('?' * len(bank.COLUMNS))})", rows)


def contestants() -> dict[str, Callable[[Path], Answer]]:
    found: dict[str, Callable[[Path], Answer]] = {
        "whimbrel, Parquet": timed(by_parquet),
        "whimbrel, external CSV": timed(by_csv),
        "sqlite": timed(by_sqlite),
    }
    try:
        their_python()
    except (OSError, subprocess.CalledProcessError):
        return found
    return found | {"pandas, CSV": by_pandas}


def timed(run: Callable[[Path], list[float]]) -> Callable[[Path], Answer]:
    def answer(folder: Path) -> Answer:
        cpu, wall = time.process_time(), time.perf_counter()
        found = run(folder)
        return Answer(found, time.process_time() - cpu, time.perf_counter() - wall)

    return answer


def by_parquet(folder: Path) -> list[float]:
    with Database(OpenLake(folder, None), {}) as database:
        return _corr(database, "bank")


def by_csv(folder: Path) -> list[float]:
    columns = ", ".join(f"{name} {DDL[kind]}" for name, kind in bank.TYPES.items() if name != "customer_id")
    with Database(OpenLake(folder, None), {}) as database:
        database.run(
            f"CREATE EXTERNAL TABLE datasource ({columns}) ROW FORMAT DELIMITED FIELDS TERMINATED BY ',' "
            "LOCATION 's3://bucket/bank/'"
        )
        return _corr(database, "datasource")


def _corr(database: Database, table: str) -> list[float]:
    selected = ", ".join(f"corr({name}, y) AS {name}" for name in NAMES)
    found = database.arrow(f"SELECT {selected} FROM ({INNER.format(table=table)})")
    assert found is not None
    return [found.column(name)[0].as_py() for name in NAMES]


def by_sqlite(folder: Path) -> list[float]:
    """sqlite has no corr: the same from sums."""
    sums = ", ".join(f"sum({x}), sum({x} * {x}), sum({x} * y)" for x in NAMES)
    query = f"SELECT count(*), sum(y), sum(y * y), {sums} FROM ({INNER.format(table='datasource')})"
    with sqlite3.connect(folder / "bank.sqlite") as connection:
        n, sy, syy, *rest = connection.execute(query).fetchone()
    found = []
    for sx, sxx, sxy in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        found.append((n * sxy - sx * sy) / ((n * sxx - sx * sx) * (n * syy - sy * sy)) ** 0.5)
    return found


def by_pandas(folder: Path) -> Answer:
    columns = [name for name in bank.COLUMNS if name != "customer_id"]
    told = [str(default_folder(folder, "bank") / FILE), *(orjson.dumps(each).decode() for each in (columns, NAMES))]
    command = [str(their_python()), "-c", PANDAS, *told]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return Answer(*orjson.loads(done.stdout))


def measure(folder: Path, rounds: int) -> dict[str, tuple[float, float]]:
    seen: dict[str, list[Answer]] = {name: [] for name in contestants()}
    for _ in range(rounds):
        for name, run in contestants().items():
            seen[name].append(run(folder))
    return {
        name: (statistics.median(each.cpu for each in answers), statistics.median(each.wall for each in answers))
        for name, answers in seen.items()
    }


def table(results: dict[str, tuple[float, float]]) -> str:
    lines = [f"{'correlation query':<28}{'CPU ms':>10}{'wall ms':>10}"]
    lines += [f"{name:<28}{cpu * 1000:>10.0f}{wall * 1000:>10.0f}" for name, (cpu, wall) in results.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
