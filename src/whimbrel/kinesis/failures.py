"""The batches that Lambda gave up, as it reports them to a queue: which records of which shard, and not what they hold.

Source: Lambda's developer guide, "Retain discarded batch records for a Kinesis Data Streams event source in Lambda".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import orjson

from whimbrel.dynamodb.session import Session, translate
from whimbrel.errors import RequestRefused
from whimbrel.patience import Patience
from whimbrel.project import Target

HIDDEN_SECONDS = 5  # in which one look sees each message once; then the next one sees all of them again
PAGE_SECONDS = 0.25  # between two reads of the stream: a shard takes five a second, and Lambda needs some of them
_EXPIRED = "ExpiredIteratorException"  # after five minutes, which an outage may take
_GONE = ("ResourceNotFoundException", "InvalidArgumentException")  # what Kinesis says of a shard that it forgot


class GivenUp(NamedTuple):
    """A batch of ``records`` of one ``shard``, from one sequence number to another; ``at`` and ``why`` are as Lambda
    says it. ``message`` tells its report from others, and ``receipt`` removes it.
    """

    shard: str
    first: int
    last: int
    records: int
    at: str
    why: str
    message: str
    receipt: str

    def to_dict(self) -> dict[str, Any]:
        said = {"first": str(self.first), "last": str(self.last), "records": self.records}
        return {"shard": self.shard, **said, "at": self.at, "why": self.why}


class FailureQueue:
    """Of one stream. Each call is made again while SQS or Kinesis does not answer, and raises what Patience and
    ``translate`` do.
    """

    def __init__(self, at: Target, name: str, stream_at: Target, stream: str, stop: threading.Event) -> None:
        """``at`` and ``stream_at`` say where SQS and Kinesis are; ``stop``, when set, ends waiting for them. Raises
        RequestRefused if the queue does not exist.
        """
        self._place = f"queue {name}"
        self._sqs_patience, self._kinesis_patience = Patience("SQS"), Patience("Kinesis")
        self._sqs_patience.attend(stop)
        self._kinesis_patience.attend(stop)
        self._stream = stream
        self._next = 0.0
        self._kinesis = Session(stream_at, "kinesis").service("kinesis")
        self._sqs = Session(at, "sqs").service("sqs")
        try:
            self._url = self._asked_sqs(self._sqs.get_queue_url, QueueName=name)["QueueUrl"]
        except RequestRefused as refused:
            refused.hint = "Correct apply.failures or the region: it is the queue that the event source mapping has."
            raise

    def batches(self) -> list[GivenUp]:
        """All that it has now, of this stream. Reports of other streams stay for whoever reads those."""
        found: dict[str, GivenUp | None] = {}
        is_new = True
        while is_new:
            seen = {message["MessageId"]: self._batch(message) for message in self._received()}
            is_new = bool(seen.keys() - found.keys())
            found |= seen
        return [each for each in found.values() if each]

    def records(self, batch: GivenUp) -> Iterator[bytes]:
        """Its records, as far as the stream still has them."""
        kind, number = "AT_SEQUENCE_NUMBER", batch.first
        place = self._iterator(batch.shard, kind, number)
        while place:
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + PAGE_SECONDS
            try:
                page = self._asked_kinesis(self._kinesis.get_records, ShardIterator=place)
            except RequestRefused as refused:
                if refused.code != _EXPIRED:
                    raise
                place = self._iterator(batch.shard, kind, number)
                continue
            for record in page["Records"]:
                kind, number = "AFTER_SEQUENCE_NUMBER", int(record["SequenceNumber"])
                if number > batch.last:
                    return
                yield record["Data"]
            place = page.get("NextShardIterator") if page["Records"] or page.get("MillisBehindLatest") else None

    def remove(self, batch: GivenUp) -> None:
        self._asked_sqs(self._sqs.delete_message, QueueUrl=self._url, ReceiptHandle=batch.receipt)

    def _iterator(self, shard: str, kind: str, number: int) -> str | None:
        """None where the stream does not have the shard, or the record, any more."""
        asked = {"StreamName": self._stream, "ShardId": shard, "ShardIteratorType": kind}
        try:
            answer = self._asked_kinesis(self._kinesis.get_shard_iterator, StartingSequenceNumber=str(number), **asked)
        except RequestRefused as refused:
            if refused.code in _GONE:
                return None
            raise
        return str(answer["ShardIterator"])

    def _asked_sqs(self, call: Callable[..., Any], **request: Any) -> Any:
        return self._sqs_patience.ask(partial(_asked, self._place, call, request))

    def _asked_kinesis(self, call: Callable[..., Any], **request: Any) -> Any:
        return self._kinesis_patience.ask(partial(_asked, f"stream {self._stream}", call, request))

    def _received(self) -> list[dict[str, Any]]:
        answer = self._asked_sqs(
            self._sqs.receive_message,
            QueueUrl=self._url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=1,  # 0 would ask some of its servers only
        )
        found: list[dict[str, Any]] = answer.get("Messages", [])
        return found

    def _batch(self, message: dict[str, Any]) -> GivenUp | None:
        """None for what is not a report about this stream."""
        try:
            body = orjson.loads(message["Body"])
            info, context = body["KinesisBatchInfo"], body["requestContext"]
            if info["streamArn"].rpartition("/")[2] != self._stream:
                return None
            numbers = int(info["startSequenceNumber"]), int(info["endSequenceNumber"]), int(info["batchSize"])
            said = str(body["timestamp"]), str(context["condition"])
            return GivenUp(str(info["shardId"]), *numbers, *said, message["MessageId"], message["ReceiptHandle"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def _asked(place: str, call: Callable[..., Any], request: dict[str, Any]) -> Any:
    """What boto3 raises as one of our own errors."""
    try:
        return call(**request)
    except Exception as error:
        translate(error, place)
