"""A load by Spark on this machine, beside that of one process: CPU time, of the JVM and of Python.

``python -m benchmarks.spark [--json] [--rows N]``. Rows of orders become items in a sink that accepts everything: as
groups that chunks hold whole, as records, and as groups that Spark has to bring together. Spark's start is in it. What
a process took is read every 50 ms, so as much of its end may be missing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.apply import GROUP, RECORD, TABLE
from benchmarks.cores import export
from benchmarks.null_sink import null_sink
from demo.from_debian import servers_folder
from whimbrel.checkpoint import TableProgress
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.kinesis.settings import FunctionSettings, SourceTable
from whimbrel.mapping.design import compile_mapping
from whimbrel.mapping.provenance import of_snapshot
from whimbrel.memory import few_collections
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.load import ChunkLoader, Loader
from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.migration.spark import submitted
from whimbrel.migration.spark.submitted import SparkLoader, SparkWork
from whimbrel.migration.state import CheckpointStore
from whimbrel.mysql.plan import Plan
from whimbrel.project import NO_SOURCE, KeyRule, Project, Spark, TableRule, Target
from whimbrel.records import Position
from whimbrel.threads import Thread

APART = replace(
    GROUP, partition_key=KeyRule("orderid", "${orderid}"), sort_key=None, exclude=("customerid",), assert_unique=True
)
RULES = {"group": GROUP, "record": RECORD, "group, by a shuffle": APART}
START = Position("bin.000001", 4)
LOOK = 0.05
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Result:
    """Microseconds a row: of CPU, and by the clock."""

    shape: str
    way: str
    rows: int
    python_us: float
    jvm_us: float
    wall_us: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shapes", default=";".join(RULES))
    options = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    if (folder := servers_folder() / "spark").is_dir():
        os.environ["PYTHONPATH"] = str(folder)
    results = []
    with tempfile.TemporaryDirectory() as name:
        export(Path(name, "export"), options.rows)
        for shape in options.shapes.split(";"):
            for way in ("process", "Spark"):
                with null_sink() as url, loading(RULES[shape], Path(name), url, way) as loader:
                    results.append(measured(shape, way, options.rows, loader, Path(name)))
    print(json.dumps([asdict(each) for each in results], indent=2) if options.json else table(results))


def table(results: list[Result]) -> str:
    lines = [f"{'µs a row':<22}{'by':>9}{'Python CPU':>12}{'JVM CPU':>9}{'both':>7}{'clock':>8}"]
    for each in results:
        both = each.python_us + each.jvm_us
        figures = f"{each.python_us:>12.2f}{each.jvm_us:>9.2f}{both:>7.2f}{each.wall_us:>8.2f}"
        lines.append(f"{each.shape:<22}{each.way:>9}{figures}")
    return "\n".join(lines)


@contextmanager
def loading(rule: TableRule, folder: Path, url: str, way: str) -> Iterator[ChunkLoader]:
    state, mapping = folder / "state", compile_mapping(rule, TABLE)
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    target = Target(endpoint=url, region="us-east-1")
    checkpoints = CheckpointStore(state / "checkpoint.json")
    plan = Plan(folder / "export")
    planned = TableProgress(chunks_planned=len(plan.chunks), rows_exported=sum(plan.rows.values()))
    checkpoints.save(checkpoints.now.with_table(mapping.source, planned))
    progress, stop = Progress(tables={mapping.source: TableCounts()}), threading.Event()
    kept = (DeadLetters(state / "dead.jsonl"), checkpoints, progress, stop)
    wire = DynamoClient(target)
    if way == "process":
        yield Loader(mapping, Writer(wire, target), *kept, of_snapshot(START, 0.0))
    else:
        project = Project(folder / "whimbrel.toml", folder, NO_SOURCE, target, (rule,), spark=Spark(tasks=2))
        settings = FunctionSettings(0.0, 64, (SourceTable(rule, TABLE, TABLE, TABLE.names),))
        setattr(submitted, "function_settings", lambda prepared, history: settings)  # noqa: B010
        prepared: Any = SimpleNamespace(project=project)
        work = SparkWork(prepared, prepared, of_snapshot(START, 0.0), lambda: None)
        yield SparkLoader(work, mapping, *kept)
    wire.close()
    assert checkpoints.now.table(mapping.source).rows_loaded == planned.rows_exported


def measured(shape: str, way: str, rows: int, loader: ChunkLoader, folder: Path) -> Result:
    with watched() as used:
        began, own = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        with few_collections():  # as whimbrel's commands do, and its tasks
            assert loader.load(Plan(folder / "export"), folder / "state" / "spill") == 0
        now = resource.getrusage(resource.RUSAGE_SELF)
        wall = time.perf_counter() - began
    mine = now.ru_utime + now.ru_stime - own.ru_utime - own.ru_stime
    jvm = sum(seconds for is_jvm, seconds in used.values() if is_jvm)
    python = mine + sum(seconds for is_jvm, seconds in used.values() if not is_jvm)
    return Result(shape, way, rows, *(round(each / rows * 1e6, 2) for each in (python, jvm, wall)))


@contextmanager
def watched() -> Iterator[dict[int, tuple[bool, float]]]:
    """Of each process below this one that Spark has: whether it is a JVM, and the CPU seconds it has taken."""
    used: dict[int, tuple[bool, float]] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK):
            for pid in below(os.getpid()):
                with suppress(OSError):
                    used[pid] = taken(pid)
            used[0] = (False, -time.thread_time())  # of this process, but not of what is measured

    watching = Thread(watch, "watch")
    watching.start()
    try:
        yield used
    finally:
        over.set()
        watching.join()


def below(pid: int) -> list[int]:
    """All that it and its own started, but for the sink."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(each) for each in path.read_text().split()]
    found = [each for each in found if not is_sink(each)]
    return found + [each for one in found for each in below(one)]


def is_sink(pid: int) -> bool:
    with suppress(OSError):
        return b"benchmarks.null_sink" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def taken(pid: int) -> tuple[bool, float]:
    name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    fields = rest.split()
    return "(java" in name, (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
