"""A DynamoDB that accepts everything and keeps nothing, so that a benchmark measures the client alone.

``python -m benchmarks.null_sink [SECONDS [FOLDER]]`` prints the port that it listens on (127.0.0.1) and runs until its
input ends. Each answer comes after SECONDS, as over a network, which cost nobody CPU time; with FOLDER, over TLS with
the certificate that is there (demo/certificates.py). Run it in a process of its own: then its CPU time is not the
client's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def answer(body: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nServer: null\r\nContent-Type: application/x-amz-json-1.0\r\n"
        f"Content-Length: {len(body)}\r\nConnection: keep-alive\r\nx-amz-crc32: {zlib.crc32(body)}\r\n\r\n"
    )
    return head.encode() + body


_BATCH = answer(b'{"UnprocessedItems":{}}')


def _answer_of_one(body: bytes) -> bytes:
    """In the documented form: what was used of the table, and if asked, an item with its key and something else."""
    request = json.loads(body)
    fields = {"ConsumedCapacity": {"TableName": request["TableName"], "CapacityUnits": 1.0}}
    if request.get("ReturnValues") == "ALL_NEW":
        fields["Attributes"] = {**request["Key"], "another": {"N": "1"}}
    return answer(json.dumps(fields).encode())


class NullSink(asyncio.Protocol):
    """Answers each request once all its bytes are here, after ``latency`` seconds."""

    latency = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._parts: list[bytes] = []  # of the current request
        self._missing = 0  # bytes of it still to come, once its head is here
        self._head_end = 0

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        if self._missing:
            self._missing -= len(data)
        else:
            self._begin()
        if self._head_end and not self._missing:
            self._end()

    def _begin(self) -> None:
        received = b"".join(self._parts)
        self._head_end = received.find(b"\r\n\r\n") + 4
        if self._head_end < 4:
            self._head_end = 0
            return
        head = received[: self._head_end]
        length = _LENGTH.search(head)
        self._missing = self._head_end + (int(length[1]) if length else 0) - len(received)
        if b"100-continue" in head:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _end(self) -> None:
        request = b"".join(self._parts)
        answer = self.answer(request[: self._head_end], request[self._head_end :])
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, self._transport.write, answer)
        else:
            self._transport.write(answer)
        self._parts.clear()
        self._head_end = 0

    def answer(self, head: bytes, body: bytes) -> bytes:
        return _BATCH if b"BatchWriteItem" in head else _answer_of_one(body)


@contextlib.contextmanager
def null_sink(latency: float = 0.0, certificates: Path | None = None) -> Iterator[str]:
    """Run a sink in its own process; gives its endpoint URL."""
    more = [str(certificates)] if certificates else []
    with in_its_own_process("benchmarks.null_sink", str(latency), *more) as sink:
        yield sink.url.replace("http:", "https:") if certificates else sink.url


class Served(NamedTuple):
    url: str
    pid: int


@contextlib.contextmanager
def in_its_own_process(module: str, *arguments: str) -> Iterator[Served]:
    """Run the module, which is to ``serve``."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        yield Served(f"http://127.0.0.1:{process.stdout.readline().strip()}", process.pid)
    finally:
        process.stdin.close()
        process.wait()


async def serve(connection: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None = None) -> None:
    """As the process that ``in_its_own_process`` runs: print the port, and answer until the input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # ends when the parent closes it, or dies


if __name__ == "__main__":
    NullSink.latency = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    context = None
    if len(sys.argv) > 2:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(Path(sys.argv[2]) / "server.pem", Path(sys.argv[2]) / "server.key")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(NullSink, context))
