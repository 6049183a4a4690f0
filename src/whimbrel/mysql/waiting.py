"""How long a server is waited for: it may neither be silent for too long, nor keep us with a byte now and then."""

from __future__ import annotations

import io
import socket
import time

LEAST = 16 << 10  # bytes that have to come while it is waited for as long as it may be silent


class Waiting:
    """How long one answer has been waited for since LEAST bytes of it came."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._bytes = 0

    def begin(self) -> None:
        """A new answer is asked for."""
        self.seconds, self._bytes = 0.0, 0

    def came(self, size: int, seconds: float) -> None:
        """``size`` bytes, after ``seconds``."""
        self.seconds += seconds
        self._bytes += size
        if self._bytes >= LEAST:
            self.begin()

    def over(self, limit: float) -> bool:
        return self.seconds >= limit


class PacedReads(io.RawIOBase):
    """What a socket receives, for a buffered reader: the limit is the socket's own time limit at each read."""

    def __init__(self, connection: socket.socket, waiting: Waiting) -> None:
        self._connection, self._waiting = connection, waiting
        self._file = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        limit = self._connection.gettimeout()
        before = time.monotonic()
        size = self._file.readinto(buffer)
        self._waiting.came(size or 0, time.monotonic() - before)
        if limit and self._waiting.over(limit):
            raise TimeoutError(too_slow(limit))
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def too_slow(limit: float) -> str:
    return f"less than {LEAST:,} bytes in {limit:g} seconds of waiting for the rest of what it sends"
