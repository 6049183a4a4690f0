"""Keys that the source's collation calls equal and DynamoDB does not: none is emitted twice, no row is lost.

In primary-key order 'a', 'A', 'á' and 'a ' interleave, so grouping that order byte by byte would emit a key again for
each change of spelling, and the last one written would have only some of the rows.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest

from demo.servers import DynamoServer, SqlServer
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import GROUP, Work
from tests.faults import FaultProxy

SPELLINGS = ("a", "A", "á", "Á", "a ", "A ", "aa", "AA", "b", "B ")
PRODUCTS = 7  # rows of one spelling, so that they interleave with the others'

COLLATIONS = {
    "mariadb": ("utf8mb4_general_ci", "utf8mb4_unicode_ci", "latin1_swedish_ci"),
    "mysql": ("utf8mb4_0900_ai_ci", "utf8mb4_general_ci"),
}
CASES = [(name, collation) for name, collations in COLLATIONS.items() for collation in collations]


@pytest.fixture(params=CASES, ids="-".join)
def spelt(
    request: pytest.FixtureRequest, make_work: MakeWork, ministack: DynamoServer
) -> Iterator[tuple[Work, FaultProxy]]:
    """A purchase table in which every product belongs to one spelling, and the requests of its migration."""
    name, collation = request.param
    source: SqlServer = request.getfixturevalue(name)
    with FaultProxy(ministack.endpoint) as proxy:
        work = make_work(source, ministack, endpoint_url=proxy.endpoint, source_settings="chunk_rows = 3")
        fill(work, collation)
        yield work, proxy


def fill(work: Work, collation: str) -> None:
    text = f"VARCHAR(20) CHARACTER SET {collation.partition('_')[0]} COLLATE {collation} NOT NULL"
    # The product's own collation is binary, so that the rows of all spellings lie between each other's.
    create = f"""CREATE TABLE purchase (customerid {text}, orderid {text},
        productid VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, quantity INT NOT NULL,
        PRIMARY KEY (customerid, orderid, productid), KEY (productid))"""
    work.source.execute(create, database=work.database)
    rows = []
    for product in range(PRODUCTS):
        for number, (customer, order) in enumerate(itertools.product(SPELLINGS, ("x", "X", "x "))):
            rows.append((customer, order, f"p{product}-{number}", product))
    with work.source.connect(work.database) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO purchase VALUES (%s, %s, %s, %s)", rows)


def change(work: Work) -> None:
    """Rows change their spelling and nothing else, items lose their last row to another spelling, and come again."""
    work.source.execute(
        "UPDATE purchase SET customerid = 'A' WHERE BINARY customerid = 'a' AND productid LIKE 'p1-%'",
        "UPDATE purchase SET orderid = 'X ' WHERE BINARY customerid = 'A ' AND BINARY orderid = 'x'",
        "UPDATE purchase SET customerid = 'aA' WHERE BINARY customerid = 'AA'",
        "DELETE FROM purchase WHERE BINARY customerid = 'b'",
        "INSERT INTO purchase VALUES ('b ', 'x', 'new', 1), ('B', 'x', 'new2', 1), ('b', 'x', 'new3', 1)",
        "UPDATE purchase SET quantity = quantity + 1 WHERE customerid = 'a' AND orderid = 'x' AND quantity = 3",
        database=work.database,
    )


def puts(proxy: FaultProxy) -> Counter[tuple[str, ...]]:
    """How often each key was put."""
    return Counter(
        tuple(item[name]["S"] for name in ("customerid", "orderid"))
        for logged in proxy.log
        if logged.operation == "BatchWriteItem"
        for item in logged.items
    )


ALIGNED = GROUP
# The same items by a mapping that the primary key's order does not serve: rows are regrouped on disk.
UNALIGNED = """
shape = "group"
partition_key = { name = "orderid" }
exclude = ["customerid"]
assert_unique = true
entry = { name = "${productid}", value = "quantity" }
"""


def test_aligned_groups_under_a_collation(spelt: tuple[Work, FaultProxy]) -> None:
    work, proxy = spelt
    work.mapping = ALIGNED
    work.write_project()
    work.begin()
    work.call("snapshot")
    chunks = len(list((work.state / "export").glob("*/chunk-*")))
    assert chunks > 2
    work.call("load")
    counted = puts(proxy)
    assert set(counted.values()) == {1}
    assert counted.keys() == judge.orders(work.source, work.database).keys()
    work.assert_equal()
    change(work)
    work.drain()
    work.assert_equal()
    assert work.verify()["items"] == len(judge.orders(work.source, work.database))


def test_regrouped_on_disk_under_a_collation(spelt: tuple[Work, FaultProxy]) -> None:
    work, proxy = spelt
    work.mapping = UNALIGNED
    work.write_project()
    work.begin()
    work.call("snapshot")
    work.call("load")
    loaded = [
        item["orderid"]["S"] for logged in proxy.log if logged.operation == "BatchWriteItem" for item in logged.items
    ]
    assert sorted(loaded) == sorted({order for _, order in judge.orders(work.source, work.database)})
    work.assert_equal(by_order, ("orderid",))
    change(work)
    work.drain()
    work.assert_equal(by_order, ("orderid",))
    work.verify()


def by_order(server: SqlServer, database: str) -> judge.Expected:
    """One item for each spelling of the order."""
    items: judge.Expected = {}
    for order, product, quantity in server.execute(
        "SELECT orderid, productid, quantity FROM purchase", database=database
    ):
        item = items.setdefault((order,), {"orderid": order})
        assert product not in item
        item[product] = quantity
    return items


def test_an_aligned_group_is_never_cut_by_a_chunk(work: Work) -> None:
    """Even where the group's columns stand in another order in the key than in the mapping."""
    work.mapping = """
    shape = "group"
    partition_key = { name = "orderid" }
    sort_key = { name = "customerid" }
    entry = { name = "${productid}", value = "quantity" }
    """
    work.source_settings = "chunk_rows = 3"
    work.write_project()
    fill(work, "utf8mb4_unicode_ci")
    work.call("migrate", "--until-caught-up")
    work.assert_equal()
    work.verify()
