"""Races, each named by its schedule and driven step by step: what happens between which steps is written down, not left
to chance.

The order that must hold: start fixed, then rows read, then items loaded, then the log played from its first record.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import whimbrel.migration.apply
import whimbrel.migration.retry
import whimbrel.migration.snapshot
from demo.servers import MariaDB, SqlServer
from demo.shop import CREATE
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import RECORD, Work
from tests.faults import FaultProxy
from whimbrel.mysql.snapshot import export_table

Sql = Callable[..., None]


@pytest.fixture
def shop(work: Work) -> Work:
    """Six orders, o1 to o6, of two products each, a chunk of the snapshot for each."""
    return with_orders(work)


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


def finish(work: Work) -> None:
    work.call("load")
    work.drain()
    work.assert_equal()
    work.verify()


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


def test_start_then_snapshot_then_changes_then_capture(shop: Work) -> None:
    """The snapshot reads every row before its change."""
    shop.begin()
    shop.call("snapshot")
    sql(shop, *CHANGES.values())
    finish(shop)


def test_start_then_changes_then_capture_then_snapshot(shop: Work) -> None:
    """The snapshot reads every row after its change, which the log plays over it again."""
    shop.begin()
    sql(shop, *CHANGES.values())
    shop.call("capture", "--until-caught-up")
    shop.call("snapshot")
    finish(shop)


def test_start_then_changes_then_snapshot_then_the_opposite_changes(shop: Work) -> None:
    """Each row is seen in a state that is neither its first nor its last."""
    shop.begin()
    sql(shop, *CHANGES.values())
    shop.call("snapshot")
    sql(
        shop,
        "DELETE FROM purchase WHERE productid = 'p3'",
        "INSERT INTO purchase VALUES ('c', 'o4', 'p1', 1)",
        "UPDATE purchase SET orderid = 'o1' WHERE orderid = 'o7'",
        "UPDATE purchase SET productid = 'p2' WHERE productid = 'p8'",
        "DELETE FROM purchase WHERE orderid = 'o9'",
    )
    finish(shop)


def test_the_log_is_played_twice(shop: Work) -> None:
    """The checkpoint is behind what was written: a whole suffix of the log is applied again."""
    shop.begin()
    shop.call("snapshot")
    sql(shop, *CHANGES.values())
    shop.call("capture", "--until-caught-up")
    shop.call("load")
    before = (shop.state / "checkpoint.json").read_bytes()
    shop.call("apply", "--until-caught-up")
    shop.assert_equal()
    shop.set_back(before)
    shop.call("apply", "--until-caught-up")
    shop.assert_equal()


# -- between two chunks of one snapshot --------------------------------------------------------------------------------


@pytest.fixture
def between_chunks(shop: Work, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Runs a statement when the given chunk is read and the next is not, in a snapshot in which each chunk stands on
    its own, as it does without the privilege for a consistent one.
    """
    planned: dict[int, str] = {}

    def export(*arguments: Any, **options: Any) -> Any:
        told = options.pop("on_chunk")

        def on_chunk(file: Any) -> None:
            told(file)
            if file.chunk.number in planned:
                sql(shop, *planned.pop(file.chunk.number).split("; "))

        result = export_table(*arguments, **options, on_chunk=on_chunk)
        assert not planned, "these never happened"
        return result

    monkeypatch.setattr(whimbrel.migration.snapshot, "export_table", export)
    return planned.__setitem__


def exported_rows(work: Work) -> int:
    return int(work.checkpoint()["tables"][f"{work.database}.purchase"]["rows_exported"])


@pytest.mark.parametrize("mapping", ["group", "record"])
def test_a_row_moves_back_into_a_chunk_that_was_read(
    shop: Work, between_chunks: Callable[[int, str], None], mapping: str
) -> None:
    """No chunk sees the row: neither where it was nor where it went."""
    as_record = mapping == "record"
    if as_record:
        shop.mapping = RECORD
        shop.write_project()
    between_chunks(2, "UPDATE purchase SET orderid = 'o1', productid = 'p9' WHERE orderid = 'o5' AND productid = 'p1'")
    shop.begin()
    shop.call("snapshot")
    assert exported_rows(shop) == 11
    shop.call("load")
    shop.drain()
    shop.assert_equal(judge.lines, ("customer_orderid", "productid")) if as_record else shop.assert_equal()
    shop.verify()


@pytest.mark.parametrize("mapping", ["group", "record"])
def test_a_row_moves_forward_into_a_chunk_to_be_read(
    shop: Work, between_chunks: Callable[[int, str], None], mapping: str
) -> None:
    """Two chunks see the row: where it was and where it went."""
    as_record = mapping == "record"
    if as_record:
        shop.mapping = RECORD
        shop.write_project()
    between_chunks(2, "UPDATE purchase SET orderid = 'o6', productid = 'p9' WHERE orderid = 'o1' AND productid = 'p1'")
    shop.begin()
    shop.call("snapshot")
    assert exported_rows(shop) == 13
    shop.call("load")
    shop.drain()
    shop.assert_equal(judge.lines, ("customer_orderid", "productid")) if as_record else shop.assert_equal()
    shop.verify()


def test_a_group_is_emptied_after_it_was_read_and_refilled_after_the_snapshot(
    shop: Work, between_chunks: Callable[[int, str], None]
) -> None:
    between_chunks(3, "DELETE FROM purchase WHERE orderid = 'o2'")
    shop.begin()
    shop.call("snapshot")
    sql(shop, "INSERT INTO purchase VALUES ('c', 'o2', 'p5', 25)")
    finish(shop)


def test_a_group_is_emptied_before_it_is_read_and_refilled_after_the_snapshot(
    shop: Work, between_chunks: Callable[[int, str], None]
) -> None:
    between_chunks(1, "DELETE FROM purchase WHERE orderid = 'o5'")
    shop.begin()
    shop.call("snapshot")
    sql(shop, "INSERT INTO purchase VALUES ('c', 'o5', 'p1', 1)")
    finish(shop)


LINES = """
shape = "group"
partition_key = { name = "customerid" }
entry = { name = "${productid}", value = "quantity" }
exclude = ["id"]
"""


def lines_of(server: SqlServer, database: str) -> judge.Expected:
    items: judge.Expected = {}
    for customer, product, quantity in server.execute(
        "SELECT customerid, productid, quantity FROM purchase", database=database
    ):
        items.setdefault((customer,), {"customerid": customer})[product] = quantity
    return items


@pytest.fixture
def lines(shop: Work) -> Work:
    """One customer's products in one item, whose rows are in several chunks: they are read by another key."""
    shop.mapping = LINES
    shop.write_project()
    sql(
        shop,
        "DROP TABLE purchase",
        "CREATE TABLE purchase (id INT PRIMARY KEY, customerid VARCHAR(9) NOT NULL, productid VARCHAR(12) NOT NULL, "
        "quantity INT, UNIQUE (customerid, productid))",
        *(f"INSERT INTO purchase VALUES ({n}, '{'cd'[n > 4]}', 'p{n}', {n})" for n in range(1, 9)),
    )
    return shop


IN_BOTH = "DELETE FROM purchase WHERE id = 1; INSERT INTO purchase VALUES (9, 'c', 'p1', 91)"


@pytest.mark.parametrize("command", ["migrate", "apply"])
def test_a_row_is_deleted_and_inserted_again_between_two_chunks(
    lines: Work, between_chunks: Callable[[int, str], None], command: str
) -> None:
    """Two chunks see two rows for one entry; the log says that there is one."""
    between_chunks(2, IN_BOTH)
    lines.begin()
    lines.call("snapshot")
    assert exported_rows(lines) == 9
    lines.call("load", code=4)
    [letter] = lines.letters()
    assert letter["phase"] == "load"
    assert letter["source_key"] == {"id": 9}
    if command == "apply":
        lines.call("capture", "--until-caught-up", code=4)
        lines.call("apply", "--until-caught-up")
    else:
        lines.call("migrate", "--until-caught-up")
    assert lines.letters() == []
    lines.assert_equal(lines_of, ("customerid",))
    lines.verify()


def test_of_the_letters_of_the_load_those_that_are_true_are_confirmed(
    lines: Work, between_chunks: Callable[[int, str], None]
) -> None:
    """One row was in two chunks, one changed into what can be written, one stays what it was, one is gone."""
    sql(
        lines,
        *(f"INSERT INTO purchase VALUES ({20 + n}, '{'e' * n}', 'customerid', {n})" for n in (1, 2, 3)),
    )
    between_chunks(2, IN_BOTH)
    lines.begin()
    lines.call("snapshot")
    lines.call("load", code=4)
    assert len(lines.letters()) == 4
    sql(lines, "UPDATE purchase SET productid = 'p1' WHERE id = 21", "DELETE FROM purchase WHERE id = 22")
    lines.call("migrate", "--until-caught-up", code=4)
    [letter] = lines.letters()
    assert (letter["phase"], letter["source_key"]) == ("confirmed", {"id": 23})
    before = (lines.state / "dead.jsonl").read_bytes()
    lines.call("migrate", "--until-caught-up", code=4)
    assert (lines.state / "dead.jsonl").read_bytes() == before, "it is not settled twice"
    assert lines.verify(equal=False)["counts"] == {"unmappable": 1}


@pytest.mark.usefixtures("batches")
def test_changes_come_while_the_letters_of_the_load_are_settled(
    lines: Work, between_chunks: Callable[[int, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the rows were read and before their item is written, and again after that: the applier, which waits,
    plays both over it.
    """
    between_chunks(2, IN_BOTH)
    lines.begin()
    lines.call("snapshot")
    lines.call("load", code=4)
    read, happened = whimbrel.migration.retry.operations, list[str]()

    def operations(*arguments: Any) -> Any:
        made = read(*arguments)
        if not happened:
            sql(
                lines,
                "UPDATE purchase SET quantity = quantity + 100 WHERE customerid = 'c'",
                "DELETE FROM purchase WHERE id = 2",
                "UPDATE purchase SET productid = 'p2' WHERE id = 3",
                "INSERT INTO purchase VALUES (1, 'c', 'p5', 5)",
            )
            happened.append("changes")
        return made

    monkeypatch.setattr(whimbrel.migration.retry, "operations", operations)
    lines.call("migrate", "--until-caught-up")
    assert happened
    assert lines.letters() == []
    lines.call("migrate", "--until-caught-up")
    lines.assert_equal(lines_of, ("customerid",))
    lines.verify()


def test_a_transaction_that_is_applied_and_not_yet_shown_is_not_overwritten(
    lines: Work, between_chunks: Callable[[int, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The binlog has it before readers see it. Here a read view from before it stands for such a moment: it is the
    wait in mysql/visible.py that makes the settling read later: the same read without it would bring back the old row.
    """
    between_chunks(2, IN_BOTH)
    lines.begin()
    lines.call("snapshot")
    lines.call("load", code=4)
    order: list[str] = []
    for name in ("until_visible", "rows_where_equal"):
        real = getattr(whimbrel.migration.retry, name)

        def noted(*arguments: Any, name: str = name, real: Any = real) -> Any:
            order.append(name)
            return real(*arguments)

        monkeypatch.setattr(whimbrel.migration.retry, name, noted)
    lines.call("migrate", "--until-caught-up")
    assert order[0] == "until_visible"
    assert "rows_where_equal" in order


# -- in the log --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["one batch", "batches of one"])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Changes folded together in one batch, or each in a batch of its own."""
    if request.param == "batches of one":
        monkeypatch.setattr(whimbrel.migration.apply, "FIRST_BATCH", 1)
        monkeypatch.setattr(whimbrel.migration.apply, "LARGEST_BATCH", 1)
    return str(request.param)


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


def loaded(work: Work) -> None:
    work.begin()
    work.call("snapshot")
    work.call("load")


# -- the end of the process, at a chosen place -------------------------------------------------------------------------


@pytest.fixture
def proxy(shop: Work) -> Iterator[FaultProxy]:
    with FaultProxy(shop.endpoint.endpoint) as proxy:
        shop.endpoint_url = proxy.endpoint
        shop.write_project()
        yield proxy


def test_crash_between_the_update_that_removes_the_last_entry_and_the_delete(shop: Work, proxy: FaultProxy) -> None:
    loaded(shop)
    sql(shop, "DELETE FROM purchase WHERE orderid = 'o4'")
    shop.call("capture", "--until-caught-up")
    proxy.add("throttle", operation="DeleteItem")
    process = shop.start("apply")
    shop.wait_for(lambda: proxy.counts["DeleteItem"], process)
    process.kill()
    process.communicate()
    bare = judge.items(shop.endpoint, shop.target, "customerid", "orderid")["c", "o4"]
    assert bare == {"customerid": "c", "orderid": "o4"}
    proxy.clear()
    shop.call("apply", "--until-caught-up")
    shop.assert_equal()


def test_crash_between_the_removal_and_the_delete_of_an_order_that_was_refilled(shop: Work, proxy: FaultProxy) -> None:
    loaded(shop)
    sql(shop, "DELETE FROM purchase WHERE orderid = 'o4'")
    shop.call("capture", "--until-caught-up")
    proxy.add("throttle", operation="DeleteItem")
    process = shop.start("apply")
    shop.wait_for(lambda: proxy.counts["DeleteItem"], process)
    process.kill()
    process.communicate()
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


# -- the start ---------------------------------------------------------------------------------------------------------


def test_a_transaction_is_open_while_the_start_is_fixed_and_commits_after_the_snapshot(
    make_work: MakeWork, source_server: SqlServer, ministack: Any
) -> None:
    shop = with_orders(make_work(source_server, ministack))
    with source_server.connect(shop.database, autocommit=False) as session, session.cursor() as cursor:
        for statement in CHANGES.values():
            cursor.execute(statement)
        said = shop.call("capture", "--until-caught-up").output
        assert "Start fixed at " in said
        assert "no write waited for it" in said
        shop.call("snapshot")
        assert exported_rows(shop) == 12
        session.commit()
    finish(shop)


def test_an_account_that_may_lock_nothing_loses_no_open_transaction(shop: Work, mariadb: MariaDB) -> None:
    """The start does not wait for the transaction, so all of it is behind the start."""
    mariadb.execute(
        "CREATE OR REPLACE USER humble IDENTIFIED BY 'humble-secret'",
        f"GRANT SELECT ON `{shop.database}`.* TO humble",
        "GRANT REPLICATION SLAVE, REPLICATION CLIENT, BINLOG MONITOR ON *.* TO humble",
    )
    shop.environment = {"WHIMBREL_SOURCE_PASSWORD": "humble-secret"}
    file = shop.folder / "whimbrel.toml"
    file.write_text(file.read_text().replace("mysql://whimbrel@", "mysql://humble@"))
    with mariadb.connect(shop.database, autocommit=False) as session, session.cursor() as cursor:
        for statement in CHANGES.values():
            cursor.execute(statement)
        shop.begin()
        session.commit()
    assert shop.checkpoint()["phase"] == "snapshot"
    shop.call("snapshot")
    finish(shop)
