"""A group over 400 KB, split over items by a remainder: checked, moved, followed, verified and repaired; judged from
plain SELECTs.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work

WHOLE = """
shape = "group"
partition_key = { name = "pk", value = "DOC#${doc}" }
entry = { name = "${n}", value = "body", as = "map", into = "notes" }
"""
SPLIT = WHOLE + 'sort_key = { name = "sk", value = "NOTES#${n%8}" }'
BY_OVERSIZE = WHOLE + 'sort_key = { name = "sk", value = "NOTES" }\noversize = { split = 8, by = "n" }'
SERVERS = ["mariadb", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mysql", "mariadb-11.8"))]
ROWS, LARGE = 40, 24 * 1024  # of the one document: 960 KB in all


@pytest.fixture
def notes(make_work: MakeWork, source_server: SqlServer, ministack: Ministack) -> Work:
    work = make_work(source_server, ministack)
    work.mapping, work.table = SPLIT, "note"
    work.write_project()
    work.source.execute(
        "CREATE TABLE note (doc INT, n INT, body LONGTEXT, PRIMARY KEY (doc, n))",
        *(f"INSERT INTO note VALUES (1, {n}, REPEAT('x', {LARGE}))" for n in range(ROWS)),
        "INSERT INTO note VALUES (2, 3, 'a'), (2, 11, 'b'), (2, 4, 'c')",
        database=work.database,
    )
    return work


def remainder(n: int) -> int:
    return n % 8


def bucket(n: int) -> int:
    """As docs/mappings.md says it."""
    return int.from_bytes(hashlib.sha256(str(n).encode()).digest()[:4], "big") % 8


def expected(work: Work) -> judge.Expected:
    items: judge.Expected = {}
    part = bucket if work.mapping == BY_OVERSIZE else remainder
    for doc, n, body in work.source.execute("SELECT doc, n, body FROM note", database=work.database):
        key = (f"DOC#{doc}", f"NOTES#{part(int(n))}")
        item: dict[str, Any] = items.setdefault(key, {"pk": key[0], "sk": key[1], "notes": {}})
        item["notes"][str(n)] = body
    return items


def equal(work: Work) -> None:
    found = judge.items(work.endpoint, work.target, "pk", "sk")
    wanted = expected(work)
    assert found == wanted, judge.differences(wanted, found)


def test_a_group_that_is_too_large_is_split(notes: Work) -> None:
    notes.mapping = WHOLE
    notes.write_project()
    assert "[item-too-large]" in notes.call("check", code=2).output
    notes.mapping = SPLIT
    notes.write_project()
    said = notes.call("check").output
    assert "[item-too-large]" not in said
    assert "make about 10 items" in said
    assert "NOTES#3" in notes.call("preview").output
    notes.call("migrate", "--until-caught-up")
    assert notes.letters() == []
    equal(notes)
    notes.source.execute(
        "UPDATE note SET n = n + 100 WHERE doc = 1 AND n < 5",  # to other parts
        "UPDATE note SET body = 'new' WHERE doc = 2",
        "DELETE FROM note WHERE doc = 1 AND n % 8 = 6",  # the last of a part: its item goes
        "INSERT INTO note VALUES (3, 7, 'late')",
        database=notes.database,
    )
    notes.call("migrate", "--until-caught-up")
    equal(notes)
    assert notes.verify()["items"] == len(expected(notes))


def test_a_split_group_is_verified_and_repaired(notes: Work) -> None:
    notes.call("migrate", "--until-caught-up")
    client = notes.endpoint.client()
    damaged, gone = ({"pk": {"S": "DOC#2"}, "sk": {"S": f"NOTES#{part}"}} for part in (3, 4))
    client.put_item(TableName=notes.target, Item={**damaged, "notes": {"M": {"3": {"S": "a"}}}})
    client.delete_item(TableName=notes.target, Key=gone)
    client.put_item(TableName=notes.target, Item={"pk": {"S": "DOC#2"}, "sk": {"S": "NOTES#5"}, "notes": {"M": {}}})
    report = notes.verify(equal=False)
    assert len(report["differences"]) == 3, report["differences"]
    client.delete_item(TableName=notes.target, Key={"pk": {"S": "DOC#2"}, "sk": {"S": "NOTES#5"}})
    notes.call("refill", f"{notes.database}.note")
    equal(notes)
    notes.verify()


def test_a_part_that_grew_too_large_is_a_dead_letter_until_it_is_not(notes: Work) -> None:
    notes.call("migrate", "--until-caught-up")
    notes.source.execute(f"INSERT INTO note VALUES (2, 19, REPEAT('y', {410 * 1024}))", database=notes.database)
    notes.call("migrate", "--until-caught-up", code=4)
    assert len(notes.letters()) == 1
    notes.source.execute("UPDATE note SET body = 'small' WHERE doc = 2 AND n = 19", database=notes.database)
    notes.call("retry-dead")
    assert notes.letters() == []
    equal(notes)
    notes.verify()


@pytest.mark.parametrize("source_server", SERVERS, indirect=True)
def test_oversize_splits_a_group_by_the_hash_of_a_column(notes: Work) -> None:
    """Followed, verified, repaired and retried as by a remainder."""
    notes.mapping = BY_OVERSIZE
    notes.write_project()
    assert "[item-too-large]" not in notes.call("check").output
    assert f"NOTES#{bucket(3)}" in notes.call("preview").output
    notes.call("migrate", "--until-caught-up")
    equal(notes)
    notes.source.execute(
        "UPDATE note SET n = n + 100 WHERE doc = 1 AND n < 5",
        "DELETE FROM note WHERE doc = 2 AND n = 4",
        f"INSERT INTO note VALUES (3, 7, 'late'), (2, 19, REPEAT('y', {410 * 1024}))",
        database=notes.database,
    )
    notes.call("migrate", "--until-caught-up", code=4)
    notes.source.execute("UPDATE note SET body = 'small' WHERE doc = 2 AND n = 19", database=notes.database)
    notes.call("retry-dead")
    assert notes.letters() == []
    equal(notes)
    key = {"pk": {"S": "DOC#2"}, "sk": {"S": f"NOTES#{bucket(3)}"}}
    notes.endpoint.client().delete_item(TableName=notes.target, Key=key)
    assert len(notes.verify(equal=False)["differences"]) == 1
    notes.call("refill", f"{notes.database}.note")
    equal(notes)
    notes.verify()


@pytest.mark.parametrize("source_server", SERVERS, indirect=True)
def test_oversize_stop_ends_the_run_at_an_item_and_loses_nothing(notes: Work) -> None:
    """In the load and in what follows; the same command goes on where the rule says that it is a dead letter."""
    notes.mapping = WHOLE + 'oversize = "stop"'
    notes.write_project()
    said = notes.call("migrate", "--until-caught-up", code=2).output
    assert "DOC#1" in said
    assert 'oversize is "stop"' in said
    notes.source.execute("DELETE FROM note WHERE doc = 1", database=notes.database)
    notes.call("migrate", "--until-caught-up", code=2)  # the file that was exported has them
    notes.mapping = WHOLE + 'oversize = "dead"'
    notes.write_project()
    notes.call("migrate", "--until-caught-up")  # the load's letter is settled: its rows are gone
    assert notes.letters() == []
    notes.verify()
    notes.mapping = WHOLE + 'oversize = "stop"'
    notes.write_project()
    notes.source.execute(f"INSERT INTO note VALUES (2, 19, REPEAT('y', {410 * 1024}))", database=notes.database)
    assert "DOC#2" in notes.call("migrate", "--until-caught-up", code=2).output
    assert notes.letters() == []
    notes.mapping = WHOLE + 'oversize = "dead"'
    notes.write_project()
    notes.call("migrate", "--until-caught-up", code=4)
    assert len(notes.letters()) == 1


@pytest.mark.parametrize("source_server", SERVERS, indirect=True)
def test_oversize_stop_ends_the_run_where_an_item_grows_too_large(notes: Work) -> None:
    """By entries of which none is: DynamoDB alone knows."""
    notes.source.execute("DELETE FROM note WHERE doc = 1", database=notes.database)
    notes.mapping = WHOLE + 'oversize = "stop"'
    notes.write_project()
    for n in (19, 27):
        notes.call("migrate", "--until-caught-up")
        notes.source.execute(f"INSERT INTO note VALUES (2, {n}, REPEAT('y', {210 * 1024}))", database=notes.database)
    said = notes.call("migrate", "--until-caught-up", code=2).output
    assert "DOC#2" in said
    assert 'oversize is "stop"' in said
    assert notes.letters() == []
    notes.mapping = WHOLE + 'oversize = "dead"'
    notes.write_project()
    notes.call("migrate", "--until-caught-up", code=4)
    notes.source.execute("DELETE FROM note WHERE n = 19", database=notes.database)
    notes.call("retry-dead")
    notes.verify()
