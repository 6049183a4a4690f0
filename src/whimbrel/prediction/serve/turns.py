"""How long a request has waited before the event loop looked at it, which no clock inside the request's own work sees.

The loop works in turns: it asks the system which connections have data, then serves all of them. What it finds was not
there when it last asked; so nothing arrived before the turn before began, unless the loop stood idle in between.
Whether it stood idle or had no processor, only the system knows: so it is asked when the last data arrived, which Linux
says of a TCP connection, in ticks of some milliseconds.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from time import monotonic
from typing import Any

_IDLE = 50e-6  # seconds: where nothing was done for longer, the loop stood and waited
_COARSE_CLOCK = 6  # Linux's CLOCK_MONOTONIC_COARSE, which goes on with each tick
_LAST_DATA_RECEIVED = 52  # where tcp_info has it, in milliseconds


class Turns:
    """The turns of one event loop, as those who work in it report them."""

    def __init__(self) -> None:
        self.turn = 0
        self._began = self._before = 0.0
        self._ended = 0.0  # when work was last done
        self._reading = self._idle = self._late = False
        self._tick = _tick()

    def read(self, loop: asyncio.AbstractEventLoop, connection: Any) -> float:
        """To be called as data are read: the earliest moment (monotonic) at which they can have arrived."""
        if not self._reading:
            self._reading = True
            loop.call_soon(self._served)
            before = self._began
            self._begin()
            # What came since the turn before waited no longer than since then: less than a tick cannot be measured.
            self._late = self._idle and self._began - before > self._tick > 0
        if self._late:
            waited = self._waited(connection)
            self._late = waited > 0  # when the first of a turn did not wait, the others are not asked about
            return self._before - waited
        return self._before

    def _waited(self, connection: Any) -> float:
        """Seconds since the last data arrived, as the system knows it, minus its possible error."""
        try:
            told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED + 4)
            (milliseconds,) = struct.unpack_from("I", told, _LAST_DATA_RECEIVED)
        except (OSError, AttributeError, struct.error):
            return 0.0
        return max(0.0, float(milliseconds) / 1e3 - self._tick)

    def step(self, seen: int) -> int:
        """To be called by work that gives way to others after each step, with what it got for its last step."""
        if seen == self.turn:
            self._begin()
        return self.turn

    def worked(self, now: float) -> None:
        self._ended = now

    def _served(self) -> None:
        self._reading = False

    def _begin(self) -> None:
        now = monotonic()
        self._idle = now - self._ended > _IDLE
        self._before = now if self._idle else self._began
        self._began = now
        self.turn += 1


def _tick() -> float:
    """Seconds between two ticks of the system's clock; 0.0 where it cannot be asked when data arrived."""
    if not hasattr(socket, "TCP_INFO"):
        return 0.0
    try:
        return time.clock_getres(_COARSE_CLOCK)
    except OSError:
        return 0.0
