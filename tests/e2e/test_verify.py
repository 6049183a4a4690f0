"""A damaged target is found, item by item; a live one is not blamed for being read while it changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from demo.servers import Dynalite
from demo.shop import LiveWriter, fill
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import GROUP, RECORD, Work

UNALIGNED = """
shape = "group"
partition_key = { name = "productid" }
entry = { name = "${customerid}|${orderid}", value = "quantity" }
"""
Key = dict[str, Any]


def migrated(work: Work, mapping: str, rows: int = 200) -> int:
    work.mapping = mapping
    work.write_project()
    count = fill(work.source, work.database, rows)
    work.call("migrate", "--until-caught-up")
    return count


def raw_items(work: Work) -> list[dict[str, Any]]:
    pages = work.endpoint.client().get_paginator("scan").paginate(TableName=work.target)
    return [item for page in pages for item in page["Items"]]


def key_names(mapping: str) -> tuple[str, ...]:
    return {GROUP: ("customerid", "orderid"), RECORD: ("customer_orderid", "productid"), UNALIGNED: ("productid",)}[
        mapping
    ]


def a_value(mapping: str, item: dict[str, Any]) -> str:
    """The name of one attribute that is not a key."""
    return next(name for name in item if name not in key_names(mapping))


Damage = Callable[[Work, dict[str, Any], Key, str], None]


def other_value(work: Work, item: dict[str, Any], key: Key, name: str) -> None:
    work.endpoint.client().put_item(TableName=work.target, Item=item | {name: {"N": "1000"}})


def other_type(work: Work, item: dict[str, Any], key: Key, name: str) -> None:
    work.endpoint.client().put_item(TableName=work.target, Item=item | {name: {"S": item[name]["N"]}})


def more_attributes(work: Work, item: dict[str, Any], key: Key, name: str) -> None:
    work.endpoint.client().put_item(TableName=work.target, Item=item | {"stranger": {"S": "x"}})


def fewer_attributes(work: Work, item: dict[str, Any], key: Key, name: str) -> None:
    left = {attribute: value for attribute, value in item.items() if attribute != name}
    work.endpoint.client().put_item(TableName=work.target, Item=left)


@pytest.mark.parametrize("mapping", [GROUP, RECORD, UNALIGNED], ids=["group", "record", "regrouped"])
def test_every_kind_of_damage_is_listed_with_both_values(work: Work, mapping: str) -> None:
    migrated(work, mapping)
    client = work.endpoint.client()
    found = sorted(raw_items(work), key=repr)
    names = key_names(mapping)
    wanted: dict[str, tuple[str, Any, Any]] = {}  # key -> kind, expected, found
    for item, damage in zip(found, (other_value, other_type, more_attributes, fewer_attributes), strict=False):
        key = {name: item[name] for name in names}
        damage(work, item, key, a_value(mapping, item))
        wanted[text(key)] = (
            "changed",
            item,
            client.get_item(TableName=work.target, Key=key, ConsistentRead=True)["Item"],
        )
    missing = found[-1]
    key = {name: missing[name] for name in names}
    client.delete_item(TableName=work.target, Key=key)
    wanted[text(key)] = "missing", missing, None
    for number, extra in enumerate(("nobody", "nobody|else")):
        key = {name: {"S": extra if name == names[0] else f"x{number}"} for name in names}
        item = key | {"quantity": {"N": "1"}}
        client.put_item(TableName=work.target, Item=item)
        wanted[text(key)] = "extra", None, item
    report = work.verify(equal=False)
    assert report["counts"] == {"changed": 4, "missing": 1, "extra": 2}
    assert {
        text(each["key"]): (each["kind"], each["expected"], each["found"]) for each in report["differences"]
    } == wanted
    assert report["found"] == report["items"] + 1


def test_two_rows_that_overwrite_each_other_are_found_however_far_apart_they_are_read(work: Work) -> None:
    """The rows are in two chunks, so that the load cannot see them meet; the target has what the second one makes."""
    work.table, work.source_settings = "people", "chunk_rows = 100"
    work.mapping = 'shape = "record"\npartition_key = { name = "mail" }\nassert_unique = true'
    work.write_project()
    table = f"{work.database}.people"
    work.source.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, mail VARCHAR(20) NOT NULL)")
    rows = ", ".join(f"({number}, 'mail{number}')" for number in range(1000))
    work.source.execute(f"INSERT INTO {table} VALUES {rows}", f"UPDATE {table} SET mail = 'mail999' WHERE id = 0")
    work.call("migrate", "--until-caught-up")
    report = work.verify(equal=False)
    assert [(each["kind"], each["key"]) for each in report["differences"]] == [
        ("unmappable", {"mail": {"S": "mail999"}})
    ]
    work.source.execute(f"UPDATE {table} SET mail = 'mail0' WHERE id = 0")
    work.drain()  # takes back what the row wrote, which was the other's by then: only a new migration brings it back
    assert work.verify(equal=False)["counts"] == {"missing": 1}


def test_a_key_that_nothing_proves_is_refused_until_somebody_says_that_it_is_one(work: Work) -> None:
    work.table = "people"
    work.mapping = 'shape = "record"\npartition_key = { name = "mail" }'
    work.write_project()
    table = f"{work.database}.people"
    work.source.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, mail VARCHAR(20) NOT NULL)")
    refused = work.call("migrate", "--until-caught-up", code=2)
    assert "id of the primary key is not in the key: different rows could be one" in refused.output
    assert "write assert_unique = true" in refused.output
    work.source.execute(f"ALTER TABLE {table} ADD UNIQUE (mail)")
    work.call("migrate", "--until-caught-up")


def text(key: Key) -> str:
    return json.dumps(key, sort_keys=True)


def test_a_person_is_told_the_key_and_both_values(work: Work) -> None:
    migrated(work, GROUP)
    item = raw_items(work)[0]
    name = a_value(GROUP, item)
    other_value(work, item, {}, name)
    lines = work.call("verify", code=5).stdout.splitlines()
    assert "Differences: 1 (1 changed)" in lines[0]
    assert "changed" in lines[1]
    assert item["orderid"]["S"] in lines[1]
    assert f'"{name}": {{"N": "{item[name]["N"]}"}}' in lines[2]
    assert f'"{name}": {{"N": "1000"}}' in lines[3]


def test_repaired_by_hand_it_is_equal_again(work: Work) -> None:
    migrated(work, GROUP)
    item = raw_items(work)[0]
    work.endpoint.client().delete_item(
        TableName=work.target, Key={name: item[name] for name in ("customerid", "orderid")}
    )
    assert work.verify(equal=False)["counts"] == {"missing": 1}
    work.endpoint.client().put_item(TableName=work.target, Item=item)
    assert work.verify()["differences"] == []


def test_the_same_number_written_otherwise_is_no_difference(
    work: Work, make_work: MakeWork, dynalite: Dynalite
) -> None:
    migrated(work, RECORD)
    item = next(item for item in raw_items(work) if int(item["quantity"]["N"]) % 10)
    work.endpoint.client().put_item(
        TableName=work.target, Item=item | {"quantity": {"N": f"{item['quantity']['N']}.0E+0"}}
    )
    work.verify()


@pytest.mark.parametrize("mapping", [GROUP, RECORD, UNALIGNED], ids=["group", "record", "regrouped"])
def test_no_false_difference_while_the_application_writes(work: Work, mapping: str) -> None:
    """By itself, with an applier of its own, and beside a migration in another process."""
    rows = migrated(work, mapping, 400)
    writer = LiveWriter(work.source, work.database, orders=rows // 4, rate=200)
    writer.start()
    for _ in range(2):
        work.verify()
    with work.running("migrate") as process:
        work.wait_for(lambda: (work.state / "lock").read_text().strip() == str(process.pid), process)
        rounds = [work.verify() for _ in range(2)]
        while not any(report["candidates"] for report in rounds):  # nothing changed while it was read: no proof
            rounds.append(work.verify())
            assert len(rounds) < 20
    writer.stop()
    work.call("migrate", "--until-caught-up")  # what the two sides have at first sight is the same only then
    report = work.verify()
    assert report["items"] == report["found"]


def test_damage_is_found_while_the_application_writes(work: Work) -> None:
    rows = migrated(work, GROUP, 400)
    client = work.endpoint.client()
    client.put_item(
        TableName=work.target, Item={"customerid": {"S": "nobody"}, "orderid": {"S": "none"}, "p": {"N": "1"}}
    )
    writer = LiveWriter(work.source, work.database, orders=rows // 4, rate=200)
    writer.start()
    report = work.verify(equal=False)
    writer.stop()
    assert report["counts"] == {"extra": 1}


def test_verify_before_the_load_is_refused(work: Work) -> None:
    fill(work.source, work.database, 50)
    work.begin()
    assert "load" in work.call("verify", code=3).stderr


def test_an_empty_table_equals_an_empty_table(work: Work) -> None:
    fill(work.source, work.database, 10)
    work.source.execute("DELETE FROM purchase", database=work.database)
    work.call("migrate", "--until-caught-up")
    assert work.verify()["items"] == 0
    assert judge.items(work.endpoint, work.target, "customerid", "orderid") == {}
