"""Records put to a stream, in order for each lane, and acknowledged.

PutRecords may take some records of a call and refuse others. Sending only those again would put them after their
successors. So no lane ever has two records under way.
"""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson

from whimbrel.dynamodb.answers import Answer, Undocumented
from whimbrel.dynamodb.calls import Counters, RetryingClient
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.loop import AtOnce
from whimbrel.dynamodb.pace import Backoff, RateLimiter
from whimbrel.dynamodb.wire import KINESIS, DynamoClient
from whimbrel.errors import PrivilegeError, RequestRefused
from whimbrel.kinesis.lanes import hash_key, partition_key
from whimbrel.project import Target

MOST_RECORDS = 500  # of a call: Kinesis's limits
MOST_BYTES = 5 << 20
CALLS = 16  # under way at most
# What a stream says of a record that it may take a moment later.
_LATER = frozenset({"ProvisionedThroughputExceededException", "InternalFailure", "KMSThrottlingException"})


class LaneRecord(NamedTuple):
    lane: int
    data: bytes

    @property
    def size(self) -> int:
        """As Kinesis counts it."""
        return len(self.data) + len(partition_key(self.lane))


class StreamWriter:
    """Of one stream; used by one thread."""

    def __init__(self, at: Target, stream: str, stop: threading.Event) -> None:
        """``at`` says where Kinesis is. ``stop``, when set, ends waiting and retrying."""
        self._stream = stream
        self._wire = DynamoClient(at, KINESIS)
        self._limit = ConcurrencyLimit(CALLS)
        self._calls = RetryingClient(self._wire, RateLimiter(0), self._limit, stop)
        self._at_once = AtOnce[Sequence[LaneRecord], None](self._put_call, self._limit)

    @property
    def counters(self) -> Counters:
        return self._calls.counters

    def put(self, records: Sequence[LaneRecord]) -> None:
        """Put all ``records``, those of one lane in this order. On return all are acknowledged.

        Raises Stopped, RequestRefused or PrivilegeError: then any of them may be in the stream, also twice.
        """
        lanes: dict[int, list[LaneRecord]] = {}
        for record in records:
            lanes.setdefault(record.lane, []).append(record)
        while lanes:
            # A barrier for all lanes: the next record of a lane is put when this one is acknowledged.
            self._put_first([waiting.pop(0) for waiting in lanes.values()])
            lanes = {lane: waiting for lane, waiting in lanes.items() if waiting}

    def close(self) -> None:
        self._wire.close()

    def _put_first(self, records: Sequence[LaneRecord]) -> None:
        try:
            self._at_once.do_all(_calls(records))
        except (PrivilegeError, RequestRefused) as error:
            allow = "kinesis:PutRecords on it, and the use of its KMS key if it has one of yours"
            error.hint = f"Look at the stream {self._stream}, and allow {allow}; then continue."
            raise

    async def _put_call(self, records: Sequence[LaneRecord]) -> None:
        backoff = Backoff()
        while records:
            refused = await self._calls.ask("PutRecords", body_of(self._stream, records), partial(_refused, records))
            if refused:
                self._limit.halve()
                if len(refused) < len(records):
                    backoff.reset()
                await self._calls.wait(backoff.next())
            records = refused


def _calls(records: Sequence[LaneRecord]) -> Iterator[Sequence[LaneRecord]]:
    call: list[LaneRecord] = []
    size = 0
    for record in records:
        if call and (len(call) == MOST_RECORDS or size + record.size > MOST_BYTES):
            yield call
            call, size = [], 0
        call.append(record)
        size += record.size
    if call:
        yield call


def body_of(stream: str, records: Sequence[LaneRecord]) -> bytes:
    entries = [
        {
            "Data": b64encode(record.data).decode(),
            "PartitionKey": partition_key(record.lane),
            "ExplicitHashKey": hash_key(record.lane),
        }
        for record in records
    ]
    return orjson.dumps({"StreamName": stream, "Records": entries})


def _refused(records: Sequence[LaneRecord], answer: Answer) -> list[LaneRecord]:
    """Those of a call that must be put again. Raises RequestRefused for one that the stream will never take."""
    results: Any = answer.get("Records")
    if not isinstance(results, list) or len(results) != len(records) or not all(isinstance(r, dict) for r in results):
        raise Undocumented("Records is not as documented")
    refused = []
    for record, result in zip(records, results, strict=True):
        code = result.get("ErrorCode")
        if code is None:
            if not all(isinstance(result.get(name), str) for name in ("SequenceNumber", "ShardId")):
                raise Undocumented("a record has neither a sequence number nor an error")
        elif code in _LATER:
            refused.append(record)
        else:
            raise RequestRefused(f"{code}: {result.get('ErrorMessage', '')}", code=str(code), place="PutRecords")
    if answer.get("FailedRecordCount", len(refused)) != len(refused):
        raise Undocumented("FailedRecordCount counts others than Records")
    return refused
