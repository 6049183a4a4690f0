"""Records are put so that a partly failed PutRecords never changes the order of a lane."""

from __future__ import annotations

import random
import threading
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from whimbrel.dynamodb import calls
from whimbrel.dynamodb.answers import Undocumented
from whimbrel.dynamodb.loop import moment
from whimbrel.errors import RequestRefused, Stopped, TargetUnreachable, Throttled
from whimbrel.kinesis import puts
from whimbrel.kinesis.puts import LaneRecord, StreamWriter
from whimbrel.project import Target

Result = dict[str, str]


class StreamWire:
    """A stream behind the interface of a DynamoClient. ``say`` decides on each record: "" takes it."""

    def __init__(self, chance: random.Random) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.unanswered: set[int] = set()
        self.under_way: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.say: Callable[[], str] = lambda: ""
        self.fail: Callable[[], Exception | None] = lambda: None
        self._chance = chance

    async def ask(self, operation: str, body: bytes) -> bytes:
        assert operation == "PutRecords"
        records = orjson.loads(body)["Records"]
        keys = [each["PartitionKey"] for each in records]
        assert len(set(keys)) == len(keys), "two records of one lane in a call"
        assert not set(keys) & set(self.under_way), "two calls under way for one lane"
        self.under_way += keys
        self.sizes.append((len(records), sum(len(b64decode(each["Data"])) for each in records)))
        await moment(self._chance.random() / 500)
        if error := self.fail():
            self._take_some(records)
            self.under_way = [key for key in self.under_way if key not in keys]
            raise error
        answer = self._take_some(records)
        self.under_way = [key for key in self.under_way if key not in keys]
        return orjson.dumps(answer)

    def unexpected(self, operation: str, reason: str) -> TargetUnreachable:
        return TargetUnreachable(reason, place=operation)

    def close(self) -> None:
        """Nothing is open."""

    def _take_some(self, records: list[Any]) -> dict[str, Any]:
        results: list[Result] = []
        for each in records:
            if code := self.say():
                results.append({"ErrorCode": code, "ErrorMessage": "no"})
            else:
                self.taken.append((each["PartitionKey"], b64decode(each["Data"])))
                results.append({"SequenceNumber": str(len(self.taken)), "ShardId": "shardId-0"})
        return {"FailedRecordCount": sum("ErrorCode" in each for each in results), "Records": results}


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> StreamWire:
    made = StreamWire(random.Random(3))
    monkeypatch.setattr(puts, "DynamoClient", lambda *_: made)
    return made


def writer(stop: threading.Event | None = None) -> StreamWriter:
    return StreamWriter(Target(), "s", stop or threading.Event())


def records(lanes: int, each: int, size: int = 1) -> list[LaneRecord]:
    return [LaneRecord(lane, b"%d" % number * size) for number in range(each) for lane in range(lanes)]


def first_seen(taken: list[tuple[str, bytes]], lane: int) -> list[bytes]:
    """Without what came twice, as it does after a call without an answer."""
    return list(dict.fromkeys(data for key, data in taken if key == f"lane-{lane:02}"))


def test_each_lane_keeps_its_order_through_refusals_and_lost_answers(wire: StreamWire) -> None:
    chance = random.Random(11)
    wire.say = lambda: chance.choice(["", "", "ProvisionedThroughputExceededException", "InternalFailure"])
    wire.fail = lambda: chance.choice([None] * 6 + [TargetUnreachable("lost"), Throttled("slow")])
    asked = records(lanes=6, each=4)
    writer().put(asked)
    for lane in range(6):
        assert first_seen(wire.taken, lane) == [each.data for each in asked if each.lane == lane]


class Clock:
    """Time that passes only while somebody waits, as ``calls`` sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(calls, "time", self)
        monkeypatch.setattr(calls, "moment", self._wait)

    def monotonic(self) -> float:
        return self.now

    async def _wait(self, seconds: float) -> None:
        self.now += seconds
        await moment(0)


def test_an_outage_of_an_hour_is_waited_out_and_the_order_kept(
    wire: StreamWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    wire.fail = lambda: TargetUnreachable("away") if clock.now < 3_600 else None
    asked = records(lanes=3, each=2)
    sending = writer()
    sending.put(asked)
    assert 3_600 < clock.now < 3_700
    assert sending.counters.retries < 3_000  # it is asked again every few seconds
    for lane in range(3):
        assert first_seen(wire.taken, lane) == [each.data for each in asked if each.lane == lane]


def test_a_call_has_at_most_what_kinesis_takes(wire: StreamWire) -> None:
    writer().put([LaneRecord(lane, bytes(1 << 20)) for lane in range(6)])
    assert sum(count for count, _ in wire.sizes) == 6
    assert max(size for _, size in wire.sizes) <= 5 << 20


def test_a_record_that_is_refused_for_good_ends_it_by_name(wire: StreamWire) -> None:
    wire.say = lambda: "KMSAccessDeniedException"
    with pytest.raises(RequestRefused, match=r"KMSAccessDenied.* allow kinesis:PutRecords on it"):
        writer().put(records(1, 1))


def test_it_stops_when_asked_though_the_stream_takes_nothing(wire: StreamWire) -> None:
    stop = threading.Event()

    def refuse() -> str:
        stop.set()
        return "InternalFailure"

    wire.say = refuse
    with pytest.raises(Stopped):
        writer(stop).put(records(2, 2))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Records": []},
        {"Records": [{}], "FailedRecordCount": 0},
        {"Records": [{"SequenceNumber": "1"}], "FailedRecordCount": 0},
        {"Records": [{"SequenceNumber": "1", "ShardId": "s"}], "FailedRecordCount": 1},
    ],
)
def test_an_answer_that_is_not_as_documented_is_not_a_success(answer: Any) -> None:
    with pytest.raises(Undocumented):
        puts._refused(records(1, 1), answer)
