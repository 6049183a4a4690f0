"""A DynamoDB that accepts everything and keeps nothing, so that a benchmark measures the client alone.

``python -m benchmarks.null_sink`` prints the port that it listens on (127.0.0.1) and runs until its input ends. Run it
in a process of its own: then its CPU time is not the client's.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def _answer(body: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nServer: null\r\nContent-Type: application/x-amz-json-1.0\r\n"
        f"Content-Length: {len(body)}\r\nConnection: keep-alive\r\nx-amz-crc32: {zlib.crc32(body)}\r\n\r\n"
    )
    return head.encode() + body


_BATCH = _answer(b'{"UnprocessedItems":{}}')
_OTHER = _answer(b'{"ConsumedCapacity":{"TableName":"purchases","CapacityUnits":1.0}}')


class NullSink(asyncio.Protocol):
    """Counts each request's bytes off and answers it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = b""
        self._missing = 0  # bytes of the current request still to come
        self._reply = b""

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._count(len(data))
            return
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._data[:end]
        length = _LENGTH.search(head)
        self._reply = _BATCH if b"BatchWriteItem" in head else _OTHER
        self._missing = end + 4 + (int(length[1]) if length else 0)
        if b"100-continue" in head:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        received, self._data = len(self._data), b""
        self._count(received)

    def _count(self, received: int) -> None:
        self._missing -= received
        if not self._missing:
            self._transport.write(self._reply)


@contextlib.contextmanager
def null_sink() -> Iterator[str]:
    """Run a sink in its own process; gives its endpoint URL."""
    command = [sys.executable, "-m", "benchmarks.null_sink"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.stdin.close()
        process.wait()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(NullSink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # ends when the parent closes it, or dies


if __name__ == "__main__":
    asyncio.run(_main())
