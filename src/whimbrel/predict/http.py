"""HTTP/1.1 for the server: one asyncio protocol over httptools' parser, with every limit that a stranger could test.

A request is handed over whole. What is too large, too slow or not HTTP gets its 4xx here and disturbs no other
connection; the bodies and what they mean are not this module's business.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, NamedTuple, cast

import httptools

MOST_BODY = 5 << 20
MOST_HEAD = 64 << 10
MOST_DISCARDED = 64 << 20  # what is read of a refused body, so that its sender gets to see the refusal
MOST_CONNECTIONS = 4_096
_log = logging.getLogger("whimbrel.serve")
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_KEPT = frozenset(
    (
        b"content-type",
        b"accept",
        b"host",
        b"origin",
        b"x-amz-target",
        b"x-amzn-sagemaker-accept",
        b"x-amzn-sagemaker-custom-attributes",
        b"x-amzn-sagemaker-target-variant",
        b"x-amzn-sagemaker-inference-id",
    )
)


class Request(NamedTuple):
    """``path`` is without the query; ``headers`` are those of interest, names in lower case."""

    method: bytes
    path: bytes
    headers: dict[bytes, bytes]
    body: bytes


class Response(NamedTuple):
    """``headers`` are whole lines, each with its line end."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: str = ""


Handler = Callable[[Request], Response | Coroutine[Any, Any, Response]]
Refusal = Callable[[int, str], Response]


class Limits(NamedTuple):
    """Bytes and seconds."""

    body: int = MOST_BODY
    request: float = 30.0  # from a request's first byte to its last, and for a client to take the answer
    idle: float = 120.0  # between requests


class Listener:
    """All connections of a server: makes them, watches their time, and ends them."""

    def __init__(self, handler: Handler, refusal: Refusal, limits: Limits) -> None:
        self.handler = handler
        self.refusal = refusal
        self.limits = limits
        self.connections: set[Connection] = set()
        self.closing = False
        self.now = time.monotonic()
        self.refused: dict[int, int] = {}

    def connection(self) -> Connection:
        return Connection(self)

    async def watch(self) -> None:
        """For ever: end what is too slow. Looks twice a second, so that a request costs no timer."""
        while True:
            await asyncio.sleep(min(0.5, self.limits.request / 4))
            self.now = time.monotonic()
            for connection in list(self.connections):
                connection.check_time(self.now)

    async def drain(self, seconds: float) -> None:
        """No more requests: idle connections end now, the others after their answer, all of them after ``seconds``."""
        self.closing = True
        for connection in list(self.connections):
            connection.close_if_idle()
        until = time.monotonic() + seconds
        while self.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()

    def serve(self, request: Request) -> Response | Coroutine[Any, Any, Response]:
        try:
            return self.handler(request)
        except Exception:
            return self._failed(request)

    async def serve_slowly(self, request: Request, work: Coroutine[Any, Any, Response]) -> Response:
        try:
            return await work
        except Exception:
            return self._failed(request)

    def _failed(self, request: Request) -> Response:
        _log.exception("a request failed", extra={"path": request.path.decode("latin-1")[:200]})
        return self.refusal(500, "a fault in whimbrel; its log says more")


class Connection(asyncio.Protocol):
    """One client. Its requests are answered one after another, in their order."""

    __slots__ = (
        "_begun",
        "_body",
        "_body_size",
        "_busy",
        "_discarded",
        "_head_size",
        "_headers",
        "_idle_since",
        "_in_head",
        "_listener",
        "_parser",
        "_refused",
        "_stalled",
        "_transport",
        "_url",
        "_waiting",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()  # pipelined requests
        self._busy: asyncio.Task[None] | None = None
        self._begun = 0.0  # when the request that is coming in began; 0: none is
        self._idle_since = listener.now
        self._stalled = 0.0  # since when the client takes no answer; 0: it does
        self._refused = False  # the connection ends, what still comes is dropped
        self._discarded = 0
        self._in_head = False
        self._url: bytes | None = None
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_size = self._head_size = 0

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._listener.connections.add(self)
        if len(self._listener.connections) > MOST_CONNECTIONS or self._listener.closing:
            self._refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.connections.discard(self)
        # What is under way goes on: a change of control must not stop half-way because its caller hung up.
        self._transport = None

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._discard(len(data))
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(400, "this is not an HTTP/1.1 request")
            return
        if self._in_head:
            self._head_size += len(data)
        if self._head_size > MOST_HEAD:
            self._refuse(431, f"the head of the request is over {MOST_HEAD} bytes")

    def eof_received(self) -> bool:
        # A client that has sent all and closed its side still gets the answers to what it asked.
        return self._busy is not None

    def pause_writing(self) -> None:
        self._stalled = self._listener.now

    def resume_writing(self) -> None:
        self._stalled = 0.0

    # -- the parser's calls

    def on_message_begin(self) -> None:
        self._begun = self._listener.now
        self._in_head = True
        self._url = None
        self._headers = {}
        self._body = []
        self._body_size = self._head_size = 0

    def on_url(self, url: bytes) -> None:
        self._url = url if self._url is None else self._url + url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _KEPT:
            self._headers[name] = value
        elif name == b"content-length":
            if int(value) > self._listener.limits.body:
                self._too_large()
        elif name == b"expect":
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        if b"expect" in self._headers and not self._refused and self._transport and not self._busy:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > self._listener.limits.body:
            self._too_large()
        elif not self._refused:
            self._body.append(data)

    def on_message_complete(self) -> None:
        self._begun = 0.0
        if self._refused or self._url is None:
            return
        path = self._url.partition(b"?")[0]
        request = Request(self._parser.get_method(), path, self._headers, b"".join(self._body))
        keep = self._parser.should_keep_alive() and not self._listener.closing
        if self._busy:
            self._waiting.append((request, keep))
        else:
            self._serve(request, keep)
        self._url = None

    # -- answering

    def _serve(self, request: Request, keep: bool) -> None:
        response = self._listener.serve(request)
        if isinstance(response, Response):
            self._answer(response, keep)
        else:
            assert self._transport
            self._transport.pause_reading()  # what is not read cannot pile up
            work = self._listener.serve_slowly(request, response)
            self._busy = asyncio.get_running_loop().create_task(self._serve_slowly(work, keep))

    async def _serve_slowly(self, work: Coroutine[Any, Any, Response], keep: bool) -> None:
        response = await work
        self._busy = None
        if not self._transport or self._refused:
            return
        self._answer(response, keep)
        while self._waiting and not self._busy and self._transport and not self._transport.is_closing():
            self._serve(*self._waiting.popleft())
        if not self._busy and self._transport and not self._transport.is_closing():
            self._transport.resume_reading()

    def _answer(self, response: Response, keep: bool) -> None:
        self._idle_since = self._listener.now
        if not self._transport:
            return
        self._transport.write(
            (
                f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}\r\n"
                f"content-type: {response.content_type}\r\ncontent-length: {len(response.body)}\r\n"
                f"{response.headers}{'' if keep else 'connection: close' + chr(13) + chr(10)}\r\n"
            ).encode("latin-1")
            + response.body
        )
        if not keep:
            self._transport.close()

    # -- refusing

    def _too_large(self) -> None:
        self._refuse(413, f"the body is over {self._listener.limits.body} bytes")

    def _refuse(self, status: int, why: str) -> None:
        """Answer, then drop what still comes until the client closes: closing first would destroy the answer."""
        if self._refused or not self._transport:
            return
        self._refused = True
        self._begun = time.monotonic()
        self._waiting.clear()
        counts = self._listener.refused
        counts[status] = counts.get(status, 0) + 1
        response = self._listener.refusal(status, why)
        head = (
            f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\ncontent-type: {response.content_type}\r\n"
            f"content-length: {len(response.body)}\r\n{response.headers}connection: close\r\n\r\n"
        )
        if self._busy:
            self._transport.abort()  # an earlier answer is due first, and cannot be told apart from this one
            return
        self._transport.write(head.encode("latin-1") + response.body)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > MOST_DISCARDED and self._transport:
            self._transport.abort()

    # -- time

    def check_time(self, now: float) -> None:
        limits = self._listener.limits
        if not self._transport:
            return
        if self._stalled and now - self._stalled > limits.request:
            self._transport.abort()
        elif self._refused:
            if now - self._begun > min(5.0, limits.request):
                self._transport.close()
        elif self._begun:
            if now - self._begun > limits.request:
                self._refuse(408, f"the request did not come within {limits.request:g} seconds")
        elif not self._busy and now - self._idle_since > limits.idle:
            self._transport.close()

    def close_if_idle(self) -> None:
        if self._transport and not self._busy and not self._begun:
            self._transport.close()

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()
