"""The caps hold, in units a second as DynamoDB counts them, and no wait is longer than it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.servers import Dynalite
from tests.dynamodb.conftest import ItemTable, new_table
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.loop import AtOnce, moment
from whimbrel.dynamodb.pace import Backoff, RateLimiter
from whimbrel.dynamodb.read import scan
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.item import READ_UNIT, item_size, write_units


@pytest.fixture
def dynalite_table(dynalite: Dynalite, new_table_name: Callable[[str], str]) -> ItemTable:
    """dynalite reports the units that a call costs by DynamoDB's rules; ministack does not."""
    return new_table(dynalite, new_table_name("table"))


def test_a_cap_on_write_units_is_kept_to_ten_per_cent(dynalite_table: ItemTable) -> None:
    table, rate = dynalite_table, 400.0
    target = table.server.target(max_write_units=rate, concurrency=8)
    wire = DynamoClient(target)
    writer = Writer(wire, target)
    # 1, 2 and 3 units each; then updates that cost 3, though what is sent for each would cost 1.
    puts = [table.put(number, a="x" * (number % 3 * 1020)) for number in range(270)]
    updated = range(2, 240, 3)
    units = sum(write_units(item_size(put.item)) for put in puts)
    units += sum(write_units(item_size(puts[number].item)) for number in updated)
    started = time.monotonic()
    writer.write(puts)
    writer.write([table.update(number, b="y") for number in updated])
    elapsed = time.monotonic() - started
    assert units / elapsed == pytest.approx(rate, rel=0.1)
    assert writer.stats.units == pytest.approx(units, rel=0.05)
    wire.close()


def test_a_cap_on_read_units_is_kept_to_ten_per_cent(dynalite_table: ItemTable) -> None:
    table, rate = dynalite_table, 150.0
    for number in range(150):
        table.client.put_item(TableName=table.name, Item=table.put(number, a="x" * 15_000).item)
    wire = DynamoClient(table.server.target())
    started = time.monotonic()
    assert scan(wire, table.name, 2, lambda page: None, pace=RateLimiter(rate), page_items=2) == 150
    units = 150 * 15_000 / READ_UNIT / 2  # eventually consistent reads cost half
    assert units / (time.monotonic() - started) == pytest.approx(rate, rel=0.1)
    wire.close()


def test_no_cap_makes_nobody_wait() -> None:
    assert RateLimiter(0).take(1e9) == 0.0


def test_unused_time_is_not_saved_up_for_a_burst() -> None:
    pace = RateLimiter(100.0)
    time.sleep(0.3)
    assert pace.take(10) == 0.0  # a tenth of a second's worth
    assert pace.take(50) <= 0.01
    assert pace.take(1) == pytest.approx(0.5, abs=0.05)
    pace.take(-50)
    assert pace.take(1) <= 0.05


@given(st.integers(1, 40))
def test_a_backoff_never_exceeds_its_bound_and_the_bound_doubles(failures: int) -> None:
    backoff = Backoff(first=0.05, most=5.0)
    waits = [backoff.next() for _ in range(failures)]
    assert all(0 <= wait <= min(5.0, 0.05 * 2**number) for number, wait in enumerate(waits))
    backoff.reset()
    assert backoff.next() <= 0.05


@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_job_is_stranded_or_done_twice_and_the_limit_is_kept(most: int) -> None:
    limit = ConcurrencyLimit(most)
    done: list[int] = []
    working = most_working = 0

    async def work(job: int) -> int:
        nonlocal working, most_working
        working += 1
        most_working = max(most_working, working)
        if job % 5 == 0:
            limit.halve()
        limit.raise_a_little()
        if job % 4:
            await moment(0.001 * (job % 4))
        working -= 1
        done.append(job)
        return job

    at_once = AtOnce(work, limit)
    results: list[list[int]] = []

    def call(start: int) -> None:
        for number in range(40):
            first = start + number * 10
            results.append(at_once.do_all(range(first, first + number % 10)))

    callers = [threading.Thread(target=call, args=(start * 1000,), daemon=True) for start in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=30)
        assert not caller.is_alive()
    assert sorted(done) == sorted(job for part in results for job in part)
    assert len(set(done)) == len(done) == 4 * 4 * 45
    assert most_working == most


def test_the_first_error_of_a_round_is_raised_after_what_was_under_way_has_ended() -> None:
    ended: list[int] = []

    async def work(job: int) -> None:
        await moment(0.01 * job)
        if job == 0:
            raise ValueError("first")
        ended.append(job)

    with pytest.raises(ValueError, match="first"):
        AtOnce(work, ConcurrencyLimit(2)).do_all(range(100))
    assert ended == [1]
