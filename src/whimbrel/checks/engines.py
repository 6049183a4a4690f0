"""Which engines a project needs, why not others, and what each would cost. docs/check.md has the formulas.

What one core does is measured (docs/benchmarks.md), and ``tests/checks/test_engines.py`` compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from whimbrel.aws.through import MEMORY, RETENTION_HOURS
from whimbrel.checks.following import MONTH
from whimbrel.kinesis.lanes import LANES
from whimbrel.kinesis.packed import Interval, pack
from whimbrel.migration.pack import RECORD_BYTES
from whimbrel.migration.send import MARK_RECORDS, MARK_SECONDS, POLL_SECONDS, REST_SECONDS

# µs of one core, by the shape of the table: of a slow machine, which takes up to twice what docs/benchmarks.md has.
# A document is a row and an item, as a record is.
LOAD_US = {"record": 13.2, "document": 13.2, "group": 2.95}  # a row
APPLY_US = {"record": 22.0, "document": 22.0, "group": 70.0}  # a change
SEND_US = 18.0  # a change: to read it from the log, and to send it
FUNCTION_TIMES = 1.2  # the function's CPU time, beside that of the process that applies
SPARK_US = 25.0  # a row, with Spark's own part
MOST_WORKERS = 13  # that the process that runs them keeps up with
BUSY = 0.5  # of a core: the rest is for peaks, and to catch up

SHARD_BYTES, SHARD_RECORDS = 1_000_000, 1_000  # a second
FULL_CORE = 1769  # MB of memory with which a function has one core
KB = 1 << 10
PUT_UNIT = 25 * KB
WORKER_CORES, WORKER_GB = 4, 16  # of EMR Serverless, unless a job says otherwise; one is the driver
CHUNK_ROWS = 10_000  # of one file
HOUR = 3600.0
FREE_HOURS = 24  # for which a stream keeps records at no price
GB = 1 << 30
COMMIT_BYTES = 200  # of a transaction's line in the change log, which has one change at least

KINESIS, LAMBDA = 'log.engine = "kinesis"', 'apply.engine = "lambda"'
NATIVE = 'lake.export = "native"'
SPARK, IMPORT = 'load.engine = "spark"', 'load.engine = "import"'

# Under [regions.NAME.engines] of a price file, and what each is for.
NAMES = (
    *("stream_hour", "stream_gb_in", "stream_gb_out", "stream_gb_month", "shard_hour", "retained_hour", "put_million"),
    *("function_gb_second", "function_million", "spark_core_hour", "spark_gb_hour"),
    *("s3_gb", "s3_put_thousand", "s3_get_thousand", "recovery_gb", "athena_tb"),
)


class TableWork(NamedTuple):
    """Of one table: ``rows`` to load, ``changes`` of rows a second, ``json_bytes`` of all items."""

    shape: str
    rows: float
    changes: float
    json_bytes: float


class Measured(NamedTuple):
    """What check found out. ``load_hours`` is what the target allows, and None where nobody can say; ``lines`` are some
    of the recent changes, as the change log has them. ``window`` says of which time, "" where that is not known.
    """

    tables: Sequence[TableWork]
    load_hours: float | None
    lines: Sequence[bytes]
    window: str


@dataclass(frozen=True, slots=True)
class Need:
    """``engine`` is what the project file should say, "" where that is not known."""

    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class EngineCost:
    """``per`` is "month" or "once". ``dollars`` is None without a price, or where what it depends on is not known: then
    ``note`` is empty. ``least`` is given where ``dollars`` are the most that it can be.
    """

    engine: str
    what: str
    per: str
    dollars: float | None
    note: str
    least: float | None = None


@dataclass(frozen=True, slots=True)
class LogSize:
    """GB of this machine's disk that the change log takes: in the ``hours`` of the load, and in each hour in which
    nobody applies changes. None where that is not known.
    """

    load_gb: float | None
    hour_gb: float | None
    hours: float | None


@dataclass(frozen=True, slots=True)
class Engines:
    load: Need
    changes: Need
    log: LogSize
    costs: tuple[EngineCost, ...]


class Traffic(NamedTuple):
    """Of a stream, a second. ``billed`` counts each record's bytes in whole KB, ``units`` in whole 25 KB."""

    records: float
    size: float
    billed: float
    units: float


def engines_of(known: Measured, prices: Mapping[str, float]) -> Engines:
    """``prices`` are those of NAMES that are known, with ``write_million`` and ``import_gb``."""
    load, changes = _load_need(known), _changes_need(known)
    costs = (*_of_changes(known, prices), *_of_load(known, prices), _recovery(known, prices))
    return Engines(load, changes, _log_size(known), costs)


# what is needed


def _load_need(known: Measured) -> Need:
    """The smallest that is as fast as the target allows."""
    core = _load_core(known)
    if not core:
        return Need("", "not known: no row was mapped")
    if known.load_hours is None:
        return Need("", "not known: nobody can say how fast the target is")
    alone, seconds = f"one core maps and writes all of it in {_time(core)}", max(known.load_hours * HOUR, 1.0)
    if core <= seconds:
        return Need("process", f"{alone}, and the target takes {_time(seconds)}: more would only wait for it")
    workers = math.ceil(core / seconds)
    if workers <= MOST_WORKERS or core / MOST_WORKERS <= HOUR:
        count = min(workers, MOST_WORKERS)
        return Need("process", f"{alone}, and {count} workers in {_time(max(core / count, seconds))}")
    return Need("spark", f"{alone}, and the target takes {_time(seconds)}: that is the work of {workers:,} cores")


def _changes_need(known: Measured) -> Need:
    busy = _busy(known)
    slowest = max((APPLY_US[each.shape] for each in known.tables), default=0.0)
    if not slowest:
        return Need("", "not known: no table was read")
    most = f"one core applies {1e6 / slowest:,.0f} changes a second of the slowest table"
    if not known.window:
        return Need("", f"not known, as the recent writes are not; {most}")
    rate = f"{_changes(known):,.1f} changes a second {known.window} take {busy:.1%} of one core; a peak is not known"
    if busy <= BUSY:
        return Need("process", rate)
    if _changes(known) * SEND_US > 1e6:
        return Need("", f"{rate}. One sender sends {1e6 / SEND_US:,.0f} a second: divide the tables among projects")
    return Need("lambda", f"{rate}, and half a core should stay free")


def _log_size(known: Measured) -> LogSize:
    """Whatever applies the changes, each waits on the disk until the load is complete. One core loads at worst."""
    hours = None if known.load_hours is None else max(known.load_hours, _load_core(known) / HOUR)
    if not known.window or (_changes(known) and not known.lines):
        return LogSize(None, None, hours)
    line = sum(map(len, known.lines)) / max(1, len(known.lines)) + COMMIT_BYTES
    hour = _changes(known) * line * HOUR / GB
    return LogSize(None if hours is None else hour * hours, hour, hours)


def _load_core(known: Measured) -> float:
    """Seconds of one core."""
    return sum(each.rows * LOAD_US[each.shape] for each in known.tables) / 1e6


def _busy(known: Measured) -> float:
    """Cores that applying takes."""
    return sum(each.changes * APPLY_US[each.shape] for each in known.tables) / 1e6


def _changes(known: Measured) -> float:
    return sum(each.changes for each in known.tables)


# what a month of changes costs


def traffic(changes: float, lines: Sequence[bytes]) -> Traffic:
    """Of so many ``changes`` a second, like those that ``lines`` has. The sender closes the records of all lanes each
    time that it has read the log, and now and then puts a marker into each while there are changes.
    """
    if not changes or not lines:
        return Traffic(0.0, 0.0, 0.0, 0.0)
    records = min(changes, LANES / POLL_SECONDS)
    records = max(records, changes * sum(map(len, lines)) / len(lines) / RECORD_BYTES)
    markers = LANES * min(1 / MARK_SECONDS, records / MARK_RECORDS + 1 / REST_SECONDS, changes)
    marker, size = len(_record([])), _record_size(lines, changes / records)
    return Traffic(
        records + markers,
        records * size + markers * marker,
        records * math.ceil(size / KB) * KB + markers * math.ceil(marker / KB) * KB,
        records * math.ceil(size / PUT_UNIT) + markers,
    )


def _record_size(lines: Sequence[bytes], count: float) -> float:
    """Bytes of a record of ``count`` changes."""
    few, marker = lines[: max(1, round(count))], len(_record([]))
    return marker + (len(_record(few)) - marker) * max(1.0, count) / len(few)


def _record(lines: Sequence[bytes]) -> bytes:
    numbers, times = range(1, len(lines) + 1), [1.7e9] * len(lines)
    tables = {"schema.name": "0" * 24} if lines else {}
    head = Interval("0" * 16, "0" * 24, 1_700_000_000_000, 0, 0, len(lines), list(numbers), times, tables)
    return pack(head, [line.rstrip(b"\n") for line in lines])


def _of_changes(known: Measured, prices: Mapping[str, float]) -> Iterator[EngineCost]:
    flow = traffic(_changes(known), known.lines)
    is_known = bool(known.window) and (not _changes(known) or bool(known.lines))
    shards = _shards_for(flow, _busy(known))
    note = f"{flow.records:,.1f} records and {flow.size / 1000:,.1f} KB a second"
    costs = (
        EngineCost(KINESIS, "stream on demand", "month", _on_demand(flow, prices), note),
        EngineCost(KINESIS, f"stream of shards: {shards}", "month", _shards(flow, shards, prices), note),
        _function(known, shards, prices),
        EngineCost(LAMBDA, "table of marks", "month", _marks(flow, prices), "with an invocation a second and shard"),
    )
    yield from costs if is_known else (replace(each, dollars=None, least=None, note="") for each in costs)


def _shards_for(flow: Traffic, busy: float) -> int:
    """One invocation a shard is at work at once, with its memory's part of a core."""
    invocations = busy * FUNCTION_TIMES * FULL_CORE / MEMORY
    needed = max(flow.size / SHARD_BYTES, flow.records / SHARD_RECORDS, invocations)
    return min(LANES, max(1, math.ceil(needed)))


def _on_demand(flow: Traffic, prices: Mapping[str, float]) -> float | None:
    gb, kept = flow.billed * MONTH / GB, flow.billed * (RETENTION_HOURS - FREE_HOURS) * HOUR / GB
    names = ("stream_hour", "stream_gb_in", "stream_gb_out", "stream_gb_month")
    return _sum(prices, dict(zip(names, (MONTH / HOUR, gb, gb, kept), strict=True)))


def _shards(flow: Traffic, shards: int, prices: Mapping[str, float]) -> float | None:
    hours = shards * MONTH / HOUR
    return _sum(prices, {"shard_hour": hours, "retained_hour": hours, "put_million": flow.units * MONTH / 1e6})


def _marks(flow: Traffic, prices: Mapping[str, float]) -> float | None:
    """Two writes for each lane of which a record comes within a second: of random ones, not all 32 have one."""
    lanes = LANES * (1 - math.exp(-flow.records / LANES))
    return _sum(prices, {"write_million": 2 * lanes * MONTH / 1e6})


def _function(known: Measured, shards: int, prices: Mapping[str, float]) -> EngineCost:
    """One invocation a shard is at work at once, so there is a bound, whatever DynamoDB takes to answer."""
    cpu = min(float(shards), _busy(known) * FUNCTION_TIMES * FULL_CORE / MEMORY)
    invoked = {"function_million": shards * MONTH / 1e6}
    most, least = (
        _sum(prices, {**invoked, "function_gb_second": at_work * MONTH * MEMORY / 1024}) for at_work in (shards, cpu)
    )
    note = "always at work in each shard, at most; at least its CPU time"
    return EngineCost(LAMBDA, "function", "month", most, note, least)


# what a load costs


def _of_load(known: Measured, prices: Mapping[str, float]) -> Iterator[EngineCost]:
    rows = sum(each.rows for each in known.tables)
    gb = sum(each.json_bytes for each in known.tables) / GB
    files = math.ceil(rows / CHUNK_ROWS)
    stored = _sum(prices, {"s3_gb": gb, "s3_put_thousand": files / 1000, "s3_get_thousand": files / 1000})
    note = f"a month of about {gb:,.2f} GB before compression, in {files:,} files"
    yield EngineCost("snapshot.store", "snapshot in S3", "once", stored, note)
    yield _spark(known, rows, prices)
    note = f"{gb:,.2f} GB of DynamoDB JSON, and its month in S3; only into new tables, AWS names no rate"
    yield EngineCost(IMPORT, "import from S3", "once", _sum(prices, {"import_gb": gb, "s3_gb": gb}), note)


def _recovery(known: Measured, prices: Mapping[str, float]) -> EngineCost:
    """Priced by the table's size, which is at most the size of its items as JSON."""
    gb = sum(each.json_bytes for each in known.tables) / GB
    note = f"of {gb:,.2f} GB at most; each export has a price by what it reads, too, which is not known here"
    return EngineCost(NATIVE, "point-in-time recovery", "month", _sum(prices, {"recovery_gb": gb}), note)


def _spark(known: Measured, rows: float, prices: Mapping[str, float]) -> EngineCost:
    """One worker and the driver, for as long as the target or the worker needs."""
    if known.load_hours is None:
        return EngineCost(SPARK, "Spark", "once", None, "")
    work = rows * SPARK_US / 1e6 / HOUR  # hours of a core
    hours = max(known.load_hours, work / WORKER_CORES)
    price = _sum(prices, {"spark_core_hour": 2 * hours * WORKER_CORES, "spark_gb_hour": 2 * hours * WORKER_GB})
    size = f"{WORKER_CORES} cores and {WORKER_GB} GB"
    note = f"{hours:,.2f} h of a driver and a worker of {size}; {work:,.2f} h of CPU time"
    return EngineCost(SPARK, "Spark", "once", price, note)


def _sum(prices: Mapping[str, float], amounts: Mapping[str, float]) -> float | None:
    """None if one of the prices is not known."""
    if any(name not in prices for name in amounts):
        return None
    return sum(amount * prices[name] for name, amount in amounts.items())


def _time(seconds: float) -> str:
    return f"{seconds / HOUR:,.1f} h" if seconds >= HOUR else f"{seconds:,.1f} s"
