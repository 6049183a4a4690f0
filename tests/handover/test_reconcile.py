"""Before the source is opened: the rows of touched items are what the items say, whatever the lanes left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.servers import MariaDB, SqlServer
from tests.handover.site import Site, StreamsServer
from whimbrel.handover.reconcile import Reconciled, reconcile, verify_back
from whimbrel.handover.without_parents import Orphans, rows_without_parents
from whimbrel.handover.writing import WriteRules
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Item

TABLE = "CREATE TABLE line (id INT PRIMARY KEY, order_id INT NOT NULL, n INT, code VARCHAR(9) UNIQUE, memo INT)"


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[StreamsServer]:
    with StreamsServer(tmp_path / "streams").start() as server:
        yield server


def orders(source: SqlServer, streams: StreamsServer, folder: Path, where: str = "") -> Site:
    database = source.new_database()
    rows = [f"({n}, {n // 3}, {n}, 'c{n}', {n})" for n in range(9)]
    source.execute(TABLE, f"INSERT INTO line VALUES {', '.join(rows)}", database=database)
    rule = TableRule(
        f"{database}.line",
        "shop",
        "group",
        KeyRule("pk", "ORDER#${order_id}"),
        entry_name="${id}",
        entry_as="map",
        entry_into="lines",
        exclude=("memo",),
        filter=where,
    )
    site = Site(source, database, streams, folder / "state", (rule,))
    site.load()
    return site


def order(number: int, *lines: tuple[int, int, str]) -> Item:
    entries = {str(line): {"M": {"n": {"N": str(n)}, "code": {"S": code}}} for line, n, code in lines}
    return {"pk": {"S": f"ORDER#{number}"}, "lines": {"M": entries}}


def reconciled(site: Site) -> Reconciled:
    return reconcile(site.beside())


def differences(site: Site) -> dict[str, int]:
    [report] = verify_back(site.beside())
    return report.counts


def touch_all(site: Site) -> None:
    """Each order changed once, and everything is in the rows."""
    starts = site.mark("start")
    for number in range(3):
        site.put(order(number, *((n, 10 * n, f"c{n}") for n in range(3 * number, 3 * number + 3))))
    site.drain(site.reverse(starts))


EXPECTED = [(n, n // 3, 10 * n, f"c{n}", n) for n in range(9)]


def test_rows_are_put_as_their_items_have_them(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path
) -> None:
    site = orders(source_server, streams, tmp_path)
    touch_all(site)
    assert site.whole_rows("line") == EXPECTED
    assert differences(site) == {}
    assert reconciled(site) == Reconciled(0, 0, 0, 0)
    site.source.execute(  # as lanes that are not ordered may leave it
        "UPDATE line SET order_id = 2, n = 7 WHERE id = 0",
        "UPDATE line SET code = 'x' WHERE id = 4",
        "DELETE FROM line WHERE id = 8",
        "INSERT INTO line VALUES (99, 1, 1, 'y', 1)",
        database=site.database,
    )
    assert differences(site) == {"changed": 2, "missing": 1, "extra": 1}
    assert reconciled(site) == Reconciled(written=3, deleted=1, letters=0, aside=0)
    assert site.whole_rows("line")[:8] == EXPECTED[:8]
    assert site.whole_rows("line")[8:] == [(8, 2, 80, "c8", None)]  # its memo went with the row that somebody deleted
    assert differences(site) == {}


def test_an_item_whose_row_was_taken_and_given_back_by_another_has_it_again(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path
) -> None:
    """Order 1 gets a line that order 0 has too, and loses it again. Nobody has written order 0."""
    site = orders(source_server, streams, tmp_path)
    starts = site.mark("start")
    own = tuple((n, n, f"c{n}") for n in (3, 4, 5))
    site.put(order(1, *own, (0, 0, "c0")))
    site.put(order(1, *own))
    site.drain(site.reverse(starts))
    assert len(site.whole_rows("line")) == 8
    assert reconciled(site) == Reconciled(written=1, deleted=0, letters=0, aside=0)
    assert site.whole_rows("line") == [(n, n // 3, n, f"c{n}", n) for n in range(9)]


def test_an_item_that_was_refused_and_then_deleted_takes_its_rows_with_it(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path
) -> None:
    site = orders(mariadb, streams, tmp_path)
    starts = site.mark("start")
    site.put(order(0, (0, 1, "c0")) | {"colour": {"S": "red"}})
    site.delete({"pk": {"S": "ORDER#0"}})
    site.put(order(1, (3, 1, "much too long")))
    site.put(order(1, (3, 1, "short")))
    reverse = site.reverse(starts)
    site.drain(reverse)
    assert len(reverse.letters) == 2
    result = reconciled(site)
    assert (result.letters, result.aside) == (0, 0)
    assert site.whole_rows("line") == [(3, 1, 1, "short", 3), *((n, 2, n, f"c{n}", n) for n in (6, 7, 8))]
    assert differences(site) == {}


def test_an_item_that_still_cannot_come_back_is_told(mariadb: MariaDB, streams: StreamsServer, tmp_path: Path) -> None:
    site = orders(mariadb, streams, tmp_path)
    starts = site.mark("start")
    site.put(order(0, (0, 1, "c0")) | {"colour": {"S": "red"}})
    site.drain(site.reverse(starts))
    assert reconciled(site).letters == 1
    assert differences(site) == {"unmappable": 1}
    assert len(site.whole_rows("line")) == 9  # what cannot be read deletes nothing


@pytest.mark.parametrize(("ttl", "rows"), [("skip", 9), ("apply", 6)])
def test_rows_of_expired_items_stay_where_the_rule_says_so(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path, ttl: str, rows: int
) -> None:
    site, rules = orders(mariadb, streams, tmp_path), WriteRules(ttl=ttl)
    starts = site.mark("start")
    site.put(order(0, (0, 5, "c0"), (1, 1, "c1"), (2, 2, "c2")))
    streams.call("DeleteItem", TableName="shop", Key={"pk": {"S": "ORDER#0"}}, expired=True)
    site.drain(site.reverse(starts, rules))
    assert reconcile(site.beside(rules=rules)) == Reconciled(0, 0, 0, 0)
    assert len(site.whole_rows("line")) == rows
    [report] = verify_back(site.beside(rules=rules))
    assert report.equal


def test_rows_that_no_foreign_key_would_allow_are_told(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path
) -> None:
    site = orders(source_server, streams, tmp_path)
    site.source.execute(
        "CREATE TABLE note (id INT PRIMARY KEY, line INT, CONSTRAINT of_line FOREIGN KEY (line) REFERENCES line (id))",
        "INSERT INTO note VALUES (1, 1), (2, 3), (3, NULL)",
        database=site.database,
    )
    tables = list(site.prepared.tables.values())
    assert list(rows_without_parents(site.prepared.project.source, tables)) == []
    starts = site.mark("start")
    site.delete({"pk": {"S": "ORDER#0"}})
    site.drain(site.reverse(starts))
    assert list(rows_without_parents(site.prepared.project.source, tables)) == [
        Orphans(f"{site.database}.note", "of_line", f"{site.database}.line", 1)
    ]


def test_two_items_with_one_unique_value_are_told(mariadb: MariaDB, streams: StreamsServer, tmp_path: Path) -> None:
    """DynamoDB has no unique indexes: an application that did not take care has made what the table cannot hold."""
    site = orders(mariadb, streams, tmp_path)
    starts = site.mark("start")
    site.put(order(0, (0, 0, "c0"), (1, 1, "c8"), (2, 2, "c2")))
    reverse = site.reverse(starts)
    site.drain(reverse)
    result = reconciled(site)
    assert result.aside == 1
    site.put(order(0, (0, 0, "c0"), (1, 1, "c1"), (2, 2, "c2")))  # put right, and nothing is lost
    site.drain(site.reverse(starts))
    assert reconciled(site).aside == 0
    assert site.whole_rows("line") == [(n, n // 3, n, f"c{n}", n) for n in range(9)]
