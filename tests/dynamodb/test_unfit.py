"""What is not put into an import: exactly what a strict server refuses, for an import would only count it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from demo.servers import Dynalite
from whimbrel.item import base64, unfit

Item = dict[str, Any]
GOOD: Item = {"p": {"S": "p"}, "s": {"B": b"s"}}


def deep(levels: int) -> Item:
    value: Item = {"S": "x"}
    for level in range(levels):
        value = {"M": {"a": value}} if level % 2 else {"L": [value]}
    return value


FITS: dict[str, Item] = {
    "plain": {},
    "a partition key of 2048 bytes": {"p": {"S": "ä" * 1024}},
    "a sort key of 1024 bytes": {"s": {"B": b"x" * 1024}},
    "an index's attribute": {"i": {"N": "1"}},
    "32 levels": {"deep": deep(32)},
    "an empty text": {"t": {"S": ""}},
}
UNFIT: dict[str, Item] = {
    "an empty partition key": {"p": {"S": ""}},
    "an empty sort key": {"s": {"B": b""}},
    "a partition key of 2049 bytes": {"p": {"S": "x" * 2049}},
    "a sort key of 1025 bytes": {"s": {"B": b"x" * 1025}},
    "an index's attribute of another type": {"i": {"S": "1"}},
    "an index's attribute that is NULL": {"i": {"NULL": True}},
    "an item of more than 400 KB": {"large": {"S": "x" * 409_600}},
}


@pytest.fixture(scope="module")
def put(dynalite: Dynalite) -> Callable[[Item], None]:
    client, name = dynalite.client(), "unfit-items"
    throughput = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
    client.create_table(
        TableName=name,
        AttributeDefinitions=[
            {"AttributeName": each, "AttributeType": kind} for each, kind in ("pS", "sB", "iN", "jS")
        ],
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": f"by-{each}",
                "KeySchema": [{"AttributeName": each, "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
                "ProvisionedThroughput": throughput,
            }
            for each in "ij"
        ],
        ProvisionedThroughput=throughput,
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    return lambda item: client.put_item(TableName=name, Item=item)


def reason(item: Item) -> str:
    """Of what boto3 sends: binary is base64 on its way, as in our items."""
    sent = {name: {"B": base64(value["B"])} if "B" in value else value for name, value in item.items()}
    return unfit({name: sent[name] for name in "ps"}, sent, {"i": "N", "j": "S"})


@pytest.mark.parametrize("more", FITS.values(), ids=FITS)
def test_what_fits(put: Callable[[Item], None], more: Item) -> None:
    item = GOOD | more
    put(item)
    assert reason(item) == ""


@pytest.mark.parametrize("more", UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit(put: Callable[[Item], None], more: Item) -> None:
    item = GOOD | more
    with pytest.raises(ClientError):
        put(item)
    assert reason(item)


def test_what_the_stand_in_takes_and_dynamodb_does_not() -> None:
    assert "33 deep" in reason(GOOD | {"deep": deep(33)})
    assert "empty" in reason(GOOD | {"j": {"S": ""}})
    assert reason(GOOD | {"": {"S": "x"}})
    assert "JSON" in reason(GOOD | {"t": {"S": "\ud800"}})
