"""A table and its exports: exported whole, again by comparing with one item in a hundred changed, made a data set, and
restored. CPU time of the client; the table is a stand-in in a process of its own.

``python -m benchmarks.lake [--json] [--items N] [--rounds N]``
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import whimbrel
from demo.servers import Dynalite, DynamoServer
from whimbrel.dynamodb.session import open_client
from whimbrel.dynamodb.tables import ensure_table
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.project import Target
from whimbrel.records import Item, Put

PROJECT = """
[target]
endpoint = "{endpoint}"
region = "us-east-1"
[[dataset]]
table = "items"
name = "items"
"""
KEY = (("pk", "S"), ("sk", "S"))
ATTRIBUTES = 14
CHANGED = 100  # one in so many


@dataclass
class Result:
    """Medians of the rounds."""

    step: str
    cpu_us: float  # an item
    wall_us: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local")
    with tempfile.TemporaryDirectory() as name, Dynalite(Path(name) / "target") as endpoint:
        results = measured(Path(name), endpoint, options.items, options.rounds)
    print(json.dumps([asdict(each) for each in results], indent=2) if options.json else table(results, options.items))


def measured(folder: Path, endpoint: DynamoServer, items: int, rounds: int) -> list[Result]:
    project = folder / "whimbrel.toml"
    project.write_text(PROJECT.format(endpoint=endpoint.endpoint), encoding="utf-8")
    target = Target(endpoint=endpoint.endpoint, region="us-east-1")
    ensure_table(open_client(target), "items", KEY, target)
    put(target, (item(number, 0) for number in range(items)))
    seen: dict[str, list[tuple[float, float]]] = {}

    def timed(step: str, do: Callable[[], object]) -> None:
        began, cpu = time.monotonic(), time.process_time()
        do()
        seen.setdefault(step, []).append((time.process_time() - cpu, time.monotonic() - began))

    for turn in range(1, rounds + 1):
        timed("export", lambda: whimbrel.export(project, "items", how="full"))
        put(target, (item(number, turn) for number in range(0, items, CHANGED)))
        timed("export by comparing", lambda: whimbrel.export(project, "items", method="compare"))
        timed("convert", lambda: whimbrel.convert(project, "items"))
        timed("restore", partial(whimbrel.restore, project, "items", into=f"restored{turn}"))
    return [
        Result(step, *(round(statistics.median(each) / items * 1e6, 1) for each in zip(*figures, strict=True)))
        for step, figures in seen.items()
    ]


def item(number: int, turn: int) -> Item:
    found: Item = {"pk": {"S": f"customer-{number // 10:07}"}, "sk": {"S": f"order-{number:08}"}}
    for each in range(ATTRIBUTES):
        found[f"attribute{each}"] = {"N": str(number * each + turn)} if each % 2 else {"S": f"text {number} {each}"}
    return found


def put(target: Target, items: Iterator[Item]) -> None:
    with closing(DynamoClient(target)) as wire:
        writer = Writer(wire, target, stop=threading.Event())
        while some := [Put("items", {name: each[name] for name, _ in KEY}, each) for each in islice(items, 2_500)]:
            assert not writer.write(some)


def table(results: list[Result], items: int) -> str:
    lines = [f"{items:,} items of {ATTRIBUTES + 2} attributes{'CPU µs':>12}{'wall µs':>9}   an item"]
    lines += [f"{each.step:<33}{each.cpu_us:>12}{each.wall_us:>9}" for each in results]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
