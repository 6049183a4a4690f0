"""What a stream may answer that the local servers never do: gaps, many shards, children listed before their parents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from whimbrel.dynamodb import session, streams
from whimbrel.dynamodb.pace import Backoff
from whimbrel.errors import UnexpectedAnswer


class Stream:
    """A stream as GetRecords shows it: each shard has pages of sequence numbers, some of them empty.

    A closed shard's last page has no iterator behind it; an open one goes on with empty pages for ever.
    """

    def __init__(self, shards: dict[str, tuple[str, bool, list[list[int]]]]) -> None:
        self._shards = shards

    def describe_stream(self, *, StreamArn: str, ExclusiveStartShardId: str = "") -> Any:  # noqa: N803
        names = list(self._shards)
        first = names.index(ExclusiveStartShardId) + 1 if ExclusiveStartShardId else 0
        found = []
        for name in names[first : first + 2]:
            parent, closed, _ = self._shards[name]
            numbers = {"StartingSequenceNumber": "0"} | ({"EndingSequenceNumber": "99"} if closed else {})
            found.append(
                {"ShardId": name, "SequenceNumberRange": numbers} | ({"ParentShardId": parent} if parent else {})
            )
        more = {"LastEvaluatedShardId": names[first + 1]} if first + 2 < len(names) else {}
        return {"StreamDescription": {"Shards": found} | more}

    def get_shard_iterator(self, *, ShardId: str, ShardIteratorType: str, **more: str) -> Any:  # noqa: N803
        after = int(more.get("SequenceNumber", -1))
        assert (after >= 0) == (ShardIteratorType == "AFTER_SEQUENCE_NUMBER")
        return {"ShardIterator": f"{ShardId}/0/{after}"}

    def get_records(self, *, ShardIterator: str) -> Any:  # noqa: N803
        name, page, after = ShardIterator.split("/")
        _, closed, pages = self._shards[name]
        numbers = pages[int(page)] if int(page) < len(pages) else []
        records = [_record(number) for number in numbers if number > int(after)]
        last = closed and int(page) + 1 >= len(pages)
        return {streams.AS_SENT: records} | ({} if last else {"NextShardIterator": f"{name}/{int(page) + 1}/{after}"})


def _record(number: int) -> dict[str, Any]:
    moment = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    image = {"Keys": {"pk": {"S": "k"}}, "SequenceNumber": str(number), "ApproximateCreationDateTime": moment}
    return {"dynamodb": image}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_PAUSE", 0)


def read(stream: Stream, **after: str) -> list[int]:
    return [int(record.sequence) for record in streams.read_stream(stream, "arn", after)]


def test_a_shard_that_is_always_written_to_is_read_up_to_the_moment_of_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A day of records, and from now on more than can be read: it ends, with all that was there at the call."""
    stream = Stream({"a": ("", False, [[number] for number in range(1, 100_000)])})
    began = datetime.now(UTC)
    times = iter(began + timedelta(seconds=0.5 * (number - 50)) for number in range(100_000))
    real = stream.get_records

    def busy(**request: str) -> Any:
        answer = real(**request)
        for record in answer[streams.AS_SENT]:
            record["dynamodb"]["ApproximateCreationDateTime"] = next(times).timestamp()
        return answer

    monkeypatch.setattr(stream, "get_records", busy)
    assert 50 <= len(read(stream)) < 70


def test_a_gap_in_a_closed_shard_is_not_its_end() -> None:
    pages: list[list[int]] = [[1], *([[]] * 50), [2]]
    assert read(Stream({"a": ("", True, pages)})) == [1, 2]


def test_an_open_shard_is_read_up_to_now() -> None:
    assert read(Stream({"a": ("", False, [[1], [], [], [2]])})) == [1, 2]


class Odd(Stream):
    """Answers each call oddly ``times`` times before it answers as documented."""

    def __init__(self, name: str, answer: Any, times: int) -> None:
        super().__init__({"parent": ("", True, [[1], [2]]), "child": ("parent", True, [[3]])})
        self._odd, self.left = (name, answer), times

    def __getattribute__(self, name: str) -> Any:
        call = super().__getattribute__(name)
        if name.startswith("_") or name != self._odd[0]:
            return call

        def oddly(**request: Any) -> Any:
            if not self.left:
                return call(**request)
            self.left -= 1
            return self._odd[1]

        return oddly


ODD = [
    ("describe_stream", {}),
    ("describe_stream", {"StreamDescription": {}}),
    ("describe_stream", {"StreamDescription": {"Shards": None}}),
    ("describe_stream", {"StreamDescription": {"Shards": [], "LastEvaluatedShardId": "x"}}),
    ("describe_stream", {"StreamDescription": {"Shards": [{}]}}),
    ("get_shard_iterator", {}),
    ("get_shard_iterator", {"ShardIterator": None}),
    ("get_records", {}),
    ("get_records", {"Records": []}),  # as botocore parses it, which no client of ours lets it
    ("get_records", {streams.AS_SENT: None}),
    ("get_records", {streams.AS_SENT: [{}]}),
    ("get_records", {streams.AS_SENT: [{"dynamodb": {"Keys": {"pk": {"S": "k"}}}}]}),
    ("get_records", {streams.AS_SENT: [dict(_record(1), dynamodb=_record(1)["dynamodb"] | {"Keys": {"pk": {}}})]}),
    ("get_records", {streams.AS_SENT: [], "NextShardIterator": 7}),
]


@pytest.mark.parametrize(("name", "answer"), ODD)
def test_no_change_is_passed_over_by_an_answer_that_says_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, answer: Any
) -> None:
    monkeypatch.setattr(session, "Backoff", lambda: Backoff(0.0, 0.0))
    assert read(Odd(name, answer, 2)) == [1, 2, 3]
    with pytest.raises(UnexpectedAnswer):
        read(Odd(name, answer, 1000))


def test_parents_are_read_before_their_children_however_they_are_listed() -> None:
    stream = Stream(
        {
            "grandchild": ("child", False, [[5]]),
            "child": ("parent", True, [[3], [4]]),
            "parent": ("gone", True, [[1], [2]]),
            "other": ("", False, [[9]]),
        }
    )
    assert read(stream) == [1, 2, 3, 4, 5, 9]
    assert read(stream, parent="2", child="3") == [4, 5, 9]
