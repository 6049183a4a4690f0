"""``python -m tests.migration.many_children N FOLDER [LEFT]``: N rows look one row up, which changes. Prints as JSON
what each part took (seconds), the most memory of the process by then (MB), and how many items were written.

With LEFT the process dies by SIGKILL before so many portions; one that finds a state folder goes on with it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.apply import TABLE, write_log
from benchmarks.lookup import CUSTOMER, CUSTOMER_RULE, LOOKING
from benchmarks.null_sink import null_sink
from whimbrel.changelog.files import ChangeLogReader
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.mapping.lookups import Parent
from whimbrel.mapping.versions import Versions
from whimbrel.migration.apply import Applier
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.joins import Joins
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.project import Target
from whimbrel.records import Change, Position, Row

FIRST, CHANGED = ("customer0", "a name"), ("customer0", "another name")


class Parts:
    """What each part of the run took."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}
        self._began = time.monotonic()

    def ended(self, part: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        self.said[part] = {"seconds": round(time.monotonic() - self._began, 2), "peak_mb": peak}
        self._began = time.monotonic()


class Counted(Writer):
    """``items`` that were written."""

    items = 0

    def write(self, operations: Any) -> Any:
        self.items += len(operations)
        return super().write(operations)


def rows(count: int) -> Iterator[list[Row]]:
    made: Iterator[Row] = (("customer0", f"order{number}", "product1", 1) for number in range(count))
    while some := list(islice(made, 10_000)):
        yield some


def run(count: int, folder: Path, left: int, endpoint: str) -> dict[str, Any]:
    parts, target = Parts(), Target(endpoint=endpoint, region="us-east-1")
    parents = {CUSTOMER.full_name: Parent((CUSTOMER_RULE,), CUSTOMER, CUSTOMER)}
    versions = {
        LOOKING.source: Versions(LOOKING, TABLE, parents=parents),
        CUSTOMER_RULE.source: Versions(CUSTOMER_RULE, CUSTOMER),
    }
    mappings = {name: each.of(each.first) for name, each in versions.items()}
    state, store = StateFolder(folder), folder / "lookups.sqlite"
    parts.ended("start")
    joins = Joins(store, mappings, versions)
    if not store.exists():
        write_log(state.log, iter([Change(CUSTOMER, FIRST, CHANGED, Position("bin.000001", 4))]))
        with joins.filling({}):
            joins.fill(CUSTOMER, [FIRST])
            for some in rows(count):
                joins.fill(TABLE, some)
        parts.ended("fill")
    assert joins.open()
    parts.ended("open")
    checkpoints = CheckpointStore(state.checkpoint)
    joins.agree(checkpoints)
    dirty = DirtyKeys(state, checkpoints.now)
    wire = DynamoClient(target)
    writer = Counted(wire, target, before=dirty.begin_write)
    reader, letters = ChangeLogReader(state.log, checkpoints.now.applied), DeadLetters(state.dead)
    applier = Applier(reader, versions, writer, letters, dirty, checkpoints, Progress(), joins=joins)
    while applier.step():
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
    applier.save()
    applier.close()
    parts.ended("write")
    dirty.close()
    wire.close()
    return parts.said | {"items": writer.items, "disk_mb": store.stat().st_size >> 20}


if __name__ == "__main__":
    count, folder, *more = sys.argv[1:]
    with null_sink(0.0) as endpoint:
        print(json.dumps(run(int(count), Path(folder), int(more[0]) if more else 0, endpoint)))
