"""An answer that is not known to be a success is a failure: it is asked for again, and then an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.dynamodb.conftest import FRAME, ItemTable, expected, key
from tests.faults import FaultProxy
from whimbrel.dynamodb import calls
from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.read import get_items, meets, scan
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import UnexpectedAnswer
from whimbrel.item import identity_of
from whimbrel.project import Target
from whimbrel.records import Condition, Guarded, Inside, ItemOperation, Update

Body = dict[str, Any]


@pytest.fixture(autouse=True)
def without_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "Backoff", lambda: Backoff(0.0, 0.0))


@pytest.fixture
def writer(faulty_wire: DynamoClient, faulty_target: Target) -> Writer:
    return Writer(faulty_wire, faulty_target)


ODD = {
    "{}": b"{}",
    "null": b'{"UnprocessedItems":null}',
    "not JSON": b"{not JSON}",
    "cut": b'{"UnprocessedItems":{',
    "a list": b"[]",
    "a page": b"<html>log in</html>",
    "nothing": b"",
    "a strange table": b'{"UnprocessedItems":{"other":[{"DeleteRequest":{"Key":{"pk":{"S":"x"}}}}]}}',
    "another error": b'{"message":"Service Unavailable"}',
}
anything_odd = pytest.mark.parametrize("odd", ODD.values(), ids=ODD)


@anything_odd
def test_writes_are_repeated_until_an_answer_says_that_they_were_made(
    ministack_table: ItemTable, proxy: FaultProxy, writer: Writer, odd: bytes
) -> None:
    """Nothing of what is answered oddly reaches the table."""
    table = ministack_table
    guarded = Guarded(table.name, key(90), table.put(90), Condition("attribute_not_exists(#p)", {"#p": "pk"}, {}))
    puts = [table.put(number, a="1", b="2") for number in range(60)]
    proxy.add("odd", answer=odd, operation="BatchWriteItem", count=2)
    assert writer.write(puts) == []
    assert table.items() == expected(puts)
    operations: list[ItemOperation] = [table.update(1, "a", "b"), table.update(2, "a"), table.update(3, a="new")]
    proxy.add("odd", answer=odd, operation="UpdateItem", count=3)
    proxy.add("odd", answer=odd, operation="DeleteItem", count=1)
    proxy.add("odd", answer=odd, operation="PutItem", count=1)
    assert writer.write([*operations, guarded]) == []
    assert table.items() == expected(
        [puts[0], table.put(2, b="2"), table.put(3, a="new", b="2"), *puts[4:], table.put(90)]
    )
    assert writer.stats.retries == proxy.counts["odd"] == 7


@anything_odd
@pytest.mark.parametrize("kind", ["L", "M", "SS"])
def test_entries_inside_an_attribute_are_set_and_removed_whatever_is_answered_first(
    ministack_table: ItemTable, proxy: FaultProxy, writer: Writer, odd: bytes, kind: str
) -> None:
    """A GetItem that seems to find nothing must not make a list of one."""
    table = ministack_table

    order = (("id", False),) if kind == "L" else ()

    def entry(name: str, text: str = "") -> Any:
        return {"M": {"id": {"S": name}, "v": {"S": text}}}

    def identity(name: str) -> str:
        return identity_of(entry(name), order) if order else name

    def inside(sets: dict[str, str], *remove: str) -> Update:
        entries = {identity(name): entry(name, text) for name, text in sets.items()}
        removed = tuple(map(identity, remove))
        return Update(table.name, key(1), {}, (), FRAME, Inside("e", kind, entries, removed, order))

    writer.write([inside({"a": "1", "b": "2"})])
    proxy.add("odd", answer=odd, operation="GetItem", count=1)
    proxy.add("odd", answer=odd, operation="UpdateItem", count=2)
    writer.write([inside({"c": "3"}, "a")])
    [value] = table.items()["k1", "1"]["e"].values()
    names = sorted(each["M"]["id"]["S"] for each in value) if kind == "L" else sorted(value)
    assert names == ["b", "c"]


@anything_odd
def test_reads_are_repeated_until_an_answer_is_whole(
    ministack_table: ItemTable, proxy: FaultProxy, faulty_wire: DynamoClient, writer: Writer, odd: bytes
) -> None:
    table = ministack_table
    puts = [table.put(number, a="1") for number in range(120)]
    writer.write(puts)
    proxy.add("odd", answer=odd, count=2)
    assert len(get_items(faulty_wire, table.name, [put.key for put in puts])) == 120
    proxy.add("odd", answer=odd, count=2)
    assert scan(faulty_wire, table.name, 2, lambda page: None, page_items=9) == 120
    proxy.add("odd", answer=odd, count=1)
    assert meets(faulty_wire, table.name, key(1), Condition("#a = :a", {"#a": "a"}, {":a": {"S": "1"}}))
    assert proxy.counts["odd"] == 5


def _without_the_last(answer: Body) -> Body:
    return answer | {"Items": answer["Items"][:-1]}


@pytest.mark.parametrize(
    "change",
    [
        _without_the_last,
        lambda answer: answer | {"LastEvaluatedKey": {}},
        lambda answer: answer | {"LastEvaluatedKey": None},
        lambda answer: {name: value for name, value in answer.items() if name != "Count"},
    ],
    ids=["an item less than it says", "an empty key", "no key", "no count"],
)
def test_a_scan_does_not_end_early(
    ministack_table: ItemTable,
    proxy: FaultProxy,
    faulty_wire: DynamoClient,
    writer: Writer,
    change: Callable[[Body], Body],
) -> None:
    writer.write([ministack_table.put(number) for number in range(50)])
    proxy.add("changed", change=change, operation="Scan", count=4)
    assert scan(faulty_wire, ministack_table.name, 1, lambda page: None, page_items=9) == 50


@anything_odd
def test_an_answer_that_stays_odd_is_an_error_that_names_call_and_answer(
    ministack_table: ItemTable, proxy: FaultProxy, faulty_wire: DynamoClient, writer: Writer, odd: bytes
) -> None:
    table = ministack_table
    proxy.add("odd", answer=odd)
    for operation, call in {
        "BatchWriteItem": lambda: writer.write([table.put(1)]),
        "UpdateItem": lambda: writer.write([table.update(1, a="x")]),
        "BatchGetItem": lambda: get_items(faulty_wire, table.name, [key(1)]),
        "Scan": lambda: scan(faulty_wire, table.name, 1, lambda page: None),
    }.items():
        proxy.counts.clear()
        with pytest.raises(UnexpectedAnswer, match=operation) as caught:
            call()
        assert proxy.counts[operation] == calls.UNEXPECTED_TRIES
        assert "endpoint" in caught.value.hint
    assert table.items() == {}


@pytest.mark.parametrize("fault", ["truncate", "wrong_crc"])
def test_damage_that_does_not_end_is_an_error_too(
    ministack_table: ItemTable, proxy: FaultProxy, writer: Writer, fault: str
) -> None:
    proxy.add(fault)
    with pytest.raises(UnexpectedAnswer):
        writer.write([ministack_table.put(1)])
    assert proxy.counts[fault] == calls.UNEXPECTED_TRIES
