"""What applying costs: CPU time for each change from the log to the acknowledged write, beside boto3 one by one.

``python -m benchmarks.apply [--json] [--changes N] [--rounds N]``. The sink runs in a process of its own, so the CPU
time is the applier's alone. The other side is what a Lambda function as in the published solution does at best: it
parses the event, and makes one put_item, update_item or delete_item of it with a boto3 client.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3

from benchmarks.null_sink import null_sink
from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.mapping.versions import Versions
from whimbrel.migration.apply import Applier
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.project import KeyRule, TableRule, Target
from whimbrel.records import Change, Column, Commit, Position, Table

TABLE = Table(
    "shop",
    "purchase",
    (
        *(
            Column(name, "text", nullable=False, length=20, type_name="varchar(20)")
            for name in ("customerid", "orderid", "productid")
        ),
        Column("quantity", "int", type_name="int(11)"),
    ),
    ("customerid", "orderid", "productid"),
)
GROUP = TableRule(
    "shop.purchase",
    "orders",
    "group",
    KeyRule("customerid", "${customerid}"),
    KeyRule("orderid", "${orderid}"),
    entry_name="${productid}",
    entry_value="quantity",
)
RECORD = TableRule(
    "shop.purchase",
    "orders",
    "record",
    KeyRule("c_o", "${customerid}|${orderid}"),
    KeyRule("productid", "${productid}"),
)


@dataclass
class Result:
    """Microseconds of CPU for each change, the median of the rounds, and changes a second on one core."""

    shape: str
    contestant: str
    changes: int
    cpu_us: float
    changes_per_second: float
    times_faster: float = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results = compare(options.changes, options.rounds)
    print(json.dumps([asdict(result) for result in results], indent=2) if options.json else table(results))


def compare(count: int, rounds: int) -> list[Result]:
    """Both shapes, boto3's way first, ours second."""
    few = max(100, count // 20)
    with tempfile.TemporaryDirectory() as name, null_sink() as endpoint:
        folder = Path(name)
        write_log(folder / "log", changes(count))
        events = list(itertools.islice(_events(folder / "log"), few))
        client = boto3.client(
            "dynamodb", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        target = Target(endpoint=endpoint, region="us-east-1")
        work: dict[tuple[str, str], tuple[int, Callable[[], None]]] = {}
        for shape, rule, boto in (("group", GROUP, _boto_group), ("record", RECORD, _boto_record)):
            work[shape, "boto3, one by one"] = (few, partial(_one_by_one, boto, client, events))
            work[shape, "whimbrel"] = (count, partial(apply, folder, rule, target))
        return _measure(work, rounds)


def changes(count: int, seed: int = 1) -> Iterator[Change]:
    """Inserts, updates and deletes of order lines, spread over many orders."""
    chance, position = random.Random(seed), Position("bin.000001", 4)
    for number in range(count):
        order = chance.randrange(count)
        row = (f"customer{order // 3}", f"order{order}", f"product{chance.randrange(1000)}", number % 100)
        kind = chance.random()
        before = None if kind < 0.4 else (*row[:3], 1)
        yield Change(TABLE, before, None if kind > 0.8 else row, position)


def write_log(folder: Path, all_changes: Iterator[Change]) -> None:
    """Transactions of five changes."""
    with ChangeLogWriter(folder) as log:
        for number in itertools.count(1):
            part = list(itertools.islice(all_changes, 5))
            if not part:
                return
            log.append(part)
            log.commit(Commit(Position("bin.000001", 100 * number), time.time()))


def apply(folder: Path, rule: TableRule, target: Target) -> None:
    """The whole log, as ``whimbrel apply`` does it."""
    wire = DynamoClient(target)
    with tempfile.TemporaryDirectory(dir=folder) as state:
        checkpoints = CheckpointStore(Path(state) / "checkpoint.json")
        dirty = DirtyKeys(StateFolder(Path(state)), checkpoints.now)
        writer = Writer(wire, target, before=dirty.begin_write)
        applier = Applier(
            ChangeLogReader(folder / "log", None),
            {rule.source: Versions(rule, TABLE)},
            writer,
            DeadLetters(Path(state) / "dead.jsonl"),
            dirty,
            checkpoints,
            Progress(),
        )
        while applier.step():
            pass
        applier.save()
        dirty.close()
    wire.close()


def table(results: list[Result]) -> str:
    lines = [f"{'':<10}{'':<20}{'CPU µs a change':>16}{'changes/s a core':>18}{'faster':>8}"]
    for each in results:
        faster = f"{each.times_faster}x" if each.times_faster != 1 else ""
        rate = f"{each.changes_per_second:,.0f}"
        lines.append(f"{each.shape:<10}{each.contestant:<20}{each.cpu_us:>16}{rate:>18}{faster:>8}")
    return "\n".join(lines)


def _measure(work: dict[tuple[str, str], tuple[int, Callable[[], None]]], rounds: int) -> list[Result]:
    seen: dict[tuple[str, str], list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, (_, run) in work.items():
            began = time.process_time()
            run()
            if number:  # the first warms caches
                seen[name].append(time.process_time() - began)
    results: list[Result] = []
    for (shape, who), (count, _) in work.items():
        cpu_us = statistics.median(seen[shape, who]) / count * 1e6
        result = Result(shape, who, count, round(cpu_us, 1), round(1e6 / cpu_us))
        if results and results[-1].shape == shape:
            result.times_faster = round(results[-1].cpu_us / cpu_us, 1)
        results.append(result)
    return results


def _events(log: Path) -> Iterator[str]:
    """The log's own lines: they have the fields of the published solution's events."""
    for path in sorted(log.glob("*.log")):
        for line in path.read_text().splitlines():
            if '"row"' in line:
                yield line


def _one_by_one(write: Callable[[Any, str], None], client: Any, events: list[str]) -> None:
    for event in events:
        write(client, event)


def _boto_group(client: Any, line: str) -> None:
    event = json.loads(line)
    row = event["row"].get("after_values") or event["row"].get("values")
    key = {"customerid": {"S": row["customerid"]}, "orderid": {"S": row["orderid"]}}
    names = {"#p": row["productid"]}
    if event["type"] == "DeleteRowsEvent":
        client.update_item(TableName="orders", Key=key, UpdateExpression="REMOVE #p", ExpressionAttributeNames=names)
        return
    client.update_item(
        TableName="orders",
        Key=key,
        UpdateExpression="SET #p = :q",
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={":q": {"N": str(row["quantity"])}},
    )


def _boto_record(client: Any, line: str) -> None:
    event = json.loads(line)
    row = event["row"].get("after_values") or event["row"].get("values")
    key = {"c_o": {"S": f"{row['customerid']}|{row['orderid']}"}, "productid": {"S": row["productid"]}}
    if event["type"] == "DeleteRowsEvent":
        client.delete_item(TableName="orders", Key=key)
        return
    client.put_item(
        TableName="orders",
        Item=key
        | {
            "customerid": {"S": row["customerid"]},
            "orderid": {"S": row["orderid"]},
            "quantity": {"N": str(row["quantity"])},
        },
    )


if __name__ == "__main__":
    main()
