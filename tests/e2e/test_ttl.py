"""A table's time to live is off until the cutover is finished."""

from __future__ import annotations

import json
from typing import Any

import pytest

from demo.servers import MariaDB, Ministack
from tests.conftest import unique
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work
from whimbrel.dynamodb.session import open_client
from whimbrel.dynamodb.ttl import ttl_attribute, turn_ttl_on
from whimbrel.errors import TargetError

SESSION = """
partition_key = { name = "id", type = "N" }
[table.ttl]
attribute = "expires"
column = "ends"
"""


@pytest.fixture
def work(make_work: MakeWork, mariadb: MariaDB, ministack: Ministack) -> Work:
    work = make_work(mariadb, ministack, table="session", mapping=SESSION)
    work.source.execute(
        "CREATE TABLE session (id INT PRIMARY KEY, ends DATETIME)",
        "INSERT INTO session VALUES (1, '2020-01-01'), (2, NULL)",
        database=work.database,
    )
    return work


def new_table(endpoint: Ministack, name: str) -> Any:
    client = endpoint.client()
    client.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


def test_a_table_whose_items_expire_already_is_refused(work: Work, ministack: Ministack) -> None:
    client = new_table(ministack, work.target)
    turn_ttl_on(client, work.target, "gone_at")
    found = json.loads(work.call("check", "--json", code=2).stdout)["findings"]
    [reason] = [each["reason"] for each in found if each["code"] == "target-ttl"]
    assert reason.startswith("its time to live is on, by attribute 'gone_at': what DynamoDB deletes before the cutover")
    assert "its time to live is on" in work.call("migrate", "--until-caught-up", code=3).output


def test_another_attribute_is_not_taken_away(ministack: Ministack) -> None:
    name = unique("expiring")
    new_table(ministack, name)
    client = open_client(ministack.target())
    assert ttl_attribute(client, name) == ""
    turn_ttl_on(client, name, "one")
    turn_ttl_on(client, name, "one")
    with pytest.raises(TargetError, match="is on by attribute 'one', and 'other' is wanted"):
        turn_ttl_on(client, name, "other")
