"""What is read before it is written, a set of what several rows give and maps in maps, under SIGKILL and writes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from demo.servers import MariaDB, Ministack
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.test_shapes import KEY, Expected, Shop, made, products_of_orders

COUNTED = (
    'source = "line"\nshape = "group"\n' + KEY % "order_id" + 'exclude = ["quantity", "price"]\n'
    'entry = { name = "${line_no}", value = "product", as = "string-set", into = "all", rows = "of" }',
)
DEEP = (
    (
        'source = "orders"\nitem = "shared"\nshape = "group"\nexclude = ["placed", "notes"]\n'
        'partition_key = { name = "pk", value = "CUSTOMER#${customer_id}" }\n'
        'entry = { name = "${id}", as = "map", into = "orders" }'
    ),
    (
        'source = "line"\nitem = "shared"\nshape = "group"\nexclude = ["customer_id", "price"]\n'
        'lookup = { name = "orders.customer_id", by = "order_id", as = "customer_id", orphans = "omit" }\n'
        'partition_key = { name = "pk", value = "CUSTOMER#${customer_id}" }\n'
        'entry = { name = "${line_no}", as = "map", into = "orders.${order_id}.lines" }'
    ),
)


def orders_of_customers(shop: Shop) -> Expected:
    items: Expected = {}
    customers: dict[int, int] = {}
    for order, customer, status in shop.rows("SELECT id, customer_id, status FROM orders"):
        customers[order] = customer
        key = f"CUSTOMER#{customer}"
        items.setdefault((key,), {"pk": key, "orders": {}})["orders"][str(order)] = {"status": status}
    for order, number, product, quantity in shop.rows("SELECT order_id, line_no, product, quantity FROM line"):
        if order in customers:
            entry: dict[str, Any] = items[f"CUSTOMER#{customers[order]}",]["orders"][str(order)]
            entry.setdefault("lines", {})[str(number)] = {"product": product, "quantity": quantity}
    return items


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("tables", "expected"), [(COUNTED, products_of_orders), (DEEP, orders_of_customers)])
def test_killed_while_parts_come_and_go(
    make_work: MakeWork,
    mariadb: MariaDB,
    ministack: Ministack,
    tables: tuple[str, ...],
    expected: Callable[[Shop], Expected],
) -> None:
    work, shop = made(make_work, mariadb, ministack, *tables)
    chance = random.Random(f"{expected}"[:20])
    with shop.writing() as done:
        for _ in range(5):
            process = work.start("migrate")
            try:
                work.wait_for(work.in_phase("apply"), process)
                least = done() + chance.randrange(5, 40)
                work.wait_for(lambda least=least: done() > least, process)  # type: ignore[misc]
            finally:
                process.kill()
                process.communicate()
    work.run("migrate", "--until-caught-up")
    assert work.letters() == []
    wanted, found = expected(shop), judge.items(work.endpoint, work.target, "pk")
    assert found == wanted, judge.differences(wanted, found)
    assert work.verify()["items"] == len(wanted)
