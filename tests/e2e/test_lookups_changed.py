"""Look-ups while their parent is altered, truncated or filtered, and with rows that must find something: what the
items are is judged by a join of the server's own.
"""

from __future__ import annotations

from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from tests.conftest import unique
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work

TABLES = (
    "CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(20), active INT NOT NULL)",
    "CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT, status VARCHAR(10))",
    "INSERT INTO customer VALUES (7, 'Ann', 1), (8, 'Bob', 0)",
    "INSERT INTO orders VALUES (1, 7, 'new'), (2, 8, 'new'), (3, 7, 'paid')",
)
MAPPING = """
partition_key = {{ name = "id", type = "N" }}
filter = "active = 1"
new_columns = "ignore"
[[table]]
source = "orders"
target = "{orders}"
partition_key = {{ name = "id", type = "N" }}
lookup = {{ name = "customer.name", by = "customer_id", orphans = "{orphans}" }}
"""
SERVERS = ["mariadb", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mysql", "mariadb-11.8"))]
pytestmark = pytest.mark.parametrize("source_server", SERVERS, indirect=True)
Found = dict[int, tuple[Any, ...]]


class Orders:
    """Customers of whom only the active ones have items, and orders that have the names of all."""

    def __init__(self, work: Work, orphans: str) -> None:
        self.work, self.orphans, self.orders = work, orphans, unique("orders")
        work.mapping = MAPPING.format(orders=self.orders, orphans=orphans)
        work.write_project()
        self.sql(*TABLES)

    def sql(self, *statements: str) -> Any:
        return self.work.source.execute(*statements, database=self.work.database)

    def items(self, target: str, *names: str) -> Found:
        items = self.work.endpoint.client().scan(TableName=target, ConsistentRead=True)["Items"]
        return {int(item["id"]["N"]): tuple(item.get(name, {}).get("S") for name in names) for item in items}

    def equal(self) -> None:
        rows = self.sql("SELECT o.id, o.status, c.name, c.id FROM orders o LEFT JOIN customer c ON c.id = customer_id")
        joined = {
            number: (status, name)
            for number, status, name, there in rows
            if there is not None or self.orphans == "null"
        }
        assert self.items(self.orders, "status", "customer_name") == joined
        active = {number: (name,) for number, name in self.sql("SELECT id, name FROM customer WHERE active = 1")}
        assert self.items(self.work.target, "name") == active

    def follow(self, code: int = 0) -> None:
        self.work.call("migrate", "--until-caught-up", code=code)
        self.equal()


@pytest.fixture
def work(make_work: MakeWork, source_server: SqlServer, ministack: Ministack) -> Work:
    return make_work(source_server, ministack, table="customer", source_settings="")


def test_a_parent_that_its_filter_leaves_out_is_found_all_the_same(work: Work) -> None:
    """Its own item goes and comes; who looks it up has its name all the time, and the new one at once."""
    shop = Orders(work, "omit")
    shop.follow()
    shop.sql("UPDATE customer SET active = 1 - active, name = CONCAT(name, '!')")
    shop.follow()
    shop.sql("UPDATE customer SET name = 'Anna' WHERE id = 7", "DELETE FROM customer WHERE id = 8")
    shop.follow()
    work.verify()


def test_an_altered_parent(work: Work) -> None:
    """A column that nobody looks up may come, and one that is looked up may grow; not become another kind."""
    shop = Orders(work, "null")
    shop.follow()
    shop.sql(
        "UPDATE customer SET name = 'before' WHERE id = 7",
        "ALTER TABLE customer ADD COLUMN note VARCHAR(10) FIRST",
        "UPDATE customer SET note = 'x', name = 'after' WHERE id = 7",
    )
    shop.follow()
    shop.sql(
        "ALTER TABLE customer MODIFY name VARCHAR(30)",
        "UPDATE customer SET name = 'a name of twenty-five char' WHERE id = 8",
        "INSERT INTO orders VALUES (4, 8, 'late')",
    )
    shop.follow()
    work.verify()
    shop.sql("ALTER TABLE customer MODIFY name VARBINARY(30)", "UPDATE customer SET name = 'bytes' WHERE id = 7")
    said = work.call("migrate", "--until-caught-up", code=3).output
    assert "error[SchemaDrift]" in said
    assert "'name'" in said
    assert f"{work.database}.customer" in said


def test_a_truncated_parent_stops_the_migration_by_name(work: Work) -> None:
    shop = Orders(work, "null")
    shop.follow()
    shop.sql("TRUNCATE TABLE customer")
    said = work.call("migrate", "--until-caught-up", code=3).output
    assert "error[StatementChange]" in said
    assert "TRUNCATE TABLE customer" in said
    assert shop.items(shop.orders, "customer_name") == {1: ("Ann",), 2: ("Bob",), 3: ("Ann",)}


def test_rows_that_must_find_something_are_dead_letters_until_they_do(work: Work) -> None:
    shop = Orders(work, "dead")
    shop.sql("INSERT INTO orders VALUES (5, 99, 'early')")
    shop.follow(code=4)
    assert [letter["source_key"]["id"] for letter in work.letters()] == [5]
    shop.sql("INSERT INTO customer VALUES (99, 'Zoe', 1)")
    shop.follow(code=4)  # it is written when the other comes; the letter stays until it is retried
    work.call("retry-dead")
    assert work.letters() == []
    shop.equal()
    shop.sql("DELETE FROM customer WHERE id = 7", "UPDATE orders SET customer_id = 1 WHERE id = 2")
    shop.follow(code=4)
    assert {letter["source_key"]["id"] for letter in work.letters()} == {1, 2, 3}
    shop.sql("DELETE FROM orders WHERE id < 4")
    shop.follow(code=4)
    work.call("retry-dead")
    assert work.letters() == []
    shop.equal()
    work.verify()
