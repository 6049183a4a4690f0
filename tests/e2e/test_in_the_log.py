"""Changes that meet each other in the change log, folded together or each in a batch of its own."""

from __future__ import annotations

import pytest

from tests.e2e import judge
from tests.e2e.orders import CHANGES, in_one_transaction, loaded, sql, with_orders
from tests.e2e.work import Work


@pytest.fixture
def shop(work: Work) -> Work:
    """Six orders, o1 to o6, of two products each, a chunk of the snapshot for each."""
    return with_orders(work)


@pytest.mark.usefixtures("batches")
def test_a_group_is_emptied_and_refilled_and_emptied(shop: Work) -> None:
    loaded(shop)
    for order in ("o1", "o2", "o3"):
        sql(shop, f"DELETE FROM purchase WHERE orderid = '{order}'")
    for order in ("o2", "o3"):
        sql(shop, f"INSERT INTO purchase VALUES ('c', '{order}', 'p4', 4), ('c', '{order}', 'p1', 1)")
    sql(shop, "DELETE FROM purchase WHERE orderid = 'o3'")
    shop.drain()
    shop.assert_equal()
    assert ("c", "o1") not in judge.orders(shop.source, shop.database)


@pytest.mark.usefixtures("batches")
def test_two_rows_swap_their_entries_in_one_transaction(shop: Work) -> None:
    loaded(shop)
    in_one_transaction(
        shop,
        "UPDATE purchase SET productid = 'x' WHERE orderid = 'o1' AND productid = 'p1'",
        "UPDATE purchase SET productid = 'p1' WHERE orderid = 'o1' AND productid = 'p2'",
        "UPDATE purchase SET productid = 'p2' WHERE orderid = 'o1' AND productid = 'x'",
    )
    shop.drain()
    shop.assert_equal()


@pytest.mark.usefixtures("batches")
def test_two_rows_swap_their_orders_in_one_transaction(shop: Work) -> None:
    loaded(shop)
    in_one_transaction(
        shop,
        "UPDATE purchase SET orderid = 'x' WHERE orderid = 'o1'",
        "UPDATE purchase SET orderid = 'o1' WHERE orderid = 'o2'",
        "UPDATE purchase SET orderid = 'o2' WHERE orderid = 'x'",
    )
    shop.drain()
    shop.assert_equal()


@pytest.mark.usefixtures("batches")
def test_a_row_moves_through_many_orders_and_back(shop: Work) -> None:
    loaded(shop)
    for there in ("o2", "o7", "o3", "o8", "o1"):
        sql(shop, f"UPDATE purchase SET orderid = '{there}', productid = 'moving' WHERE quantity = 11")
    shop.drain()
    shop.assert_equal()


def test_a_rolled_back_transaction_leaves_nothing(shop: Work) -> None:
    loaded(shop)
    sql(shop, "START TRANSACTION", "DELETE FROM purchase", "ROLLBACK")
    in_one_transaction(
        shop, "SAVEPOINT s", "DELETE FROM purchase WHERE orderid = 'o1'", "ROLLBACK TO s", CHANGES["an update"]
    )
    shop.drain()
    shop.assert_equal()
