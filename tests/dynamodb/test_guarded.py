"""Writes under a condition, on real servers: what holds is written, what does not is held back and counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from demo.servers import DynamoServer
from tests.conftest import unique
from whimbrel.dynamodb.read import meets
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import RequestRefused
from whimbrel.mapping.conditions import NotACondition, on_item
from whimbrel.project import Target
from whimbrel.records import Condition, Delete, Guarded, Item, Put

VALUES: dict[str, Any] = {":v": {"S": "x"}, ":n": {"N": "1"}}


class Table:
    def __init__(self, server: DynamoServer) -> None:
        self.name = unique("guarded")
        self.client = server.client()
        self.client.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.client.get_waiter("table_exists").wait(TableName=self.name, WaiterConfig={"Delay": 1})
        target = Target(endpoint=server.endpoint, region="us-east-1")
        self.wire = DynamoClient(target)
        self.writer = Writer(self.wire, target, stop=threading.Event())

    def put(self, key: str, condition: Condition, **attributes: Any) -> Guarded:
        item: Item = {"pk": {"S": key}, **attributes}
        return Guarded(self.name, {"pk": item["pk"]}, Put(self.name, {"pk": item["pk"]}, item), condition)

    def delete(self, key: str, condition: Condition) -> Guarded:
        return Guarded(self.name, {"pk": {"S": key}}, Delete(self.name, {"pk": {"S": key}}), condition)

    def item(self, key: str) -> Item | None:
        found: Item | None = self.client.get_item(TableName=self.name, Key={"pk": {"S": key}}).get("Item")
        return found


@pytest.fixture(scope="module")
def table(ministack: DynamoServer) -> Iterator[Table]:
    table = Table(ministack)
    yield table
    table.wire.close()


@pytest.fixture(scope="module")
def strict_table(dynalite: DynamoServer) -> Iterator[Table]:
    table = Table(dynalite)
    yield table
    table.wire.close()


NOT_OWNED = Condition("attribute_not_exists(#o)", {"#o": "owner"}, {})


def test_what_somebody_else_owns_is_held_back_and_counted(table: Table) -> None:
    writer = table.writer
    assert writer.write([table.put("a", NOT_OWNED), table.put("b", NOT_OWNED), table.put("c", NOT_OWNED)]) == []
    assert writer.take_held() == 0
    table.client.put_item(TableName=table.name, Item={"pk": {"S": "b"}, "owner": {"S": "us"}})
    plain = Put(table.name, {"pk": {"S": "d"}}, {"pk": {"S": "d"}})
    operations = [
        table.put("a", NOT_OWNED, n={"N": "2"}),
        table.put("b", NOT_OWNED),
        table.delete("c", NOT_OWNED),
        plain,
    ]
    assert writer.write(operations) == []  # type: ignore[arg-type]
    assert writer.write([table.delete("b", NOT_OWNED)]) == []
    assert (writer.take_held(), writer.take_held()) == (2, 0)
    assert table.item("a") == {"pk": {"S": "a"}, "n": {"N": "2"}}
    assert table.item("b") == {"pk": {"S": "b"}, "owner": {"S": "us"}}
    assert table.item("c") is None
    assert table.item("d") == {"pk": {"S": "d"}}
    key = {"pk": {"S": "a"}}
    assert meets(table.wire, table.name, key, NOT_OWNED)
    assert not meets(table.wire, table.name, {"pk": {"S": "b"}}, NOT_OWNED)
    assert not meets(table.wire, table.name, {"pk": {"S": "c"}}, NOT_OWNED)


def test_an_item_that_can_never_be_written_is_rejected_alone(table: Table) -> None:
    bad = [table.put("big", NOT_OWNED, x={"S": "x" * 410_000}), table.put("half", NOT_OWNED, x={"S": "\ud800"})]
    rejected = table.writer.write([*bad, table.put("good", NOT_OWNED)])
    assert {each.operation.key["pk"]["S"] for each in rejected} == {"big", "half"}
    assert table.item("good")


names = st.sampled_from(["a", "b", "pk", "m.x", "a[0]"])
tests = st.one_of(
    st.builds("attribute_exists({})".format, names),
    st.builds("attribute_not_exists({})".format, names),
    st.builds("{} {} :v".format, names, st.sampled_from(["=", "<>", "<", "<=", ">", ">="])),
    st.builds(":n {} size({})".format, st.sampled_from(["=", "<>", "<"]), names),
    st.builds("begins_with({}, :v)".format, names),
    st.builds("contains({}, :v)".format, names),
    st.builds("attribute_type({}, :v)".format, names),
    st.builds("{} BETWEEN :v AND :v".format, names),
    st.builds("{} IN (:v, :v)".format, names),
)
conditions = st.recursive(
    tests,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT {}".format, inner),
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    conditions, st.dictionaries(st.sampled_from(["a", "b", "m"]), st.sampled_from([{"S": "x"}, {"N": "2"}]), max_size=2)
)
@example("a <> :v", {})
@example("NOT a <> :v", {})
def test_what_is_sure_of_a_condition_is_what_the_server_says(
    strict_table: Table, expression: str, attributes: Item
) -> None:
    """Of the item, and of none; where the verdict is None, either is right."""
    values = {name: value for name, value in VALUES.items() if name in expression}
    condition = Condition(expression, {}, values)
    table = strict_table
    for item in ({"pk": {"S": "k"}, **attributes}, None):
        table.client.delete_item(TableName=table.name, Key={"pk": {"S": "k"}})
        if item:
            table.client.put_item(TableName=table.name, Item=item)
        try:
            verdict = on_item(expression, {}, lambda name, there=item: name in (there or {})).holds  # type: ignore[misc]
        except NotACondition:
            continue
        try:
            table.writer.take_held()
            rejected = table.writer.write([table.delete("k", condition)])
        except RequestRefused:
            continue
        if not rejected and verdict is not None:
            assert (table.writer.take_held() == 0) == verdict, (expression, item)
