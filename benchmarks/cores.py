"""What a second core brings: load, apply and convert with one process at work and with two.

``python -m benchmarks.cores [--json] [--rows N] [--rounds N] [--work "load, group"]``. Each run is a process of its
own, in turn, and the medians count: the clock from its first row to its last, the start of its workers included, and
the CPU time of it and its workers. Requests are made, signed and answered, but not sent: a sink that is a process would
need a core itself.
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
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.apply import GROUP, RECORD, TABLE, changes, write_log
from benchmarks.convert import write_items
from benchmarks.into_nothing import answer_at_once, applying_into_nothing, loading_into_nothing
from whimbrel.__main__ import Without
from whimbrel.changelog.files import ChangeLogReader
from whimbrel.checkpoint import RunLock
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.lake.convert import ConvertRules, from_files
from whimbrel.lake.sources import SourceFile
from whimbrel.mapping.design import compile_mapping
from whimbrel.mapping.provenance import of_snapshot
from whimbrel.mapping.versions import Versions
from whimbrel.memory import few_collections
from whimbrel.migration import apply_crew
from whimbrel.migration import load as loading
from whimbrel.migration.apply import Applier
from whimbrel.migration.apply_crew import ApplyCrew
from whimbrel.migration.apply_part import ApplyWork
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.load import Crew, Loader
from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.mysql.plan import Plan
from whimbrel.project import TableRule, Target
from whimbrel.records import Position, Row
from whimbrel.snapshot_files import Chunk, write_chunk

CHUNK_ROWS, LINE_ROWS = 10_000, 500
LINES = 4  # rows of one order
SECONDS = ("cpu", "wall")


@dataclass
class Result:
    """Microseconds a row or item by the clock, and of CPU; how many times faster than with one process."""

    work: str
    workers: int
    rows: int
    wall_us: float
    cpu_us: float
    times_faster: float = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rows", type=int, default=1_500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--work", default=";".join(WORK))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measured(json.loads(options.one))))
        return
    workers = [int(each) for each in options.workers.split(",")]
    results = compare(options.rows, options.rounds, workers, options.work.split(";"))
    print(json.dumps([asdict(each) for each in results], indent=2) if options.json else table(results))


def compare(rows: int, rounds: int, workers: list[int], works: list[str]) -> list[Result]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {"load, record": rows, "load, group": 3 * rows, "convert": rows // 2}
        sizes |= {"apply, record": rows // 3, "apply, group": rows // 6}
        results: list[Result] = []
        for work in works:
            make_ready(work, folder, sizes[work])
            seen: dict[int, list[dict[str, float]]] = {each: [] for each in workers}
            for _ in range(rounds):
                for each in workers:
                    seen[each].append(_in_a_process(work, folder, each))
            results += _results(work, sizes[work], seen)
    return results


def make_ready(work: str, folder: Path, size: int) -> None:
    if work == "convert":
        (folder / "items").mkdir()
        write_items(folder / "items", size, 16)
    elif work.startswith("apply"):
        write_log(folder / work, changes(size))
    else:
        export(folder / work.removeprefix("load, "), size)


def _results(work: str, rows: int, seen: dict[int, list[dict[str, float]]]) -> list[Result]:
    found = []
    for workers, runs in seen.items():
        cpu, wall = (statistics.median(run[name] for run in runs) / rows * 1e6 for name in SECONDS)
        found.append(Result(work, workers, rows, round(wall, 2), round(cpu, 2)))
    for each in found:
        each.times_faster = round(found[0].wall_us / each.wall_us, 2)
    return found


def table(results: list[Result]) -> str:
    lines = [f"{'µs a row or item':<20}{'processes':>10}{'by the clock':>14}{'CPU':>8}{'times faster':>14}"]
    for each in results:
        lines.append(
            f"{each.work:<20}{each.workers:>10}{each.wall_us:>14.2f}{each.cpu_us:>8.2f}{each.times_faster:>14.2f}"
        )
    return "\n".join(lines)


def _in_a_process(work: str, folder: Path, workers: int) -> dict[str, float]:
    job = json.dumps({"work": work, "folder": str(folder), "workers": workers})
    # Not as its main module: a worker has to find what it begins with.
    command = [sys.executable, "-c", "from benchmarks.cores import main; main()", "--one", job]
    more = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | more)
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _measured(job: dict[str, Any]) -> dict[str, float]:
    sys.meta_path.insert(0, Without("pandas", "numpy"))
    cpu, wall = _cpu(), time.perf_counter()
    with few_collections():  # both as whimbrel's commands do, and its workers
        WORK[job["work"]](Path(job["folder"]), job["workers"])
    return {"cpu": _cpu() - cpu, "wall": time.perf_counter() - wall}


def _cpu() -> float:
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def rows_of(count: int) -> Iterator[Row]:
    for number in range(count):
        order = number // LINES
        yield f"customer{order // 3:09}", f"order{order:09}", f"product{number % LINES}", number % 100


def export(folder: Path, count: int) -> None:
    """The export of a table, in chunks of whole orders."""
    folder.mkdir()
    plan, rows = Plan(folder), rows_of(count)
    plan.begin(TABLE, TABLE.primary_key)
    low = None
    for number in range(1, -(-count // CHUNK_ROWS) + 1):
        some = list(islice(rows, CHUNK_ROWS))
        high = some[-1][:3] if number * CHUNK_ROWS < count else None
        chunk = Chunk(number, low, high, TABLE.primary_key)
        plan.add(chunk)
        writer = write_chunk(plan.file(chunk), TABLE, chunk, plan.export)
        for start in range(0, len(some), LINE_ROWS):
            writer.write(some[start : start + LINE_ROWS])
        writer.close()
        plan.record({number: len(some)})
        low = high


def load(rule: TableRule, folder: Path, workers: int) -> None:
    """All of the export, as ``whimbrel load`` does it."""
    answer_at_once()
    setattr(loading, "chunk_loading", loading_into_nothing)  # noqa: B010
    target = Target(endpoint="http://127.0.0.1:9", region="us-east-1")
    mapping, plan = compile_mapping(rule, TABLE), Plan(folder / rule.shape)
    wire = DynamoClient(target)
    with tempfile.TemporaryDirectory(dir=folder) as name, RunLock(Path(name)) as lock:
        state = Path(name)
        loader = Loader(
            mapping,
            Writer(wire, target),
            DeadLetters(state / "dead.jsonl"),
            CheckpointStore(state / "checkpoint.json"),
            Progress(tables={mapping.source: TableCounts()}),
            threading.Event(),
            of_snapshot(Position("bin.000001", 4), 0.0),
            Crew(workers, target, lock.descriptor, lambda: None, wire.known),
        )
        assert loader.load(plan, state / "spill") == 0
    wire.close()


def apply(rule: TableRule, folder: Path, workers: int) -> None:
    """All of the log, as ``whimbrel apply`` does it."""
    answer_at_once()
    setattr(apply_crew, "applying", applying_into_nothing)  # noqa: B010
    target = Target(endpoint="http://127.0.0.1:9", region="us-east-1")
    wire, versions, log = DynamoClient(target), {rule.source: Versions(rule, TABLE)}, folder / f"apply, {rule.shape}"
    with tempfile.TemporaryDirectory(dir=folder) as name, RunLock(Path(name)) as lock:
        state, progress = Path(name), Progress()
        checkpoints = CheckpointStore(state / "checkpoint.json")
        dirty = DirtyKeys(StateFolder(state), checkpoints.now)
        crew = ApplyCrew(
            Crew(workers, target, lock.descriptor, lambda: None, wire.known),
            ApplyWork(log, versions, 0.0, target),
            dirty,
            progress,
            threading.Event(),
        )
        writer, letters = Writer(wire, target, before=dirty.begin_write), DeadLetters(state / "dead.jsonl")
        reader = ChangeLogReader(log, None)
        with closing(Applier(reader, versions, writer, letters, dirty, checkpoints, progress, crew=crew)) as applier:
            while applier.step():
                pass
            applier.check_end()
            applier.save()
        dirty.close()
    wire.close()


def convert(folder: Path, workers: int) -> None:
    files = [SourceFile(path, "full") for path in sorted((folder / "items").glob("*.json.gz"))]
    with tempfile.TemporaryDirectory(dir=folder) as name:
        done = from_files(Path(name), ConvertRules("bank", "bank", ("customer_id",), workers=workers), files)
    assert not done.refused


WORK: dict[str, Callable[[Path, int], None]] = {
    "load, record": partial(load, RECORD),
    "load, group": partial(load, GROUP),
    "apply, record": partial(apply, RECORD),
    "apply, group": partial(apply, GROUP),
    "convert": convert,
}


if __name__ == "__main__":
    main()
