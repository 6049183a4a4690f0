"""Whoever writes items notes their keys, and a verification of only those finds what is wrong with them: on real
servers, with processes that are killed.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest

from demo.servers import DynamoServer, MariaDB, SqlServer
from demo.shop import LiveWriter, fill
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.dirty import dirty, dirty_keys, quick, verified
from tests.e2e.test_sigkill import at_work
from tests.e2e.work import GROUP, RECORD, UNALIGNED, Work
from tests.faults import FaultProxy

CREATE = """CREATE TABLE purchase (customerid VARCHAR(20) NOT NULL, orderid VARCHAR(20) NOT NULL, productid VARCHAR(20),
    quantity DECIMAL(50), id INT PRIMARY KEY) DEFAULT CHARSET=latin1"""
ROWS = "INSERT INTO purchase VALUES ('c1', 'o1', 'p1', 1, 1), ('c2', 'o2', 'p2', 2, 2), ('c3', 'o3', 'p3', 3, 3)"
HUGE = "9" * 40
SHAPES = {
    "group": GROUP + "exclude = ['id']\nassert_unique = true\nfilter = \"productid <> 'hidden'\"",
    "record": 'shape = "record"\npartition_key = { name = "customerid" }\nsort_key = { name = "orderid" }\n'
    "assert_unique = true\nfilter = \"productid <> 'hidden'\"",
}


@pytest.fixture(params=["mariadb-group", pytest.param("mysql-record", marks=pytest.mark.slow)])
def clean(request: pytest.FixtureRequest, make_work: MakeWork, dynalite: DynamoServer) -> Work:
    """Three items, verified."""
    server, shape = request.param.split("-")
    return three_items(make_work(request.getfixturevalue(server), dynalite, mapping=SHAPES[shape]))


def three_items(work: Work) -> Work:
    work.source.execute(CREATE, ROWS, database=work.database)
    work.call("migrate", "--until-caught-up")
    assert verified(work) is None
    assert dirty(work).everything
    work.verify()
    assert dirty_keys(work) == set()
    return work


def write(work: Work, *statements: str, code: int = 0) -> None:
    work.source.execute(*statements, database=work.database)
    work.call("migrate", "--until-caught-up", code=code)


def put(work: Work, *key: str, **attributes: str) -> None:
    """What is not whimbrel's into the target."""
    item = dict(zip(("customerid", "orderid"), key, strict=True)) | attributes
    work.endpoint.client().put_item(TableName=work.target, Item={name: {"S": each} for name, each in item.items()})


# -- who writes notes --------------------------------------------------------------------------------------------------


def test_a_change_makes_its_old_and_new_item_dirty(work: Work) -> None:
    work.mapping = SHAPES["group"]
    work.write_project()
    three_items(work)
    known: set[tuple[str, ...]] = set()
    for statement, keys in [
        ("INSERT INTO purchase VALUES ('c4', 'o4', 'p', 1, 4)", {("c4", "o4")}),
        ("UPDATE purchase SET customerid = 'c9' WHERE id = 1", {("c1", "o1"), ("c9", "o1")}),
        ("UPDATE purchase SET productid = 'hidden' WHERE id = 2", {("c2", "o2")}),
        ("DELETE FROM purchase WHERE id = 3", {("c3", "o3")}),
        (f"INSERT INTO purchase VALUES ('c5', 'o5', 'p', {HUGE}, 5)", {("c5", "o5")}),  # cannot be mapped
    ]:
        write(work, statement, code=4 if HUGE in statement else 0)
        assert dirty_keys(work) - known == keys
        known |= keys


def test_a_dead_letter_that_is_played_again(clean: Work) -> None:
    write(clean, f"UPDATE purchase SET quantity = {HUGE} WHERE id = 1", code=4)
    assert clean.verify(equal=False)["counts"] == {"unmappable": 1}
    assert verified(clean) is None, "a difference was found"
    write(clean, "UPDATE purchase SET productid = 'hidden' WHERE id = 1", code=4)
    clean.verify()
    assert dirty_keys(clean) == set()
    clean.call("retry-dead")
    assert clean.letters() == []
    assert dirty_keys(clean) == {("c1", "o1")}


def test_a_refill_makes_everything_dirty(clean: Work) -> None:
    clean.call("refill", "purchase")
    assert "written again" in dirty(clean).everything
    clean.verify()
    assert dirty_keys(clean) == set()


def test_an_altered_table_makes_everything_dirty(clean: Work) -> None:
    """Its items may change without a change in the log."""
    write(clean, "ALTER TABLE purchase MODIFY productid VARCHAR(30)")
    assert "altered" in dirty(clean).everything
    clean.verify()
    assert dirty_keys(clean) == set()


def test_a_call_without_an_answer_may_still_arrive(make_work: MakeWork, mariadb: MariaDB, ministack: Any) -> None:
    with FaultProxy(ministack.endpoint) as proxy:
        work = three_items(make_work(mariadb, ministack, mapping=SHAPES["record"], endpoint_url=proxy.endpoint))
        proxy.add("reset_after", count=1, operation="BatchWriteItem")
        write(work, "UPDATE purchase SET quantity = 9 WHERE id = 1")
        assert proxy.counts["reset_after"] == 1
    work.endpoint_url = ""
    work.write_project()
    write(work, "UPDATE purchase SET quantity = 9 WHERE id = 2")
    work.verify()
    write(work, "UPDATE purchase SET quantity = 9 WHERE id = 3")
    assert dirty_keys(work) == {("c1", "o1"), ("c3", "o3")}, "the lost one is noted again and again"


def test_a_verification_beside_a_migration_says_from_where_on(clean: Work) -> None:
    client = clean.endpoint.client()
    with clean.running("migrate") as process:
        clean.wait_for(lambda: at_work(clean, process), process)
        clean.source.execute("UPDATE purchase SET quantity = 9 WHERE id = 1", database=clean.database)
        clean.wait_for(lambda: dirty_keys(clean) == {("c1", "o1")}, process)
        before = verified(clean)
        clean.verify()
        after = verified(clean)
        assert before is not None
        assert before.position is not None
        assert after is not None
        assert after.position is not None
        assert after.position.order > before.position.order
        put(clean, "c4", "o4")
        assert clean.verify(equal=False)["counts"] == {"extra": 1}
        assert verified(clean) is None
        client.delete_item(TableName=clean.target, Key={"customerid": {"S": "c4"}, "orderid": {"S": "o4"}})
        clean.verify()
        assert verified(clean)


# -- what a verification of those finds --------------------------------------------------------------------------------


@pytest.mark.parametrize("still", [False, True])
def test_only_dirty_items_are_looked_at_from_both_sides(clean: Work, still: bool) -> None:
    write(clean, "UPDATE purchase SET quantity = 9 WHERE id IN (1, 2)")
    put(clean, "c3", "o3", p3="not ours")  # not dirty
    put(clean, "c1", "o1", p1="not ours")
    begun = verified(clean)
    report = quick(clean, still=still)
    assert (report.counts, report.candidates) == ({"changed": 1}, 2)
    assert report.differences[0].key == {"customerid": {"S": "c1"}, "orderid": {"S": "o1"}}
    assert verified(clean) == begun
    write(clean, "DELETE FROM purchase WHERE id = 1")
    clean.source.execute(
        "SET sql_log_bin = 0", "UPDATE purchase SET quantity = 7 WHERE id = 2", database=clean.database
    )
    report = quick(clean, still=still)
    assert (report.counts, report.differences[0].key) == (
        {"changed": 1},
        {"customerid": {"S": "c2"}, "orderid": {"S": "o2"}},
    )
    clean.source.execute(
        "SET sql_log_bin = 0", "UPDATE purchase SET quantity = 9 WHERE id = 2", database=clean.database
    )
    report = quick(clean, still=still)
    assert (report.equal, report.candidates) == (True, 2)
    assert verified(clean) != begun
    assert dirty_keys(clean) == set()
    assert clean.verify(equal=False)["counts"] == {"changed": 1}, "the one that nobody had to look at"


def test_keys_that_an_expression_makes_cost_a_reading_of_the_table(work: Work) -> None:
    work.mapping = """
shape = "record"
columns = { place = "'p' || customerid" }
partition_key = { name = "customerid", value = "${place}" }
sort_key = { name = "orderid" }
exclude = ["customerid", "place"]
assert_unique = true
"""
    work.write_project()
    three_items(work)
    write(work, "UPDATE purchase SET quantity = 9 WHERE id = 1")
    put(work, "pc1", "o1")
    put(work, "pc3", "o3")
    report = quick(work)
    assert (report.counts, report.candidates) == ({"changed": 1}, 1)


# -- killed ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "mapping", "kills"),
    [
        ("mariadb", GROUP, 4),
        pytest.param("mysql", RECORD, 30, marks=pytest.mark.slow),
        pytest.param("mariadb", UNALIGNED, 30, marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(300)
def test_what_changed_is_dirty_whenever_the_migration_is_killed(
    request: pytest.FixtureRequest, make_work: MakeWork, dynalite: DynamoServer, server: str, mapping: str, kills: int
) -> None:
    source: SqlServer = request.getfixturevalue(server)
    chance = random.Random(os.environ.get("WHIMBREL_CHAOS_SEED", "1"))
    key = {GROUP: ("customerid", "orderid"), RECORD: ("customer_orderid", "productid"), UNALIGNED: ("orderid",)}[
        mapping
    ]
    work = make_work(source, dynalite, mapping=mapping)
    rows = fill(source, work.database, 400)
    work.call("migrate", "--until-caught-up")
    work.verify()
    before = judge.items(dynalite, work.target, *key)
    writer = LiveWriter(source, work.database, orders=rows // 4, rate=100)
    writer.start()
    for _ in range(kills):
        process = work.start("migrate")
        work.wait_for(lambda process=process: at_work(work, process), process)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 1.5))  # the random moment: there is no event for it
        process.kill()
        process.communicate()
    writer.stop()
    work.call("migrate", "--until-caught-up")
    after = judge.items(dynalite, work.target, *key)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert len(changed) > 10
    assert changed <= dirty_keys(work)
    report = quick(work, still=True)
    assert report.equal
    assert report.candidates >= len(changed)
    work.verify()
