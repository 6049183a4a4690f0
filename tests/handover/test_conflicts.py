"""Items that cannot all come back: what one table cannot hold is told by the item's name, and what was acknowledged at
DynamoDB neither stays away from the source nor comes back there without a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.servers import MariaDB
from tests.handover.site import Site, StreamsServer
from tests.handover.test_early import compare, listed
from tests.handover.test_reconcile import order, orders
from whimbrel.handover import look
from whimbrel.handover.reconcile import Reconciled, reconcile, verify_back
from whimbrel.handover.writing import LEFT_OVER, WriteRules
from whimbrel.migration.waivers import NONE, Waivers, read_waivers
from whimbrel.project import KeyRule, TableRule

OWN = tuple((n, n, f"c{n}") for n in (3, 4, 5))  # of order 1
SKIP = WriteRules(ttl="skip")


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[StreamsServer]:
    with StreamsServer(tmp_path / "streams").start() as server:
        yield server


def letters(site: Site) -> dict[str, str]:
    lines = (site.project.state / "reverse-dead.jsonl").read_text().splitlines()
    return {each["item_key"]["pk"]["S"]: each["reason"] for each in map(json.loads, lines)}


def accepted(site: Site) -> Waivers:
    return read_waivers(site.project.state / "reverse-dead.jsonl")


def equal(site: Site, waivers: Waivers = NONE, rules: WriteRules = WriteRules()) -> bool:  # noqa: B008
    [report] = verify_back(site.beside(rules=rules), waivers=waivers)
    return report.equal


@pytest.mark.parametrize("at_once", [1, 200])
def test_a_row_that_two_items_have_is_told_by_both_their_names(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Whether they are compared together or not. Without the words that one of them has, the source may be opened."""
    monkeypatch.setattr(look, "AT_ONCE", at_once)
    site = orders(mariadb, streams, tmp_path)
    starts = site.mark("start")
    site.put(order(1, *OWN, (0, 100, "c0")))
    site.drain(site.reverse(starts))
    assert reconcile(site.beside()).letters == 1
    [(told, reason)] = letters(site).items()
    other = "ORDER#0" if told == "ORDER#1" else "ORDER#1"
    assert reason.startswith(f"row (0,) of {site.database}.line is part of item")
    assert other in reason
    assert not equal(site)
    assert equal(site, accepted(site))
    site.put(order(1, *OWN))
    site.drain(site.reverse(starts))
    assert reconcile(site.beside()).letters == 0
    assert equal(site)
    assert site.whole_rows("line")[0][:4] == (0, 0, 0, "c0")


def test_a_row_of_two_items_that_one_of_them_gives_up_is_the_others(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path
) -> None:
    """While both have it they are compared together: neither may leave the list for the other's sake."""
    site = orders(mariadb, streams, tmp_path)
    starts = site.mark("start")
    site.put(order(1, *OWN, (0, 100, "c0")))
    site.drain(site.reverse(starts))
    compare(site)
    site.put(order(1, *OWN))
    site.drain(site.reverse(starts))
    compare(site)
    reconcile(site.beside())
    assert equal(site)
    assert [row[:4] for row in site.whole_rows("line")] == [(n, n // 3, n, f"c{n}") for n in range(9)]


def test_an_item_that_the_server_refuses_keeps_all_its_rows_and_may_be_accepted(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path
) -> None:
    site = orders(mariadb, streams, tmp_path)
    starts = site.mark("start")
    site.put(order(1, (3, 1, "much too long"), (4, 1, "c4")))
    site.put(order(2, (6, 1, "c6")))
    site.drain(site.reverse(starts))
    before = site.whole_rows("line")
    assert [row[:4] for row in before[3:]] == [*((n, 1, n, f"c{n}") for n in (3, 4, 5)), (6, 2, 1, "c6")]
    assert reconcile(site.beside()) == Reconciled(written=0, deleted=0, letters=1, aside=0)
    assert site.whole_rows("line") == before
    assert not equal(site)
    assert equal(site, accepted(site))
    site.source.execute("UPDATE line SET n = 7 WHERE id = 6", database=site.database)
    assert not equal(site, accepted(site))


def test_a_row_that_the_filter_leaves_out_is_neither_written_nor_deleted(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path
) -> None:
    """No item has line 4. One takes its primary key, another its value in a unique index."""
    site = orders(mariadb, streams, tmp_path, where="n <> 4")
    before = site.whole_rows("line")
    starts = site.mark("start")
    site.put(order(1, (3, 3, "c3"), (4, 9, "mine"), (5, 5, "c5")))
    site.put(order(2, (6, 6, "c4"), (7, 7, "c7"), (8, 8, "c8")))
    site.drain(site.reverse(starts))
    told = letters(site)
    assert sorted(told) == ["ORDER#1", "ORDER#2"]
    assert all(f"row (4,) of {site.database}.line is in the way" in reason for reason in told.values())
    assert reconcile(site.beside()).letters == 2
    assert not equal(site)
    assert equal(site, accepted(site))
    assert site.whole_rows("line") == before
    site.put(order(1, (3, 3, "c3")))
    site.delete({"pk": {"S": "ORDER#2"}})
    site.drain(site.reverse(starts))
    assert reconcile(site.beside()).letters == 0
    assert equal(site)
    assert site.whole_rows("line") == before[:5]


@pytest.mark.parametrize("entries", ["unreadable", "refused"])
def test_an_item_that_was_refused_and_deleted_is_gone_though_expired_ones_stay(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path, entries: str
) -> None:
    """The rows that it had before are found by its key. What time to live takes then, nobody can tell: it is told."""
    site = orders(mariadb, streams, tmp_path)
    starts = site.mark("start")
    for number in range(2):
        lost = {"pk": {"S": f"ORDER#{number}"}, "lines": {"S": "x"}}
        site.put(lost if entries == "unreadable" else order(number, (3 * number, 1, "much too long")))
    site.delete({"pk": {"S": "ORDER#0"}})
    streams.call("DeleteItem", TableName="shop", Key={"pk": {"S": "ORDER#1"}}, expired=True)
    streams.call("DeleteItem", TableName="shop", Key={"pk": {"S": "ORDER#2"}}, expired=True)
    site.drain(site.reverse(starts, SKIP))
    compare(site, SKIP)
    assert listed(site) == ["ORDER#0", "ORDER#1"]
    assert reconcile(site.beside(rules=SKIP)).letters == 1
    assert [row[0] for row in site.whole_rows("line")] == [3, 4, 5, 6, 7, 8]
    assert letters(site) == {"ORDER#1": LEFT_OVER}
    assert not equal(site, rules=SKIP)
    assert equal(site, accepted(site), SKIP)


def test_a_row_that_no_item_can_have_stays_when_its_item_is_written(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path
) -> None:
    """The dead letter of such a row was accepted before the cutover: DynamoDB never had it."""
    site = by_name(mariadb, streams, tmp_path, "name", "${name}")
    starts = site.mark("start")
    site.put({"pk": {"S": "a"}, "rows": {"M": {"x": {"M": {"id": {"N": "1"}, "n": {"N": "5"}}}}}})
    site.drain(site.reverse(starts))
    reconcile(site.beside())
    assert equal(site)
    assert site.whole_rows("t") == [(1, "a", "x", 5), (3, "a", "", 1)]


def test_rows_left_of_an_item_that_was_refused_are_told_where_nobody_can_find_them(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path
) -> None:
    site = by_name(mariadb, streams, tmp_path, "upper(grp)", "${id}")
    starts = site.mark("start")
    item = site.endpoint.client().get_item(TableName="shop", Key={"pk": {"S": "A"}})["Item"]
    entries = {name: each for name, each in item["rows"]["M"].items() if name != "2"}
    site.put(item | {"rows": {"M": entries}, "colour": {"S": "red"}})
    site.put(item | {"rows": {"M": entries}})
    site.drain(site.reverse(starts))
    compare(site)
    assert listed(site) == ["A"]
    assert reconcile(site.beside()).letters == 1
    assert letters(site) == {"A": look.NOT_FOUND}
    assert not equal(site)


def by_name(source: MariaDB, streams: StreamsServer, folder: Path, group: str, entry: str) -> Site:
    """Groups of rows by ``grp``, or by an expression."""
    database = source.new_database()
    source.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, grp VARCHAR(9) NOT NULL, name VARCHAR(9) NOT NULL, n INT)",
        "INSERT INTO t VALUES (1, 'a', 'x', 1), (2, 'a', 'y', 1), (3, 'a', '', 1)",
        database=database,
    )
    computed = {} if group == "name" else {"big": group}
    rule = TableRule(
        f"{database}.t",
        "shop",
        "group",
        KeyRule("pk", "${big}" if computed else "${grp}"),
        entry_name=entry,
        entry_as="map",
        entry_into="rows",
        columns=computed,
        assert_unique=entry == "${name}",
    )
    site = Site(source, database, streams, folder / "state", (rule,))
    site.load()
    return site
