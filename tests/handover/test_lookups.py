"""Cutovers and rollbacks of tables that look columns up: the application writes into copies of what is looked up, and
into the rows themselves; after the return the items are what SQL joins.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from tests.conftest import SOURCES, unique
from tests.handover.both_sides import with_a_way_back
from whimbrel.handover import rollback
from whimbrel.migration import join_fill, joins

CUTOVER = """
[cutover]
reverse_user = "back"
route_file = "route.json"
lease_seconds = 0.1
write_seconds = 0.1
late_seconds = 0
max_stall = 20
"""
MAPPING = """
partition_key = {{ name = "id", type = "N" }}
[[table]]
source = "orders"
target = "{orders}"
partition_key = {{ name = "id", type = "N" }}
lookup = {{ name = "customer.name", by = "customer_id", orphans = "{orphans}" }}
attributes = {{ label = "${{customer_name:-nobody}} ${{status}}" }}
"""
TABLES = (
    "CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(20))",
    "CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT, status VARCHAR(10))",
    "INSERT INTO customer VALUES (7, 'Ann'), (8, 'Bob'), (9, NULL)",
    "INSERT INTO orders VALUES (1, 7, 'a'), (2, 7, 'b'), (3, 8, 'c'), (4, NULL, 'd'), (5, 99, 'e'), (6, 9, 'f')",
)
Item = dict[str, Any]
SERVERS = ["mariadb", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mysql", "mariadb-11.8"))]


class Shop:
    """Customers and their orders, whose items have the customer's name."""

    def __init__(self, folder: Path, server: SqlServer, endpoint: Ministack, orphans: str) -> None:
        self.orders, self.orphans = unique("orders"), orphans
        mapping = MAPPING.format(orders=self.orders, orphans=orphans)
        self.work = with_a_way_back(folder, server, endpoint, "customer", mapping, CUTOVER)
        self.sql(*TABLES)
        self.client = endpoint.client()

    def sql(self, *statements: str) -> Any:
        return self.work.source.execute(*statements, database=self.work.database)

    def put(self, target: str, **item: Any) -> None:
        """Texts and numbers."""
        said = {name: {"N" if isinstance(value, int) else "S": str(value)} for name, value in item.items()}
        self.client.put_item(TableName=target, Item=said)

    def delete(self, target: str, number: int) -> None:
        self.client.delete_item(TableName=target, Key={"id": {"N": str(number)}})

    def found(self) -> dict[int, tuple[Any, ...]]:
        """The items of the orders, by id."""
        items = self.client.scan(TableName=self.orders, ConsistentRead=True)["Items"]
        names = ("customer_id", "status", "customer_name", "label")
        return {int(item["id"]["N"]): tuple(_plain(item.get(name)) for name in names) for item in items}

    def expected(self) -> dict[int, tuple[Any, ...]]:
        """By a join of the server's own."""
        rows = self.sql(
            "SELECT o.id, o.customer_id, o.status, c.name, c.id "
            "FROM orders o LEFT JOIN customer c ON c.id = o.customer_id"
        )
        return {
            number: (customer, status, name, f"{'nobody' if name is None else name} {status}")
            for number, customer, status, name, there in rows
            if there is not None or self.orphans == "null"
        }

    def follow(self) -> None:
        """The source, up to now."""
        self.work.call("migrate", "--until-caught-up")
        assert self.found() == self.expected()
        self.work.verify()

    def cut_over(self) -> None:
        assert json.loads(self.work.call("cutover", "--yes", "--json", "--until-open").output.splitlines()[-1])["side"]

    def roll_back(self) -> None:
        self.work.call("rollback", "--yes")

    def write_at_dynamodb(self) -> None:
        """A name changes with some of its copies; a copy alone; an order comes and one goes; a customer goes, whose
        order stays, and one comes that an order waited for.
        """
        self.put(self.work.target, id=7, name="Anna")
        self.put(self.orders, id=1, customer_id=7, status="paid", customer_name="Anna", label="Anna paid")
        self.put(self.orders, id=6, customer_id=9, status="f", customer_name="not its name", label="nobody f")
        self.put(self.orders, id=10, customer_id=7, status="new")
        self.delete(self.work.target, 8)
        self.delete(self.orders, 2)
        self.put(self.work.target, id=99, name="Zoe")


def _plain(value: Item | None) -> Any:
    if value is None or "NULL" in value:
        return None
    return int(value["N"]) if "N" in value else value["S"]


@pytest.fixture
def make(tmp_path: Path, ministack: Ministack) -> Callable[..., Shop]:
    return lambda server, orphans: Shop(tmp_path, server, ministack, orphans)


@pytest.mark.parametrize(
    ("source_server", "orphans"),
    [
        pytest.param(server, orphans, marks=() if (server, orphans) == ("mariadb", "null") else pytest.mark.slow)
        for server in SOURCES
        for orphans in ("null", "omit")
    ],
    indirect=["source_server"],
)
def test_there_and_back_and_on_and_there_again(
    source_server: SqlServer, make: Callable[..., Shop], orphans: str
) -> None:
    shop = make(source_server, orphans)
    shop.follow()
    shop.sql("UPDATE customer SET name = 'An' WHERE id = 7")
    shop.cut_over()
    assert shop.found() == shop.expected()
    shop.write_at_dynamodb()
    shop.roll_back()
    assert not (shop.work.state / "lookups.sqlite").exists()
    assert shop.sql("SELECT name FROM customer WHERE id = 7") == (("Anna",),)
    shop.sql("UPDATE customer SET name = 'Zoé' WHERE id = 99", "INSERT INTO orders VALUES (11, 99, 'x')")
    shop.follow()
    shop.sql("UPDATE orders SET customer_id = 7 WHERE id = 5", "DELETE FROM customer WHERE id = 99")
    shop.follow()
    shop.cut_over()
    shop.roll_back()
    shop.follow()


def test_the_plan_says_what_does_not_come_back(mariadb: SqlServer, make: Callable[..., Shop]) -> None:
    shop = make(mariadb, "null")
    shop.follow()
    plan = json.loads(shop.work.call("cutover", "--plan", "--json").output.splitlines()[-1])
    said = {each["reason"].partition(":")[0] for each in plan["findings"] if each["code"] == "cutover-not-returned"}
    assert said == {f"attribute '{name}' is looked up in another table" for name in ("customer_name", "label")}


def test_nobody_takes_a_target_that_is_written_again_for_a_whole_one(
    mariadb: SqlServer, make: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before all is: the run that makes the store again ends after the first portions."""
    shop = make(mariadb, "null")
    shop.follow()
    shop.cut_over()
    shop.write_at_dynamodb()
    shop.roll_back()
    monkeypatch.setattr(joins, "PORTION", 2)
    more, left = joins.Joins.more, 2

    def killed(self: joins.Joins) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return more(self)

    with monkeypatch.context() as patched:
        patched.setattr(joins.Joins, "more", killed)
        shop.work.call("migrate", "--until-caught-up", code=130)
    assert shop.work.checkpoint()["counters"]["rewriting"] == 1
    assert shop.found() != shop.expected()
    shop.work.verify()  # applies what is left first
    assert shop.found() == shop.expected()
    assert "rewriting" not in shop.work.checkpoint()["counters"]


def test_a_crash_between_the_store_and_the_place_of_the_return(
    mariadb: SqlServer, make: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make(mariadb, "omit")
    shop.follow()
    shop.cut_over()
    shop.write_at_dynamodb()

    def gone(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rollback, "continue_from", gone)
        shop.work.call("rollback", "--yes", code=130)
    shop.roll_back()
    shop.follow()


@pytest.mark.parametrize("source_server", SERVERS, indirect=True)
def test_what_was_written_past_the_fence_is_retried_with_what_it_looks_up(
    source_server: SqlServer, make: Callable[..., Shop]
) -> None:
    """Also what is looked up: who looks it up has the new name."""
    shop = make(source_server, "omit")
    shop.follow()
    shop.cut_over()
    with closing(source_server.connect(shop.work.database, user="back")) as past:  # whom the fence lets write
        past.cursor().execute("UPDATE customer SET name = 'past' WHERE id = 8")
        past.cursor().execute("UPDATE orders SET customer_id = 8 WHERE id = 1")
        past.cursor().execute("INSERT INTO orders VALUES (12, 99, 'past')")
        past.commit()
    refused = shop.work.call("rollback", "--yes", code=3).output
    assert "3 changes at the source got past the fence" in refused
    waived = shop.work.folder / "waived.jsonl"
    waived.write_bytes((shop.work.state / "past-fence.jsonl").read_bytes())
    shop.work.call("rollback", "--yes", "--waive-dead-letters", str(waived))
    assert shop.work.letters()
    shop.work.call("migrate", "--until-caught-up", code=4)
    shop.work.call("retry-dead")
    assert shop.work.letters() == []
    shop.follow()


@pytest.mark.parametrize("killed_at", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 2, 7))])
def test_dynamodb_is_not_opened_while_rows_wait(
    mariadb: SqlServer, make: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """A name with many orders changes just before the cutover, and the orders with it; the cutover that applies this is
    broken off before the portion ``killed_at``, and begun again.
    """
    shop = make(mariadb, "omit")
    shop.sql(
        "INSERT INTO orders SELECT id + 10, 7, status FROM orders",
        "INSERT INTO orders SELECT id + 20, 7, 'x' FROM orders",
    )
    shop.follow()
    monkeypatch.setattr(joins, "PORTION", 2)
    more, asked = joins.Joins.more, 0

    def killing(self: joins.Joins) -> Any:
        nonlocal asked
        asked += 1
        if asked == killed_at:
            raise KeyboardInterrupt
        return more(self)

    monkeypatch.setattr(joins.Joins, "more", killing)
    shop.sql(
        "UPDATE customer SET name = 'Anna' WHERE id = 7",
        "UPDATE orders SET customer_id = 8 WHERE id % 3 = 0",
        "UPDATE customer SET id = 99 WHERE id = 8",
        "DELETE FROM orders WHERE id = 11",
    )
    if killed_at:
        shop.work.call("cutover", "--yes", "--json", "--until-open", code=130)
    shop.cut_over()
    assert asked > 7
    assert shop.found() == shop.expected()
    shop.roll_back()
    shop.follow()


def test_finish_removes_the_store(mariadb: SqlServer, make: Callable[..., Shop]) -> None:
    shop = make(mariadb, "null")
    shop.follow()
    store = shop.work.state / "lookups.sqlite"
    shop.cut_over()
    assert store.exists()
    assert str(store) in shop.work.call("finish", "--yes").output
    assert not list(shop.work.state.glob("lookups*"))


def test_a_store_that_is_lost_is_made_again(
    mariadb: SqlServer, make: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make(mariadb, "omit")
    shop.follow()
    for each in shop.work.state.glob("lookups.sqlite*"):
        each.unlink()
    shop.sql(
        "UPDATE customer SET name = 'Other' WHERE id = 7",
        "UPDATE orders SET customer_id = 8 WHERE id = 1",
        "DELETE FROM orders WHERE id = 2",
        "DELETE FROM customer WHERE id = 9",
    )
    said: list[str] = []
    monkeypatch.setattr(join_fill, "note", said.append)
    shop.follow()
    assert len(said) == 1
