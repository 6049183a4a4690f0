"""A migration that looks columns up, whose process gets SIGKILL while its store is filled or made again, between two
portions of the rows that wait, and between the store and the checkpoint. What it goes on with is what SQL joins.
"""

from __future__ import annotations

import signal
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from tests.conftest import unique
from tests.e2e.conftest import MakeWork
from tests.e2e.work import PATIENCE, Work

ORDERS = 300
# Portions of 40 rows, and a SIGKILL before the given call of what the environment names.
PROGRAM = """
import os, signal
from whimbrel.__main__ import run
from whimbrel.migration import joins
from whimbrel.migration.join_store import JoinStore
from whimbrel.migration.state import CheckpointStore
joins.PORTION = 40
point, _, left = os.environ.get("KILLED_AT", "").partition(":")
owner = {"put": JoinStore, "more": joins.Joins, "save": JoinStore, "checkpoint": CheckpointStore}.get(point)
if owner:
    name, left = ("save" if point == "checkpoint" else point), int(left)
    real = getattr(owner, name)
    def killing(self, *given):
        global left
        if point != "checkpoint" or saved:
            left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *given)
    saved, store_saves = [], JoinStore.save
    def noted(self, *given):
        done = store_saves(self, *given)
        saved.append(1)
        return done
    if point == "checkpoint":
        JoinStore.save = noted
    setattr(owner, name, killing)
run()
"""
TABLES = (
    "CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(20), region INT)",
    "CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT, status VARCHAR(10), INDEX (customer_id))",
    "INSERT INTO customer VALUES (7, 'Ann', 1), (8, 'Bob', 2), (9, 'Eve', 3)",
    "INSERT INTO orders VALUES " + ", ".join(f"({number}, {7 + number % 3}, 'new')" for number in range(ORDERS)),
)
MAPPING = """
partition_key = {{ name = "id", type = "N" }}
[[table]]
source = "orders"
target = "{orders}"
{key}
lookup = [
    {{ name = "customer.name", by = "customer_id", orphans = "omit" }},
    {{ name = "customer.region", by = "customer_id" }},
]
"""
OWN = 'partition_key = { name = "pk", value = "ORDER#${id}" }'
PLACED = 'partition_key = { name = "pk", value = "R#${customer_region:-none}" }\nsort_key = { name = "id", type = "N" }'
CHANGES = (
    ("UPDATE customer SET name = 'Anna', region = 4 WHERE id = 7",),
    ("UPDATE orders SET customer_id = 8 WHERE id < 50", "DELETE FROM customer WHERE id = 9"),
    ("UPDATE customer SET id = 9 WHERE id = 8", "DELETE FROM orders WHERE id % 10 = 0"),
)


def found(work: Work, orders: str) -> dict[int, tuple[Any, ...]]:
    items = [
        item
        for page in work.endpoint.client().get_paginator("scan").paginate(TableName=orders, ConsistentRead=True)
        for item in page["Items"]
    ]
    numbers = [int(item["id"]["N"]) for item in items]
    assert len(numbers) == len(set(numbers)), "an order is in two places"
    return {
        number: (item["pk"]["S"].partition("#")[2], item["customer_name"].get("S"), item["customer_region"].get("N"))
        for number, item in zip(numbers, items, strict=True)
    }


def expected(work: Work, *, placed: bool) -> dict[int, tuple[Any, ...]]:
    rows = work.source.execute(
        "SELECT o.id, c.name, c.region FROM orders o JOIN customer c ON c.id = o.customer_id", database=work.database
    )
    return {number: (str(region if placed else number), name, str(region)) for number, name, region in rows}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("placed", [False, True], ids=["own", "placed"])
def test_killed_and_gone_on_with(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack, placed: bool
) -> None:
    orders = unique("orders")
    work = make_work(source_server, ministack, table="customer", source_settings="chunk_rows = 100")
    work.mapping = MAPPING.format(orders=orders, key=PLACED if placed else OWN)
    work.program = ("-c", PROGRAM)
    work.write_project()
    source_server.execute(*TABLES, database=work.database)
    killed(work, "put:2")
    for point, statements in zip(("more:3", "save:2", "checkpoint:1"), CHANGES, strict=True):
        work.run("migrate", "--until-caught-up")
        assert found(work, orders) == expected(work, placed=placed)
        source_server.execute(*statements, database=work.database)
        killed(work, point)
    work.run("migrate", "--until-caught-up")
    assert found(work, orders) == expected(work, placed=placed)
    for each in work.state.glob("lookups.sqlite*"):
        each.unlink()
    if placed:
        assert "depends on what is looked up" in work.run("migrate", "--until-caught-up", code=3).stderr
        return
    source_server.execute("UPDATE customer SET name = 'again'", database=work.database)
    killed(work, "put:1")
    killed(work, "more:2")
    work.verify()
    assert found(work, orders) == expected(work, placed=placed)


def killed(work: Work, point: str) -> None:
    work.environment["KILLED_AT"] = point
    process = work.start("migrate", "--until-caught-up")
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL, f"{point}: {process.returncode}\n{out}\n{err}"
    del work.environment["KILLED_AT"]
