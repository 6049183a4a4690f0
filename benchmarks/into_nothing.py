"""Loading into nothing: requests are made, signed and answered, but not sent. A worker imports no more than this."""

from __future__ import annotations

import threading

from whimbrel.dynamodb.http import Connections, HttpAnswer
from whimbrel.migration.load_part import ChunkFile, ChunkTold, ChunkWork, chunk_loading
from whimbrel.workers import Do


def answer_at_once() -> None:
    """In this process, from now on."""
    Connections.exchange = _answered  # type: ignore[method-assign]


def loading_into_nothing(work: ChunkWork, stop: threading.Event) -> Do[ChunkFile, ChunkTold]:
    """In a worker."""
    answer_at_once()
    return chunk_loading(work, stop)


async def _answered(self: Connections, request: bytes) -> HttpAnswer:
    return HttpAnswer(200, b'{"UnprocessedItems":{}}', None, keep=True)
