"""HTTP/1.1 for the server: one asyncio protocol over httptools' parser, with every limit that a stranger could test.

A connection is parsed in slices, and only while nothing is due to its client: while an answer is made or not taken,
nothing more is read. What it holds counts against the server's budget, and every wait has an end. A request is handed
over whole; what is too large, too slow or not HTTP gets its 4xx here and disturbs no other connection.

Why not uvicorn: docs/serve.md, "How fast".
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from http import HTTPStatus
from time import monotonic
from typing import Any, cast

import httptools

from whimbrel.prediction.serve.answers import Response, refusal
from whimbrel.prediction.serve.listener import Listener, Local, Request

MOST_HEAD = 64 << 10  # bytes of the request line, all headers and trailers, as they are sent
MOST_HEADERS = 200
MOST_DISCARDED = 64 << 20  # what is read of a refused body, so that its sender gets to see the refusal
MOST_CONNECTIONS = 4_096
SLICE = 4 << 10  # as many pipelined requests as fit into it are parsed before the first is answered
CONNECTION = 32 << 10  # what a connection counts in the budget, with one small request and its answer
REQUEST = 4 << 10  # what a request counts that is parsed and waits for those before it
_FRAMING = frozenset((b"content-length", b"expect"))
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Connection(asyncio.Protocol):
    """One client. Its requests are answered one after another, in their order."""

    __slots__ = (  # a class with more than thirty attributes has slow ones otherwise
        "_arrived",
        "_begun",
        "_body",
        "_body_size",
        "_busy",
        "_counted",
        "_discarded",
        "_ended",
        "_expects",
        "_fields",
        "_head_size",
        "_headers",
        "_held",
        "_in_head",
        "_last",
        "_listener",
        "_local",
        "_loop",
        "_parser",
        "_path",
        "_query",
        "_raw",
        "_reading",
        "_refused",
        "_since",
        "_socket",
        "_stalled",
        "_target",
        "_trailers",
        "_transport",
        "_turn",
        "_waiting",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None  # None: the client went away
        self._local: Local = ("", 0)
        self._waiting: deque[tuple[Request, bool]] = (
            deque()
        )  # parsed; each with whether the connection goes on after it
        self._held = b""  # read, and not yet parsed
        self._busy: asyncio.Task[None] | None = None
        self._counted = CONNECTION  # in the budget
        self._begun = 0.0  # when the request that is coming in began; 0: none is
        self._since = monotonic()  # when the last answer was complete
        self._stalled = 0.0  # since when the client takes no answer; 0: it does
        self._refused: Response | None = None  # the connection ends, what still comes is dropped
        self._reading = True
        self._last = self._ended = False  # no request may follow; the client has closed its side
        self._discarded = 0
        self._socket: Any = None
        self.on_message_begin()
        self._begun = 0.0

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._transport.set_write_buffer_limits(high=0)  # what cannot be sent at once stops the reading
        self._socket = transport.get_extra_info("socket")
        self._local = (transport.get_extra_info("sockname") or ("", 0))[:2]
        listener = self._listener
        listener.connections.add(self)
        listener.budget.add(CONNECTION)
        if len(listener.connections) > MOST_CONNECTIONS or listener.closing:
            self._refuse(503, "too many connections")
        elif listener.budget.full:
            self._refuse_for_memory()

    def connection_lost(self, exc: Exception | None) -> None:
        # What is under way goes on: a change of control must not stop half-way because its caller hung up.
        self._transport = None
        self._drop()
        self._listener.connections.discard(self)
        self._listener.budget.add(-self._counted)
        self._counted = 0

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._discard(len(data))
        elif self._busy or self._held or self._waiting or self._stalled:
            self._hold(data)
        elif len(data) <= SLICE:
            self._parse(data)
        else:
            self._feed(data)

    def eof_received(self) -> bool:
        # A client that has sent all and closed its side still gets the answers to what it asked.
        self._ended = True
        return bool(self._busy or self._held or self._waiting or self._stalled)

    def pause_writing(self) -> None:
        self._stalled = monotonic()
        self._read(False)
        self._count()

    def resume_writing(self) -> None:
        self._stalled = 0.0
        self._go_on()

    # -- the parser's calls

    def on_message_begin(self) -> None:
        self._begun = monotonic()
        turns = self._listener.turns
        self._arrived = turns.read(self._loop, self._socket)
        self._turn = turns.turn
        self._in_head = True
        self._target = self._path = self._query = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._fields: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._expects = False
        self._raw = self._head_size = self._body_size = 0
        self._trailers = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            self._count_trailer(len(name) + len(value) + 4)
            return
        name = name.lower()
        self._headers.append((name, value))
        if name in _FRAMING:
            self._expects = self._expects or name == b"expect"
            if name == b"content-length" and int(value) > self._listener.limits.body:
                self._too_large()

    def _count_trailer(self, size: int) -> None:
        """A trailer is nothing that anyone asks for; it only counts."""
        self._trailers += 1
        self._head_size = (self._head_size or self._size_of_head()) + size
        if self._head_size > MOST_HEAD or len(self._headers) + self._trailers > MOST_HEADERS:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        # As long as it is incomplete a head has a limit in _parse; here it has its exact one.
        self._in_head = False
        method, headers = self._parser.get_method(), self._headers
        fields = self._fields = dict(headers)
        self._path, _, self._query = self._target.partition(b"?")
        large = self._raw > MOST_HEAD - SLICE and self._size_of_head() > MOST_HEAD
        if large or len(headers) > MOST_HEADERS:
            self._refuse_head()
        elif self._path[:1] != b"/" or b"#" in self._target:
            self._refuse(400, "the request's target is not a path")
        elif not self._refused and (wrong := self._listener.gate(method, self._path, headers, fields, self._local)):
            self._refuse(*wrong)
        elif self._expects and not self._refused and self._transport and not (self._busy or self._waiting):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _size_of_head(self) -> int:
        """In bytes, as it was sent but for blanks that nothing depends on."""
        line = len(self._parser.get_method()) + len(self._target) + len(b"  HTTP/1.1\r\n\r\n")
        return line + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def on_body(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > self._listener.limits.body:
            self._too_large()
        elif self._refused:
            return
        elif not self._body:
            self._body = data
        else:
            # One block that grows, and can be given back: not thousands of pieces among what stays.
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data

    def on_message_complete(self) -> None:
        begun, self._begun = self._begun, 0.0
        if self._refused or self._last or not self._target:
            return
        arrived, since = self._arrival(begun), self._since
        body, self._body = bytes(self._body), b""
        request = Request(
            self._parser.get_method(),
            self._path,
            self._query,
            self._headers,
            self._fields,
            body,
            arrived if arrived > since else since,
        )
        # Another protocol is not offered: the request is answered in this one, and it was the last.
        keep = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._last = not keep
        if self._busy or self._waiting or self._stalled:
            self._waiting.append((request, keep))
        else:
            self._serve(request, keep)

    def _arrival(self, begun: float) -> float:
        """When the last part of a request that ``begun`` then had come: perhaps with its first, to wait as long."""
        turns = self._listener.turns
        if turns.turn == self._turn:
            return self._arrived
        last = turns.read(self._loop, self._socket)
        return self._arrived if begun >= last else last

    # -- from one request to the next

    def _feed(self, data: bytes) -> None:
        """Parse as long as the answers are taken; what is behind is held until they are."""
        for start in range(0, len(data), SLICE):
            if self._busy or self._waiting or self._stalled:
                self._hold(data[start:])
                return
            self._parse(data[start : start + SLICE])
            if self._refused or not self._transport:
                return

    def _parse(self, part: bytes) -> None:
        """Parse at most a slice."""
        try:
            self._parser.feed_data(part)
        except httptools.HttpParserUpgrade:
            pass  # what follows is in the other protocol
        except httptools.HttpParserError:
            self._refuse(400, "this is not an HTTP/1.1 request")
        self._raw += len(part)
        if not (self._begun or self._waiting) or self._refused:
            return
        if self._raw - self._body_size > MOST_HEAD + SLICE + self._body_size or len(self._headers) > MOST_HEADERS:
            self._refuse_head()  # it has no end, or there is more around its chunks than in them
        elif self._raw > SLICE or self._waiting:
            self._count()
            if self._listener.budget.full:
                self._refuse_for_memory()

    def _hold(self, data: bytes) -> None:
        if not data or self._refused:
            return
        self._held += data
        self._read(False)
        self._count()
        if self._listener.budget.full:
            self._refuse_for_memory()

    def _go_on(self) -> None:
        """The next request, as soon as the answer to the one before is taken."""
        while self._waiting and not self._busy and not self._stalled and self._transport:
            self._serve(*self._waiting.popleft())
        if self._busy or self._waiting or self._stalled or not self._transport or self._transport.is_closing():
            return
        if self._refused:
            self._send_refusal()
            return
        held, self._held = self._held, b""
        if held:
            self._feed(held)
        self._count()
        if self._held or self._busy or self._waiting or self._stalled or self._refused:
            return
        if self._ended or self._last or (self._listener.closing and not self._begun):
            self._transport.close()
        else:
            self._read(True)

    def _read(self, on: bool) -> None:
        if self._transport and on != self._reading and not (on and self._ended):
            self._reading = on
            self._transport.resume_reading() if on else self._transport.pause_reading()

    # -- answering

    def _serve(self, request: Request, keep: bool) -> None:
        response = self._listener.serve(request)
        if isinstance(response, Response):
            self._answer(response, keep)
        else:
            self._read(False)
            self._busy = self._loop.create_task(self._serve_slowly(request, response, keep))

    async def _serve_slowly(self, request: Request, work: Coroutine[Any, Any, Response], keep: bool) -> None:
        response = await self._listener.serve_slowly(request, work)
        del request, work
        self._busy = None
        self._answer(response, keep)
        del response
        self._go_on()

    def _answer(self, response: Response, keep: bool) -> None:
        keep = keep and not self._listener.closing
        if self._transport and not self._transport.is_closing():
            self._transport.write(_lines(response, keep).encode("latin-1") + response.body)
            if not keep:
                self._transport.close()
        self._since = monotonic()
        self._listener.turns.worked(self._since)

    # -- what it holds

    def _count(self) -> None:
        """Tell the budget what this connection holds now."""
        body = self._raw if self._begun or self._busy else 0
        unsent = self._transport.get_write_buffer_size() if self._transport and self._stalled else 0
        parsed = sum(len(request.body) + REQUEST for request, _ in self._waiting)
        size = CONNECTION + body + len(self._held) + unsent + parsed
        self._listener.budget.add(size - self._counted)
        self._counted = size

    def _drop(self) -> None:
        self._held = b""
        self._body = b""
        self._waiting.clear()

    # -- refusing

    def _too_large(self) -> None:
        self._refuse(413, f"the body is over {self._listener.limits.body} bytes")

    def _refuse_head(self) -> None:
        self._refuse(431, f"the head of the request is over {MOST_HEAD} bytes or {MOST_HEADERS} headers")

    def _refuse_for_memory(self) -> None:
        self._refuse(503, f"all of the {self._listener.budget.most} bytes are in use that requests may hold")

    def _refuse(self, status: int, why: str, headers: str = "") -> None:
        """Answer after what is due, then drop what still comes until the client closes: closing first would destroy
        the answer."""
        if self._refused or not self._transport or self._transport.is_closing():
            return
        counts = self._listener.refused
        counts[status] = counts.get(status, 0) + 1
        made = refusal(status, why)
        self._refused = made._replace(headers=made.headers + headers)
        self._begun = monotonic()
        self._held = self._body = b""
        if not (self._busy or self._waiting or self._stalled):
            self._send_refusal()

    def _send_refusal(self) -> None:
        assert self._refused
        assert self._transport
        self._begun = monotonic()
        self._drop()
        self._raw = 0
        self._transport.write(_lines(self._refused, keep=False).encode("latin-1") + self._refused.body)
        self._count()
        if self._ended:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._read(True)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > MOST_DISCARDED:
            self.abort()

    # -- time

    def check_time(self, now: float) -> None:
        limits = self._listener.limits
        if not self._transport:
            return
        if self._stalled and now - self._stalled > limits.request:
            self._transport.abort()
        elif self._busy:
            return
        elif self._refused:
            if now - self._begun > min(5.0, limits.request):
                self._transport.abort() if self._transport.is_closing() else self._transport.close()
        elif self._transport.is_closing():
            if now - self._since > limits.request:
                self._transport.abort()
        elif self._begun:
            if now - self._begun > limits.request:
                self._refuse(408, f"the request did not come within {limits.request:g} seconds")
        elif now - self._since > limits.idle:
            self._transport.close()

    def finish(self) -> None:
        """The server stops: an idle connection ends now, another one with the answer to what has begun."""
        if self._transport and not (self._busy or self._begun or self._held or self._waiting or self._stalled):
            self._transport.close()

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()


def _lines(response: Response, keep: bool) -> str:
    return (
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}\r\n"
        f"content-type: {response.content_type}\r\ncontent-length: {len(response.body)}\r\n"
        f"{response.headers}{'' if keep else 'connection: close' + chr(13) + chr(10)}\r\n"
    )
