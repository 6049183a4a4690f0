"""Loading and applying into nothing: requests are made, signed and answered, but not sent.

A worker imports no more than this.
"""

from __future__ import annotations

import threading

import orjson

from whimbrel.dynamodb.http import Connections, HttpAnswer
from whimbrel.migration.apply_part import ApplyJob, ApplyTold, ApplyWork, applying
from whimbrel.migration.load_part import ChunkFile, ChunkTold, ChunkWork, chunk_loading
from whimbrel.workers import Do


def answer_at_once() -> None:
    """In this process, from now on."""
    Connections.exchange = _answered  # type: ignore[method-assign]


def loading_into_nothing(work: ChunkWork, stop: threading.Event) -> Do[ChunkFile, ChunkTold]:
    """In a worker."""
    answer_at_once()
    return chunk_loading(work, stop)


def applying_into_nothing(work: ApplyWork, stop: threading.Event) -> Do[ApplyJob, ApplyTold]:
    """In a worker."""
    answer_at_once()
    return applying(work, stop)


async def _answered(self: Connections, request: bytes) -> HttpAnswer:
    if b"UpdateItem" in request[:600]:  # of an item that has something else, too
        asked = orjson.loads(request[request.index(b"\r\n\r\n") + 4 :])
        fields = {"ConsumedCapacity": {"TableName": asked["TableName"], "CapacityUnits": 1.0}}
        if asked.get("ReturnValues") == "ALL_NEW":
            fields["Attributes"] = {**asked["Key"], "another": {"N": "1"}}
        return HttpAnswer(200, orjson.dumps(fields), None, keep=True)
    return HttpAnswer(200, b'{"UnprocessedItems":{}}', None, keep=True)
