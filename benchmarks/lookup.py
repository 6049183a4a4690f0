"""What a look-up costs: CPU time for each change of a record that looks a column up, beside the same record without.

``python -m benchmarks.lookup [--json] [--changes N] [--rounds N]``. The changes are those of ``apply``, and each finds
its customer, one of 1,000, in memory after the first time. The store is filled beforehand, as a load does it; that it
is opened and checked counts. The last line is one change of a customer that all rows look up: CPU time for each item
that is written again. All is done with as few collections of garbage as whimbrel's commands have.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.apply import RECORD, TABLE, Result, changes, measure, show, write_log
from benchmarks.null_sink import null_sink
from whimbrel.changelog.files import ChangeLogReader
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.mapping.lookups import Parent
from whimbrel.mapping.versions import Versions
from whimbrel.memory import few_collections
from whimbrel.migration.apply import Applier
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.joins import Joins
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.project import KeyRule, LookupRule, TableRule, Target
from whimbrel.records import Change, Column, Position, Row, Table

CUSTOMERS = 1_000
CUSTOMER = Table(
    "shop",
    "customer",
    (Column("id", "text", nullable=False, length=20), Column("name", "text", length=40)),
    ("id",),
)
CUSTOMER_RULE = TableRule("shop.customer", "customers", "record", KeyRule("id", "${id}"))
LOOKING = replace(RECORD, lookups=(LookupRule("name", "shop.customer", "name", ("customerid",)),))


def main() -> None:
    show(__doc__, compare)


def compare(count: int, rounds: int) -> list[Result]:
    customers = [(f"customer{number}", f"name {number}") for number in range(CUSTOMERS)]
    rows = [("customer0", f"order{number}", "product1", 1) for number in range(count)]
    one = Change(CUSTOMER, customers[0], ("customer0", "another name"), Position("bin.000001", 4))
    with tempfile.TemporaryDirectory() as name, null_sink(0.0) as endpoint:
        target = Target(endpoint=endpoint, region="us-east-1")
        for log, logged in (("changes", (_of_few(each) for each in changes(count))), ("customer", iter([one]))):
            (Path(name) / log).mkdir()
            write_log(Path(name) / log / "log", logged)
        for log, filled in (("changes", []), ("customer", rows)):
            fill(Path(name) / log / "lookups.sqlite", customers, filled)
        run = partial(apply, target=target)
        work: dict[tuple[str, str], tuple[int, Callable[[], None]]] = {
            ("record", "without a look-up"): (count, partial(run, Path(name) / "changes", RECORD)),
            ("look-up", "a change of a row"): (count, partial(run, Path(name) / "changes", LOOKING)),
            ("looked up", "all rows again"): (count, partial(run, Path(name) / "customer", LOOKING)),
        }
        with few_collections():
            return measure(work, rounds)


def _of_few(change: Change) -> Change:
    """With one of the customers there are."""

    def of(row: Row | None) -> Row | None:
        return row and (f"customer{int(str(row[0]).removeprefix('customer')) % CUSTOMERS}", *row[1:])

    return change._replace(before=of(change.before), after=of(change.after))


def versions_of(rule: TableRule) -> dict[str, Versions]:
    return {
        rule.source: Versions(rule, TABLE, parents={"shop.customer": Parent((CUSTOMER_RULE,), CUSTOMER, CUSTOMER)}),
        CUSTOMER_RULE.source: Versions(CUSTOMER_RULE, CUSTOMER),
    }


def joins_of(path: Path, versions: dict[str, Versions]) -> Joins:
    return Joins(path, {name: each.of(each.first) for name, each in versions.items()}, versions)


def fill(path: Path, customers: Iterable[Row], rows: Iterable[Row]) -> None:
    joins = joins_of(path, versions_of(LOOKING))
    with joins.filling({}):
        joins.fill(CUSTOMER, list(customers))
        joins.fill(TABLE, list(rows))


def apply(folder: Path, rule: TableRule, target: Target) -> None:
    """The whole log, as ``whimbrel apply`` does it, after the load of which ``fill`` made the store."""
    wire, versions = DynamoClient(target), versions_of(rule)
    with tempfile.TemporaryDirectory(dir=folder) as state:
        checkpoints = CheckpointStore(Path(state) / "checkpoint.json")
        dirty = DirtyKeys(StateFolder(Path(state)), checkpoints.now)
        joins = None
        if rule.lookups:
            joins = joins_of(Path(shutil.copy(folder / "lookups.sqlite", state)), versions)
            joins.open()
        applier = Applier(
            ChangeLogReader(folder / "log", None),
            versions,
            Writer(wire, target, before=dirty.begin_write),
            DeadLetters(Path(state) / "dead.jsonl"),
            dirty,
            checkpoints,
            Progress(),
            joins=joins,
        )
        while applier.step():
            pass
        applier.save()
        applier.close()
        dirty.close()
    wire.close()


if __name__ == "__main__":
    main()
