"""Which engine a table needs, and what each would cost: by hand here, and from what the sender really packs."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from benchmarks.apply import RECORD, TABLE, changes
from tests.checks.case import GROUP, PURCHASE, Case
from whimbrel.changelog.record import change_encoder
from whimbrel.checks import engines
from whimbrel.checks.cost import known_prices, read_prices
from whimbrel.checks.engines import NAMES, Engines, Measured, TableWork, engines_of, traffic
from whimbrel.kinesis.packed import Interval
from whimbrel.mapping.versions import Versions
from whimbrel.migration.pack import Packer
from whimbrel.migration.send import MARK_RECORDS, MARK_SECONDS, REST_SECONDS
from whimbrel.project.table import SHAPES
from whimbrel.records import Change, Commit, Position

PRICES = known_prices(read_prices(None, "us-east-1"))
HOURS = 730.0
LINES = [b'{"schema":"s","table":"t","type":"WriteRowsEvent","row":{"values":{"id":%d}}}\n' % n for n in range(100)]
PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()


def of(
    shape: str = "record",
    *,
    rows: float = 1e6,
    changes: float = 0.0,
    hours: float | None = 1.0,
    window: str = "w",
    lines: list[bytes] = LINES,
) -> Engines:
    return engines_of(Measured([TableWork(shape, rows, changes, rows * 100.0)], hours, lines, window), PRICES)


def cost(found: Engines, what: str) -> float | None:
    return next(each.dollars for each in found.costs if each.what.startswith(what))


def measured(pattern: str) -> float:
    found = re.search(pattern, PAGE)
    assert found, f"docs/benchmarks.md has no line like {pattern}"
    return float(found[1].replace(",", ""))


@pytest.mark.parametrize(
    ("figure", "pattern"),
    [
        (engines.LOAD_US["record"], r"\nload, record +1 +([\d.]+) "),
        (engines.LOAD_US["group"], r"\nload, group +1 +([\d.]+) "),
        (engines.APPLY_US["record"], r"\nrecord +whimbrel +([\d.]+) +[\d,]+ "),
        (engines.APPLY_US["group"], r"\ngroup +whimbrel +([\d.]+) +[\d,]+ "),
    ],
)
def test_what_a_core_does_is_what_was_measured(figure: float, pattern: str) -> None:
    """As the page says itself, the machine's speed differs by a factor of two between days."""
    assert measured(pattern) / 2 < figure < measured(pattern) * 2


def test_a_target_that_is_slower_than_one_core_needs_no_more() -> None:
    found = of(rows=1e9, hours=13.9)
    assert found.load.engine == "process"
    assert (
        found.load.reason
        == "one core maps and writes all of it in 3.7 h, and the target takes 13.9 h: more would only wait for it"
    )


def test_a_faster_target_needs_more_cores_and_then_spark() -> None:
    assert of(rows=1e8, hours=0.1).load.engine == "process"
    assert "4 workers in 0.1 h" in of(rows=1e8, hours=0.1).load.reason.replace("360.0 s", "0.1 h")
    found = of(rows=1e10, hours=1.0)
    assert found.load.engine == "spark"
    assert found.load.reason.endswith("that is the work of 37 cores")


def test_what_is_not_known_is_said() -> None:
    found = of(window="", hours=None)
    assert (found.load.engine, found.changes.engine) == ("", "")
    assert (
        found.changes.reason
        == "not known, as the recent writes are not; one core applies 45,455 changes a second of the slowest table"
    )
    by_size = ("point-in-time recovery",)  # which is known whatever the changes are
    unknown = [
        each for each in found.costs if (each.per == "month" or each.what == "Spark") and each.what not in by_size
    ]
    assert {each.dollars for each in unknown} == {None}
    assert of(rows=0.0).load.reason == "not known: no row was mapped"
    assert cost(of(changes=5.0, lines=[]), "stream on demand") is None


def test_changes_that_half_a_core_applies_need_no_stream() -> None:
    assert of(changes=22_000.0).changes.engine == "process"
    assert of(changes=23_000.0).changes.engine == "lambda"
    assert of("group", changes=8_000.0).changes.engine == "lambda"
    beyond = of(changes=200_000.0).changes
    assert beyond.engine == ""
    assert "divide the tables among projects" in beyond.reason
    assert "16.0 changes a second w take 0.0% of one core; a peak is not known" in of(changes=16.0).changes.reason


def test_a_quiet_table_pays_for_the_stream_alone() -> None:
    found = of(changes=0.0)
    assert cost(found, "stream on demand") == pytest.approx(HOURS * 0.04)
    assert cost(found, "stream of shards: 1") == pytest.approx(HOURS * (0.015 + 0.020))
    assert cost(found, "table of marks") == 0
    seconds = HOURS * 3600
    assert cost(found, "function") == pytest.approx(seconds * 0.5 * 0.0000133334 + seconds / 1e6 * 0.20)


def test_one_change_a_second_pays_for_few_markers() -> None:
    """A record of a KB a second, a tenth of a marker with it, and 32 markers every half a minute."""
    found, seconds = of(changes=1.0), HOURS * 3600
    records = 1 + 0.1 + 32 / 30
    gb = records * 1024 * seconds / 2**30
    kept = records * 1024 * 48 * 3600 / 2**30
    assert cost(found, "stream on demand") == pytest.approx(HOURS * 0.04 + gb * 0.12 + kept * 0.10)
    assert cost(found, "stream of shards: 1") == pytest.approx(HOURS * 0.035 + records * seconds / 1e6 * 0.014)
    marks = cost(found, "table of marks")
    assert marks == pytest.approx(2 * 32 * (1 - math.exp(-records / 32)) * seconds / 1e6 * 0.625)
    assert marks < 7.0


def test_the_change_log_waits_on_the_disk_for_as_long_as_the_load() -> None:
    line = sum(map(len, LINES)) / len(LINES) + engines.COMMIT_BYTES
    log = of(rows=1e6, changes=1_000.0, hours=2.0).log
    assert log.hours == 2.0
    assert log.hour_gb == pytest.approx(1_000 * line * 3600 / 2**30)
    assert log.load_gb == pytest.approx(2 * 1_000 * line * 3600 / 2**30)
    slow = of(rows=1e9, changes=1_000.0, hours=2.0).log  # one core takes longer than the target
    assert slow.hours == pytest.approx(1e9 * engines.LOAD_US["record"] / 1e6 / 3600)
    assert of(changes=1.0, window="").log.load_gb is None
    assert of(changes=0.0, lines=[]).log.load_gb == 0.0
    assert of(changes=1.0, hours=None).log.load_gb is None


def test_what_a_load_costs_elsewhere() -> None:
    found = of(rows=1e9, hours=2.0)
    gb = 1e11 / 2**30
    assert cost(found, "snapshot in S3") == pytest.approx(gb * 0.023 + 100 * 0.0054)
    assert cost(found, "import from S3") == pytest.approx(gb * (0.15 + 0.023))
    assert cost(found, "point-in-time recovery") == pytest.approx(gb * 0.20)
    assert cost(found, "Spark") == pytest.approx(2 * 2.0 * (4 * 0.052624 + 16 * 0.0057785))
    assert cost(of(rows=1e9, hours=0.1), "Spark") == pytest.approx(
        2 * 25e3 / 3600 / 4 * (4 * 0.052624 + 16 * 0.0057785)
    )


def test_without_a_price_there_is_none() -> None:
    assert set(NAMES) < PRICES.keys()
    elsewhere = engines_of(Measured([TableWork("record", 1.0, 1.0, 1.0)], 1.0, LINES, "w"), {})
    assert {each.dollars for each in elsewhere.costs} == {None}
    assert all(each.note for each in elsewhere.costs)


@pytest.mark.parametrize(("each_second", "seconds"), [(20, 60), (5_000, 2)])
def test_the_traffic_is_that_of_the_sender(each_second: int, seconds: int) -> None:
    """By the packer itself, fed every fiftieth of a second; markers come when the sender would put them."""
    head = Interval("0123456789abcdef", "0123456789abcdef01234567", 1_700_000_000_000, 0, 0, 0)
    packer = Packer({RECORD.source: Versions(RECORD, TABLE)}, lambda _: "0" * 24, head, 0.0, "packed", 1 << 20)
    encode = change_encoder(TABLE)
    written = [each for each in changes(seconds * each_second) if isinstance(each, Change)]
    lines = [encode(each) for each in written]
    sizes, step, marked, since = list[int](), max(1, each_second // 50), 0, 0
    for start in range(0, len(written), step):
        batch: list[Change | Commit] = [*written[start : start + step], Commit(Position("b", 4), 1.7e9)]
        packer.pack(batch, [line.rstrip(b"\n") for line in lines[start : start + step]], lambda: 0.0)
        found = [len(record.data) for record in packer.take()]
        since += len(found)
        waited = (start + step) / each_second - marked
        if waited >= REST_SECONDS or (waited >= MARK_SECONDS and since >= MARK_RECORDS):
            packer.mark()
            found += [len(record.data) for record in packer.take()]
            marked, since = round((start + step) / each_second), 0
        sizes += found
    flow = traffic(each_second, lines[:1000])
    assert flow.records == pytest.approx(len(sizes) / seconds, rel=0.15)
    assert flow.size == pytest.approx(sum(sizes) / seconds, rel=0.2)
    assert flow.billed == pytest.approx(sum(-(-size // 1024) * 1024 for size in sizes) / seconds, rel=0.2)


def test_check_says_it(on_mariadb: Case) -> None:
    case = on_mariadb
    case.execute(PURCHASE, "INSERT INTO purchase VALUES ('a', 'b', 'c', 1), ('a', 'b', 'd', 2)")
    case.project(GROUP, "purchase")
    case.check()
    found = case.report["cost"]["engines"]
    assert (found["load"]["engine"], found["changes"]["engine"]) == ("process", "process")
    assert {each["engine"] for each in found["costs"]} == {
        *('log.engine = "kinesis"', 'apply.engine = "lambda"', "snapshot.store"),
        *('load.engine = "spark"', 'load.engine = "import"', 'lake.export = "native"'),
    }
    assert all(each["dollars"] is not None for each in found["costs"])
    said = case.call("check").output
    assert "engines  load: process: one core maps and writes all of it in 0.0 s" in said
    assert 'log.engine = "kinesis": stream on demand, a month: $' in said
    assert " GB for each hour in which nobody applies changes" in said


def test_every_shape_has_a_speed() -> None:
    assert set(engines.LOAD_US) == set(engines.APPLY_US) == set(SHAPES)
