"""What the reverse stream costs: CPU time for each change of an item, from the stream to the committed row.

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
from whimbrel.handover.markers import mark_shards
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--changes", type=int, default=20_000)
    options = parser.parse_args()
    with MariaDB().start() as source, Ministack().start() as target:
        results = [measure(source, target, kind, options.changes) for kind in ("bulk", "unique")]
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return
    for each in results:
        rate = f"{1e6 / each.cpu_us:,.0f} a second of CPU time, {each.changes / each.seconds:,.0f} by the clock"
        print(f"reverse, {each.table:<8} {each.cpu_us:8.1f} us a change: {rate}")


def measure(source: MariaDB, target: Ministack, kind: str, changes: int) -> Result:
    database = source.new_database()
    columns = COLUMNS.format(unique=" UNIQUE" if kind == "unique" else "")
    source.execute(f"CREATE TABLE person ({columns})", database=database)
    name = f"reverse-{database}"
    rule = TableRule(f"{database}.person", name, "record", KeyRule("id", "${id}", "N"))
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        project = Project(state / "whimbrel.toml", state, source.source(database), target.target(), (rule,))
        prepared, streams = prepare(project), open_streams(project.target)
        stream = make_table(target, name)
        mark = partial(mark_shards, DynamoClient(project.target), streams, stream, name, (("id", "N"),))
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
    return Result("whimbrel", kind, changes, 1e6 * used / changes, seconds)


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
