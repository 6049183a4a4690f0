"""The write cap holds for all invocations together, whoever has which lanes."""

from __future__ import annotations

import threading
import time
from typing import Any

import orjson
import pytest

from demo.event_source import Event, EventSource
from tests.function import streamed as made
from tests.function.streamed import Streamed
from tests.migration.applied import insert
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.function.invocation import Invocation
from whimbrel.function.known import Known
from whimbrel.kinesis.lanes import LANES
from whimbrel.kinesis.settings import FunctionSettings
from whimbrel.project.stream import LEAST_CAP

CAP, ITEMS = 96.0, 250


def test_the_least_cap_gives_each_lane_a_unit() -> None:
    assert LEAST_CAP == LANES


@pytest.mark.slow
def test_two_functions_at_once_are_never_above_the_cap(streamed: Streamed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        made, "FunctionSettings", lambda began, most, sources: FunctionSettings(began, most, sources, CAP)
    )
    streamed.restart_sender()
    ask, written = DynamoClient.ask, list[tuple[float, int]]()

    async def asked(wire: DynamoClient, operation: str, body: bytes) -> bytes:
        if operation == "BatchWriteItem":
            written.append((time.monotonic(), sum(map(len, orjson.loads(body)["RequestItems"].values()))))
        return await ask(wire, operation, body)

    monkeypatch.setattr(DynamoClient, "ask", asked)
    streamed.source.transaction(*(insert(0, key) for key in range(ITEMS)))
    streamed.sender.step()
    began, answers = time.monotonic(), list[Any]()

    def at_once(event: Event) -> Any:
        """Each shard's batch in a thread of its own, as Lambda does."""
        known = Known(streamed.target, 5.0)
        answer = Invocation(known, event["Records"], 60.0).run()
        known.drop_wire()
        answers.append(answer)

    events: list[Event] = []
    EventSource(streamed.kinesis, streamed.stream, events.append).step()
    assert len(events) == 2
    turns = [threading.Thread(target=at_once, args=(event,)) for event in events]
    for turn in turns:
        turn.start()
    for turn in turns:
        turn.join()
    assert answers == 2 * [{"batchItemFailures": []}]
    assert sum(units for _, units in written) == ITEMS
    for number, (start, _) in enumerate(written):
        for end in range(number, len(written)):
            units = sum(each for _, each in written[number : end + 1])
            most = max(each for _, each in written[number : end + 1])
            assert units <= CAP * (written[end][0] - start + 0.3) + 2 * most
    assert time.monotonic() - began > 0.8 * ITEMS / CAP
    streamed.settle()
    assert streamed.held() == streamed.source.expected()
