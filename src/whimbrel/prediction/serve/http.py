"""HTTP/1.1 for the server: one asyncio protocol, with every limit that a stranger could test.

A connection is parsed in slices, and only while nothing is due to its client: while an answer is made or not taken,
nothing more is read. What it holds counts against the server's budget, and every wait has an end. A request is handed
over whole (incoming.py); what is too large, too slow or not HTTP gets its 4xx and disturbs no other connection.

Why not uvicorn: docs/serve.md, "How fast".
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from http import HTTPStatus
from time import monotonic
from typing import Any, cast

from whimbrel.prediction.serve.incoming import SLICE, Incoming
from whimbrel.prediction.serve.listener import Listener, Request
from whimbrel.prediction.serve.responses import Response, refusal

MOST_DISCARDED = 64 << 20  # what is read of a refused body, so that its sender gets to see the refusal
MOST_CONNECTIONS = 4_096
CONNECTION = 32 << 10  # what a connection counts in the budget, with one small request and its answer
REQUEST = 4 << 10  # what a request counts that is parsed and waits for those before it
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Connection(asyncio.Protocol):
    """One client. Its requests are answered one after another, in their order."""

    __slots__ = (
        "_busy",
        "_counted",
        "_discarded",
        "_ended",
        "_held",
        "_incoming",
        "_listener",
        "_loop",
        "_reading",
        "_refused",
        "_stalled",
        "_transport",
        "_waiting",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._incoming = Incoming(listener, self._take, self._go_ahead, self._refuse)
        self._transport: asyncio.Transport | None = None  # None: the client went away
        self._waiting: deque[tuple[Request, bool]] = deque()  # parsed; each with whether to keep the connection
        self._held = b""  # read, and not yet parsed
        self._busy: asyncio.Task[None] | None = None
        self._counted = CONNECTION  # in the budget
        self._stalled = 0.0  # since when the client takes no answer; 0: it does
        self._refused: Response | None = None  # the connection ends, later input is dropped
        self._reading = True
        self._ended = False  # the client has closed its side
        self._discarded = 0

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._transport.set_write_buffer_limits(high=0)  # what cannot be sent at once stops the reading
        self._incoming.connected(transport)
        listener = self._listener
        listener.connections.add(self)
        listener.budget.add(CONNECTION)
        if len(listener.connections) > MOST_CONNECTIONS or listener.closing:
            self._refuse(503, "too many connections")
        elif listener.budget.full:
            self._refuse_for_memory()

    def connection_lost(self, exc: Exception | None) -> None:
        # What is under way continues: a change of control must not stop half-way because its caller hung up.
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

    # -- what is parsed

    def _take(self, request: Request, keep: bool) -> None:
        if self._busy or self._waiting or self._stalled:
            self._waiting.append((request, keep))
        else:
            self._serve(request, keep)

    def _go_ahead(self) -> None:
        if self._transport and not (self._busy or self._waiting):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

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
        incoming = self._incoming
        incoming.feed(part)
        if not (incoming.begun or self._waiting) or self._refused:
            return
        if incoming.endless:
            incoming.refuse_head()
        elif incoming.raw > SLICE or self._waiting:
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
        if self._ended or self._incoming.last or (self._listener.closing and not self._incoming.begun):
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
            self._answer(request, response, keep)
        else:
            self._read(False)
            self._busy = self._loop.create_task(self._serve_slowly(request, response, keep))

    async def _serve_slowly(self, request: Request, work: Coroutine[Any, Any, Response], keep: bool) -> None:
        response = await self._listener.serve_slowly(request, work)
        del work
        self._busy = None
        self._answer(request, response, keep)
        del request, response
        self._go_on()

    def _answer(self, request: Request, response: Response, keep: bool) -> None:
        keep = keep and not self._listener.closing
        if self._transport and not self._transport.is_closing():
            # An answer to HEAD ends with its head: what came behind it would be taken for the next answer.
            body = b"" if request.method == b"HEAD" else response.body
            self._transport.write(_lines(response, keep).encode("latin-1") + body)
            if not keep:
                self._transport.close()
        self._incoming.answered = monotonic()
        self._listener.turns.worked(self._incoming.answered)

    # -- what it holds

    def _count(self) -> None:
        """Tell the budget what this connection holds now."""
        body = self._incoming.raw if self._incoming.begun or self._busy else 0
        unsent = self._transport.get_write_buffer_size() if self._transport and self._stalled else 0
        parsed = sum(len(request.body) + REQUEST for request, _ in self._waiting)
        size = CONNECTION + body + len(self._held) + unsent + parsed
        self._listener.budget.add(size - self._counted)
        self._counted = size

    def _drop(self) -> None:
        self._held = b""
        self._incoming.drop()
        self._waiting.clear()

    # -- refusing

    def _refuse_for_memory(self) -> None:
        self._refuse(503, f"all {self._listener.budget.most} bytes of request memory are in use")

    def _refuse(self, status: int, why: str, headers: str = "") -> None:
        """Answer after what is due, then drop all input until the client closes: closing first would destroy
        the answer."""
        if self._refused or not self._transport or self._transport.is_closing():
            return
        counts = self._listener.refused
        counts[status] = counts.get(status, 0) + 1
        made = refusal(status, why)
        self._refused = made._replace(headers=made.headers + headers)
        self._incoming.begun = monotonic()
        self._held = b""
        self._incoming.drop()
        self._incoming.refused = True
        if not (self._busy or self._waiting or self._stalled):
            self._send_refusal()

    def _send_refusal(self) -> None:
        assert self._refused
        assert self._transport
        self._incoming.begun = monotonic()
        self._drop()
        self._incoming.raw = 0
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
            if now - self._incoming.begun > min(5.0, limits.request):
                self._transport.abort() if self._transport.is_closing() else self._transport.close()
        elif self._transport.is_closing():
            if now - self._incoming.answered > limits.request:
                self._transport.abort()
        elif self._incoming.begun:
            if now - self._incoming.begun > limits.request:
                self._refuse(408, f"the request did not arrive within {limits.request:g} seconds")
        elif now - self._incoming.answered > limits.idle:
            self._transport.close()

    def finish(self) -> None:
        """The server stops: an idle connection ends now, another one with the answer to what has begun."""
        if self._transport and not (self._busy or self._incoming.begun or self._held or self._waiting or self._stalled):
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
