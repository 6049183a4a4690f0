"""The server's parser, gate, bodies and answers as one reader of bytes: a connection of its own for each input.

The first byte says in how many bytes at a time the rest arrives. Whatever it is, what comes back is whole HTTP answers
without a line that the request made up, none is a 500, and nothing of the connection stays counted.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.prediction.serve.models import model
from whimbrel.prediction.serve.access import AccessRules, Doors
from whimbrel.prediction.serve.endpoint import Fleet, LiveEndpoint, LiveVariant
from whimbrel.prediction.serve.http import Connection
from whimbrel.prediction.serve.listener import Limits, Listener
from whimbrel.prediction.serve.registry import Registry
from whimbrel.prediction.serve.served import Served
from whimbrel.prediction.serve.server import Routes
from whimbrel.prediction.serve.serving import Serving

ENDPOINT = "E"
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]*")
_HEADER = re.compile(rb"([A-Za-z0-9-]+): ([\x20-\x7e\x80-\xff]*)")
_KNOWN = {200, 400, 403, 404, 405, 406, 413, 415, 417, 424, 431, 503}
_MADE_BY_US = re.compile(
    rb"content-(type|length|security-policy)|connection|cache-control|referrer-policy|x-content-type-options"
    rb"|x-amzn-(requestid|errortype|invoked-production-variant|sagemaker-(custom-attributes|content-type))|x-whimbrel-.*",
    re.IGNORECASE,
)


class Transport(asyncio.Transport):
    """Keeps what is written; the other side takes it at once."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 8080)})
        self.written = bytearray()
        self.closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def write_eof(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0


def http(data: bytes) -> None:
    _loop().run_until_complete(_converse(data[:1], data[1:]))


async def _converse(step: bytes, data: bytes) -> None:
    listener, transport = _listener(), Transport()
    before = listener.budget.used
    connection = Connection(listener)
    connection.connection_made(transport)
    at_once = (step[0] if step else 0) + 1
    at_once = at_once if at_once < 255 else len(data) + 1
    for start in range(0, len(data), at_once):
        if transport.closing:
            break
        connection.data_received(data[start : start + at_once])
        while connection._busy:
            await asyncio.sleep(0)
    connection.connection_lost(None)
    assert listener.budget.used == before, "something stays counted"
    check(bytes(transport.written), data.count(b"HEAD "))


def check(answers: bytes, heads: int = 0) -> list[int]:
    """Every answer to its last byte; their statuses. At most ``heads`` of them are to HEAD, and have no body."""
    found = []
    while answers:
        head, end, answers = answers.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(first)
        assert status, first
        if status[1] == b"100":
            continue
        assert end
        headers = {}
        for line in lines:
            header = _HEADER.fullmatch(line)
            assert header, line
            assert _MADE_BY_US.fullmatch(header[1]), line
            headers[header[1].lower()] = header[2]
        length = int(headers[b"content-length"])
        if length and (not answers or answers.startswith(b"HTTP/1.1 ")):
            length, heads = 0, heads - 1
        assert len(answers) >= length
        assert heads >= 0
        answers = answers[length:]
        assert int(status[1]) in _KNOWN, head
        found.append(int(status[1]))
    return found


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _listener() -> Listener:
    """With one endpoint; control is not offered, since it could start a training."""
    serving = Serving(Registry(Path(tempfile.mkdtemp())))
    live = serving.live[ENDPOINT] = LiveEndpoint(ENDPOINT, serving.call_writer)
    live.fleet = Fleet("c", [LiveVariant("A", Served("m", model(kind="multiclass")), 1.0)], None, None)
    doors = Doors(AccessRules(control=False), "127.0.0.1")
    routes = Routes(serving, doors, control=None)
    listener = routes.listener = Listener(Limits(body=64 << 10), doors.by_head, routes.serve)
    return listener
