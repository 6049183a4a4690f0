"""Tables are made when missing, checked when not, and never taken for ours when they have items of somebody else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from demo.servers import DynamoServer
from tests.dynamodb.conftest import ItemTable, item
from tests.memory import MemoryWire
from whimbrel.dynamodb import calls, session
from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.session import open_client
from whimbrel.dynamodb.tables import describe_all, ensure_table, id_of, is_empty, table_exists
from whimbrel.errors import RequestRefused, TargetNotEmpty, TargetUnreachable, UnexpectedAnswer
from whimbrel.project import IndexKey, IndexRule, Target

KEY = [("pk", "S"), ("sk", "N")]


def test_a_missing_table_is_made_on_demand_once(
    dynamodb_endpoint: DynamoServer, new_table_name: Callable[[str], str]
) -> None:
    target, name = dynamodb_endpoint.target(), new_table_name("made")
    client = open_client(target)
    assert not table_exists(client, name)
    assert ensure_table(client, name, KEY, target)
    described = dynamodb_endpoint.client().describe_table(TableName=name)["Table"]
    assert described["TableStatus"] == "ACTIVE"
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert [each["AttributeName"] for each in described["KeySchema"]] == ["pk", "sk"]
    assert table_exists(client, name)
    assert not ensure_table(client, name, KEY, target)


def test_a_table_may_be_provisioned_and_have_one_key_attribute(
    dynamodb_endpoint: DynamoServer, new_table_name: Callable[[str], str]
) -> None:
    target = dynamodb_endpoint.target(billing="provisioned", read_capacity=3, write_capacity=4)
    name = new_table_name("made")
    assert ensure_table(open_client(target), name, [("id", "B")], target)
    described = dynamodb_endpoint.client().describe_table(TableName=name)["Table"]
    assert described["ProvisionedThroughput"]["WriteCapacityUnits"] == 4
    assert described["AttributeDefinitions"] == [{"AttributeName": "id", "AttributeType": "B"}]


@pytest.mark.parametrize(
    "other", [[("pk", "S")], [("pk", "S"), ("sk", "S")], [("sk", "N"), ("pk", "S")], [*KEY, ("third", "S")]]
)
def test_another_key_is_refused_by_name(table: ItemTable, other: list[tuple[str, str]]) -> None:
    target = table.server.target()
    with pytest.raises(RequestRefused, match=r"\(pk S, sk N\)") as caught:
        ensure_table(open_client(target), table.name, other, target, allow_items=True)
    assert caught.value.place == table.name


def test_items_of_somebody_else_are_an_error_unless_allowed(table: ItemTable) -> None:
    target = table.server.target()
    client = open_client(target)
    assert is_empty(client, table.name)
    table.client.put_item(TableName=table.name, Item=item(1))
    assert not is_empty(client, table.name)
    with pytest.raises(TargetNotEmpty, match=table.name):
        ensure_table(client, table.name, KEY, target)
    assert not ensure_table(client, table.name, KEY, target, allow_items=True)
    assert len(table.items()) == 1


def test_nobody_listening_is_target_unreachable() -> None:
    target = Target(endpoint="http://127.0.0.1:9", region="us-east-1")
    with pytest.raises(TargetUnreachable):
        ensure_table(open_client(target), "t", KEY, target)


INDEXES = [
    IndexRule("global", IndexKey("a"), IndexKey("sk", "N"), projection=("b", "c")),
    IndexRule("keys", IndexKey("b", "N"), projection="keys"),
    IndexRule("local", IndexKey("pk"), IndexKey("a"), local=True),
]


def test_a_table_is_made_with_its_indexes(
    dynamodb_endpoint: DynamoServer, new_table_name: Callable[[str], str]
) -> None:
    target, name = dynamodb_endpoint.target(), new_table_name("made")
    client = open_client(target)
    assert ensure_table(client, name, KEY, target, indexes=INDEXES)
    described = dynamodb_endpoint.client().describe_table(TableName=name)["Table"]
    projections = {each["IndexName"]: each["Projection"] for each in described["GlobalSecondaryIndexes"]}
    assert sorted(projections["global"]["NonKeyAttributes"]) == ["b", "c"]
    assert projections["keys"]["ProjectionType"] == "KEYS_ONLY"
    [local] = described["LocalSecondaryIndexes"]
    assert [each["AttributeName"] for each in local["KeySchema"]] == ["pk", "a"]
    assert not ensure_table(client, name, KEY, target, indexes=INDEXES)
    assert not ensure_table(client, name, KEY, target)  # it may have more


def test_a_table_without_an_index_or_with_another_is_refused(
    dynamodb_endpoint: DynamoServer, new_table_name: Callable[[str], str]
) -> None:
    target, name = dynamodb_endpoint.target(), new_table_name("made")
    client = open_client(target)
    ensure_table(client, name, KEY, target, indexes=INDEXES[:1])
    with pytest.raises(RequestRefused, match="the table has no index 'keys'"):
        ensure_table(client, name, KEY, target, indexes=INDEXES[1:2])
    with pytest.raises(RequestRefused, match="the table has another index 'global'"):
        ensure_table(client, name, KEY, target, indexes=[IndexRule("global", IndexKey("b"))])


class Answering:
    """A client whose DescribeTable gives these answers one after the other, and the last of them for ever."""

    class exceptions:  # noqa: N801
        ResourceNotFoundException = KeyboardInterrupt

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def describe_table(self, **_: str) -> Any:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class AnsweringWire(MemoryWire):
    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self._answers = list(answers)

    async def ask(self, operation: str, body: bytes) -> bytes:
        assert (operation, json.loads(body)) == ("DescribeTable", {"TableName": "t"})
        return json.dumps(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]).encode()


DESCRIBED = {
    "TableName": "t",
    "TableStatus": "ACTIVE",
    "TableId": "id",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
}


@pytest.mark.parametrize(
    "odd",
    [
        None,
        {},
        DESCRIBED | {"TableName": "other"},
        DESCRIBED | {"TableStatus": None},
        DESCRIBED | {"KeySchema": []},
        DESCRIBED | {"KeySchema": None},
        DESCRIBED | {"KeySchema": [{"AttributeName": "pk", "KeyType": "RANGE"}]},
        DESCRIBED | {"AttributeDefinitions": []},
    ],
)
def test_a_table_is_what_a_whole_answer_says(monkeypatch: pytest.MonkeyPatch, odd: Any) -> None:
    monkeypatch.setattr(session, "Backoff", lambda: Backoff(0.0, 0.0))
    monkeypatch.setattr(calls, "Backoff", lambda: Backoff(0.0, 0.0))
    good, bad = {"Table": DESCRIBED}, {"Table": odd} if odd != {} else {}
    assert table_exists(Answering(bad, bad, good), "t")  # type: ignore[arg-type]
    with pytest.raises(UnexpectedAnswer, match="t: "):
        table_exists(Answering(bad), "t")  # type: ignore[arg-type]
    assert describe_all(AnsweringWire(bad, bad, good), ["t"], threading.Event()) == {"t": DESCRIBED}  # type: ignore[arg-type]
    with pytest.raises(UnexpectedAnswer):
        describe_all(AnsweringWire(bad), ["t"], threading.Event())  # type: ignore[arg-type]


def test_a_table_without_an_id_is_known_by_when_it_was_made() -> None:
    """As earlier versions saved it."""
    assert id_of(DESCRIBED) == "id"
    made = 1_764_460_800.25
    unnamed = {name: value for name, value in DESCRIBED.items() if name != "TableId"} | {"CreationDateTime": made}
    assert id_of(unnamed) == str(datetime.fromtimestamp(made).astimezone())
    assert id_of(None) == ""
