"""The judge of the end-to-end tests: what the target must hold, worked out by hand from plain SELECTs.

Shares no code with whimbrel: PyMySQL reads the source, boto3 the target, and
the shapes are written out for each test's table.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from demo.servers import DynamoServer, SqlServer

Key = tuple[Any, ...]
Expected = dict[Key, dict[str, Any]]


def orders(server: SqlServer, database: str, table: str = "purchase") -> Expected:
    """One item for each (customerid, orderid), with the quantity under each productid."""
    items: Expected = {}
    rows = server.execute(f"SELECT customerid, orderid, productid, quantity FROM `{table}`", database=database)
    for customer, order, product, quantity in rows:
        item = items.setdefault((customer, order), {"customerid": customer, "orderid": order})
        assert product not in item
        item[product] = Decimal(quantity)
    return items


def lines(server: SqlServer, database: str, table: str = "purchase") -> Expected:
    """One item for each row: the post's first form, "customer|order" and productid."""
    rows = server.execute(f"SELECT customerid, orderid, productid, quantity FROM `{table}`", database=database)
    return {
        (f"{customer}|{order}", product): {
            "customer_orderid": f"{customer}|{order}",
            "productid": product,
            "quantity": Decimal(quantity),
        }
        for customer, order, product, quantity in rows
    }


def items(endpoint: DynamoServer, table: str, *key: str) -> Expected:
    """Everything in the target table, by its key attributes."""
    deserialize = TypeDeserializer().deserialize
    found: Expected = {}
    for page in endpoint.client().get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for raw in page["Items"]:
            item = {name: deserialize(value) for name, value in raw.items()}
            identity = tuple(item[name] for name in key)
            assert identity not in found
            found[identity] = item
    return found


def differences(expected: Expected, found: Expected) -> list[str]:
    """For a failing test's message: the first few keys that are not the same."""
    keys = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
    return [f"{key}: source {expected.get(key)}, target {found.get(key)}" for key in sorted(keys, key=repr)[:5]]


Expect = Callable[[SqlServer, str], Expected]
