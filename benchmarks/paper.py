"""On paper: what the AWS post's own test, a billion rows, would take and cost here with each engine; and what a day's
renewal of the data of a hundred million items takes beside the other post's way, which reads the whole table each time.

Nothing is run. CPU is as docs/benchmarks.md has it, prices are those of ``check`` (us-east-1, with their date), and the
target takes a write unit for each item, as an order of ten lines has less than a KB. ``python -m benchmarks.paper``
prints the tables of docs/aws.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from demo import bank
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
CALLS, CHANGED = 100_000_000, 0.01  # items of the bank's table, and how many of them change in a day
READ_BYTES = 8192  # that a unit reads where reads need not be consistent
SCAN_UNITS = 4_000  # a second
# What the model costs beside the data. Public notes and programs of 2026 agree on these, for us-east-1 (2026-11-30).
READ_MILLION = 0.125  # a million read units on demand
TRAINING = ("ml.m5.24xlarge", 5.53, 384)  # dollars an hour; GB, as training takes 110 bytes for each value
ENDPOINT = ("ml.m5.large", 0.115, 2)  # and how many machines
TASK_HOUR = 0.04048 + 4 * 0.004445  # of Fargate: a core and 4 GB, which a step's task has
STEPS, LEAST_TASK = 5, 1 / 60  # hours
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


class Renewal(NamedTuple):
    """A day's export and conversion. ``microseconds`` of CPU for each item of the table, None where nobody measured it;
    ``exported`` are bytes that DynamoDB exports itself.
    """

    name: str
    read_units: float
    microseconds: float | None
    exported: float


def renewals() -> Iterator[Renewal]:
    size = item_size(bank.item(next(iter(bank.rows(1, 0)))))
    table, changed = CALLS * size, CALLS * CHANGED * size
    [whole] = measured(r"^\| export, whole \| [\d.]+ \| ([\d.]+) \|$")
    [compared] = measured(r"^\| export by comparing, 1 % changed \| [\d.]+ \| ([\d.]+) \|$")
    [converted] = measured(r"^whimbrel convert +([\d.]+) ")
    [delta] = measured(r"^\| convert, an item \| [\d.]+ \| ([\d.]+) \|")
    yield Renewal("the post: EMR and Hive", table / READ_BYTES, None, 0)
    yield Renewal("export, whole", table / READ_BYTES, whole + converted, 0)
    yield Renewal("export by comparing", table / READ_BYTES, compared + CHANGED * delta, 0)
    yield Renewal("by DynamoDB, whole", 0, converted, table)
    yield Renewal("by DynamoDB, what changed", 0, CHANGED * delta, changed)


def renewal_lines() -> list[str]:
    prices = read_prices(None, REGION)
    core, size = prices.engines["spark_core_hour"] + 4 * prices.engines["spark_gb_hour"], CALLS / GB
    size *= item_size(bank.item(next(iter(bank.rows(1, 0)))))
    recovery = size * prices.engines["recovery_gb"]
    head = f"{'a day':<28}{'read units':>12}{f'h, {SCAN_UNITS:,} units':>16}{'CPU, core h':>13}{'$':>8}"
    made = [
        f"{CALLS:,} items, {size:,.1f} GB, of which {CHANGED:.0%} change in a day; prices of {REGION}, {prices.as_of}",
        "",
        f"{head}{'GB exported':>13}",
    ]
    for each in renewals():
        hours = f"{each.read_units / SCAN_UNITS / HOUR:.1f}" if each.read_units else ""
        cpu, dollars = "", ""
        if each.microseconds is not None:
            work = CALLS * each.microseconds / 1e6 / HOUR
            cpu, dollars = f"{work:.3f}", f"{work * core:.3f}"
        exported = f"{each.exported / GB:,.1f}" if each.exported else ""
        made.append(f"{each.name:<28}{each.read_units:>12,.0f}{hours:>16}{cpu:>13}{dollars:>8}{exported:>13}".rstrip())
    reading = CALLS * item_size(bank.item(next(iter(bank.rows(1, 0))))) / READ_BYTES / 1e6 * READ_MILLION
    made += ["", f"point-in-time recovery, which exports by DynamoDB need: ${recovery:,.2f} a month"]
    return [*made, f"reading the table once, on demand: ${reading:,.2f}", "", *model_lines()]


def model_lines() -> Iterator[str]:
    """The model, which costs the same whatever way the data comes: trained each day, and served all day."""
    [row] = measured(r"`train`.*\n?.*training by itself\]\(#memory\) takes (\d+) µs a row")
    (machine, dollars, _), (served_by, served, machines) = TRAINING, ENDPOINT
    training = CALLS * row / 1e6 / HOUR
    tasks, serving = training + STEPS * LEAST_TASK, 24.0 * machines
    yield f"{'beside the data, a day':<46}{'hours':>8}{'$':>8}"
    yield f"{f'training in our container, {machine}':<46}{training:>8.1f}{training * dollars:>8.2f}"
    yield f"{'tasks of the state machine, one core and 4 GB':<46}{tasks:>8.1f}{tasks * TASK_HOUR:>8.2f}"
    yield f"{f'endpoint, {machines} machines {served_by}':<46}{serving:>8.1f}{serving * served:>8.2f}"


def main() -> None:
    print("\n".join([*lines(), "", *renewal_lines()]))


if __name__ == "__main__":
    main()
