"""A shop of a few orders, what can change in it, and the steps of a migration that tests of races call one by one."""

from __future__ import annotations

from demo.shop import CREATE
from tests.e2e.work import Work

CHANGES = {
    "an insert": "INSERT INTO purchase VALUES ('c', 'o1', 'p3', 13)",
    "an update": "UPDATE purchase SET quantity = 0 WHERE orderid = 'o2' AND productid = 'p1'",
    "a delete": "DELETE FROM purchase WHERE orderid = 'o3' AND productid = 'p1'",
    "a new order": "INSERT INTO purchase VALUES ('d', 'o9', 'p1', 91)",
    "a whole order goes": "DELETE FROM purchase WHERE orderid = 'o4'",
    "a line moves to another order": "UPDATE purchase SET orderid = 'o6', productid = 'p7' WHERE quantity = 51",
    "the last lines move": "UPDATE purchase SET orderid = 'o7' WHERE orderid = 'o1'",
    "an entry is renamed": "UPDATE purchase SET productid = 'p8' WHERE orderid = 'o2' AND productid = 'p2'",
}


def with_orders(work: Work) -> Work:
    work.source_settings = "chunk_rows = 2\nconnections = 1"
    work.write_project()
    lines = [f"('c', 'o{order}', 'p{product}', {order}{product})" for order in range(1, 7) for product in (1, 2)]
    work.source.execute(CREATE, f"INSERT INTO purchase VALUES {', '.join(lines)}", database=work.database)
    return work


def sql(work: Work, *statements: str) -> None:
    work.source.execute(*statements, database=work.database)


def in_one_transaction(work: Work, *statements: str) -> None:
    sql(work, "START TRANSACTION", *statements, "COMMIT")


def loaded(work: Work) -> None:
    work.begin()
    work.call("snapshot")
    work.call("load")


def finish(work: Work) -> None:
    work.call("load")
    work.drain()
    work.assert_equal()
    work.verify()


def exported_rows(work: Work) -> int:
    return int(work.checkpoint()["tables"][f"{work.database}.purchase"]["rows_exported"])
