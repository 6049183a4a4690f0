"""The correlation query of the post over 1 M calls: as Parquet and as CSV by whimbrel, beside sqlite and pandas.

``python -m benchmarks.query [--rows N] [--rounds N]``. Everybody opens their data anew in each round, as a command
does; sqlite has had its rows loaded before, which is not counted.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import orjson

from demo import bank
from whimbrel.lake.convert import Rules, from_files
from whimbrel.lake.csvfile import FILE, columns_for, default_folder, write_csv
from whimbrel.lake.sources import Source
from whimbrel.lake.sql import Database

INNER = "SELECT age, duration, campaign, y, CASE WHEN contact = 'telephone' THEN 1 ELSE 0 END AS contact FROM {table}"
NAMES = ("age", "duration", "campaign", "contact")
DDL = {str: "string", int: "int", float: "double"}


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
            assert all(abs(a - b) < 1e-9 for a, b in zip(first, answer, strict=True)), (name, answer, first)
        print(table(measure(Path(folder), options.rounds)))


def prepare(folder: Path, count: int) -> None:
    """The same rows as a data set, as CSV, and in sqlite."""
    items = folder / "items.json"
    with items.open("wb") as file:
        for row in bank.rows(count, 0):
            file.write(orjson.dumps(bank.item(row)) + b"\n")
    manifest = from_files(folder, Rules("bank", "bank", ("customer_id",)), [Source(items, "plain")]).manifest
    columns = columns_for(manifest, exclude=("customer_id",))
    write_csv(folder, manifest, default_folder(folder, "bank") / FILE, columns, header=False)
    with sqlite3.connect(folder / "bank.sqlite") as connection:
        names = ", ".join(f'"{name}"' for name in bank.COLUMNS)
        connection.execute(f"CREATE TABLE datasource ({names})")
        rows: Iterator[tuple[object, ...]] = (tuple(row.values()) for row in bank.rows(count, 0))
        connection.executemany(f"INSERT INTO datasource VALUES ({', '.join('?' * len(bank.COLUMNS))})", rows)


def contestants() -> dict[str, Callable[[Path], list[float]]]:
    found: dict[str, Callable[[Path], list[float]]] = {
        "whimbrel, Parquet": by_parquet,
        "whimbrel, external CSV": by_csv,
        "sqlite": by_sqlite,
    }
    return found | ({"pandas, CSV": by_pandas} if find_spec("pandas") else {})


def by_parquet(folder: Path) -> list[float]:
    with Database(folder, {}) as database:
        return _corr(database, "bank")


def by_csv(folder: Path) -> list[float]:
    columns = ", ".join(f"{name} {DDL[kind]}" for name, kind in bank.TYPES.items() if name != "customer_id")
    with Database(folder, {}) as database:
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


def by_pandas(folder: Path) -> list[float]:
    import pandas  # type: ignore[import-untyped]

    names = [name for name in bank.COLUMNS if name != "customer_id"]
    frame = pandas.read_csv(default_folder(folder, "bank") / FILE, names=names)
    frame["contact"] = (frame["contact"] == "telephone").astype(int)
    return [float(frame[name].corr(frame["y"])) for name in NAMES]


def measure(folder: Path, rounds: int) -> dict[str, tuple[float, float]]:
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants()}
    for _ in range(rounds):
        for name, run in contestants().items():
            cpu, wall = time.process_time(), time.perf_counter()
            run(folder)
            seen[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {name: (_median(each, 0), _median(each, 1)) for name, each in seen.items()}


def table(results: dict[str, tuple[float, float]]) -> str:
    lines = [f"{'correlation query':<28}{'CPU ms':>10}{'wall ms':>10}"]
    lines += [f"{name:<28}{cpu * 1000:>10.0f}{wall * 1000:>10.0f}" for name, (cpu, wall) in results.items()]
    return "\n".join(lines)


def _median(measured: list[tuple[float, float]], place: int) -> float:
    return statistics.median(each[place] for each in measured)


if __name__ == "__main__":
    main()
