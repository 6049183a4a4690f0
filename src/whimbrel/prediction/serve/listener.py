"""What all connections of a server share: their limits, what they hold together, who is let in, and who answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple, Protocol

from whimbrel.prediction.serve.budget import MOST_MEMORY, Budget, Load
from whimbrel.prediction.serve.responses import Response, refusal
from whimbrel.prediction.serve.turns import Turns

MOST_BODY = 5 << 20
_log = logging.getLogger("whimbrel.serve")


class Request(NamedTuple):
    """A whole request. ``path`` is without the query; header names are in lower case, and ``fields`` has the last of
    each name; ``arrived`` is monotonic.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    fields: Mapping[bytes, bytes]
    body: bytes
    arrived: float


class Limits(NamedTuple):
    """Bytes and seconds."""

    body: int = MOST_BODY
    memory: int = MOST_MEMORY
    request: float = 30.0  # from a request's first byte to its last, and for a client to take the answer
    idle: float = 120.0  # between requests


class RefusedRequest(NamedTuple):
    """What is wrong with a request of which only the head is known; ``headers`` are whole lines."""

    status: int
    why: str
    headers: str = ""


Handler = Callable[[Request], Response | Coroutine[Any, Any, Response]]
Local = tuple[str, int]
# From a request's method, path, headers and fields (see Request), and the local address that it reached.
Gate = Callable[[bytes, bytes, Sequence[tuple[bytes, bytes]], Mapping[bytes, bytes], Local], RefusedRequest | None]


class Timed(Protocol):
    """A connection, as the timer sees it."""

    def check_time(self, now: float) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


class Listener:
    """Watches the time of all connections, ends them, and hands their requests to ``handler``."""

    def __init__(self, limits: Limits, gate: Gate, handler: Handler) -> None:
        self.limits = limits
        self.gate = gate
        self.budget = Budget(limits.memory)
        self.turns = Turns()
        self.load = Load(self.budget, self.turns, limits.request)
        self.connections: set[Timed] = set()
        self.closing = False
        self.refused: dict[int, int] = {}
        self._handler = handler

    async def watch(self) -> None:
        """End what is too slow, until cancelled. Looks twice a second, so that a request costs no timer."""
        while True:
            await asyncio.sleep(min(0.5, self.limits.request / 4))
            now = monotonic()
            for connection in list(self.connections):
                connection.check_time(now)

    async def drain(self, seconds: float) -> None:
        """No more requests: idle connections end now, the others after their answer, all of them after ``seconds``."""
        self.closing = True
        for connection in list(self.connections):
            connection.finish()
        until = time.monotonic() + seconds
        while self.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()

    def serve(self, request: Request) -> Response | Coroutine[Any, Any, Response]:
        try:
            return self._handler(request)
        except Exception:
            return _failed(request)

    async def serve_slowly(self, request: Request, work: Coroutine[Any, Any, Response]) -> Response:
        try:
            return await work
        except Exception:
            return _failed(request)


def _failed(request: Request) -> Response:
    _log.exception("a request failed", extra={"path": request.path.decode("latin-1")[:200]})
    return refusal(500, "a bug in whimbrel; see its log")
