"""What the reverse stream costs: CPU time for each change of an item, from the stream to the committed row. And how
long it takes to compare the items that it touched with their rows: before a rollback, and while nobody can write.

``python -m benchmarks.reverse [--json] [--changes N]``. MariaDB and the stand-in for DynamoDB run in processes of their
own, so the CPU time is whimbrel's alone. Tables with a second unique index are written row by row, others in bulk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from demo.servers import MariaDB, Ministack
from whimbrel.dynamodb.streams import open_streams
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.handover.early import Early
from whimbrel.handover.look import Site
from whimbrel.handover.markers import mark_shards
from whimbrel.handover.reconcile import reconcile, verify_back
from whimbrel.handover.reverse import Reverse, Settings
from whimbrel.migration.prepare import prepare
from whimbrel.project import KeyRule, Project, TableRule

COLUMNS = "id INT PRIMARY KEY, name VARCHAR(20), mail VARCHAR(30){unique}, price DECIMAL(10,2), seen DATETIME, n INT"
ITEMS = 5_000


@dataclass(frozen=True, slots=True)
class Result:
    contestant: str
    table: str
    changes: int
    cpu_us: float  # a change
    seconds: float


@dataclass(frozen=True, slots=True)
class Compared:
    """``early_us``: CPU time an item, of a pass while applications write. The milliseconds are of the clock."""

    items: int
    early_us: float
    early_ms: float
    end_ms: float  # of the end, after that pass
    end_alone_ms: float  # of the end, had there been no pass


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--changes", type=int, default=20_000)
    options = parser.parse_args()
    with MariaDB().start() as source, Ministack().start() as target:
        measured = [measure(source, target, kind, options.changes) for kind in ("bulk", "unique")]
    if options.json:
        print(json.dumps([asdict(each) for both in measured for each in both], indent=2))
        return
    for each, _ in measured:
        rate = f"{1e6 / each.cpu_us:,.0f} a second of CPU time, {each.changes / each.seconds:,.0f} by the clock"
        print(f"reverse, {each.table:<8} {each.cpu_us:8.1f} us a change: {rate}")
    for each, compared in measured:
        before = f"{compared.early_us:.1f} us an item, {compared.early_ms:,.0f} ms by the clock"
        ends = f"the end then {compared.end_ms:,.0f} ms, without it {compared.end_alone_ms:,.0f}"
        print(f"compare, {each.table:<8} {compared.items:,} items before the close: {before}; {ends}")


def measure(source: MariaDB, target: Ministack, kind: str, changes: int) -> tuple[Result, Compared]:
    database = source.new_database()
    columns = COLUMNS.format(unique=" UNIQUE" if kind == "unique" else "")
    source.execute(f"CREATE TABLE person ({columns})", database=database)
    name = f"reverse-{database}"
    rule = TableRule(f"{database}.person", name, "record", KeyRule("id", "${id}", "N"))
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        project = Project(state / "whimbrel.toml", state, source.source(database), target.target(), (rule,))
        prepared, streams = prepare(project), open_streams(project.target)
        wire = DynamoClient(project.target)
        stream = make_table(target, name)
        mark = partial(mark_shards, wire, streams, stream, name, (("id", "N"),))
        stop = threading.Event()
        starts = {name: mark(nonce="start", stop=stop)}
        write(target, name, changes)
        ends = {name: mark(nonce="end", stop=stop)}
        account = replace(project.source, user=source.admin)
        reverse = Reverse(prepared, 1, starts, stop, print, Settings(account))
        began, cpu = time.perf_counter(), time.process_time()
        reverse.follow(lambda: bool(reverse.at_end(ends)))
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
        assert not len(reverse.letters)
        assert reverse.written == changes
        compared = compare(Site(prepared, 1, wire, stop, Settings(account)), min(changes, ITEMS))
    return Result("whimbrel", kind, changes, 1e6 * used / changes, seconds), compared


def compare(site: Site, items: int) -> Compared:
    alone = end(site)
    began, cpu = time.perf_counter(), time.process_time()
    Early(site, lambda _target, _key: False).until(lambda: False)  # nothing was refused
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    return Compared(items, 1e6 * used / items, 1000 * seconds, end(site), alone)


def end(site: Site) -> float:
    """Milliseconds of what a rollback does while nobody can write."""
    began = time.perf_counter()
    reconcile(site)
    assert all(report.equal for report in verify_back(site))
    return 1000 * (time.perf_counter() - began)


def make_table(target: Ministack, name: str) -> str:
    made = target.client().create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    return str(made["TableDescription"]["LatestStreamArn"])


def write(target: Ministack, name: str, changes: int) -> None:
    """Puts of new items, and then changes of all of them, over and over."""
    puts: list[dict[str, Any]] = []
    for number in range(changes):
        item = {
            "id": {"N": str(number % ITEMS)},
            "name": {"S": f"name {number}"},
            "mail": {"S": f"{number % ITEMS}@example.org"},
            "price": {"N": f"{number}.5"},
            "seen": {"S": "2026-01-31T12:00:00"},
            "n": {"N": str(number)},
        }
        puts.append({"PutRequest": {"Item": item}})
        if len(puts) == 25 or number == changes - 1:
            target.client().batch_write_item(RequestItems={name: puts})
            puts = []


if __name__ == "__main__":
    main()
