"""On paper: what the AWS post's own test, a billion rows, would take and cost here with each engine.

Nothing is run. CPU is as docs/benchmarks.md has it, prices are those of ``check`` (us-east-1, with their date), and the
target takes a write unit for each item, as an order of ten lines has less than a KB. ``python -m benchmarks.paper``
prints the table of docs/aws.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.checks.cost import Prices, read_prices
from whimbrel.checks.engines import (
    APPLY_US,
    FULL_CORE,
    FUNCTION_TIMES,
    LOAD_US,
    SEND_US,
    WORKER_CORES,
    WORKER_GB,
)
from whimbrel.item import item_size

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
REGION = "us-east-1"
ROWS, LINES = 1_000_000_000, 10  # of the post's test; of an order, each of which is an item
POST_SECONDS = 6 * 60 + 10 + 3 * 60 + 30  # of its export, and of its copy to S3
UNITS = (2_000, 40_000)  # a second: the post's table; what an account may have of a table, unless it asks for more
TASKS = 16  # of Spark
HOUR = 3600.0
GB = 1 << 30


class Load(NamedTuple):
    """``cores`` share ``core_hours``; ``dollars_an_hour`` is what the engine costs for as long as it runs, ``once``
    whatever that is. What ``imports`` takes no write units, and AWS says no rate.
    """

    name: str
    core_hours: float
    cores: float
    dollars_an_hour: float = 0.0
    once: float = 0.0
    imports: bool = False

    def hours(self, units: int) -> float:
        return max(ROWS / LINES / units / HOUR, self.core_hours / self.cores)


def measured(pattern: str) -> list[float]:
    """The figures of a line of docs/benchmarks.md."""
    found = re.search(pattern, PAGE.read_text(), re.MULTILINE)
    assert found, f"docs/benchmarks.md has no line like {pattern}"
    return [float(each.replace(",", "")) for each in found.groups()]


def core_hours(microseconds: float) -> float:
    """Of so many for each row."""
    return ROWS * microseconds / 1e6 / HOUR


def item() -> dict[str, dict[str, str]]:
    """An order of the post's table."""
    key = {"customerid": {"S": "customer1234567"}, "orderid": {"S": "order123456789"}}
    return {**key, **{f"product{number:06}": {"N": "12"} for number in range(LINES)}}


def loads(prices: Prices) -> Iterator[Load]:
    [times_faster], each = measured(r"^load, group +2 +[\d.]+ +[\d.]+ +([\d.]+)$"), prices.engines
    [both] = measured(r"^group +Spark +[\d.]+ +[\d.]+ +([\d.]+)")
    gigabytes = ROWS / LINES * len(orjson.dumps({"Item": item()})) / GB
    cores, memory = TASKS + WORKER_CORES, (TASKS // WORKER_CORES + 1) * WORKER_GB
    own = core_hours(LOAD_US["group"])
    yield Load("process, one core", own, 1)
    yield Load("process, two cores", own, times_faster)
    yield Load(
        f"Spark, {TASKS} tasks",
        core_hours(both),
        TASKS,
        cores * each["spark_core_hour"] + memory * each["spark_gb_hour"],
    )
    yield Load("import from S3", own, 1, once=gigabytes * (prices.import_gb or 0.0), imports=True)


def lines() -> list[str]:
    prices = read_prices(None, REGION)
    assert prices.write_million
    assert prices.write_hour
    assert item_size(item()) < 1024
    [rate] = measured(r"^whimbrel +500000 +[\d.]+ +[\d.]+ +(\d+)")
    items = ROWS / LINES
    provisioned, demanded = items / HOUR * prices.write_hour, items / 1e6 * prices.write_million
    made = [
        f"{ROWS:,} rows become {items:,.0f} items; prices of {REGION}, {prices.as_of}",
        f"snapshot, one process: {ROWS / rate / HOUR:.1f} h; the post: {POST_SECONDS / HOUR:.1f} h, copied to S3",
        f"write units: ${provisioned:,.2f} provisioned, at any rate; ${demanded:,.2f} on demand; none by an import",
        "",
        f"{'load':<20}{'CPU, core h':>12}" + "".join(f"{f'h, {units:,} units':>18}{'$':>8}" for units in UNITS),
    ]
    for load in loads(prices):
        parts = f"{load.name:<20}{load.core_hours:>12.1f}"
        for units in UNITS:
            dollars = f"{load.once + load.hours(units) * load.dollars_an_hour:,.2f}"
            parts += f"{'AWS names none' if load.imports else f'{load.hours(units):.1f}':>18}{dollars:>8}"
        made.append(parts)
    return [*made, f"{'the post':<20}{'':>12}{items / UNITS[0] / HOUR:>18.1f}", "", *changes(prices)]


def changes(prices: Prices) -> Iterator[str]:
    """The same rows as changes, each one write of its own at most."""
    own, function = core_hours(APPLY_US["group"]), core_hours(APPLY_US["group"] * FUNCTION_TIMES)
    dollars = function * HOUR * FULL_CORE / 1024 * prices.engines["function_gb_second"]
    demanded = ROWS / 1e6 * (prices.write_million or 0.0)
    yield f"as many changes of such rows, each an update at most: ${demanded:,.2f} on demand"
    yield f"{'applied by':<20}{'CPU, core h':>12}{'$':>8}"
    yield f"{'process':<20}{own:>12.1f}{'0.00':>8}"
    yield f"{'sender':<20}{core_hours(SEND_US):>12.1f}{'0.00':>8}"
    yield f"{'function':<20}{function:>12.1f}{dollars:>8.2f}   its CPU time alone"


def main() -> None:
    print("\n".join(lines()))


if __name__ == "__main__":
    main()
