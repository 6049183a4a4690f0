"""From MariaDB into a warehouse: whimbrel beside dlt, into DuckDB and PostgreSQL, in one run; and changes into DuckDB.

CPU is that of the loading process (user + system), with all that it starts, for each row. Each way is a new process.
dlt is in the rivals' environment (rivals.py). It has no way to follow a MySQL binlog, so nothing stands beside changes.
The load into DuckDB is measured with a second number of rows, too: what one more row takes, without the start.

``python -m benchmarks.warehouse [--rows 300000] [--more 1000000] [--changes 100000] [--json]``
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.rivals import their_python
from demo.servers import MariaDB, PostgreSQL, ServerUnavailable

TABLE = """CREATE TABLE purchase (id INT PRIMARY KEY, customer VARCHAR(20), product VARCHAR(20), quantity INT,
  price DECIMAL(10,2), bought DATETIME, note VARCHAR(40))"""
ROWS = """INSERT INTO purchase SELECT seq, CONCAT('customer', seq % 5000), CONCAT('product', seq % 300), seq % 20,
  seq / 7, '2026-01-01' + INTERVAL seq SECOND, IF(seq % 3, 'as usual', NULL) FROM seq_1_to_{rows}"""
DLT = """
import os, sys
os.environ.update(RUNTIME__DLTHUB_TELEMETRY="false", RUNTIME__LOG_LEVEL="ERROR")
import dlt
from dlt.sources.sql_database import sql_table
url, backend, kind, place, folder = sys.argv[1:]
more = {"backend_kwargs": {"conn": url.replace("+pymysql", "")}} if backend == "connectorx" else {}
rows = sql_table(credentials=url, table="purchase", backend=backend, chunk_size=50_000, **more)
to = dlt.destinations.duckdb(place) if kind == "duckdb" else dlt.destinations.postgres(place)
pipeline = dlt.pipeline("bench", destination=to, dataset_name="shop", pipelines_dir=folder)
pipeline.run(rows, write_disposition="replace")
"""
PROJECT = """[warehouse]
engine = "{engine}"
url = "{url}"
{more}
[[silo]]
name = "shop"
url = "{source}"
tls = "off"
"""


class Bench:
    def __init__(self, source: MariaDB, postgres: PostgreSQL | None, rows: int, folder: Path) -> None:
        self.source, self.postgres, self.rows, self.folder = source, postgres, rows, folder
        self.database = source.new_database("bench")
        source.execute(TABLE, ROWS.format(rows=rows), database=self.database)

    def project(self, engine: str) -> Path:
        folder = self.folder / f"whimbrel-{engine}"
        folder.mkdir(mode=0o700)
        url, more = "warehouse.duckdb", ""
        if self.postgres and engine == "postgres":
            url, more = self.postgres.url(self.postgres.new_database()), 'tls = "off"'
        text = PROJECT.format(engine=engine, url=url, more=more, source=self.source.url(self.database))
        (folder / "whimbrel.toml").write_text(text)
        return folder

    def whimbrel(self, folder: Path, units: int) -> dict[str, float]:
        passwords = {"WHIMBREL_SOURCE_PASSWORD": self.source.password}
        if self.postgres:
            passwords["WHIMBREL_WAREHOUSE_PASSWORD"] = self.postgres.password
        command = [sys.executable, "-m", "whimbrel", "converge", "--until-caught-up", "--json"]
        return measured(command, units, cwd=folder, env=os.environ | passwords)

    def dlt(self, backend: str, kind: str) -> dict[str, float]:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        source = self.source
        url = f"mysql+pymysql://{source.admin}:{source.password}@{source.host}:{source.port}/{self.database}"
        place = str(folder / "bench.duckdb")
        if self.postgres and kind == "postgres":
            place = self.postgres.url(self.postgres.new_database()).replace("@", f":{self.postgres.password}@")
        command = [str(their_python()), "-c", DLT, url, backend, kind, place, str(folder)]
        return measured(command, self.rows, cwd=folder, env=dict(os.environ))

    def change(self, changes: int) -> None:
        """In transactions of a hundred rows: updates, and a tenth of deletes and inserts."""
        with self.source.connect(self.database, autocommit=False) as connection, connection.cursor() as cursor:
            for start in range(0, changes, 100):
                first = 1 + start % (self.rows - 200)
                cursor.execute(f"UPDATE purchase SET quantity = quantity + 1 WHERE id BETWEEN {first} AND {first + 89}")
                cursor.execute(f"DELETE FROM purchase WHERE id BETWEEN {first + 90} AND {first + 94}")
                again = f"SELECT seq, 1 FROM seq_{first + 90}_to_{first + 94}"
                cursor.execute(f"REPLACE INTO purchase (id, quantity) {again}")
                connection.commit()


def measured(command: list[str], units: int, *, cwd: Path, env: dict[str, str]) -> dict[str, float]:
    peak = [0.0]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        watcher = threading.Thread(target=_watch, args=(process, peak))
        watcher.start()
        output, said = process.communicate(timeout=600)
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{command[:6]}: {said.decode()[-2000:]}{output.decode()[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.monotonic() - began
    return {"cpu_us": cpu / units * 1e6, "per_second": units / seconds, "megabytes": peak[0], "seconds": seconds}


def _watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            return
        found = [line for line in status.splitlines() if line.startswith("VmHWM")]
        if found:
            peak[0] = max(peak[0], int(found[0].split()[1]) / 1000)
        time.sleep(0.1)


class Figures:
    """``found`` are those of each contestant, and number of rows."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def add(self, contestant: str, units: int, values: dict[str, float]) -> None:
        rounded = {name: round(value, 2) for name, value in values.items()}
        self.found.append({"contestant": contestant, "units": units, **rounded})
        said = f"{values['cpu_us']:.2f} µs, {values['per_second']:,.0f}/s, {values['megabytes']:.0f} MB"
        print(f"({contestant}, {units:,}: {said})", file=sys.stderr, flush=True)  # the whole takes minutes

    def load(self, bench: Bench, engine: str) -> Path:
        folder = bench.project(engine)
        self.add(f"whimbrel into {engine}", bench.rows, bench.whimbrel(folder, bench.rows))
        for backend in ("pyarrow", "connectorx"):
            try:
                self.add(f"dlt {backend} into {engine}", bench.rows, bench.dlt(backend, engine))
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"(without dlt: {error!r})", file=sys.stderr)
        return folder

    def each_more(self) -> dict[str, float]:
        """CPU µs of one more row, of those that were measured with two numbers of rows."""
        found: dict[str, float] = {}
        by_name: dict[str, dict[str, Any]] = {}
        for each in self.found:
            first = by_name.setdefault(each["contestant"], each)
            if first is not each:
                cpu = each["cpu_us"] * each["units"] - first["cpu_us"] * first["units"]
                found[each["contestant"]] = round(cpu / (each["units"] - first["units"]), 2)
        return found


def measure(source: MariaDB, postgres: PostgreSQL | None, asked: argparse.Namespace, folder: Path) -> Figures:
    bench, figures = Bench(source, postgres, asked.rows, folder), Figures()
    followed = figures.load(bench, "duckdb")
    if asked.more:
        (folder / "more").mkdir(mode=0o700)
        figures.load(Bench(source, None, asked.more, folder / "more"), "duckdb")
    bench.change(asked.changes)
    figures.add("whimbrel, changes into duckdb", asked.changes, bench.whimbrel(followed, asked.changes))
    if postgres:
        figures.load(bench, "postgres")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--more", type=int, default=1_000_000, help="0 for none")
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, MariaDB(Path(folder) / "source") as source:
        try:
            with PostgreSQL(Path(folder) / "postgres") as postgres:
                figures = measure(source, postgres, asked, Path(folder))
        except ServerUnavailable as reason:
            print(f"(without PostgreSQL: {reason})", file=sys.stderr)
            figures = measure(source, None, asked, Path(folder))
    each_more = figures.each_more()
    if asked.json:
        print(json.dumps({"figures": figures.found, "each_more": each_more}))
        return 0
    print(f"{'':<34} {'rows':>10} {'CPU µs each':>12} {'each/s':>10} {'MB':>6}")
    for each in figures.found:
        name, rate, size = each["contestant"], f"{each['per_second']:,.0f}", f"{each['megabytes']:,.0f}"
        print(f"{name:<34} {each['units']:>10,} {each['cpu_us']:>12} {rate:>10} {size:>6}")
    for name, cpu in each_more.items():
        print(f"{name + ', one more row':<45} {cpu:>12}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
