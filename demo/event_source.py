"""A stand-in for Lambda's event source mapping of a Kinesis stream, over kinesalite.

It is ours, written from what AWS publishes (Lambda developer guide, "Using Lambda with Kinesis"), and holds this:

- each shard is read by one poller, in order, from its oldest record; a batch has ``batch`` records at most;
- a shard that came of a split or merge is read when its parents have been read to their end;
- an answer with ``batchItemFailures`` has the batch again from the lowest of their sequence numbers on; an empty list,
  or no answer, takes all of it; an unknown sequence number, or an exception, fails the whole batch;
- ``bisect``: a batch that failed with an exception comes in two halves, each with tries of its own;
- ``retries``: after so many more tries (-1: without end) the records that failed are reported to the failure
  destination, by their sequence numbers alone, and the shard goes on after them.

Not in it: batching windows, ParallelizationFactor (it must be 1), tumbling windows, enhanced fan-out, filters, and the
time that anything takes. An invocation is a call of ``function`` in this process; a test that wants one to be killed,
late or doubled gives a function that is.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]
Function = Callable[[Event], Any]
Report = Callable[[dict[str, Any]], object]


@dataclass
class Shard:
    name: str
    iterator: str
    waiting: list[Event] = field(default_factory=list)  # read, and not taken yet
    sizes: list[int] = field(default_factory=list)  # of the batches that a failed one was divided into
    tries: int = 0
    ended: bool = False


class EventSource:
    def __init__(
        self,
        client: Any,
        stream: str,
        function: Function,
        *,
        batch: int = 100,
        bisect: bool = True,
        retries: int = -1,
    ) -> None:
        self.function = function
        self.destination: list[str] = []  # sequence numbers that were given up
        self._report: Report = lambda _: None
        self._client = client
        self._stream = stream
        self._batch, self._bisect, self._retries = batch, bisect, retries
        self._shards: dict[str, Shard] = {}

    def give_up(self, *, after: int, report: Report) -> None:
        """A batch is tried so many times more; then ``report``, the failure destination, is told."""
        self._retries, self._report = after, report

    def step(self) -> bool:
        """One batch of every shard that may be read; whether there was anything."""
        self._discover()
        worked = False
        for name, shard in self._shards.items():
            self._read(name, shard)
            if shard.waiting:
                worked = True
                self._invoke(shard)
        return worked

    def _discover(self) -> None:
        listed = self._client.describe_stream(StreamName=self._stream)["StreamDescription"]["Shards"]
        names = {each["ShardId"] for each in listed}
        for each in listed:
            parents = {each.get("ParentShardId"), each.get("AdjacentParentShardId")} & names
            if each["ShardId"] in self._shards or not all(self._is_done(parent) for parent in parents):
                continue
            iterator = self._client.get_shard_iterator(
                StreamName=self._stream, ShardId=each["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )
            self._shards[each["ShardId"]] = Shard(each["ShardId"], iterator["ShardIterator"])

    def _is_done(self, name: str) -> bool:
        return name in self._shards and self._shards[name].ended and not self._shards[name].waiting

    def _read(self, name: str, shard: Shard) -> None:
        if shard.ended or len(shard.waiting) >= self._batch:
            return
        page = self._client.get_records(ShardIterator=shard.iterator, Limit=self._batch)
        shard.waiting += [self._event(name, record) for record in page["Records"]]
        shard.ended = "NextShardIterator" not in page
        shard.iterator = page.get("NextShardIterator", "")

    def _invoke(self, shard: Shard) -> None:
        size = shard.sizes[0] if shard.sizes else min(self._batch, len(shard.waiting))
        records = shard.waiting[:size]
        try:
            answer = self.function({"Records": records})
        except Exception:
            self._failed(shard, records)
            return
        taken = self._taken(answer, records)
        if taken is None:
            self._failed(shard, records)
        elif taken < len(records):
            del shard.waiting[:taken]
            shard.tries = 0 if taken else shard.tries + 1
            shard.sizes[:1] = [len(records) - taken] if shard.sizes else []
            self._give_up_if_due(shard, len(records) - taken)
        else:
            self._take(shard, size)

    def _taken(self, answer: Any, records: list[Event]) -> int | None:
        """How many records were taken; None if the answer fails the whole batch."""
        failures = (answer or {}).get("batchItemFailures") or []
        if not failures:
            return len(records)
        places = {each["kinesis"]["sequenceNumber"]: place for place, each in enumerate(records)}
        named = [places.get(each.get("itemIdentifier")) for each in failures]
        return None if None in named else min(named)  # type: ignore[type-var]

    def _failed(self, shard: Shard, records: list[Event]) -> None:
        shard.tries += 1
        if self._bisect and len(records) > 1:
            half = len(records) // 2
            shard.sizes[:1] = [half, len(records) - half]
            shard.tries = 0
            return
        self._give_up_if_due(shard, len(records))

    def _give_up_if_due(self, shard: Shard, count: int) -> None:
        if 0 <= self._retries < shard.tries:
            self.destination += [each["kinesis"]["sequenceNumber"] for each in shard.waiting[:count]]
            self._report(self._given_up(shard, shard.waiting[:count]))
            self._take(shard, count)

    def _given_up(self, shard: Shard, records: list[Event]) -> dict[str, Any]:
        """As Lambda's developer guide shows it."""
        first, last = records[0]["kinesis"], records[-1]["kinesis"]
        return {
            "requestContext": {
                "requestId": "c9b8fa9f-5a7f-4b1e-af9c-0c604cde93a5",
                "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:whimbrel",
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": shard.tries,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": "2026-11-14T00:38:06.021Z",
            "KinesisBatchInfo": {
                "shardId": shard.name,
                "startSequenceNumber": first["sequenceNumber"],
                "endSequenceNumber": last["sequenceNumber"],
                "approximateArrivalOfFirstRecord": "2026-11-14T00:38:04.835Z",
                "approximateArrivalOfLastRecord": "2026-11-14T00:38:05.580Z",
                "batchSize": len(records),
                "streamArn": records[0]["eventSourceARN"],
            },
        }

    def _take(self, shard: Shard, size: int) -> None:
        del shard.waiting[:size]
        shard.tries = 0
        del shard.sizes[:1]

    def _event(self, shard: str, record: Any) -> Event:
        return {
            "eventID": f"{shard}:{record['SequenceNumber']}",
            "eventSource": "aws:kinesis",
            "eventSourceARN": f"arn:aws:kinesis:us-east-1:000000000000:stream/{self._stream}",
            "kinesis": {
                "sequenceNumber": record["SequenceNumber"],
                "partitionKey": record["PartitionKey"],
                "data": b64encode(record["Data"]).decode(),
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
            },
        }
