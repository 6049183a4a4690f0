"""An answer that is not known to be a success is a failure: it is asked for again, and then an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.dynamodb.conftest import FRAME, ItemTable, expected, item, key
from tests.faults import FaultProxy
from whimbrel.dynamodb import calls
from whimbrel.dynamodb.answers import (  # type: ignore[attr-defined]
    Undocumented,
    attributes_left,
    filtered,
    item_found,
    items_found,
    key_id,
    page,
    units,
    unprocessed,
)
from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.read import get_items, meets, scan
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import UnexpectedAnswer
from whimbrel.item import identity_of
from whimbrel.project import Target
from whimbrel.records import Condition, Delete, Guarded, Inside, ItemOperation, Put, Update

Body = dict[str, Any]
PUTS = [Put("t", key(number), item(number)) for number in range(3)]
DELETE = Delete("t", key(9))
USED = {"ConsumedCapacity": {"TableName": "t", "CapacityUnits": 1.0}}


def put_request(number: int) -> Body:
    return {"PutRequest": {"Item": item(number)}}


@pytest.fixture(autouse=True)
def without_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "Backoff", lambda: Backoff(0.0, 0.0))


@pytest.fixture
def writer(faulty_wire: DynamoClient, faulty_target: Target) -> Writer:
    return Writer(faulty_wire, faulty_target)


# -- what each answer says ---------------------------------------------------------------------------------------------


def test_what_a_batch_leaves_out_is_what_it_names() -> None:
    assert unprocessed(PUTS, {"UnprocessedItems": {}}) == []
    left = {"UnprocessedItems": {"t": [put_request(2), put_request(0)]}}
    assert unprocessed(PUTS, left) == [PUTS[0], PUTS[2]]
    assert unprocessed([*PUTS, DELETE], {"UnprocessedItems": {"t": [{"DeleteRequest": {"Key": key(9)}}]}}) == [DELETE]
    other = {"PutRequest": {"Item": item(1) | {"sk": {"N": "1.0"}}}}
    assert unprocessed(PUTS, {"UnprocessedItems": {"t": [other]}}) == [PUTS[1]]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"UnprocessedItems": None},
        {"UnprocessedItems": []},
        {"UnprocessedItems": "none"},
        {"UnprocessedItems": 0},
        {"UnprocessedItems": {"other": [put_request(0)]}},
        {"UnprocessedItems": {"t": []}},
        {"UnprocessedItems": {"t": None}},
        {"UnprocessedItems": {"t": {"PutRequest": {"Item": item(0)}}}},
        {"UnprocessedItems": {"t": [put_request(0), put_request(0)]}},
        {"UnprocessedItems": {"t": [put_request(3)]}},
        {"UnprocessedItems": {"t": [{"DeleteRequest": {"Key": key(0)}}]}},
        {"UnprocessedItems": {"t": [{"PutRequest": {"Item": {"pk": {"S": "k0"}}}}]}},
        {"UnprocessedItems": {"t": [{"PutRequest": {"Item": {"pk": "k0", "sk": "0"}}}]}},
        {"UnprocessedItems": {"t": [{"PutRequest": {"Item": item(0) | {"sk": {"N": "zero"}}}}]}},
        {"UnprocessedItems": {"t": [{"PutRequest": {"Item": item(0)}, "DeleteRequest": {"Key": key(1)}}]}},
        {"UnprocessedItems": {"t": [{"PutRequest": {}}]}},
        {"UnprocessedItems": {"t": [None]}},
        {"unprocessedItems": {}},
        {"message": "Service Unavailable"},
    ],
)
def test_a_batch_is_written_only_if_its_answer_says_what_is_left(answer: Body) -> None:
    with pytest.raises(Undocumented):
        unprocessed(PUTS, answer)


def test_what_an_update_leaves_is_the_item_with_its_key() -> None:
    assert attributes_left("t", key(1), USED | {"Attributes": item(1, a="x")}) == item(1, a="x")
    for left in ({}, {"Attributes": None}, {"Attributes": {}}, {"Attributes": item(2)}, {"Attributes": {"a": "x"}}):  # type: ignore[var-annotated]
        with pytest.raises(Undocumented):
            attributes_left("t", key(1), USED | left)
    with pytest.raises(Undocumented):
        attributes_left("t", key(1), {"Attributes": item(1)})


def test_an_item_is_missing_only_if_an_answer_about_its_table_says_so() -> None:
    assert item_found("t", key(1), USED) is None
    assert item_found("t", key(1), USED | {"Item": item(1)}) == item(1)
    other = {"ConsumedCapacity": {"TableName": "other", "CapacityUnits": 1}}
    for answer in ({}, {"Item": item(1)}, other, USED | {"Item": None}, USED | {"Item": {}}, USED | {"Item": item(2)}):
        with pytest.raises(Undocumented):
            item_found("t", key(1), answer)
    arn = "arn:aws:dynamodb:us-east-1:123456789012:table/t"
    assert item_found(arn, key(1), USED) is None


KEYS = [key(1), key(2), key(3)]


def test_a_batch_of_items_is_those_found_and_those_to_ask_for_again() -> None:
    again = {"UnprocessedKeys": {"t": {"Keys": [key(3)], "ConsistentRead": True}}}
    found, left = items_found("t", KEYS, {"Responses": {"t": [item(1)]}} | again)
    assert (found, left) == ({key_id(key(1)): item(1)}, [key(3)])
    all_again = {"UnprocessedKeys": {"t": {"Keys": KEYS}}}
    assert items_found("t", KEYS, {"Responses": {}} | all_again) == ({}, KEYS)
    assert items_found("t", KEYS, {"Responses": {"t": []}, "UnprocessedKeys": {}}) == ({}, [])


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Responses": {"t": []}},
        {"Responses": {}, "UnprocessedKeys": {}},
        {"Responses": None, "UnprocessedKeys": {}},
        {"Responses": {"t": None}, "UnprocessedKeys": {}},
        {"Responses": {"t": [None]}, "UnprocessedKeys": {}},
        {"Responses": {"t": []}, "UnprocessedKeys": None},
        {"Responses": {"t": []}, "UnprocessedKeys": {"t": {"Keys": []}}},
        {"Responses": {"t": []}, "UnprocessedKeys": {"t": [key(1)]}},
        {"Responses": {"t": []}, "UnprocessedKeys": {"other": {"Keys": [key(1)]}}},
        {"Responses": {"t": []}, "UnprocessedKeys": {"t": {"Keys": [key(4)]}}},
        {"Responses": {}, "UnprocessedKeys": {"t": {"Keys": [key(1), key(1), key(1)]}}},
        {"Responses": {"t": [item(1)]}, "UnprocessedKeys": {"t": {"Keys": [key(1)]}}},
        {"Responses": {"t": [item(1), item(1)]}, "UnprocessedKeys": {}},
        {"Responses": {"t": [item(4)]}, "UnprocessedKeys": {}},
        {"Responses": {"t": [{"a": {"S": "x"}}]}, "UnprocessedKeys": {}},
        {"Responses": {"t": [], "other": []}, "UnprocessedKeys": {}},
    ],
)
def test_an_item_is_missing_from_a_batch_only_if_the_answer_is_whole(answer: Body) -> None:
    with pytest.raises(Undocumented):
        items_found("t", KEYS, answer)


def counted(*items: Any, **more: Any) -> Body:
    return USED | {"Items": list(items), "Count": len(items), "ScannedCount": len(items)} | more


def test_a_page_has_as_many_items_as_it_says_and_goes_on_elsewhere() -> None:
    assert page("t", None, 0, counted(item(1), item(2))) == ([item(1), item(2)], None)
    assert page("t", key(1), 1, counted(item(2), LastEvaluatedKey=key(2))) == ([item(2)], key(2))
    assert page("t", key(1), 0, counted(LastEvaluatedKey=key(2))) == ([], key(2))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        USED,
        USED | {"Items": []},
        USED | {"Items": [], "Count": 0},
        {"Items": [], "Count": 0, "ScannedCount": 0},
        counted(item(2), Count=2),
        counted(item(2), Count=None),
        counted(item(2), Count=True),
        counted(item(2), ScannedCount=2),
        counted(item(2), item(3)),  # of one that was asked for
        counted(None),
        counted({}),
        counted(Items=None),
        counted(Items={}),
        counted(item(2), LastEvaluatedKey=None),
        counted(item(2), LastEvaluatedKey={}),
        counted(item(2), LastEvaluatedKey="k"),
        counted(item(2), LastEvaluatedKey={"pk": "k"}),
        counted(item(2), LastEvaluatedKey=key(1)),
    ],
)
def test_another_page_is_not_taken(answer: Body) -> None:
    with pytest.raises(Undocumented):
        page("t", key(1), 1, answer)


def test_a_filter_lets_the_item_of_the_key_through_or_nothing() -> None:
    assert filtered("t", key(1), counted(item(1)))
    assert not filtered("t", key(1), counted(ScannedCount=1))
    assert not filtered("t", key(1), counted())
    for answer in (
        {},
        counted(item(2)),
        counted(item(1), item(1)),
        counted(item(1), Count=0),
        counted(LastEvaluatedKey=key(1)),
        counted({"a": "x"}),
    ):
        with pytest.raises(Undocumented):
            filtered("t", key(1), answer)


def test_units_are_numbers_or_the_answer_is_not_taken() -> None:
    assert units({}) == 0
    assert units(USED) == 1
    assert units({"ConsumedCapacity": [{"CapacityUnits": 1}, {"CapacityUnits": 2.5}]}) == 3.5
    for found in (None, "1", 1, [1], {"CapacityUnits": "1"}, [{}], {"CapacityUnits": -1}, {"CapacityUnits": True}):  # type: ignore[var-annotated]
        with pytest.raises(Undocumented):
            units({"ConsumedCapacity": found})


# -- what becomes of the call ------------------------------------------------------------------------------------------

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
