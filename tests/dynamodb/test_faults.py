"""Under every fault of the proxy, what was to be written is written, and what is there is read whole."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.dynamodb.conftest import ItemTable, expected, item, key
from tests.faults import FaultProxy
from whimbrel.dynamodb import calls
from whimbrel.dynamodb.read import get_items, scan
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import PrivilegeError, RequestRefused, Stopped, TargetUnreachable, Throttled
from whimbrel.item import key_id
from whimbrel.project import Target
from whimbrel.records import ItemOperation

FAULTS = ["throttle", "error_500", "error_500_after", "reset_before", "reset_after", "truncate", "wrong_crc"]


@pytest.fixture
def writer(faulty_wire: DynamoClient, faulty_target: Target) -> Writer:
    return Writer(faulty_wire, faulty_target)


@pytest.mark.parametrize("fault", [*FAULTS, "unprocessed"])
def test_everything_is_written_whatever_happens_to_the_calls(
    ministack_table: ItemTable, proxy: FaultProxy, writer: Writer, fault: str
) -> None:
    table = ministack_table
    puts = [table.put(number, a=str(number)) for number in range(300)]
    happens = proxy.add(fault, probability=0.4)
    assert writer.write(puts) == []
    assert table.items() == expected(puts)
    operations: list[ItemOperation] = [table.update(number, "a", b="new") for number in range(10)]
    operations += [table.update(number, "a") for number in range(10, 20)]
    operations += [table.delete(number) for number in range(20, 100)]
    assert writer.write(operations) == []
    wanted = expected([table.put(n, b="new") for n in range(10)] + [table.put(n, a=str(n)) for n in range(100, 300)])
    assert table.items() == wanted
    assert proxy.counts[happens.kind] > 0
    stats = writer.stats
    if fault == "unprocessed":
        assert stats.unprocessed > 0
    elif fault == "throttle":
        assert stats.throttles == proxy.counts[fault]
    elif fault != "reset_before":  # of these, those on a kept connection are repeated without a word
        assert stats.retries > 0


def test_unprocessed_items_are_sent_again_and_no_others(
    ministack_table: ItemTable, proxy: FaultProxy, writer: Writer
) -> None:
    proxy.add("unprocessed", share=0.4, count=1)
    puts = [ministack_table.put(number) for number in range(25)]
    assert writer.write(puts) == []
    first, second = proxy.log
    assert len(first.items) == 25
    assert len(second.items) == 10
    assert all(each in first.items for each in second.items)
    assert writer.stats.unprocessed == 10
    assert ministack_table.items() == expected(puts)


def test_no_item_is_written_again_after_it_was_acknowledged(
    ministack_table: ItemTable, proxy: FaultProxy, writer: Writer
) -> None:
    proxy.add("unprocessed", probability=0.5)
    proxy.add("throttle", probability=0.2)
    writer.write([ministack_table.put(number) for number in range(500)])
    sent = Counter(key_id(each) for logged in proxy.log if logged.fault != "throttle" for each in logged.items)
    left_out = writer.stats.unprocessed
    assert sum(sent.values()) == 500 + left_out


def test_throttling_lowers_the_concurrency_and_success_raises_it(
    ministack_table: ItemTable, proxy: FaultProxy, writer: Writer
) -> None:
    updates = [ministack_table.update(number, a="x") for number in range(300)]
    writer.write(updates)
    assert writer.stats.concurrency == 8
    proxy.add("throttle", probability=1.0, count=12)
    writer.write(updates[:20])
    assert writer.stats.concurrency < 8
    assert writer.stats.throttles == 12
    writer.write(updates)
    assert writer.stats.concurrency > 4


def test_slow_answers_are_waited_for_side_by_side(
    ministack_table: ItemTable, proxy: FaultProxy, writer: Writer
) -> None:
    proxy.add("slow", seconds=0.03)
    updates = [ministack_table.update(number, a="x") for number in range(200)]
    started = time.monotonic()
    assert writer.write(updates) == []
    assert time.monotonic() - started < 200 * 0.03 / 2
    assert len(ministack_table.items()) == 200


def test_a_batch_lost_after_the_table_had_it_is_harmless_to_repeat(
    ministack_table: ItemTable, proxy: FaultProxy, writer: Writer
) -> None:
    writer.write([ministack_table.put(1, a="1", b="2")])
    proxy.add("reset_after", operation="UpdateItem", count=2)
    proxy.add("reset_after", operation="DeleteItem", count=2)
    assert writer.write([ministack_table.update(1, "a", "b")]) == []
    assert ministack_table.items() == {}


def test_an_endpoint_that_goes_away_and_comes_back_is_waited_for(
    ministack_table: ItemTable, proxy: FaultProxy, writer: Writer
) -> None:
    puts = [ministack_table.put(number) for number in range(100)]
    writer.write(puts[:25])  # so that there are kept connections to break
    with proxy.unreachable():
        thread = threading.Thread(target=writer.write, args=(puts,))
        thread.start()
        assert _until(lambda: writer.stats.retries >= 3)
        assert thread.is_alive()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert ministack_table.items() == expected(puts)


@pytest.mark.parametrize("fault", ["throttle", "error_500"])
def test_a_stop_ends_the_retries_and_says_that_it_is_not_done(
    ministack_table: ItemTable, proxy: FaultProxy, faulty_wire: DynamoClient, faulty_target: Target, fault: str
) -> None:
    stop = threading.Event()
    writer = Writer(faulty_wire, faulty_target, stop=stop)
    proxy.add(fault)
    errors: list[Exception] = []

    def write() -> None:
        try:
            writer.write([ministack_table.put(number) for number in range(200)])
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    assert _until(lambda: proxy.counts[fault] >= 3)
    stop.set()
    thread.join(timeout=5)
    assert [type(error) for error in errors] == [Stopped]
    assert "Last:" in str(errors[0])
    assert ministack_table.items() == {}


def test_a_refusal_of_the_account_ends_the_call_and_later_jobs_are_dropped(
    ministack_table: ItemTable, proxy: FaultProxy, writer: Writer
) -> None:
    proxy.add("refuse", code="AccessDeniedException")
    with pytest.raises(PrivilegeError):
        writer.write([ministack_table.put(number) for number in range(1000)])
    assert len(proxy.log) <= 8


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ProvisionedThroughputExceededException", Throttled),
        ("ThrottlingException", Throttled),
        ("RequestLimitExceeded", Throttled),
        ("LimitExceededException", Throttled),
        ("InternalServerError", TargetUnreachable),
        ("AccessDeniedException", PrivilegeError),
        ("403", PrivilegeError),
        ("ConditionalCheckFailedException", RequestRefused),
        ("ExpiredTokenException", RequestRefused),
    ],
)
def test_each_refusal_is_the_error_that_says_what_to_do(
    proxy: FaultProxy, faulty_wire: DynamoClient, code: str, kind: type[Exception]
) -> None:
    proxy.add("refuse", code=code)
    with pytest.raises(kind) as caught:
        faulty_wire.call("GetItem", b"{}")
    assert type(caught.value) is kind
    assert "GetItem" in str(caught.value)
    if isinstance(caught.value, RequestRefused):
        assert caught.value.code == code


def test_an_expired_token_is_renewed_once_and_the_call_repeated(
    ministack_table: ItemTable, proxy: FaultProxy, faulty_wire: DynamoClient
) -> None:
    proxy.add("refuse", code="ExpiredTokenException", count=1)
    assert b"TableNames" in faulty_wire.call("ListTables", b"{}")
    assert proxy.counts["ListTables"] == 2


def test_a_slow_answer_is_waited_for_and_a_lost_one_times_out(
    ministack_table: ItemTable, proxy: FaultProxy, faulty_target: Target
) -> None:
    wire = DynamoClient(faulty_target, timeout=0.3)
    slow = proxy.add("slow", seconds=0.05)
    assert b"TableNames" in wire.call("ListTables", b"{}")
    slow.seconds = 0.6
    with pytest.raises(TargetUnreachable, match="in time"):
        wire.call("ListTables", b"{}")
    wire.close()


def test_closing_the_wire_ends_a_call_that_waits(
    ministack_table: ItemTable, proxy: FaultProxy, faulty_target: Target
) -> None:
    wire = DynamoClient(faulty_target)
    proxy.add("slow", seconds=5)
    errors: list[Exception] = []

    def call() -> None:
        try:
            wire.call("ListTables", b"{}")
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert _until(lambda: proxy.counts["slow"] == 1)
    wire.close()
    thread.join(timeout=2)
    assert [type(error) for error in errors] == [TargetUnreachable]


@pytest.mark.parametrize("fault", [*FAULTS, "unprocessed_keys"])
def test_reads_are_whole_whatever_happens_to_the_calls(
    ministack_table: ItemTable, proxy: FaultProxy, faulty_wire: DynamoClient, fault: str
) -> None:
    table = ministack_table
    for start in range(0, 250, 25):
        requests = [{"PutRequest": {"Item": item(number, a=str(number))}} for number in range(start, start + 25)]
        table.client.batch_write_item(RequestItems={table.name: requests})
    proxy.add(fault, probability=0.4)
    keys = [key(number) for number in range(0, 500, 2)]
    found = get_items(faulty_wire, table.name, keys)
    assert found == {key_id(key(number)): item(number, a=str(number)) for number in range(0, 250, 2)}
    seen: list[str] = []
    scanned = scan(
        faulty_wire, table.name, 3, lambda page: seen.extend(each["sk"]["N"] for each in page), page_items=20
    )
    assert scanned == 250
    assert sorted(seen, key=int) == [str(number) for number in range(250)]


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


@pytest.mark.parametrize(
    ("fault", "settings", "words"),
    [
        ("throttle", {}, "ProvisionedThroughputExceeded"),
        ("error_500", {}, "InternalServerError"),
        ("unprocessed", {"share": 1.0}, "left out everything"),
    ],
)
def test_who_wants_to_know_is_told_why_nothing_is_taken_and_when_something_is(
    ministack_table: ItemTable,
    proxy: FaultProxy,
    faulty_wire: DynamoClient,
    faulty_target: Target,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    settings: dict[str, Any],
    words: str,
) -> None:
    monkeypatch.setattr(calls, "REFUSED_AFTER", 0.1)
    told: list[str] = []

    def refused(reason: str) -> None:
        told.append(reason)
        proxy.clear()

    proxy.add(fault, **settings)
    writer = Writer(faulty_wire, faulty_target, refused=refused)
    assert writer.write([ministack_table.put(number) for number in range(60)]) == []
    assert words in told[0]
    assert told[-1] == ""
    assert len(ministack_table.items()) == 60
