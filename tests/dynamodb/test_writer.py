"""The Writer over a table in memory: nothing that was left out, refused or lost is ever dropped, or counted twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.memory import Body, MemoryWire
from whimbrel.dynamodb import calls, write
from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.requests import batch_body, update_bodies
from whimbrel.dynamodb.write import Rejected, Writer
from whimbrel.errors import PrivilegeError, RequestRefused, Stopped, TargetUnreachable, Throttled
from whimbrel.item import item_size
from whimbrel.project import Target
from whimbrel.records import Condition, Delete, Fault, Guarded, Item, ItemOperation, Put, PutText, Update

FRAME = frozenset({"pk", "sk", "kind"})
TARGET = Target(endpoint="http://127.0.0.1:1", region="us-east-1", concurrency=4)


@pytest.fixture(autouse=True)
def without_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (calls, write):
        monkeypatch.setattr(module, "Backoff", lambda: Backoff(0.0, 0.0))


@pytest.fixture
def wire() -> MemoryWire:
    return MemoryWire()


@pytest.fixture
def writer(wire: MemoryWire) -> Writer:
    return Writer(wire, TARGET)  # type: ignore[arg-type]


def key(number: int) -> Item:
    return {"pk": {"S": f"k{number % 7}"}, "sk": {"N": str(number)}}


def put(number: int, table: str = "t", **attributes: str) -> Put:
    return Put(table, key(number), key(number) | {name: {"S": text} for name, text in attributes.items()})


def by_text(whole: Put) -> PutText:
    return PutText(whole.table, orjson.dumps(whole.key), json.dumps(whole.item).encode())


def delete(number: int) -> Delete:
    return Delete("t", key(number))


def update(number: int, *remove: str, **attributes: str) -> Update:
    return Update("t", key(number), {name: {"S": text} for name, text in attributes.items()}, remove, FRAME)


def held(wire: MemoryWire, table: str = "t") -> list[Item]:
    return sorted(wire.table(table).values(), key=lambda item: int(item["sk"]["N"]))


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26, 50, 120])
def test_all_is_written_in_batches(wire: MemoryWire, writer: Writer, count: int) -> None:
    puts = [put(number, a="x") for number in range(count)]
    assert writer.write(puts) == []
    assert held(wire) == [each.item for each in puts]
    assert [operation for operation, _ in wire.calls] == ["BatchWriteItem"] * -(-count // 25)
    assert writer.stats.items == count
    assert writer.write([delete(number) for number in range(0, count, 2)]) == []
    assert held(wire) == [each.item for each in puts[1::2]]
    assert (writer.stats.items, writer.stats.rejected, writer.stats.held) == (count + -(-count // 2), 0, 0)


def test_tables_are_kept_apart(wire: MemoryWire, writer: Writer) -> None:
    assert writer.write([put(1, "one", a="1"), put(1, "two", a="2"), put(2, "one", a="3")]) == []
    assert held(wire, "one") == [put(1, a="1").item, put(2, a="3").item]
    assert held(wire, "two") == [put(1, a="2").item]


def test_what_is_left_out_is_sent_again_and_nothing_else(wire: MemoryWire, writer: Writer) -> None:
    wire.leave_out = lambda count: count // 2 if count > 3 else 0
    kinds: list[Callable[[int], ItemOperation]] = [delete, lambda n: put(n, a="x"), lambda n: by_text(put(n, a="x"))]
    operations = [kinds[n % 3](n) for n in range(90)]
    wire.table()[wire.identity(key(3))] = key(3)
    assert writer.write(operations) == []
    assert held(wire) == [put(n, a="x").item for n in range(90) if n % 3]
    sent = [len(body["RequestItems"]["t"]) for _, body in wire.calls]
    assert sum(sent) == 90 + writer.stats.unprocessed
    assert writer.stats.unprocessed == 3 * (12 + 6 + 3) + 7 + 3
    assert writer.stats.items == 90


@pytest.mark.parametrize("error", [Throttled("slow"), TargetUnreachable("no answer")])
def test_a_call_that_fails_is_made_again(wire: MemoryWire, writer: Writer, error: Exception) -> None:
    """Also where only the answer was lost: what was done is done again, without harm."""
    failures = iter([True, False, True, True])

    def disturb(operation: str, body: Body) -> None:
        if next(failures, False):
            raise error

    wire.disturb = disturb
    lost = iter([True, True])
    wire.lose_answer = lambda operation, body: next(lost, False)
    puts = [put(number) for number in range(30)]
    assert writer.write([*puts, update(31, a="x"), update(32, "b")]) == []
    assert held(wire) == [*(each.item for each in puts), key(31) | {"a": {"S": "x"}}]


@pytest.mark.parametrize("error", [RequestRefused("no table", code="ResourceNotFoundException"), PrivilegeError("no")])
@pytest.mark.parametrize("operation", [put(1), update(1, a="x"), update(1, "a")])
def test_what_refuses_all_is_raised(
    wire: MemoryWire, writer: Writer, error: Exception, operation: ItemOperation
) -> None:
    def disturb(name: str, body: Body) -> None:
        raise error

    wire.disturb = disturb
    with pytest.raises(type(error)):
        writer.write([operation])
    assert writer.stats.items == 0


def test_bad_items_are_found_and_all_others_are_written(wire: MemoryWire, writer: Writer) -> None:
    bad = {3, 4, 11, 24, 40}
    wire.refuse = lambda item: "no good" if {"S": "bad"} in item.values() else ""
    puts = [put(number, a="bad" if number in bad else "x") for number in range(60)]
    rejected = writer.write([*puts, update(70, b="1", a="bad"), update(71, b="1")])
    assert {each.operation.key["sk"]["N"] for each in rejected} == {str(number) for number in [*bad, 70]}
    assert {each.reason for each in rejected} == {"no good"}
    expected = [each.item for number, each in enumerate(puts) if number not in bad]
    assert held(wire) == [*expected, key(71) | {"b": {"S": "1"}}]
    assert (writer.stats.items, writer.stats.rejected) == (62 - 6, 6)


def test_text_that_is_no_unicode_is_rejected_by_item(wire: MemoryWire, writer: Writer) -> None:
    lone = "\udc80"
    rejected = writer.write([put(1, a="x"), put(2, a=lone), put(3, a="y"), update(4, a=lone), update(5, a="z")])
    assert {each.operation.key["sk"]["N"] for each in rejected} == {"2", "4"}
    assert all("cannot be written as JSON" in each.reason for each in rejected)
    assert [item["sk"]["N"] for item in held(wire)] == ["1", "3", "5"]


def test_items_that_are_too_large_are_rejected_before_anything_of_them_is_sent(
    wire: MemoryWire, writer: Writer
) -> None:
    room = write.MAX_ITEM_BYTES - item_size(key(2)) - 1  # type: ignore[attr-defined]
    operations = [put(1, a="x"), put(2, a="y" * room), put(3, a="y" * (room + 1)), update(4, a="z" * room), delete(6)]
    operations += [
        update(5, a="z" * (room + 1)),
        by_text(put(8, a="z" * (room + 1))),  # type: ignore[list-item]
        Guarded("t", key(7), put(7, a="z" * (room + 1)), Condition("a", {}, {})),  # type: ignore[list-item]
    ]
    rejected = writer.write(operations)  # type: ignore[arg-type]
    assert sorted(each.operation.key["sk"]["N"] for each in rejected) == ["3", "5", "7", "8"]
    assert all(f"the item has {write.MAX_ITEM_BYTES + 1} bytes" in each.reason for each in rejected)  # type: ignore[attr-defined]
    assert [item["sk"]["N"] for item in held(wire)] == ["1", "2", "4"]
    assert all(int(body.get("Key", {}).get("sk", {}).get("N", 0)) not in (5, 7) for _, body in wire.calls)


def test_a_request_is_never_larger_than_dynamodb_takes(
    wire: MemoryWire, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "MAX_REQUEST", 4000)
    monkeypatch.setattr(write, "MAX_ITEM_BYTES", 3000)
    puts = [put(number, a="x" * 900) for number in range(25)]
    assert writer.write(puts) == []
    assert held(wire) == [each.item for each in puts]
    assert 2000 < max(len(json.dumps(body, separators=(",", ":"))) for _, body in wire.calls) <= 4000


# -- updates -----------------------------------------------------------------------------------------------------------


def test_an_update_sets_and_removes_and_an_empty_item_goes(wire: MemoryWire, writer: Writer) -> None:
    def item(**attributes: str) -> None:
        wire.table()[wire.identity(key(1))] = key(1) | {n: {"S": v} for n, v in attributes.items()}

    assert writer.write([update(1, a="1", kind="g")]) == []
    assert held(wire) == [key(1) | {"a": {"S": "1"}, "kind": {"S": "g"}}]
    assert writer.write([update(1, "a", b="2")]) == []
    assert held(wire) == [key(1) | {"b": {"S": "2"}, "kind": {"S": "g"}}]
    assert writer.write([update(1, "zzz")]) == []
    assert held(wire) == [key(1) | {"b": {"S": "2"}, "kind": {"S": "g"}}]
    assert writer.write([update(1, "b")]) == []
    assert held(wire) == []
    assert writer.write([update(1, "b")]) == []
    assert held(wire) == []  # it is not made by a removal
    assert writer.write([update(1, kind="g")]) == []
    assert held(wire) == []  # nor by its frame alone
    item(kind="g", other="x")
    assert writer.write([update(1, kind="h")]) == []
    assert held(wire) == [key(1) | {"kind": {"S": "h"}, "other": {"S": "x"}}]


def test_an_update_of_more_attributes_than_one_call_takes(wire: MemoryWire, writer: Writer) -> None:
    many = {f"a{n}": str(n) for n in range(250)}
    assert writer.write([update(1, **many)]) == []
    assert held(wire) == [key(1) | {name: {"S": text} for name, text in many.items()}]
    assert [operation for operation, _ in wire.calls] == ["UpdateItem"] * 3
    assert writer.write([update(1, *[f"a{n}" for n in range(249)])]) == []
    assert held(wire) == [key(1) | {"a249": {"S": "249"}}]
    assert writer.write([update(1, *many)]) == []
    assert held(wire) == []


def test_sets_come_before_removes_in_every_call() -> None:
    """An item that keeps an entry is never without one in between."""
    made = Update("t", key(1), {f"s{n}": {"S": "x"} for n in range(130)}, tuple(f"r{n}" for n in range(120)), FRAME)
    seen: list[str] = []
    for body in update_bodies(made):
        asked: dict[str, Any] = json.loads(body)
        names = asked["ExpressionAttributeNames"]
        assert len(names) <= 100
        sets = [names[f"#{n}"] for n in range(len(asked.get("ExpressionAttributeValues", {})))]
        seen += sets + [name for name in names.values() if name not in sets]
        assert "ConditionExpression" not in asked
    assert seen == [*made.set, *made.remove]


# -- conditions --------------------------------------------------------------------------------------------------------


def test_what_a_condition_holds_back_is_counted_and_not_written(wire: MemoryWire, writer: Writer) -> None:
    absent = Condition("attribute_not_exists(#0)", {"#0": "lock"}, {})
    wire.table()[wire.identity(key(1))] = key(1) | {"lock": {"S": "x"}}
    wire.table()[wire.identity(key(2))] = key(2)
    guarded = [Guarded("t", key(n), put(n, a="new"), absent) for n in (1, 2, 3)]
    assert writer.write(guarded) == []
    assert held(wire) == [key(1) | {"lock": {"S": "x"}}, put(2, a="new").item, put(3, a="new").item]
    assert writer.write([Guarded("t", key(n), delete(n), absent) for n in (1, 2)]) == []
    assert held(wire) == [key(1) | {"lock": {"S": "x"}}, put(3, a="new").item]
    assert writer.stats.held == 2
    assert writer.take_held() == 2
    assert writer.take_held() == 0
    assert writer.write(guarded[:1]) == []
    assert writer.take_held() == 1


def test_guarded_operations_that_can_never_be_written(wire: MemoryWire, writer: Writer) -> None:
    same = Condition("#0 = :0", {"#0": "a"}, {":0": {"S": "x"}})
    wire.refuse = lambda item: "no good" if item.get("a") == {"S": "bad"} else ""
    operations = [Guarded("t", key(n), put(n, a=text), same) for n, text in ((1, "bad"), (2, "\udc80"), (3, "y"))]
    wire.table()[wire.identity(key(3))] = put(3, a="x").item
    rejected = writer.write(operations)
    assert rejected == [
        Rejected(operations[0], "no good"),
        Rejected(operations[1], next(each.reason for each in rejected if "JSON" in each.reason)),
    ]
    assert rejected[0].fault("shop.t") == Fault("shop.t", "no good", {}, key(1), None)
    assert held(wire) == [put(3, a="y").item]

    def denied(operation: str, body: Body) -> None:
        raise RequestRefused("gone", code="ResourceNotFoundException")

    wire.disturb = denied
    with pytest.raises(RequestRefused, match="gone"):
        writer.write(operations[2:])


# -- around it ---------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_where_it_may_not_be(wire: MemoryWire) -> None:
    asked: list[int] = []

    def not_ours(operations: object) -> None:
        asked.append(1)
        raise PrivilegeError("another one writes here")

    writer = Writer(wire, TARGET, before=not_ours)  # type: ignore[arg-type]
    with pytest.raises(PrivilegeError):
        writer.write([put(1)])
    assert writer.write([]) == []
    assert (wire.calls, asked) == ([], [1])


def test_a_stop_ends_a_write_that_waits(wire: MemoryWire) -> None:
    stop = threading.Event()

    def slow(operation: str, body: Body) -> None:
        stop.set()
        raise Throttled("slow")

    wire.disturb = slow
    writer = Writer(wire, TARGET, stop=stop)  # type: ignore[arg-type]
    for operation in (put(1), update(2, a="x")):
        stop.clear()
        with pytest.raises(Stopped):
            writer.write([operation])


@pytest.mark.parametrize("second", [delete(1), by_text(put(1)), put(1)])
@pytest.mark.parametrize("first", [put(1), by_text(put(1, a="x"))])
def test_an_item_that_occurs_twice_is_a_mistake(writer: Writer, first: ItemOperation, second: ItemOperation) -> None:
    assert writer.write([first, by_text(put(2)), put(3)]) == []
    with pytest.raises(AssertionError, match="an item occurs twice"):
        writer.write([first, second])


@pytest.mark.parametrize(
    ("operations", "units"),
    [
        ([delete(1), delete(2)], 2),
        ([put(1, a="x" * 1000)], 1),
        ([put(1, a="x" * 1500), delete(2)], 3),
        ([by_text(put(1, a="x" * 1500)), delete(2)], 3),
        ([update(1, a="x")], 1),
        ([Guarded("t", key(1), put(1, a="x" * 2000), Condition("attribute_not_exists(a)", {}, {}))], 3),
    ],
)
def test_what_is_sent_is_paced_by_what_it_will_cost(
    wire: MemoryWire, operations: list[ItemOperation], units: int
) -> None:
    taken: list[float] = []
    writer = Writer(wire, Target(endpoint="http://127.0.0.1:1", region="us-east-1", max_write_units=100_000))  # type: ignore[arg-type]
    take: Callable[[float], float] = writer._calls.pace.take
    writer._calls.pace.take = lambda units: taken.append(units) or take(units)  # type: ignore[func-returns-value,method-assign]
    writer.write(operations)
    assert taken[0] == units
    assert sum(taken) == 1.0  # what the answer said, in the end


def test_bodies_of_batches() -> None:
    body = json.loads(batch_body([put(1, "a", x="1"), Delete("b", key(2)), by_text(put(3, "a"))]))
    assert body == {
        "RequestItems": {
            "a": [{"PutRequest": {"Item": put(1, x="1").item}}, {"PutRequest": {"Item": put(3).item}}],
            "b": [{"DeleteRequest": {"Key": key(2)}}],
        },
        "ReturnConsumedCapacity": "TOTAL",
    }


@pytest.mark.parametrize("text", ["}},{", '"}},{"', "\n  },\n  {", "", '"', "\ud800"])
def test_keys_are_told_apart_whatever_is_in_them(wire: MemoryWire, writer: Writer, text: str) -> None:
    deletes = [Delete("t", {"pk": {"S": "k"}, "sk": {"S": key}}) for key in ("a", text, "z")]
    if text != "\ud800":  # which no request can carry
        assert writer.write(deletes) == []
    with pytest.raises(AssertionError, match="an item occurs twice"):
        writer.write([*deletes, deletes[1]])
