"""The request that is coming in on a connection: httptools' parser calls this with its parts.

The parser does not bound what it is given, so the limits of a head and a body are here, for each part as it arrives. A
request is handed over whole; a refusal is the connection's to send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import httptools

from whimbrel.prediction.serve.listener import Listener, Local, Request

MOST_HEAD = 64 << 10  # bytes of the request line, all headers and trailers, as they are sent
MOST_HEADERS = 200
SLICE = 4 << 10  # at most so much is parsed at once
_FRAMING = frozenset((b"content-length", b"expect", b"transfer-encoding", b"content-encoding"))


class Incoming:
    """One connection's requests, one after another.

    ``take`` gets each whole request, and whether the connection continues after it; ``go_ahead`` is called where a
    client waits for leave to send its body; ``refuse`` gets a status, a reason and header lines, and sets ``refused``.
    """

    __slots__ = (
        "_arrived",
        "_body",
        "_body_size",
        "_expects",
        "_fields",
        "_go_ahead",
        "_head_size",
        "_headers",
        "_in_head",
        "_listener",
        "_local",
        "_loop",
        "_parser",
        "_path",
        "_query",
        "_refuse",
        "_socket",
        "_take",
        "_target",
        "_trailers",
        "_turn",
        "answered",
        "begun",
        "last",
        "raw",
        "refused",
    )

    def __init__(
        self,
        listener: Listener,
        take: Callable[[Request, bool], None],
        go_ahead: Callable[[], None],
        refuse: Callable[[int, str, str], None],
    ) -> None:
        self._listener, self._take, self._go_ahead, self._refuse = listener, take, go_ahead, refuse
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._local: Local = ("", 0)
        self._socket: Any = None
        self.answered = monotonic()  # when the last answer was complete
        self.refused = False  # later input is dropped
        self.last = False  # no request may follow
        self.on_message_begin()
        self.begun = 0.0  # when the request that is coming in began; 0: none is

    def connected(self, transport: asyncio.BaseTransport) -> None:
        self._socket = transport.get_extra_info("socket")
        self._local = (transport.get_extra_info("sockname") or ("", 0))[:2]

    def feed(self, part: bytes) -> None:
        """Parse ``part``, at most SLICE bytes."""
        try:
            self._parser.feed_data(part)
        except httptools.HttpParserUpgrade:
            pass  # what follows is in the other protocol
        except httptools.HttpParserError:
            self._refuse(400, "this is not an HTTP/1.1 request", "")
        self.raw += len(part)

    @property
    def endless(self) -> bool:
        """Whether its head has no end, or there is more around its chunks than in them."""
        return self.raw - self._body_size > MOST_HEAD + SLICE + self._body_size or len(self._headers) > MOST_HEADERS

    def refuse_head(self) -> None:
        self._refuse(431, f"the head of the request is over {MOST_HEAD} bytes or {MOST_HEADERS} headers", "")

    # -- the parser's calls

    def on_message_begin(self) -> None:
        self.begun = monotonic()
        turns = self._listener.turns
        self._arrived = turns.read(self._loop, self._socket)
        self._turn = turns.turn
        self._in_head = True
        self._target = self._path = self._query = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._fields: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._expects = False
        self.raw = self._head_size = self._body_size = 0  # raw: bytes of it so far, as they were sent
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
            self._frame(name, value)

    def _frame(self, name: bytes, value: bytes) -> None:
        """What a header says of the body: what is not done as it says is refused."""
        said = value.strip().lower()
        shown = repr(value[:100].decode("latin-1"))
        if name == b"content-length" and int(value) > self._listener.limits.body:
            self._too_large()
        elif name == b"expect":
            self._expects = True
            if said != b"100-continue":
                self._refuse(417, f"Expect {shown} cannot be met", "")
        elif name == b"content-encoding" and said not in (b"", b"identity"):
            self._refuse(415, f"Content-Encoding {shown} is not supported: send the body as it is", "")
        elif name == b"transfer-encoding" and (said != b"chunked" or self._parser.get_http_version() != "1.1"):
            self._refuse(400, f"Transfer-Encoding {shown} is not supported: HTTP/1.1 has 'chunked'", "")

    def on_headers_complete(self) -> None:
        # As long as it is incomplete a head has a limit in ``endless``; here it has its exact one.
        self._in_head = False
        method, headers = self._parser.get_method(), self._headers
        fields = self._fields = dict(headers)
        self._path, _, self._query = self._target.partition(b"?")
        large = self.raw > MOST_HEAD - SLICE and self._size_of_head() > MOST_HEAD
        if large or len(headers) > MOST_HEADERS:
            self.refuse_head()
        elif self._path[:1] != b"/" or b"#" in self._target:
            self._refuse(400, "the request's target is not a path", "")
        elif not self.refused and (wrong := self._listener.gate(method, self._path, headers, fields, self._local)):
            self._refuse(*wrong)
        elif self._expects and not self.refused:
            self._go_ahead()

    def on_body(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > self._listener.limits.body:
            self._too_large()
        elif self.refused:
            return
        elif not self._body:
            self._body = data
        else:
            # One block that grows, and can be given back: not thousands of pieces among what stays.
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data

    def on_message_complete(self) -> None:
        begun, self.begun = self.begun, 0.0
        if self.refused or self.last or not self._target:
            return
        arrived = self._arrived if self._listener.turns.turn == self._turn else self._arrival(begun)
        answered = self.answered
        body, self._body = bytes(self._body), b""
        request = Request(
            self._parser.get_method(),
            self._path,
            self._query,
            self._headers,
            self._fields,
            body,
            arrived if arrived > answered else answered,
        )
        # Another protocol is not offered: the request is answered in this one, and it was the last.
        keep = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self.last = not keep
        self._take(request, keep)

    def drop(self) -> None:
        """Forget the part of a body that is here."""
        self._body = b""

    # -- its limits

    def _count_trailer(self, size: int) -> None:
        """A trailer is nothing that anyone asks for; it only counts."""
        self._trailers += 1
        self._head_size = (self._head_size or self._size_of_head()) + size
        if self._head_size > MOST_HEAD or len(self._headers) + self._trailers > MOST_HEADERS:
            self.refuse_head()

    def _size_of_head(self) -> int:
        """In bytes, as it was sent but for blanks that nothing depends on."""
        line = len(self._parser.get_method()) + len(self._target) + len(b"  HTTP/1.1\r\n\r\n")
        return line + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _too_large(self) -> None:
        self._refuse(413, f"the body is over {self._listener.limits.body} bytes", "")

    def _arrival(self, begun: float) -> float:
        """When the last part of a request had come that ``begun`` in an earlier turn: perhaps with its first, to wait
        as long.
        """
        last = self._listener.turns.read(self._loop, self._socket)
        return self._arrived if begun >= last else last
