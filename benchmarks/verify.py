"""What comparing everything costs: CPU a row from the source's rows and the target's pages to "equal", beside PyMySQL,
boto3 and a dict.

``python -m benchmarks.verify [--json] [--rows N] [--rounds N] [--ways W;W] [--shapes S;S]``. The SQL server and the one
that stands for DynamoDB run in processes of their own; each way runs in a new process, in turn, and the medians count.
CPU time is that of the comparing processes, their start apart, and beside it that of the two servers. What all of them
used of two cores, by the clock, says how much faster it could be here. Memory is the sum of what each of them had at
most.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import boto3
import pymysql
from boto3.dynamodb.types import TypeDeserializer
from pymysql.cursors import SSCursor

from benchmarks.scanned import create, scanned
from benchmarks.snapshot import cpu_of, own_peak_mb
from demo.servers import MariaDB
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.migration import first_look
from whimbrel.migration.first_look import FirstLook
from whimbrel.migration.prepare import prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.verify import verify_all
from whimbrel.project import load_project

PROJECT = """
[source]
url = "{url}"
[target]
endpoint = "{endpoint}"
region = "us-east-1"
[[table]]
source = "{database}.sale"
target = "sale"
"""
RULES = {
    "record": """shape = "record"
partition_key = { name = "sale", value = "${customerid}|${orderid}" }
sort_key = { name = "productid" }
exclude = ["customerid", "orderid"]
""",
    "group": """shape = "group"
partition_key = { name = "customerid" }
sort_key = { name = "orderid" }
entry = { name = "${productid}", value = "quantity" }
exclude = ["price", "sold", "note"]
""",
}
Figures = dict[str, float]


@dataclass
class Result:
    """Microseconds of CPU and of the clock for each row; megabytes."""

    shape: str
    contestant: str
    rows: int
    source_us: float
    target_us: float
    cpu_us: float
    servers_us: float
    wall_us: float
    peak_mb: float

    @property
    def used(self) -> int:
        """How much of two cores all processes used, in %."""
        return round((self.cpu_us + self.servers_us) / self.wall_us / 2 * 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", default=";".join(WAYS))
    parser.add_argument("--shapes", default=";".join(RULES))
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local")
    if options.job:
        print(json.dumps(_in_this_process(options.job, json.load(sys.stdin))))
        return
    results = compare(options.rows, options.rounds, options.ways.split(";"), options.shapes.split(";"))
    print(json.dumps([asdict(each) for each in results], indent=2) if options.json else table(results))


def compare(rows: int, rounds: int, ways: list[str], shapes: list[str]) -> list[Result]:
    """Without rounds, each way runs once, and that counts."""
    results = []
    with tempfile.TemporaryDirectory() as name, MariaDB(Path(name) / "source") as server:
        database = server.new_database()
        server.execute(*create(rows), database=database)
        os.environ["WHIMBREL_SOURCE_PASSWORD"] = server.password
        for shape in shapes:
            with scanned(rows, shape) as target:
                text = PROJECT.format(url=server.url(database), endpoint=target.url, database=database) + RULES[shape]
                job = {"project": text, "rows": rows, "shape": shape}
                seen: dict[str, list[Figures]] = {way: [] for way in ways}
                for number in range(rounds + 1):
                    for way in ways:
                        figures = _in_a_process(way, job, [server.pid, target.pid])
                        if number or not rounds:  # in the first, the answers are made
                            seen[way].append(figures)
            results += [_result(shape, way, rows, figures) for way, figures in seen.items()]
    return results


def _result(shape: str, way: str, rows: int, runs: list[Figures]) -> Result:
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    names = ("source", "target", "cpu", "servers", "wall")
    source, target, cpu, servers, wall = (round(middle[name] / rows * 1e6, 2) for name in names)
    return Result(shape, way, rows, source, target, cpu, servers, wall, round(middle["peak"]))


def table(results: list[Result]) -> str:
    head = f"{'CPU µs a row':<34}{'source':>8}{'target':>8}{'in all':>8}{'servers':>9}{'by the clock':>14}"
    lines = [f"{head}{'of two cores':>14}{'peak MB':>9}"]
    for each in results:
        figures = (
            f"{each.source_us:>8}{each.target_us:>8}{each.cpu_us:>8}{each.servers_us:>9}{each.wall_us:>14}"
            f"{each.used:>12} %{each.peak_mb:>9.0f}"
        )
        lines.append(f"{each.shape:<8}{each.contestant:<26}{figures}")
    return "\n".join(lines)


def _in_a_process(way: str, job: dict[str, Any], servers: list[int]) -> Figures:
    before = sum(map(cpu_of, servers))
    command = [sys.executable, "-m", "benchmarks.verify", "--job", way]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: Figures = json.loads(done.stdout)
    return figures | {"servers": sum(map(cpu_of, servers)) - before}


def _in_this_process(way: str, job: dict[str, Any]) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "whimbrel.toml"
        file.write_text(job["project"], encoding="utf-8")
        figures = WAYS[way](file, job)
    return figures | {"peak": own_peak_mb() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}


class Timed:
    """CPU and clock time of what is called through it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        cpu, wall = _cpu(), time.perf_counter()
        made = work(*arguments)
        self.seconds[name] = self.seconds.get(name, 0.0) + _cpu() - cpu
        self.seconds[f"{name} wall"] = time.perf_counter() - wall
        return made


def _cpu() -> float:
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def with_whimbrel(apart: int, file: Path, job: dict[str, Any]) -> Figures:
    timed = Timed()
    for name, side in (("_digest_source", "source"), ("_digest_target", "target")):
        method = getattr(FirstLook, name)
        setattr(FirstLook, name, lambda *arguments, side=side, method=method: timed(side, method, *arguments))
    first_look.ROWS_FOR_A_WORKER = apart
    project = load_project(file)
    prepared, stop = prepare(project), threading.Event()
    wire = DynamoClient(project.target)
    (report,) = timed("all", verify_all, prepared, wire, lambda: None, stop, Progress())
    assert report.equal
    assert report.rows == job["rows"]
    assert report.candidates == 0
    return _figures(timed)


def _figures(timed: Timed) -> Figures:
    found = timed.seconds  # in a process of its own, the target's is known when that has ended: it is the source's too
    return {
        "source": found["source"],
        "target": found.get("target", 0.0),
        "cpu": found["all"],
        "wall": found["all wall"],
    }


def with_a_dict(file: Path, job: dict[str, Any]) -> Figures:
    """The usual script: all that the rows should have made in a dict, and each scanned item taken out of it."""
    timed = Timed()
    project = load_project(file)
    expected: dict[tuple[Any, ...], dict[str, Any]] = {}

    def source() -> None:
        expected.update(_expected(project.source, job["shape"]))

    def target() -> None:
        table = boto3.resource("dynamodb", endpoint_url=project.target.endpoint, region_name="us-east-1").Table("sale")
        names = ("sale", "productid") if job["shape"] == "record" else ("customerid", "orderid")
        pages = table.meta.client.get_paginator("scan").paginate(TableName="sale")
        read = TypeDeserializer().deserialize
        for page in pages:
            for found in page["Items"]:
                item = {name: read(value) if isinstance(value, dict) else value for name, value in found.items()}
                assert expected.pop(tuple(item[name] for name in names)) == item

    def both() -> None:
        timed("source", source)
        timed("target", target)
        assert not expected

    timed("all", both)
    return _figures(timed)


def _expected(source: Any, shape: str) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    connection = pymysql.connect(
        host=source.host, port=source.port, user=source.user, password=source.password, database=source.database
    )
    with connection.cursor(SSCursor) as cursor:
        cursor.execute("SELECT * FROM sale ORDER BY customerid, orderid, productid")
        if shape == "record":
            for customer, order, product, quantity, price, sold, note in cursor:
                sale = f"{customer}|{order}"
                item = {"sale": sale, "productid": product, "quantity": quantity, "price": price}
                yield (sale, product), item | {"sold": sold.isoformat(), "note": note}
        else:
            for (customer, order), rows in groupby(cursor, key=lambda row: row[:2]):
                yield (customer, order), {"customerid": customer, "orderid": order} | {row[2]: row[3] for row in rows}


WAYS: dict[str, Callable[[Path, dict[str, Any]], Figures]] = {
    "whimbrel, in one process": partial(with_whimbrel, 1 << 60),
    "whimbrel": partial(with_whimbrel, 0),
    "PyMySQL + boto3 + a dict": with_a_dict,
}


if __name__ == "__main__":
    main()
