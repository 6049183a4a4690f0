"""Rows that a migration leaves out, since what they look up is not there, are in no item. So no write at DynamoDB is
about them, and they are at the source after a return as they were before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from tests.conftest import unique
from tests.handover.both_sides import with_a_way_back
from tests.handover.test_lookups import CUTOVER

GROUP = """
shape = "group"
partition_key = { name = "shop", type = "N" }
entry = { name = "${id}", as = "map", into = "orders" }
lookup = { name = "product.name", by = "product_id", orphans = "omit" }
[[table]]
source = "product"
target = "PRODUCT"
partition_key = { name = "id", type = "N" }
"""
TABLES = (
    "CREATE TABLE product (id INT PRIMARY KEY, name VARCHAR(20))",
    "CREATE TABLE orders (id INT PRIMARY KEY, shop INT NOT NULL, product_id INT NOT NULL, n INT)",
    "INSERT INTO product VALUES (7, 'tea')",
    "INSERT INTO orders VALUES (1, 1, 7, 10), (2, 1, 99, 20), (3, 2, 7, 30), (4, 1, 7, 40)",
)


@pytest.mark.slow
def test_a_row_that_is_left_out_is_kept_where_an_item_takes_its_unique_value(
    mariadb: SqlServer, ministack: Ministack, tmp_path: Path
) -> None:
    """Order 2 has the number that the application gives to order 1 of the same shop."""
    work = with_a_way_back(tmp_path, mariadb, ministack, "orders", GROUP.replace("PRODUCT", unique("product")), CUTOVER)
    work.source.execute(*TABLES, "ALTER TABLE orders ADD UNIQUE (n)", database=work.database)
    work.call("migrate", "--until-caught-up")
    work.verify()
    work.call("cutover", "--yes", "--json", "--until-open")
    client = ministack.client()
    shop: Any = client.get_item(TableName=work.target, Key={"shop": {"N": "1"}})["Item"]
    shop["orders"]["M"]["1"]["M"]["n"] = {"N": "20"}
    client.put_item(TableName=work.target, Item=shop)
    said = work.call("rollback", "--yes", code=3).output
    assert "1 rows stand in the way of others by a unique key of the source" in said
    shop["orders"]["M"]["1"]["M"]["n"] = {"N": "11"}
    client.put_item(TableName=work.target, Item=shop)
    work.call("rollback", "--yes")
    rows: Any = work.source.execute("SELECT id, shop, product_id, n FROM orders ORDER BY id", database=work.database)
    assert list(rows) == [(1, 1, 7, 11), (2, 1, 99, 20), (3, 2, 7, 30), (4, 1, 7, 40)]


@pytest.mark.parametrize("comes", [False, True])
def test_rows_that_are_left_out_stay_at_the_source(
    mariadb: SqlServer, ministack: Ministack, tmp_path: Path, comes: bool
) -> None:
    """Order 2 has no product. The application writes the item of its shop, and makes the product, too, if it
    ``comes``.
    """
    products = unique("product")
    work = with_a_way_back(tmp_path, mariadb, ministack, "orders", GROUP.replace("PRODUCT", products), CUTOVER)
    work.source.execute(*TABLES, database=work.database)
    work.call("migrate", "--until-caught-up")
    work.verify()
    work.call("cutover", "--yes", "--json", "--until-open")
    client = ministack.client()
    if comes:
        client.put_item(TableName=products, Item={"id": {"N": "99"}, "name": {"S": "milk"}})
    shop: Any = client.get_item(TableName=work.target, Key={"shop": {"N": "1"}})["Item"]
    client.delete_item(TableName=work.target, Key={"shop": {"N": "1"}})
    del shop["orders"]["M"]["4"]
    shop["orders"]["M"]["1"]["M"]["n"] = {"N": "11"}
    client.put_item(TableName=work.target, Item=shop)
    work.call("rollback", "--yes")
    rows: Any = work.source.execute("SELECT id, shop, product_id, n FROM orders ORDER BY id", database=work.database)
    assert list(rows) == [(1, 1, 7, 11), (2, 1, 99, 20), (3, 2, 7, 30)]
    work.call("migrate", "--until-caught-up")
    work.verify()
    shop = client.get_item(TableName=work.target, Key={"shop": {"N": "1"}})["Item"]
    assert sorted(shop["orders"]["M"]) == ["1", "2"][: 1 + comes]
