"""What applying costs: CPU time for each change from the log to the acknowledged write, beside boto3.

``python -m benchmarks.apply [--json] [--changes N] [--rounds N]``. The sink runs in a process of its own, so the CPU
time is the applier's alone. It answers at once, and then after 4 ms, as DynamoDB does in its own region.

The other sides: what a Lambda function as in the published solution does at best, which parses the event and makes one
put_item, update_item or delete_item of it with a boto3 client; and what an expert would write: the events folded to one
write for each item, parameter validation off, 25 items a request where DynamoDB takes batches, else 32 threads.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import orjson
from botocore.config import Config

from benchmarks.null_sink import null_sink
from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.mapping.versions import Versions
from whimbrel.memory import few_collections
from whimbrel.migration.apply import Applier
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.project import KeyRule, TableRule, Target
from whimbrel.records import Change, Column, Commit, Position, Table

LATENCY = 0.004  # seconds
THREADS = 32
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
    """Microseconds of CPU for each change, and changes a second by the clock: medians of the rounds."""

    shape: str
    contestant: str
    changes: int
    cpu_us: float
    changes_per_second: float
    times_faster: float = 1.0


def main() -> None:
    show(__doc__, compare)


def show(about: str | None, compare: Callable[[int, int], list[Result]]) -> None:
    """The command of a benchmark of changes: ``compare`` takes how many, and the rounds."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results = compare(options.changes, options.rounds)
    print(json.dumps([asdict(result) for result in results], indent=2) if options.json else table(results))


def compare(count: int, rounds: int) -> list[Result]:
    """Both shapes, boto3's ways first, ours last; then the same with latency."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder / "log", changes(count))
        for latency in (0.0, LATENCY):
            with null_sink(latency) as endpoint:
                results += _compare(folder, count, rounds, endpoint, f", {latency * 1000:g} ms" if latency else "")
    return results


def _compare(folder: Path, count: int, rounds: int, endpoint: str, latency: str) -> list[Result]:
    few = max(100, count // 20)
    events = list(itertools.islice(_events(folder / "log"), few))
    settings: dict[str, Any] = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    settings |= {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    client = boto3.client("dynamodb", **settings)
    config = Config(parameter_validation=False, max_pool_connections=THREADS)
    quick = boto3.client("dynamodb", **settings, config=config)
    target = Target(endpoint=endpoint, region="us-east-1")
    work: dict[tuple[str, str], tuple[int, Callable[[], None]]] = {}
    for shape, rule, boto, folded in (
        ("group", GROUP, _boto_group, _boto_group_folded),
        ("record", RECORD, _boto_record, _boto_record_folded),
    ):
        work[shape + latency, "boto3, one by one"] = (few, partial(_one_by_one, boto, client, events))
        work[shape + latency, "boto3, folded"] = (few, partial(folded, quick, events))
        work[shape + latency, "whimbrel"] = (count, partial(apply, folder, rule, target))
    return measure(work, rounds)


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


def apply(folder: Path, rule: TableRule, target: Target, keys: type[DirtyKeys] = DirtyKeys) -> None:
    """The whole log, as ``whimbrel apply`` does it."""
    wire = DynamoClient(target)
    with tempfile.TemporaryDirectory(dir=folder) as state:
        checkpoints = CheckpointStore(Path(state) / "checkpoint.json")
        dirty = keys(StateFolder(Path(state)), checkpoints.now)
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
    lines = [f"{'':<14}{'':<20}{'CPU µs a change':>16}{'changes/s':>12}{'less CPU':>10}"]
    for each in results:
        faster = f"{each.times_faster}x" if each.times_faster != 1 else ""
        rate = f"{each.changes_per_second:,.0f}"
        lines.append(f"{each.shape:<14}{each.contestant:<20}{each.cpu_us:>16}{rate:>12}{faster:>10}")
    return "\n".join(lines)


def measure(work: dict[tuple[str, str], tuple[int, Callable[[], None]]], rounds: int) -> list[Result]:
    seen: dict[tuple[str, str], list[float]] = {name: [] for name in work}
    wall: dict[tuple[str, str], list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, (_, run) in work.items():
            began, at = time.process_time(), time.perf_counter()
            with few_collections():  # as whimbrel's commands do; the others have the good of it too
                run()
            if number:  # the first warms caches
                seen[name].append(time.process_time() - began)
                wall[name].append(time.perf_counter() - at)
    results: list[Result] = []
    for (shape, who), (count, _) in work.items():
        cpu_us = statistics.median(seen[shape, who]) / count * 1e6
        wall_us = statistics.median(wall[shape, who]) / count * 1e6
        result = Result(shape, who, count, round(cpu_us, 1), round(1e6 / wall_us))
        if results and results[-1].shape == shape:  # of the one before, which is the best of the others
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


def _boto_record_folded(client: Any, events: list[str]) -> None:
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for line in events:
        event = orjson.loads(line)
        row = event["row"].get("after_values") or event["row"].get("values")
        c_o, product = f"{row['customerid']}|{row['orderid']}", row["productid"]
        key = {"c_o": {"S": c_o}, "productid": {"S": product}}
        if event["type"] == "DeleteRowsEvent":
            last[c_o, product] = {"DeleteRequest": {"Key": key}}
            continue
        rest = {"customerid": {"S": row["customerid"]}, "orderid": {"S": row["orderid"]}}
        last[c_o, product] = {"PutRequest": {"Item": key | rest | {"quantity": {"N": str(row["quantity"])}}}}
    requests = list(last.values())
    for start in range(0, len(requests), 25):
        client.batch_write_item(RequestItems={"orders": requests[start : start + 25]})


def _boto_group_folded(client: Any, events: list[str]) -> None:
    items: dict[tuple[str, str], dict[str, str | None]] = {}
    for line in events:
        event = orjson.loads(line)
        row = event["row"].get("after_values") or event["row"].get("values")
        gone = event["type"] == "DeleteRowsEvent"
        entries = items.setdefault((row["customerid"], row["orderid"]), {})
        entries[row["productid"]] = None if gone else str(row["quantity"])

    def update(item: tuple[tuple[str, str], dict[str, str | None]]) -> None:
        (customer, order), entries = item
        names = {f"#{n}": name for n, name in enumerate(entries)}
        values = {f":{n}": {"N": value} for n, value in enumerate(entries.values()) if value is not None}
        sets = ",".join(f"#{name[1:]}={name}" for name in values)
        removes = ",".join(name for name in names if f":{name[1:]}" not in values)
        more = {"ExpressionAttributeValues": values} if values else {}
        client.update_item(
            TableName="orders",
            Key={"customerid": {"S": customer}, "orderid": {"S": order}},
            UpdateExpression=f"{'SET ' + sets if sets else ''} {'REMOVE ' + removes if removes else ''}",
            ExpressionAttributeNames=names,
            **more,
        )

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(update, items.items()):
            pass


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
