"""What following the source costs: each write pays for its whole item, and a transaction writes an item once."""

from __future__ import annotations

import pytest

from tests.checks.case import Case
from whimbrel.checks.cost import read_prices
from whimbrel.checks.following import (
    AT_ONCE,
    MONTH,
    SAMPLED,
    ChangedItems,
    FollowedTable,
    ItemWrites,
    following,
    large_group_findings,
)
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Column, Position, Row, Table

TABLE = Table("s", "t", tuple(Column(name, "int", nullable=False) for name in ("k", "id", "v")), ("k", "id"))
BY_K = 'shape = "group"\npartition_key = { name = "k" }\nentry = { name = "e${id}", value = "v" }'
ENTRIES = 1_500  # of some 90 bytes


def test_a_transaction_writes_an_item_once_and_a_row_that_moves_writes_two(by_k: TableMapping) -> None:
    writes = ItemWrites(by_k)
    for before, after in [(None, (1, 1, 0)), ((1, 1, 0), (1, 1, 1)), ((1, 2, 0), None), ((1, 3, 0), (2, 3, 0))]:
        writes.add(change(before, after))
    assert (writes.count, writes.sample) == (2, [(1,), (2,)])
    writes.commit()
    writes.add(change((1, 1, 1), (1, 1, 2)))
    assert writes.count == 3


def test_the_sample_is_of_all_writes_and_no_transaction_is_remembered_whole(by_k: TableMapping) -> None:
    writes = ItemWrites(by_k)
    for number in range(3 * AT_ONCE):
        writes.add(change(None, (number, 1, 0)))
    assert writes.count == 3 * AT_ONCE
    assert len(writes.sample) == SAMPLED
    assert len(writes._written) <= AT_ONCE
    thirds = [sum(place[0] // AT_ONCE == third for place in writes.sample) for third in range(3)]
    assert min(thirds) > SAMPLED // 10


def test_a_month_costs_its_write_units() -> None:
    prices = read_prices(None, "us-east-1")
    tables = [FollowedTable(600, ChangedItems(300, 2.0), 60.0), FollowedTable(60, ChangedItems(60, 100.0), 60.0)]
    found = following(tables, prices.write_million)
    assert found
    assert (found.changes, found.writes, found.write_units) == (11.0, 6.0, 110.0)
    assert found.dollars == pytest.approx(110 * MONTH / 1e6 * (prices.write_million or 0))
    assert following([], 1.0) is None


def test_large_groups_that_change_seldom_are_not_worth_a_word() -> None:
    assert not list(large_group_findings("s.t", ChangedItems(600, 50.0, 0.09, 500.0), 60.0))
    [found] = large_group_findings("s.t", ChangedItems(600, 50.0, 0.2, 500.0), 60.0)
    assert "about 2.0 of 10.0 writes a second go to items of 1,000 entries or more, and cost 500 write" in found.reason


def test_what_following_costs_is_by_the_items_that_are_written(case: Case) -> None:
    rows = ", ".join(f"('heavy', {n}, '{'x' * 80}')" for n in range(ENTRIES))
    small = ", ".join(f"('k{n}', 1, 'x')" for n in range(10))
    case.execute(
        "CREATE TABLE t (k VARCHAR(9), id INT, v VARCHAR(99), PRIMARY KEY (k, id))",
        f"INSERT INTO t VALUES {rows}",
        f"INSERT INTO t VALUES {small}",
        *(f"UPDATE t SET v = CONCAT('y', {n}) WHERE k = 'heavy' AND id = {n}" for n in range(10)),
        *(f"UPDATE t SET v = 'y' WHERE k = 'k{n}'" for n in range(10)),
        "UPDATE t SET v = 'z' WHERE k = 'heavy' AND id >= 1400",
    )
    case.project(BY_K)
    found = case.check()
    changed, seconds = case.report["tables"][0]["changed"], case.report["recent_writes"]["seconds"]
    cost = case.report["cost"]["following"]
    assert (changed["writes"], changed["large"]) == (32, pytest.approx(12 / 32))
    size = 1400 * 84  # a tenth of a KB for each of those that were not changed, by the server's count
    assert size < 1024 * changed["large_units"] < 1.3 * size
    assert changed["write_units"] == pytest.approx((12 * changed["large_units"] + 20) / 32)
    assert (cost["changes"], cost["writes"]) == (pytest.approx(1630 / seconds), pytest.approx(32 / seconds))
    assert cost["write_units"] == pytest.approx(changed["write_units"] * 32 / seconds)
    if 12 / seconds >= 1:
        assert "items of 1,000 entries or more" in found["large-groups-change"][0]["reason"]


def change(before: Row | None, after: Row | None) -> Change:
    return Change(TABLE, before, after, Position("bin.1", 4))


@pytest.fixture
def by_k() -> TableMapping:
    rule = TableRule("s.t", "items", "group", KeyRule("k", "${k}"), entry_name="e${id}", entry_value="v")
    return compile_mapping(rule, TABLE)
