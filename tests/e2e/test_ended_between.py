"""The process ends at a chosen place: between two requests, within a batch, within a chunk."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.e2e import judge
from tests.e2e.orders import CHANGES, finish, loaded, sql, with_orders
from tests.e2e.work import Work
from tests.faults import FaultProxy


@pytest.fixture
def shop(work: Work) -> Work:
    """Six orders, o1 to o6, of two products each, a chunk of the snapshot for each."""
    return with_orders(work)


@pytest.fixture
def proxy(shop: Work) -> Iterator[FaultProxy]:
    with FaultProxy(shop.endpoint.endpoint) as proxy:
        shop.endpoint_url = proxy.endpoint
        shop.write_project()
        yield proxy


def killed_before_the_delete(shop: Work, proxy: FaultProxy) -> None:
    """An order's last entry is removed, and whoever would delete its item is killed."""
    loaded(shop)
    sql(shop, "DELETE FROM purchase WHERE orderid = 'o4'")
    shop.call("capture", "--until-caught-up")
    proxy.add("throttle", operation="DeleteItem")
    process = shop.start("apply")
    shop.wait_for(lambda: proxy.counts["DeleteItem"], process)
    process.kill()
    process.communicate()


def test_crash_between_the_update_that_removes_the_last_entry_and_the_delete(shop: Work, proxy: FaultProxy) -> None:
    killed_before_the_delete(shop, proxy)
    bare = judge.items(shop.endpoint, shop.target, "customerid", "orderid")["c", "o4"]
    assert bare == {"customerid": "c", "orderid": "o4"}
    proxy.clear()
    shop.call("apply", "--until-caught-up")
    shop.assert_equal()


def test_crash_between_the_removal_and_the_delete_of_an_order_that_was_refilled(shop: Work, proxy: FaultProxy) -> None:
    killed_before_the_delete(shop, proxy)
    sql(shop, "INSERT INTO purchase VALUES ('c', 'o4', 'p1', 4)")
    proxy.clear()
    shop.drain()
    shop.assert_equal()


def test_crash_between_the_two_items_of_a_move(shop: Work, proxy: FaultProxy) -> None:
    """The row has left its item and has not come to the other one yet, or the other way round."""
    loaded(shop)
    sql(shop, "UPDATE purchase SET orderid = 'o9', productid = 'p9' WHERE orderid = 'o1' AND productid = 'p1'")
    shop.call("capture", "--until-caught-up")
    proxy.add("slow", operation="UpdateItem", count=1, seconds=0.01)
    proxy.add("throttle", operation="UpdateItem")
    process = shop.start("apply")
    shop.wait_for(lambda: proxy.counts["throttle"], process)
    process.kill()
    process.communicate()
    found = judge.items(shop.endpoint, shop.target, "customerid", "orderid")
    assert found != judge.orders(shop.source, shop.database)
    proxy.clear()
    shop.call("apply", "--until-caught-up")
    shop.assert_equal()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_stop_in_the_middle_of_a_batch(shop: Work, proxy: FaultProxy, ending: signal.Signals) -> None:
    """The checkpoint must not pass a batch that is not wholly written."""
    loaded(shop)
    shop.drain()
    before = shop.checkpoint()["applied"]
    sql(shop, *CHANGES.values())
    shop.call("capture", "--until-caught-up")
    proxy.add("slow", operation="UpdateItem", count=2, seconds=0.01)
    proxy.add("throttle", operation="UpdateItem")
    process = shop.start("apply")
    shop.wait_for(lambda: proxy.counts["throttle"], process)
    process.send_signal(ending)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert shop.checkpoint()["applied"] == before
    proxy.clear()
    shop.call("apply", "--until-caught-up")
    assert shop.checkpoint()["applied"] != before
    shop.assert_equal()


def test_stop_in_the_middle_of_the_load_of_a_chunk(shop: Work, proxy: FaultProxy) -> None:
    shop.begin()
    shop.call("snapshot")
    proxy.add("slow", operation="BatchWriteItem", count=2, seconds=0.01)
    proxy.add("unprocessed", share=1.0)
    process = shop.start("load")
    shop.wait_for(lambda: proxy.counts["unprocessed"], process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert shop.checkpoint()["tables"][f"{shop.database}.purchase"]["loaded"] == "1-2"
    proxy.clear()
    finish(shop)
