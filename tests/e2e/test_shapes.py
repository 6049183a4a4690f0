"""Every shape of item, on real servers, while an application writes; judged by hand from plain SELECTs."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from demo.servers import Dynalite, DynamoServer, MariaDB, Ministack, SqlServer
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work

SCHEMA = """
CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(40), email VARCHAR(60) NOT NULL UNIQUE,
                       card VARCHAR(20), tier INT);
CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT NOT NULL, status VARCHAR(10), placed DATETIME(3), notes JSON);
CREATE TABLE line (order_id INT, line_no INT, product VARCHAR(20), quantity INT, price DECIMAL(10,2),
                   PRIMARY KEY (order_id, line_no));
CREATE TABLE tag (order_id INT, tag VARCHAR(10), PRIMARY KEY (order_id, tag))
"""
CUSTOMERS, ORDERS = 12, 30
Expected = dict[tuple[Any, ...], dict[str, Any]]


class Shop:
    """Rows that come, change, move between orders and go, at random."""

    def __init__(self, server: SqlServer, database: str, seed: int = 1) -> None:
        self.server, self.database, self.dice = server, database, random.Random(seed)
        self.execute(*SCHEMA.strip().split(";\n"))
        for _ in range(150):
            self.step()

    def execute(self, *statements: str) -> None:
        self.server.execute(*statements, database=self.database)

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        return list(self.server.execute(select, database=self.database))

    def step(self) -> None:
        dice = self.dice
        order, number, customer = dice.randrange(ORDERS), dice.randrange(5), dice.randrange(CUSTOMERS)
        product, other = f"'P{dice.randrange(9)}'", dice.randrange(ORDERS)
        person = f"{customer}, 'Name {number}', 'User{customer}@X.org', '4111-{order}', {number}"
        placed = f"'2026-01-0{number + 1} 10:00:00.500'"
        notes = dice.choice(["NULL", """'{"gift": true, "n": [1, 2.50, null]}'""", "'[]'"])
        self.execute(
            dice.choice(
                [
                    f"REPLACE INTO customer VALUES ({person})",
                    f"DELETE FROM customer WHERE id = {customer}",
                    f"REPLACE INTO orders VALUES ({order}, {customer}, 's{number}', {placed}, {notes})",
                    f"UPDATE orders SET status = 's{number}' WHERE id = {order}",
                    f"DELETE FROM orders WHERE id = {order}",
                    f"UPDATE IGNORE orders SET id = {other} WHERE id = {order}",
                    f"REPLACE INTO line VALUES ({order}, {number}, {product}, {order}, {number}.50)",
                    f"REPLACE INTO line VALUES ({other}, {number}, {product}, {order}, NULL)",
                    f"UPDATE IGNORE line SET order_id = {other}, line_no = {number} WHERE order_id = {order} LIMIT 1",
                    f"DELETE FROM line WHERE order_id = {order} AND line_no <= {number}",
                    f"REPLACE INTO tag VALUES ({order}, 't{number}')",
                    f"REPLACE INTO tag VALUES ({other}, 't{number}')",
                    f"UPDATE IGNORE tag SET order_id = {other} WHERE order_id = {order}",
                    f"DELETE FROM tag WHERE order_id = {order} AND tag = 't{number}'",
                ]
            )
        )

    @contextmanager
    def writing(self) -> Iterator[Callable[[], int]]:
        """Steps in a thread; gives how many there were so far."""
        stop, done = threading.Event(), [0]

        def write() -> None:
            while not stop.wait(0.03):  # an application, not a race: what is verified must stand still now and then
                self.step()
                done[0] += 1

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield lambda: done[0]
        finally:
            stop.set()
            thread.join()


def migrate_while_written(work: Work, shop: Shop, expected: Callable[[Shop], Expected], key: tuple[str, ...]) -> None:
    """Load and follow under writes, verify under writes, then compare at rest."""
    with shop.writing() as done, work.running("migrate") as process:
        work.wait_for(work.in_phase("apply"), process)
        before = done()
        work.wait_for(lambda: done() > before + 20, process)
        work.run("verify", "--json")  # its exit code says if there is a difference
    work.run("migrate", "--until-caught-up")
    assert work.letters() == []
    wanted, found = expected(shop), judge.items(work.endpoint, work.target, *key)
    assert found == wanted, judge.differences(wanted, found)
    report = work.verify()
    assert report["items"] == report["found"] == len(wanted)


def made(make_work: MakeWork, mariadb: MariaDB, endpoint: DynamoServer, *tables: str) -> tuple[Work, Shop]:
    work = make_work(mariadb, endpoint, source_settings="chunk_rows = 20")
    text = (work.folder / "whimbrel.toml").read_text().partition("[[table]]")[0]
    text += "".join(f'\n[[table]]\ntarget = "{work.target}"\n{table}\n' for table in tables)
    (work.folder / "whimbrel.toml").write_text(text)
    return work, Shop(mariadb, work.database)


KEY = 'partition_key = { name = "pk", value = "ORDER#${%s}" }\n'


def test_documents(make_work: MakeWork, mariadb: MariaDB, ministack: Ministack) -> None:
    table = 'source = "orders"\nshape = "document"\n' + KEY % "id"
    table += 'types = { notes = "JSON", placed = "EPOCH" }\nattribute_prefix = "o_"\nattributes = { kind = "ORDER" }'
    work, shop = made(make_work, mariadb, ministack, table)
    notes = {  # type: ignore[var-annotated]
        None: None,
        "[]": [],
        '{"gift": true, "n": [1, 2.50, null]}': {"gift": True, "n": [1, Decimal("2.5"), None]},
    }

    def expected(shop: Shop) -> Expected:
        seconds = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', placed) / 1000000"
        select = f"SELECT id, customer_id, status, {seconds}, notes FROM orders"
        return {
            (f"ORDER#{row[0]}",): {
                "pk": f"ORDER#{row[0]}",
                "kind": "ORDER",
                "_doc": {
                    "o_id": row[0], "o_customer_id": row[1], "o_status": row[2],
                    "o_placed": row[3], "o_notes": notes[row[4]],
                },
            }
            for row in shop.rows(select)
        }  # fmt: skip

    migrate_while_written(work, shop, expected, ("pk",))


def test_entries_in_a_map(make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite) -> None:
    table = 'source = "line"\nshape = "group"\n' + KEY % "order_id"
    table += 'entry = { name = "${line_no}", as = "map", into = "lines" }\nattributes = { kind = "ORDER" }'
    work, shop = made(make_work, mariadb, dynalite, table)

    def expected(shop: Shop) -> Expected:
        items: Expected = {}
        for order, number, product, quantity, price in shop.rows("SELECT * FROM line"):
            item = items.setdefault((f"ORDER#{order}",), {"pk": f"ORDER#{order}", "kind": "ORDER", "lines": {}})
            item["lines"][str(number)] = {"product": product, "quantity": quantity, "price": price}
        return items

    migrate_while_written(work, shop, expected, ("pk",))


def test_entries_in_a_list(make_work: MakeWork, mariadb: MariaDB, ministack: Ministack) -> None:
    table = 'source = "line"\nshape = "group"\n' + KEY % "order_id"
    table += 'entry = { as = "list", into = "lines", order = ["line_no desc"] }\nexclude = ["quantity", "price"]'
    work, shop = made(make_work, mariadb, ministack, table)

    def expected(shop: Shop) -> Expected:
        items: Expected = {}
        select = "SELECT order_id, line_no, product FROM line ORDER BY order_id, line_no DESC"
        for order, number, product in shop.rows(select):
            item = items.setdefault((f"ORDER#{order}",), {"pk": f"ORDER#{order}", "lines": []})
            item["lines"].append({"line_no": number, "product": product})
        return items

    migrate_while_written(work, shop, expected, ("pk",))


def test_members_that_several_rows_give(make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite) -> None:
    table = 'source = "line"\nshape = "group"\n' + KEY % "order_id" + 'exclude = ["quantity", "price"]\n'
    table += 'entry = { name = "${line_no}", value = "product", as = "string-set", into = "all", rows = "of" }'
    work, shop = made(make_work, mariadb, dynalite, table)
    migrate_while_written(work, shop, products_of_orders, ("pk",))


def products_of_orders(shop: Shop) -> Expected:
    items: Expected = {}
    for order, number, product in shop.rows("SELECT order_id, line_no, product FROM line"):
        item = items.setdefault((f"ORDER#{order}",), {"pk": f"ORDER#{order}", "all": set(), "of": {}})
        item["all"].add(product)
        item["of"][str(number)] = product
    return items


@pytest.mark.parametrize("kind", ["string-set", pytest.param("number-set", marks=pytest.mark.slow)])
def test_members_of_a_set(make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, kind: str) -> None:
    source, column, more = {
        "string-set": ("tag", "tag", ""),
        "number-set": ("line", "line_no", 'exclude = ["product", "quantity", "price"]'),
    }[kind]
    table = f'source = "{source}"\nshape = "group"\n' + KEY % "order_id" + more
    table += f'\nentry = {{ value = "{column}", as = "{kind}", into = "all" }}'
    work, shop = made(make_work, mariadb, dynalite, table)

    def expected(shop: Shop) -> Expected:
        items: Expected = {}
        for order, member in shop.rows(f"SELECT order_id, {column} FROM {source}"):
            items.setdefault((f"ORDER#{order}",), {"pk": f"ORDER#{order}", "all": set()})["all"].add(member)
        return items

    migrate_while_written(work, shop, expected, ("pk",))


def test_computed_columns_filters_and_masks(make_work: MakeWork, mariadb: MariaDB, ministack: Ministack) -> None:
    """The key is an expression, so that verify must find a key's rows by reading the table."""
    table = """
source = "customer"
partition_key = { name = "email", value = "${mail}" }
filter = "tier > 1"
columns = { mail = "lower(email)", tier = "CASE tier WHEN 4 THEN 'gold' ELSE 'silver' END" }
mask = { card = "digits", name = "hash" }
exclude = ["mail", "email"]
assert_unique = true
attribute_case = "upper"
"""
    work, shop = made(make_work, mariadb, ministack, table)

    def expected(shop: Shop) -> Expected:
        return {
            (email.lower(),): {
                "email": email.lower(),
                "ID": number,
                "NAME": hashlib.sha256(name.encode()).hexdigest(),
                "CARD": "".join("#" if each.isdigit() else each for each in card),
                "TIER": "gold" if tier == 4 else "silver",
            }
            for number, name, email, card, tier in shop.rows("SELECT * FROM customer")
            if tier > 1
        }

    migrate_while_written(work, shop, expected, ("email",))
    shop.execute("UPDATE customer SET tier = 3 WHERE id > 3", "UPDATE customer SET tier = 0 WHERE id <= 3")
    assert work.verify()["differences"] == []


SINGLE_TABLE = (
    """
source = "customer"
partition_key = { name = "pk", value = "CUSTOMER#${id}" }
sort_key = { name = "sk", value = "PROFILE" }
exclude = ["card", "email"]
attributes = { kind = "customer" }
""",
    """
source = "orders"
item = "shared"
partition_key = { name = "pk", value = "ORDER#${id}" }
sort_key = { name = "sk", value = "ORDER" }
exclude = ["notes", "placed"]
attributes = { kind = "order", by_customer = "CUSTOMER#${customer_id}" }
[[table.index]]
name = "orders_of_a_customer"
partition_key = { name = "by_customer" }
sort_key = { name = "pk" }
projection = ["customer_id"]
""",
    """
source = "line"
item = "shared"
shape = "group"
partition_key = { name = "pk", value = "ORDER#${order_id}" }
sort_key = { name = "sk", value = "ORDER" }
entry = { name = "%s${line_no}", value = "product"%s }
exclude = ["quantity", "price"]
attributes = { kind = "order" }
""",
    """
source = "tag"
item = "shared"
shape = "group"
partition_key = { name = "pk", value = "ORDER#${order_id}" }
sort_key = { name = "sk", value = "ORDER" }
entry = { value = "tag", as = "string-set", into = "tags" }
attributes = { kind = "order" }
""",
)


def test_check_says_that_two_tables_could_overwrite_each_other(
    make_work: MakeWork, mariadb: MariaDB, ministack: Ministack
) -> None:
    same = 'partition_key = { name = "pk", value = "X#${id}" }\nsort_key = { name = "sk", value = "ORDER" }\n'
    tables = [f'source = "{name}"\n{same}' for name in ("customer", "orders")]
    work, _ = made(make_work, mariadb, ministack, *tables)
    assert "could have the same key, and overwrite each other" in work.call("check", code=2).output
    assert "could have the same key, and overwrite each other" in work.run("migrate", code=2).stderr


@pytest.mark.parametrize("entries", ["map", pytest.param("attributes", marks=pytest.mark.slow)])
def test_four_tables_in_one(
    make_work: MakeWork, mariadb: MariaDB, ministack: Ministack, dynalite: Dynalite, entries: str
) -> None:
    """Customers in items of their own; orders with their lines and tags in one item each."""
    line = SINGLE_TABLE[2] % (("", ', as = "map", into = "lines"') if entries == "map" else ("line-", ""))
    tables = (*SINGLE_TABLE[:2], line, SINGLE_TABLE[3])
    endpoint = dynalite if entries == "map" else ministack
    work, shop = made(make_work, mariadb, endpoint, *tables)

    def expected(shop: Shop) -> Expected:
        items: Expected = {
            (f"CUSTOMER#{number}", "PROFILE"): {
                "pk": f"CUSTOMER#{number}", "sk": "PROFILE", "kind": "customer",
                "id": number, "name": name, "tier": tier,
            }
            for number, name, tier in shop.rows("SELECT id, name, tier FROM customer")
        }  # fmt: skip

        def order(number: int) -> dict[str, Any]:
            key = (f"ORDER#{number}", "ORDER")
            return items.setdefault(key, {"pk": key[0], "sk": "ORDER", "kind": "order"})

        for number, customer, status in shop.rows("SELECT id, customer_id, status FROM orders"):
            order(number).update(id=number, customer_id=customer, status=status, by_customer=f"CUSTOMER#{customer}")
        for number, line, product in shop.rows("SELECT order_id, line_no, product FROM line"):
            if entries == "map":
                order(number).setdefault("lines", {})[str(line)] = product
            else:
                order(number)[f"line-{line}"] = product
        for number, tag in shop.rows("SELECT order_id, tag FROM tag"):
            order(number).setdefault("tags", set()).add(tag)
        return items

    migrate_while_written(work, shop, expected, ("pk", "sk"))
    [(customer, orders)] = shop.rows("SELECT customer_id, COUNT(*) FROM orders GROUP BY 1 ORDER BY 2 DESC LIMIT 1")
    answer = work.endpoint.client().query(
        TableName=work.target,
        IndexName="orders_of_a_customer",
        KeyConditionExpression="by_customer = :c",
        ExpressionAttributeValues={":c": {"S": f"CUSTOMER#{customer}"}},
    )
    assert answer["Count"] == orders
    assert {"pk", "sk", "by_customer", "customer_id"} == answer["Items"][0].keys()
    key = {name: {"S": text} for name, text in zip(("pk", "sk"), max(expected(shop)), strict=True)}
    work.endpoint.client().update_item(TableName=work.target, Key=key, UpdateExpression="REMOVE kind")
    assert work.verify(equal=False)["counts"] == {"changed": 1}
