"""The queue of what Lambda gave up, while SQS or Kinesis does not answer."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any, cast

import pytest

from demo.servers import Kinesalite, Ministack
from tests.conftest import unique
from tests.e2e.door import Door
from tests.function.served import Failures
from whimbrel import patience
from whimbrel.errors import Stopped, TargetUnreachable
from whimbrel.kinesis import failures
from whimbrel.kinesis.failures import FailureQueue
from whimbrel.project import Target


class Away:
    """As whoever leads nowhere: connections end at once."""

    host, port = "127.0.0.1", 1


class GivenUp:
    """A stream with ten records, a report of all but the first and the last, and a door before each server."""

    def __init__(self, ministack: Ministack, kinesalite: Kinesalite) -> None:
        self.stream, self.queue = unique("stream"), Failures(ministack)
        self.ministack, self.kinesalite = ministack, kinesalite
        self.sqs, self.kinesis = Door(cast(Any, ministack)), Door(cast(Any, kinesalite))
        kinesalite.new_stream(self.stream, 1)
        put = [
            kinesalite.client.put_record(StreamName=self.stream, Data=b"%d" % number, PartitionKey="x")
            for number in range(10)
        ]
        numbers = {"startSequenceNumber": put[1]["SequenceNumber"], "endSequenceNumber": put[8]["SequenceNumber"]}
        arn = f"arn:aws:kinesis:us-east-1:000000000000:stream/{self.stream}"
        info = {"streamArn": arn, "shardId": put[0]["ShardId"], "batchSize": 8, **numbers}
        self.queue.take({"requestContext": {"condition": "x"}, "timestamp": "x", "KinesisBatchInfo": info})
        self.stop = threading.Event()

    def opened(self) -> FailureQueue:
        sqs, kinesis = (Target(f"http://127.0.0.1:{door.port}", "us-east-1") for door in (self.sqs, self.kinesis))
        return FailureQueue(sqs, self.queue.name, kinesis, self.stream, self.stop)

    def close(self) -> None:
        for door in (self.sqs, self.kinesis):
            door.__exit__(None, None, None)


@pytest.fixture
def given_up(
    ministack: Ministack, kinesalite: Kinesalite, monkeypatch: pytest.MonkeyPatch, tried_again_at_once: None
) -> Any:
    monkeypatch.setattr(failures, "HIDDEN_SECONDS", 1)
    monkeypatch.setattr(failures, "PAGE_SECONDS", 0.0)
    with closing(GivenUp(ministack, kinesalite)) as made:
        yield made


def away(door: Door, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The server of a ``door`` is away until somebody was told of it."""
    server, told = door.server, list[str]()
    door.point(cast(Any, Away()))
    door.cut()

    def note(text: str) -> None:
        told.append(text)
        door.point(server)

    monkeypatch.setattr(patience, "note", note)
    return told


def test_an_outage_of_sqs_is_waited_for(given_up: GivenUp, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = given_up.opened()
    told = away(given_up.sqs, monkeypatch)
    [batch] = queue.batches()
    assert [each.partition(" (")[0] for each in told] == ["SQS does not answer"]
    told = away(given_up.sqs, monkeypatch)
    queue.remove(batch)
    assert len(told) == 1
    assert given_up.queue.left() == 0


def test_an_outage_of_kinesis_is_waited_for_also_when_the_place_in_the_shard_is_forgotten_meanwhile(
    given_up: GivenUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place is good for five minutes. A page has three records here."""
    queue = given_up.opened()
    [batch] = queue.batches()
    real = queue._kinesis.get_records

    def some(**request: Any) -> Any:
        return real(**request, Limit=3)

    monkeypatch.setattr(queue._kinesis, "get_records", some)
    records = queue.records(batch)
    assert [next(records) for _ in range(3)] == [b"1", b"2", b"3"]
    told = away(given_up.kinesis, monkeypatch)
    expired = [expired_place(queue)]

    def forgets(**request: Any) -> Any:
        if told and expired:
            raise expired.pop()
        return some(**request)

    monkeypatch.setattr(queue._kinesis, "get_records", forgets)
    assert list(records) == [b"%d" % number for number in range(4, 9)]
    assert [each.partition(" (")[0] for each in told] == ["Kinesis does not answer"]
    assert expired == []


def expired_place(queue: FailureQueue) -> Exception:
    answer = {
        "Error": {"Code": "ExpiredIteratorException", "Message": "x"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    made: Exception = queue._kinesis.exceptions.ClientError(answer, "GetRecords")
    return made


@pytest.mark.parametrize("ends", ["asked to stop", "out of patience"])
def test_the_wait_ends(given_up: GivenUp, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.0 if ends == "out of patience" else 60.0)
    queue = given_up.opened()
    given_up.sqs.point(cast(Any, Away()))
    given_up.sqs.cut()
    monkeypatch.setattr(patience, "note", lambda _: given_up.stop.set())
    with pytest.raises(Stopped if ends == "asked to stop" else TargetUnreachable) as caught:
        queue.batches()
    assert caught.value.place == f"queue {given_up.queue.name}"
