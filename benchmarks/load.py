"""What writing costs the client: CPU time per 300-byte item into a sink that answers at once, beside other clients.

``python -m benchmarks.load [--json] [--items N] [--rounds N]``. The sink runs in a process of its own, so the CPU
time is the client's alone. The rounds of all contestants are interleaved, and the median of each is shown. Those of
async_clients.py are left out where the rivals' environment (rivals.py) cannot be had.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import orjson
from boto3.dynamodb.types import TypeDeserializer
from botocore.config import Config

from benchmarks.null_sink import null_sink
from benchmarks.rivals import their_python
from demo.certificates import make_certificates
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.item import item_size
from whimbrel.project import Target
from whimbrel.records import Item, Put, Update

TABLE = "purchases"
LATENCY = 0.004  # seconds
# By what is done and by whom: how many operations, and what does them; it returns what it took, or None to be measured.
Work = dict[tuple[str, str], tuple[int, Callable[[], "tuple[float, float] | None"]]]
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
    """Puts and updates by all, first the others; then over TLS with a network's latency, by boto3 and by us."""
    with tempfile.TemporaryDirectory() as name:
        make_certificates(Path(name))
        os.environ["AWS_CA_BUNDLE"] = f"{name}/ca.pem"
        with null_sink() as endpoint:
            results = _compare(items, rounds, endpoint, "")
        with null_sink(LATENCY, Path(name)) as endpoint:
            return results + _compare(items, rounds, endpoint, f", TLS, {LATENCY * 1000:g} ms")


def _compare(items: int, rounds: int, endpoint: str, more: str) -> list[Result]:
    puts = [Put(TABLE, key(number), item(number)) for number in range(items)]
    updates = [
        Update(TABLE, put.key, {"product003": {"N": "7"}}, ("product004",), frozenset(put.key))
        for put in puts[: items // 5]
    ]
    few = max(100, items // 25)  # of the slow ones
    boto = boto3.resource("dynamodb", endpoint_url=endpoint, config=Config(parameter_validation=True), **KEYS)
    client = boto.meta.client
    target = Target(endpoint=endpoint, region="us-east-1")
    wire = DynamoClient(target)
    writer = Writer(wire, target)
    plain = [_plain(put.item) for put in puts[: len(updates)]]
    put, update = f"put, 25 a request{more}", f"update one item{more}"
    work: Work = {
        (put, "boto3 batch_writer"): (few, lambda: _boto_puts(boto, plain[:few])),
        **({} if more else _theirs("put", put, endpoint, plain)),
        (put, "whimbrel"): (items, lambda: _write(writer, puts)),
        (update, "boto3 update_item"): (few, lambda: _boto_updates(client, updates[:few])),
        **({} if more else _theirs("update", update, endpoint, plain[:few])),
        (update, "whimbrel"): (len(updates), lambda: _write(writer, updates)),
    }
    measured = measure(work, rounds)
    wire.close()
    return measured


def _theirs(work: str, what: str, endpoint: str, items: list[dict[str, Any]]) -> Work:
    """Each in a process of its own, which measures itself."""
    try:
        python = their_python()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"(without pydynox and aiodynamo: {error!r})\n", file=sys.stderr)
        return {}

    def run(client: str) -> tuple[float, float]:
        job = {"client": client, "work": work, "endpoint": endpoint, "items": items}
        command = [python, Path(__file__).parent / "async_clients.py"]
        done = subprocess.run(command, input=orjson.dumps(job, default=float), stdout=subprocess.PIPE, check=True)
        cpu, wall = json.loads(done.stdout)
        return cpu, wall

    return {(what, client): (len(items), partial(run, client)) for client in ("pydynox", "aiodynamo")}


def measure(work: Work, rounds: int) -> list[Result]:
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, (_, run) in work.items():
            cpu, wall = time.process_time(), time.perf_counter()
            measured = run()
            if number:  # the first opens connections and warms caches
                ours = (time.process_time() - cpu, time.perf_counter() - wall)
                seen[name].append(measured or ours)
    results: list[Result] = []
    for (what, who), (count, _) in work.items():
        cpu_us, wall_us = (statistics.median(each) / count * 1e6 for each in zip(*seen[what, who], strict=True))
        first = next((each.cpu_us for each in results if each.work == what), cpu_us)
        results.append(Result(what, who, count, round(cpu_us, 1), round(wall_us, 1), round(first / cpu_us, 1)))
    return results


def table(results: list[Result]) -> str:
    lines = [f"{'':<34}{'':<22}{'CPU µs':>10}{'wall µs':>10}{'less CPU':>10}   (item: {item_size(item(0))} bytes)"]
    for each in results:
        less = f"{each.times_less_cpu}x" if each.times_less_cpu != 1 else ""
        lines.append(f"{each.work:<34}{each.contestant:<22}{each.cpu_us:>10}{each.wall_us:>10}{less:>10}")
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
