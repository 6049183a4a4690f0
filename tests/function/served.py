"""A stream with its function, for a whimbrel in any process: the mapping works in a thread of the test's."""

from __future__ import annotations

import json
import threading
from types import TracebackType
from typing import Any, Self

from demo.event_source import Event, EventSource
from demo.servers import DynamoServer, Kinesalite, Ministack
from demo.servers.dynamo import local_client
from tests.conftest import unique
from whimbrel.function.invocation import Invocation
from whimbrel.function.known import Known
from whimbrel.project import Target

CALL_SECONDS = 2.0
LEFT_SECONDS = 30.0


class Failures:
    """The queue to which Lambda reports the batches that it gave up."""

    def __init__(self, server: Ministack) -> None:
        self.name, self._at = unique("failed"), server.endpoint
        self._client = local_client("sqs", server.endpoint, server.region)
        self._url = self._client.create_queue(QueueName=self.name)["QueueUrl"]
        self.taken = 0

    @property
    def project_lines(self) -> str:
        return f'failures = "{self.name}"\nendpoint = "{self._at}"\n'

    def take(self, report: dict[str, Any]) -> None:
        self._client.send_message(QueueUrl=self._url, MessageBody=json.dumps(report))
        self.taken += 1

    def left(self) -> int:
        """How many reports nobody has removed."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=list(names))["Attributes"]
        return sum(int(found[name]) for name in names)


class Served:
    def __init__(
        self,
        kinesalite: Kinesalite,
        endpoint: DynamoServer,
        *,
        shards: int = 2,
        form: str = "packed",
        target: Target | None = None,
        client: Any = None,
        failures: Failures | None = None,
        skips_others: bool = False,
    ) -> None:
        """``target`` and ``client`` are where the function and its mapping find DynamoDB and Kinesis, if not there.
        With ``failures``, a batch that fails three times is given up. ``skips_others`` is as Known has it.
        """
        self.name = unique("stream")
        self.at, self.dynamodb, self._form = kinesalite.endpoint, endpoint, form
        self.invocations = 0
        self._kinesis = kinesalite.client
        kinesalite.new_stream(self.name, shards)
        self._known = Known(target or endpoint.target(), CALL_SECONDS, skips_others=skips_others)
        self.failures = failures
        self._mapping = EventSource(client or kinesalite.client, self.name, self._invoke, batch=200)
        if failures:
            self._mapping.give_up(after=2, report=failures.take)
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work)

    @property
    def project_lines(self) -> str:
        return (
            f'[log]\nengine = "kinesis"\nstream = "{self.name}"\nendpoint = "{self.at}"\nformat = "{self._form}"\n'
            f'[apply]\nengine = "lambda"\n{self.failures.project_lines if self.failures else ""}'
        )

    def records(self) -> int:
        """How many the stream has."""
        found = self._kinesis.describe_stream(StreamName=self.name)["StreamDescription"]["Shards"]
        return sum(map(self._records_of, found))

    def _records_of(self, shard: dict[str, Any]) -> int:
        place = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = self._kinesis.get_shard_iterator(StreamName=self.name, **place)["ShardIterator"]
        return len(self._kinesis.get_records(ShardIterator=iterator)["Records"])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._known.drop_wire()
        if self._failure and error is None:
            raise self._failure

    def _invoke(self, event: Event) -> Any:
        self.invocations += 1
        return Invocation(self._known, event["Records"], LEFT_SECONDS).run()

    def _work(self) -> None:
        try:
            while not self._ended.is_set():
                if not self._mapping.step():
                    self._ended.wait(0.05)
        except BaseException as error:
            self._failure = error
