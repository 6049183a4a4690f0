"""An invocation that is late, killed or cut off by its deadline writes nothing over what follows it."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest

from demo.event_source import Event
from tests.function.streamed import Killed, Streamed
from tests.migration.applied import insert, update
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import Stopped
from whimbrel.function import apply, invocation
from whimbrel.migration.dirty import dirty_since
from whimbrel.migration.verified import Verified


@pytest.mark.slow
def test_an_invocation_waits_until_a_late_one_cannot_write_any_more(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is killed with its lease in hand; the batch comes again at once, and is not taken before its end."""
    monkeypatch.setattr("tests.function.streamed.LEFT_SECONDS", 4.0)
    streamed.source.transaction(insert(0, 1, "old"))
    streamed.sender.step()
    streamed.sender.idle()
    write = apply.write

    def killed(*_: Any) -> Any:
        raise Killed

    monkeypatch.setattr(invocation, "write", killed)
    with pytest.raises(Killed):
        streamed.mapping.step()
    monkeypatch.setattr(invocation, "write", write)
    holders = [lane.until for lane in streamed.control.lanes(streamed.migration) if lane.until]
    assert holders
    monkeypatch.setattr("tests.function.streamed.LEFT_SECONDS", 3.2)  # its own deadline comes before the lease's end
    streamed.mapping.step()
    assert streamed.held() == {}
    streamed.stop.set()
    with pytest.raises(Stopped):
        streamed.sender.quiet()
    streamed.stop.clear()
    streamed.settle()
    assert streamed.held() == streamed.source.expected()


@pytest.mark.slow
def test_a_call_without_an_answer_keeps_the_lease(streamed: Streamed, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed.source.transaction(insert(0, 1))
    streamed.sender.step()
    monkeypatch.setattr(invocation, "QUIET_SECONDS", 5.0)
    made = invocation.Invocation
    monkeypatch.setattr(made, "_write", lambda self, *rest: self._note_astray(rest))
    streamed.mapping.step()
    assert max(lane.until for lane in streamed.control.lanes(streamed.migration)) > 0


@pytest.mark.slow
def test_a_write_that_comes_late_is_there_before_what_follows_it(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An invocation sends its write and is gone; the write arrives while the next invocation is already waiting."""
    monkeypatch.setattr("tests.function.streamed.LEFT_SECONDS", 3.5)
    streamed.source.transaction(insert(0, 1, "old"))
    streamed.sender.step()
    ask, late = DynamoClient.ask, list[bytes]()

    async def sent_and_gone(wire: DynamoClient, operation: str, body: bytes) -> bytes:
        if operation != "BatchWriteItem" or late:
            return await ask(wire, operation, body)
        late.append(body)
        raise Killed

    monkeypatch.setattr(DynamoClient, "ask", sent_and_gone)
    with suppress(Killed):
        while not late:
            streamed.mapping.step()
    assert late
    streamed.source.transaction(update(0, (1, "old", 1), (1, "new", 1)))
    streamed.sender.step()
    arrival = threading.Timer(1.0, lambda: streamed.wire.call("BatchWriteItem", late[0]))
    arrival.start()
    streamed.settle()
    arrival.join()
    assert streamed.held()["one#1"]["name"] == {"S": "new"}


@pytest.mark.slow
def test_what_its_deadline_cut_off_comes_again(streamed: Streamed, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed.source.transaction(insert(0, 1))
    streamed.sender.step()
    answers = []

    def late(*_: Any) -> Any:
        raise Stopped("its time is over")

    def asked(event: Event) -> Any:
        answers.append((streamed.invoke(event), event["Records"][0]["kinesis"]["sequenceNumber"]))
        return answers[-1][0]

    streamed.mapping.function = asked
    with monkeypatch.context() as patched:
        patched.setattr(invocation, "write", late)
        while not answers:
            streamed.mapping.step()
    assert {"batchItemFailures": [{"itemIdentifier": answers[0][1]}]} in [answer for answer, _ in answers]
    assert min(lane.passed for lane in streamed.control.lanes(streamed.migration)) == 0
    assert streamed.held() == {}
    streamed.settle()
    assert streamed.held() == streamed.source.expected()


@pytest.mark.slow
def test_what_an_invocation_had_under_way_when_it_was_killed_is_dirty_for_a_while(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a verification that begins when the changes are applied: the call may still arrive."""
    monkeypatch.setattr("tests.function.streamed.LEFT_SECONDS", 3.2)
    streamed.source.transaction(insert(0, 1))
    streamed.settle()
    assert streamed.dirty is not None
    streamed.dirty.cut()
    streamed.source.transaction(insert(0, 2))
    streamed.sender.step()
    streamed.sender.idle()

    def killed(*_: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(invocation, "write", killed)
        with pytest.raises(Killed):
            streamed.mapping.step()
    streamed.settle()
    streamed.dirty.cut()
    verified = Verified(None, 1.0, {}, "", streamed.place())
    assert [key["pk"]["S"] for key in dirty_since(streamed.folder, verified).keys(streamed.table)] == ["one#2"]
    assert sum(lane.unanswered for lane in streamed.control.lanes(streamed.migration)) > 0
    streamed.restart_sender()
    assert streamed.sender._unanswered > 0  # told once, and not again


def test_a_target_that_is_slow_gets_what_one_invocation_can_write(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record has more changes than can be written before the deadline: its lane is somewhere within it then."""
    written = apply.write
    room = 0

    def slow(lanes: Any, *others: Any) -> Any:
        nonlocal room
        if (room := room - sum(map(len, lanes.values()))) < 0:
            raise Stopped("its time is over")
        return written(lanes, *others)

    def asked(event: Event) -> Any:
        nonlocal room
        room = 7
        return streamed.invoke(event)

    monkeypatch.setattr(invocation, "AT_FIRST", 4)
    monkeypatch.setattr(invocation, "write", slow)
    streamed.source.transaction(*[insert(0, number) for number in range(60)])
    streamed.mapping.function = asked
    streamed.settle()
    assert streamed.held() == streamed.source.expected()
