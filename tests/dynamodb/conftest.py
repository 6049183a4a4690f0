"""Tables to write to and the judge's view of them: boto3's, never our own read code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from demo.servers import DynamoServer, Ministack
from tests.dynamodb.scripted import ScriptedServer
from tests.faults import FaultProxy
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.project import Target
from whimbrel.records import Delete, Item, Put, Update

FRAME = frozenset({"pk", "sk", "kind"})


@dataclass
class ItemTable:
    """One new table with the key (pk S, sk N), and all its items as boto3 sees them."""

    name: str
    server: DynamoServer
    client: Any

    def items(self) -> dict[tuple[str, str], Item]:
        pages = self.client.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True)
        return {(item["pk"]["S"], item["sk"]["N"]): item for page in pages for item in page["Items"]}

    def put(self, number: int, **attributes: str) -> Put:
        return Put(self.name, key(number), item(number, **attributes))

    def delete(self, number: int) -> Delete:
        return Delete(self.name, key(number))

    def update(self, number: int, *remove: str, **attributes: str) -> Update:
        return Update(self.name, key(number), {n: {"S": v} for n, v in attributes.items()}, remove, FRAME)


def key(number: int) -> Item:
    return {"pk": {"S": f"k{number % 7}"}, "sk": {"N": str(number)}}


def item(number: int, **attributes: str) -> Item:
    return key(number) | {name: {"S": text} for name, text in attributes.items()}


def expected(puts: list[Put]) -> dict[tuple[str, str], Item]:
    return {(put.key["pk"]["S"], put.key["sk"]["N"]): put.item for put in puts}


def new_table(server: DynamoServer, name: str) -> ItemTable:
    client = server.client()
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    return ItemTable(name, server, client)


@pytest.fixture
def table(dynamodb_endpoint: DynamoServer, new_table_name: Callable[[str], str]) -> ItemTable:
    """A new table on ministack, then on dynalite."""
    return new_table(dynamodb_endpoint, new_table_name("table"))


@pytest.fixture
def ministack_table(ministack: Ministack, new_table_name: Callable[[str], str]) -> ItemTable:
    """A new table on ministack only: for what has nothing to do with the server."""
    return new_table(ministack, new_table_name("table"))


@pytest.fixture
def writer(table: ItemTable) -> Iterator[Writer]:
    with_wire = table.server.target()
    wire = DynamoClient(with_wire)
    writer = Writer(wire, with_wire)
    yield writer
    wire.close()


@pytest.fixture
def proxy(ministack_table: ItemTable) -> Iterator[FaultProxy]:
    with FaultProxy(ministack_table.server.endpoint, seed=1) as proxy:
        yield proxy


@pytest.fixture
def faulty_target(proxy: FaultProxy) -> Target:
    return Target(endpoint=proxy.endpoint, region="us-east-1", concurrency=8)


@pytest.fixture
def faulty_wire(faulty_target: Target) -> Iterator[DynamoClient]:
    wire = DynamoClient(faulty_target, connect_timeout=2, timeout=2)
    yield wire
    wire.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[ScriptedServer, DynamoClient]]]:
    """Starts a server with a script, and a client of it."""
    opened: list[tuple[ScriptedServer, DynamoClient]] = []

    def start(*script: bytes) -> tuple[ScriptedServer, DynamoClient]:
        server = ScriptedServer(*script)
        opened.append((server, DynamoClient(Target(endpoint=server.endpoint), timeout=2)))
        return opened[-1]

    yield start
    for server, wire in opened:
        wire.close()
        server.close()
