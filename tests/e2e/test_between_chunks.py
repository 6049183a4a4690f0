"""Races between two chunks of one snapshot, each of which stands on its own, and what the load makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import whimbrel.migration.retry
import whimbrel.migration.snapshot
from demo.servers import SqlServer
from tests.e2e import judge
from tests.e2e.orders import exported_rows, finish, sql, with_orders
from tests.e2e.work import RECORD, Work
from whimbrel.mysql.snapshot import export_table


@pytest.fixture
def shop(work: Work) -> Work:
    """Six orders, o1 to o6, of two products each, a chunk of the snapshot for each."""
    return with_orders(work)


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


def migrated(shop: Work, mapping: str, *, exported: int) -> None:
    """The whole way with so many rows in the export; afterwards both sides are equal."""
    as_record = mapping == "record"
    if as_record:
        shop.mapping = RECORD
        shop.write_project()
    shop.begin()
    shop.call("snapshot")
    assert exported_rows(shop) == exported
    shop.call("load")
    shop.drain()
    shop.assert_equal(judge.lines, ("customer_orderid", "productid")) if as_record else shop.assert_equal()
    shop.verify()


@pytest.mark.parametrize("mapping", ["group", "record"])
def test_a_row_moves_back_into_a_chunk_that_was_read(
    shop: Work, between_chunks: Callable[[int, str], None], mapping: str
) -> None:
    """No chunk sees the row: neither where it was nor where it went."""
    between_chunks(2, "UPDATE purchase SET orderid = 'o1', productid = 'p9' WHERE orderid = 'o5' AND productid = 'p1'")
    migrated(shop, mapping, exported=11)


@pytest.mark.parametrize("mapping", ["group", "record"])
def test_a_row_moves_forward_into_a_chunk_to_be_read(
    shop: Work, between_chunks: Callable[[int, str], None], mapping: str
) -> None:
    """Two chunks see the row: where it was and where it went."""
    between_chunks(2, "UPDATE purchase SET orderid = 'o6', productid = 'p9' WHERE orderid = 'o1' AND productid = 'p1'")
    migrated(shop, mapping, exported=13)


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
