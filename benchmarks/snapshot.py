"""From MySQL or MariaDB to compressed files: whimbrel's snapshot beside what people would use instead, in one run.

CPU is that of the exporting process (user + system), for each row, and beside it that of the server meanwhile. Each way
runs in a new process, several times, in turn; the medians count. mydumper and the dump programs are used where they are
installed; connectorx is in the rivals' environment (rivals.py).

``python -m benchmarks.snapshot [--rows 1000000] [--repeat 3] [--server mariadb] [--json]``
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import SSCursor

from benchmarks.rivals import their_python
from demo.servers import MariaDB, MySQL, SqlServer
from whimbrel.mysql.chunks import chunk_statement, cutting_key
from whimbrel.mysql.connect import connect
from whimbrel.mysql.schema import read_table
from whimbrel.mysql.snapshot import export_table, plan
from whimbrel.project import NO_SOURCE, Source
from whimbrel.snapshot_files import Chunk

Figures = dict[str, float]
DATABASE = "bench"
CPU_LIMIT, MEMORY_LIMIT = 4.0, 150.0  # µs a row, MB


def with_whimbrel(source: Source, table: str, folder: Path) -> int:
    connection = connect(source)
    described = read_table(connection, source.database, table)
    connection.close()
    key = ("customerid", "orderid")
    return export_table(source, described, key, folder / "export", stop=threading.Event()).rows


def with_pymysql(source: Source, table: str, folder: Path) -> int:
    """The usual script: a streaming cursor, the csv module and gzip."""
    connection = pymysql.connect(
        host=source.host, port=source.port, user=source.user, password=source.password, database=source.database
    )
    rows = 0
    with gzip.open(folder / "rows.csv.gz", "wt", newline="") as file, connection.cursor(SSCursor) as cursor:
        writer = csv.writer(file)
        cursor.execute(f"SELECT * FROM {table}")
        for row in cursor:
            writer.writerow(row)
            rows += 1
    return rows


def with_dump(source: Source, table: str, folder: Path) -> int:
    """mariadb-dump or mysqldump through gzip: SQL text, and one connection."""
    command = [dump_program() or "", f"--host={source.host}", f"--port={source.port}", f"--user={source.user}"]
    command += ["--single-transaction", "--skip-lock-tables", "--quick", source.database, table]
    environment = {**os.environ, "MYSQL_PWD": source.password}
    with (folder / "rows.sql.gz").open("wb") as file:
        dump = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        subprocess.run(["gzip", "-6"], stdin=dump.stdout, stdout=file, check=True)
        if dump.wait():
            raise SystemExit(f"{command[0]} ended with {dump.returncode}")
    return 0


def with_mydumper(source: Source, table: str, folder: Path, *more: str) -> int:
    """One thread, as whimbrel has one process."""
    command = ["mydumper", f"--host={source.host}", f"--port={source.port}", f"--user={source.user}"]
    command += [f"--password={source.password}", "--threads=1", "--trx-consistency-only", *more]
    command += [f"--database={source.database}", f"--tables-list={table}", f"--outputdir={folder}"]
    done = subprocess.run(command, check=False, capture_output=True, timeout=600)  # it ends with 1 for any warning
    if b"Finished dump" not in done.stderr and not (folder / "metadata").exists():
        raise SystemExit(done.stderr.decode())
    return 0


def with_mydumper_packed(source: Source, table: str, folder: Path) -> int:
    return with_mydumper(source, table, folder, "--compress")


CONNECTORX = """
import sys, connectorx, pyarrow.parquet
url, query, file = sys.argv[1:]
rows = connectorx.read_sql(url, query, return_type="arrow", protocol="binary")
pyarrow.parquet.write_table(rows, file, compression="zstd")
"""


def with_connectorx(source: Source, table: str, folder: Path) -> int:
    """All rows in memory, then to Parquet."""
    url = f"mysql://{source.user}:{source.password}@{source.host}:{source.port}/{source.database}"
    command = [str(their_python()), "-c", CONNECTORX, url, f"SELECT * FROM {table}", str(folder / "rows.parquet")]
    subprocess.run(command, check=True, capture_output=True)
    return 0


def dump_program() -> str | None:
    return shutil.which("mariadb-dump") or shutil.which("mysqldump")


WAYS: dict[str, Callable[[Source, str, Path], int]] = {
    "whimbrel": with_whimbrel,
    "PyMySQL SSCursor + csv + gzip": with_pymysql,
    "dump + gzip": with_dump,
    "mydumper": with_mydumper,
    "mydumper --compress": with_mydumper_packed,
    "connectorx + pyarrow, Parquet": with_connectorx,
}


def can_run(way: str) -> bool:
    if "connectorx" in way:
        try:
            return bool(their_python())
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"(without connectorx: {error!r})\n", file=sys.stderr)
            return False
    if "mydumper" in way:
        return shutil.which("mydumper") is not None
    return way != "dump + gzip" or dump_program() is not None


def in_this_process(way: str, source: Source, table: str) -> Figures:
    """Run one way here, and measure it: its own children count too."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), cpu_seconds()
        rows = WAYS[way](source, table, Path(folder))
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {"rows": rows, "wall": wall, "cpu": cpu, "bytes": size, "rss_mb": own_peak_mb()}


def own_peak_mb() -> float:
    """Of this process, or of the largest that it ran, where ru_maxrss begins with that of this one. Its own would begin
    with that of the process it was forked from.
    """
    status = Path("/proc/self/status").read_text()
    theirs = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(int(status.split("VmHWM:")[1].split()[0]), theirs) / 1024


def cpu_seconds() -> float:
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def in_a_process(way: str, server: SqlServer, table: str) -> Figures:
    source, before = server.source(DATABASE), cpu_of(server.pid)
    settings = {name: getattr(source, name) for name in ("host", "port", "user", "database", "password")}
    job = json.dumps({"way": way, "source": settings, "table": table})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.snapshot", "--job"], input=job, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: Figures = json.loads(done.stdout)
    return figures | {"server": cpu_of(server.pid) - before}


def cpu_of(pid: int) -> float:
    """Seconds of CPU of a running process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(server: SqlServer, table: str, rows: int) -> None:
    """Orders of about five products; keys in their final order, as an application's mostly are."""
    digits = " UNION ALL ".join(f"SELECT {digit} AS n" for digit in range(10))
    places = range(len(str(rows - 1)))
    number = " + ".join(f"d{place}.n * {10**place}" for place in places)
    tables = ", ".join(f"({digits}) d{place}" for place in places)
    server.execute(
        "SET SESSION sql_log_bin = 0",
        f"CREATE DATABASE IF NOT EXISTS {DATABASE}",
        f"CREATE TABLE {DATABASE}.{table} (customerid VARCHAR(32), orderid VARCHAR(32), productid VARCHAR(32), "
        "quantity INT NOT NULL, PRIMARY KEY (customerid, orderid, productid))",
        f"INSERT INTO {DATABASE}.{table} SELECT CONCAT('customer', LPAD(FLOOR(x / 40), 8, '0')), "
        "CONCAT('order', LPAD(FLOOR(x / 5), 10, '0')), CONCAT('product', LPAD(x * 7919 % 10007, 5, '0')), x % 97 "
        f"FROM (SELECT {number} AS x FROM {tables}) numbers WHERE x < {rows}",
        f"ANALYZE TABLE {DATABASE}.{table}",
    )


def median(runs: list[Figures], rows: int) -> dict[str, Any]:
    names = ("wall", "cpu", "server", "bytes", "rss_mb")
    middle = {name: statistics.median(run[name] for run in runs) for name in names}
    return {
        "rows": rows,
        "cpu_us_per_row": middle["cpu"] / rows * 1e6,
        "server_us_per_row": middle["server"] / rows * 1e6,
        "rows_per_second": rows / middle["wall"],
        "bytes_per_row": middle["bytes"] / rows,
        "peak_rss_mb": middle["rss_mb"],
    }


def measure(server: SqlServer, rows: int, repeat: int) -> dict[str, Any]:
    """Side by side at ``rows``, and whimbrel alone at a sixteenth, a quarter and all of it."""
    sizes = {f"purchase_{part}": rows * part // 16 for part in (1, 4, 16)}
    for table, count in sizes.items():
        fill(server, table, count)
    ways = [way for way in WAYS if can_run(way)]
    side_by_side: dict[str, list[Figures]] = {way: [] for way in ways}
    growth: dict[str, list[Figures]] = {table: [] for table in sizes}
    for _ in range(repeat):
        for way in ways:
            side_by_side[way].append(in_a_process(way, server, "purchase_16"))
        for table in sizes:
            growth[table].append(in_a_process("whimbrel", server, table))
    return {
        "server": server.name,
        "repeat": repeat,
        "ways": {way: median(runs, rows) for way, runs in side_by_side.items()},
        "server_parts": server_parts(server, "purchase_16", rows),
        "growth": {str(count): median(growth[table], count) for table, count in sizes.items()},
    }


def server_parts(server: SqlServer, table: str, rows: int) -> dict[str, float]:
    """What the server spends on each kind of statement of an export, in microseconds a row."""
    connection = connect(server.source(DATABASE))
    described, key = read_table(connection, DATABASE, table), ("customerid", "orderid")
    cut = partial(plan, connection, described, key, NO_SOURCE.chunk_rows)
    cuts = list(cut())
    _, index = cutting_key(connection, described, key)
    whole = Chunk(1, None, None, ())
    parts: dict[str, Callable[[], object]] = {
        "cutting the table into chunks": lambda: list(cut()),
        "reading the chunks": lambda: [read(chunk_statement(described, chunk, index)) for chunk in cuts],
        "reading everything at once": lambda: read(chunk_statement(described, whole, index)),
    }

    def read(statement: str) -> int:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return len(cursor.fetchall())

    taken: dict[str, float] = {}
    for part, run in parts.items():
        before = cpu_of(server.pid)
        run()
        taken[part] = (cpu_of(server.pid) - before) / rows * 1e6
    connection.close()
    return taken


def show(result: dict[str, Any]) -> None:
    print(f"snapshot of {result['server']}, medians of {result['repeat']} runs; CPU of the exporting process")
    print(f"{'':32}{'rows':>10}{'CPU µs/row':>12}{'the server':>12}{'rows/s':>12}{'bytes/row':>11}{'peak MB':>9}")
    lines = [
        *result["ways"].items(),
        *((f"whimbrel, {rows} rows", figures) for rows, figures in result["growth"].items()),
    ]
    for name, figures in lines:
        print(
            f"{name:32}{figures['rows']:>10}{figures['cpu_us_per_row']:>12.2f}{figures['server_us_per_row']:>12.2f}{figures['rows_per_second']:>12.0f}"
            f"{figures['bytes_per_row']:>11.1f}{figures['peak_rss_mb']:>9.0f}"
        )
    print("the server, CPU µs/row: " + ", ".join(f"{part} {us:.2f}" for part, us in result["server_parts"].items()))
    ours = result["ways"]["whimbrel"]
    kept = ours["cpu_us_per_row"] <= CPU_LIMIT and ours["peak_rss_mb"] < MEMORY_LIMIT
    print(f"at most {CPU_LIMIT:g} µs a row and under {MEMORY_LIMIT:g} MB: {'yes' if kept else 'NO'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--server", choices=("mariadb", "mysql"), default="mariadb")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--job", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job = json.load(sys.stdin)
        print(json.dumps(in_this_process(job["way"], Source(**job["source"]), job["table"])))
        return
    with {"mariadb": MariaDB, "mysql": MySQL}[options.server]() as server:
        result = measure(server, options.rows, options.repeat)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


if __name__ == "__main__":
    main()
