"""What writing costs the client: CPU time per 300-byte item into a sink that answers at once, beside boto3.

``python -m benchmarks.load [--json] [--items N] [--rounds N]``. The sink runs in a process of its own, so the CPU
time is the client's alone. The rounds of all contestants are interleaved, and the median of each is shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.config import Config

from benchmarks.null_sink import null_sink
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.item import item_size
from whimbrel.project import Target
from whimbrel.records import Item, Put, Update

TABLE = "purchases"
KEYS: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}
WRITE_AT_ONCE = 5_000


@dataclass
class Result:
    """Microseconds for each operation, the median of the rounds."""

    work: str
    contestant: str
    operations: int
    cpu_us: float
    wall_us: float
    times_less_cpu: float = 1.0  # than boto3's way of doing the same


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results = compare(options.items, options.rounds)
    print(json.dumps([asdict(result) for result in results], indent=2) if options.json else table(results))


def compare(items: int, rounds: int) -> list[Result]:
    """Puts, then updates: boto3's way first, ours second."""
    puts = [Put(TABLE, key(number), item(number)) for number in range(items)]
    updates = [
        Update(TABLE, put.key, {"product003": {"N": "7"}}, ("product004",), frozenset(put.key))
        for put in puts[: items // 5]
    ]
    few = max(100, items // 25)  # of the slow ones
    with null_sink() as endpoint:
        boto = boto3.resource("dynamodb", endpoint_url=endpoint, config=Config(parameter_validation=True), **KEYS)
        client = boto.meta.client
        target = Target(endpoint=endpoint, region="us-east-1")
        wire = DynamoClient(target)
        writer = Writer(wire, target)
        plain = [_plain(put.item) for put in puts[:few]]
        work: dict[tuple[str, str], tuple[int, Callable[[], object]]] = {
            ("put, 25 a request", "boto3 batch_writer"): (few, lambda: _boto_puts(boto, plain)),
            ("put, 25 a request", "whimbrel"): (items, lambda: _write(writer, puts)),
            ("update one item", "boto3 update_item"): (few, lambda: _boto_updates(client, updates[:few])),
            ("update one item", "whimbrel"): (len(updates), lambda: _write(writer, updates)),
        }
        measured = measure(work, rounds)
        wire.close()
    return measured


def measure(work: dict[tuple[str, str], tuple[int, Callable[[], object]]], rounds: int) -> list[Result]:
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, (_, run) in work.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            if number:  # the first opens connections and warms caches
                seen[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    results: list[Result] = []
    for (what, who), (count, _) in work.items():
        cpu_us, wall_us = (statistics.median(each) / count * 1e6 for each in zip(*seen[what, who], strict=True))
        result = Result(what, who, count, round(cpu_us, 1), round(wall_us, 1))
        if results and results[-1].work == what:
            result.times_less_cpu = round(results[-1].cpu_us / cpu_us, 1)
        results.append(result)
    return results


def table(results: list[Result]) -> str:
    lines = [f"{'':<20}{'':<22}{'CPU µs':>10}{'wall µs':>10}{'less CPU':>10}   (item: {item_size(item(0))} bytes)"]
    for each in results:
        less = f"{each.times_less_cpu}x" if each.times_less_cpu != 1 else ""
        lines.append(f"{each.work:<20}{each.contestant:<22}{each.cpu_us:>10}{each.wall_us:>10}{less:>10}")
    return "\n".join(lines)


def key(number: int) -> Item:
    return {"customerid": {"S": f"c{number:09}"}, "orderid": {"S": f"o{number:09}"}}


def item(number: int) -> Item:
    """300 bytes by DynamoDB's count: a key, 15 products with a quantity each, a note."""
    filled = key(number) | {f"product{each:03}": {"N": str(number + each * 17)} for each in range(15)}
    return filled | {"note": {"S": "x" * (300 - item_size(filled) - len("note"))}}


def _plain(value: Item) -> dict[str, Any]:
    read: Callable[[Any], Any] = TypeDeserializer().deserialize
    return {name: read(each) for name, each in value.items()}


def _boto_puts(boto: Any, items: list[dict[str, Any]]) -> None:
    with boto.Table(TABLE).batch_writer() as batch:
        for each in items:
            batch.put_item(Item=each)


def _boto_updates(client: Any, updates: list[Update]) -> None:
    read: Callable[[Any], Any] = TypeDeserializer().deserialize
    for update in updates:
        client.update_item(
            TableName=update.table,
            Key={name: read(value) for name, value in update.key.items()},
            UpdateExpression="SET #0=:0 REMOVE #1",
            ExpressionAttributeNames={"#0": next(iter(update.set)), "#1": update.remove[0]},
            ExpressionAttributeValues={":0": read(next(iter(update.set.values())))},
        )


def _write(writer: Writer, operations: list[Any]) -> None:
    for start in range(0, len(operations), WRITE_AT_ONCE):
        if rejected := writer.write(operations[start : start + WRITE_AT_ONCE]):
            sys.exit(f"rejected: {rejected[0].reason}")


if __name__ == "__main__":
    main()
