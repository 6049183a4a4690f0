"""What a way to hand over and back costs: noting the keys that apply writes, watching the source for writes past the
fence, and DynamoDB for late ones after a rollback.

``python -m benchmarks.watches [--json] [--changes N]``. The watches read all that is written there, whimbrel's own
writes too, of which there are no others here: CPU time for each of them, beside the reverse stream's own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.apply import GROUP, RECORD, apply, changes, write_log
from benchmarks.null_sink import null_sink
from benchmarks.reverse import COLUMNS, ITEMS, make_table, write
from demo.servers import MariaDB, Ministack
from whimbrel.checkpoint import Checkpoint
from whimbrel.dynamodb.streams import open_streams
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.handed_over import OPEN, Handover
from whimbrel.handover.markers import mark_shards
from whimbrel.handover.reverse import Reverse, Settings
from whimbrel.migration import late
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.past_fence import FenceWatch
from whimbrel.migration.prepare import prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.mysql.connect import connect, current_position
from whimbrel.project import KeyRule, Project, TableRule, Target
from whimbrel.records import Item, ItemOperation, Position

ROUNDS = 5


class _Timed(DirtyKeys):
    """``spent``: CPU time within, in seconds. A difference between two runs would be lost in their noise."""

    spent = 0.0

    def begin_write(self, operations: Sequence[ItemOperation]) -> None:
        self._timed(partial(super().begin_write, operations))

    def add(self, target: str, keys: Iterable[Item]) -> None:
        self._timed(partial(super().add, target, keys))

    def save(self, applied: int) -> None:
        self._timed(partial(super().save, applied))

    @staticmethod
    def _timed(do: Callable[[], None]) -> None:
        began = time.thread_time()
        do()
        _Timed.spent += time.thread_time() - began


@dataclass(frozen=True, slots=True)
class Result:
    what: str
    changes: int
    cpu_us: float  # a change


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--changes", type=int, default=20_000)
    options = parser.parse_args()
    with MariaDB().start() as source, Ministack().start() as target, tempfile.TemporaryDirectory() as folder:
        results = noting(Path(folder), options.changes) + watching(source, target, Path(folder), options.changes)
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return
    for each in results:
        print(f"{each.what:<38}{each.cpu_us:8.1f} us a change")


def noting(folder: Path, count: int) -> list[Result]:
    """Applying, and what of it is the noting of keys."""
    found = []
    write_log(folder / "log", changes(count))
    with null_sink() as endpoint:
        target = Target(endpoint=endpoint, region="us-east-1")
        for name, rule in (("group", GROUP), ("record", RECORD)):
            took, noted = list[float](), list[float]()
            for _ in range(ROUNDS):
                began, _Timed.spent = time.process_time(), 0.0
                apply(folder, rule, target, _Timed)
                took.append(time.process_time() - began)
                noted.append(_Timed.spent)
            found.append(Result(f"apply, {name}", count, 1e6 * statistics.median(took) / count))
            found.append(Result(f"  of it to note the keys, {name}", count, 1e6 * statistics.median(noted) / count))
    return found


def watching(source: MariaDB, target: Ministack, folder: Path, count: int) -> list[Result]:
    database, found = source.new_database(), list[Result]()
    source.execute(f"CREATE TABLE person ({COLUMNS.format(unique='')})", database=database)
    name = f"watches-{database}"
    rule = TableRule(f"{database}.person", name, "record", KeyRule("id", "${id}", "N"))
    project = Project(folder / "whimbrel.toml", folder, source.source(database), target.target(), (rule,))
    stream, stop = make_table(target, name), threading.Event()
    run = Run(prepare(project), stop, Progress())
    run.folder.make()
    mark = partial(
        mark_shards, DynamoClient(project.target), open_streams(project.target), stream, name, (("id", "N"),)
    )
    starts = {name: mark(nonce="start", stop=stop)}
    write(target, name, count)
    ends = {name: mark(nonce="end", stop=stop)}
    account = Settings(replace(project.source, user=source.admin))
    reverse, began = Reverse(run.prepared, 1, starts, stop, print, account), end_of(run)
    watch = FenceWatch(run, open_since(run, began), database, list, print)
    dirty = DirtyKeys(run.folder, Checkpoint())
    late.begin(run.folder.root, {name: stream}, starts)
    dirty.add(name, [{"id": {"N": str(number)}} for number in range(ITEMS)])

    def timed(what: str, work: Callable[[], object]) -> None:
        cpu = time.process_time()
        work()
        found.append(Result(what, count, 1e6 * (time.process_time() - cpu) / count))

    def watch_source() -> None:
        with watch:
            watch.wait_until(end_of(run), 600)

    looking = late.Late(run, print)
    timed("the reverse stream", partial(reverse.follow, lambda: bool(reverse.at_end(ends))))
    timed("watching the source past the fence", watch_source)
    timed("watching DynamoDB after a rollback", looking.look)
    dirty.close()
    assert reverse.written == count
    assert len(watch.letters) == looking.count == 0
    return found


def end_of(run: Run) -> Position:
    with closing(connect(run.prepared.project.source)) as connection:
        return current_position(connection)


def open_since(run: Run, end: Position) -> Handover:
    return Handover(step=OPEN, fence_epoch=1, end=end, server=run.prepared.server.server_uuid)


if __name__ == "__main__":
    main()
