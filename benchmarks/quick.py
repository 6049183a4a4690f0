"""Verifying only the items that changed, as a cutover does it while nobody can write: items a second, both sides read.

``python -m benchmarks.quick [--json] [--items N] [--rounds N]``. Both servers run on this machine, and take most of the
time by the clock; the CPU time is whimbrel's own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from demo.servers import Dynalite, MariaDB, MySQL, SqlServer
from demo.shop import fill
from whimbrel.migration import moving, proving, verify
from whimbrel.migration.follow import Follower
from whimbrel.migration.live import Asked
from whimbrel.migration.prepare import prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.mysql.connect import connect
from whimbrel.project import Project, load_project

PROJECT = """
[source]
url = "{url}"
[target]
endpoint = "{endpoint}"
region = "us-east-1"
[[table]]
source = "{database}.purchase"
target = "purchase"
shape = "record"
partition_key = {{ name = "customer_orderid", value = "${{customerid}}|${{orderid}}" }}
sort_key = {{ name = "productid" }}
exclude = ["customerid", "orderid"]
"""


@dataclass
class Result:
    """Medians of the rounds: milliseconds for all items, and microseconds of CPU for each."""

    source: str
    items: int
    noting_ms: float  # reading which items they are
    verify_ms: float
    cpu_us: float
    items_per_second: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local")
    results = [measured(kind, options.items, options.rounds) for kind in (MariaDB, MySQL)]
    print(json.dumps([asdict(each) for each in results], indent=2) if options.json else table(results))


def measured(kind: type[SqlServer], items: int, rounds: int) -> Result:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with kind(folder / "source") as server, Dynalite(folder / "target") as endpoint:
            database = server.new_database()
            fill(server, database, items)
            file = folder / "whimbrel.toml"
            file.write_text(
                PROJECT.format(url=server.url(database), endpoint=endpoint.endpoint, database=database),
                encoding="utf-8",
            )
            os.environ["WHIMBREL_SOURCE_PASSWORD"] = server.password
            project, asked = load_project(file), Asked(threading.Event())
            moving.migrate(project, asked, until_caught_up=True, into_existing=False)
            assert proving.verify(project, asked).equal
            server.execute("UPDATE purchase SET quantity = quantity + 1", database=database)
            moving.migrate(project, asked, until_caught_up=True, into_existing=False)
            return _rounds(project, server.name, rounds)


def _rounds(project: Project, source: str, rounds: int) -> Result:
    prepared, progress, stop = prepare(project), Progress(), threading.Event()
    seen: list[tuple[float, float, float]] = []
    with Run(prepared, stop, progress) as run:
        run.start_capture()
        with Follower(run), closing(connect(project.source)) as connection:
            end = run.lineage.end_of(connection)
            for _ in range(rounds + 1):
                began = time.monotonic()
                dirty = verify.dirty_items(prepared)
                noted, cpu = time.monotonic(), time.process_time()
                (report,) = verify.verify_keys(
                    prepared, dirty, run.wire, lambda: progress.applied_position, stop, progress, still=end
                )
                ended = time.monotonic()
                assert report.equal
                seen.append((noted - began, ended - noted, time.process_time() - cpu))
                assert run.dirty is not None
                run.dirty.add("purchase", dirty.keys("purchase"))
    noting, verifying, used = (statistics.median(each) for each in zip(*seen[1:], strict=True))
    count = len(dirty)
    rate = round(count / (noting + verifying))
    return Result(source, count, round(noting * 1e3), round(verifying * 1e3), round(used / count * 1e6, 1), rate)


def table(results: list[Result]) -> str:
    lines = [f"{'source':<12}{'items':>8}{'noted ms':>10}{'verify ms':>11}{'CPU µs an item':>16}{'items/s':>10}"]
    for each in results:
        figures = f"{each.noting_ms:>10.0f}{each.verify_ms:>11.0f}{each.cpu_us:>16}{each.items_per_second:>10,.0f}"
        lines.append(f"{each.source:<12}{each.items:>8,}{figures}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
