"""What the server may hold in memory for its clients: bodies, connections and answers that are not taken, together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from whimbrel.prediction.serve.turns import Turns

MOST_MEMORY = 256 << 20


class Load(NamedTuple):
    """What large calls share with all others: memory, the turns of the event loop, and how long one may wait."""

    budget: Budget
    turns: Turns
    patience: float  # seconds


class NoRoom(Exception):
    """The budget is used up, and stayed so for as long as a request may wait."""


class Budget:
    """Bytes in use of ``most``. All of it runs on the event loop."""

    def __init__(self, most: int = MOST_MEMORY) -> None:
        self.most = most
        self.used = 0
        self._working = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def full(self) -> bool:
        return self.used > self.most

    def add(self, size: int) -> None:
        """Count what is held already (``size`` below 0: what is released); whoever adds looks at ``full``."""
        self.used += size
        if size < 0 and self._waiting:
            self._admit()

    @asynccontextmanager
    async def room(self, size: int, seconds: float) -> AsyncIterator[None]:
        """Room for ``size`` bytes of work, first come, first served; one may always proceed, whatever its size.

        Raises NoRoom after ``seconds``.
        """
        admitted = asyncio.get_running_loop().create_future()
        self._waiting.append((size, admitted))
        self._admit()
        try:
            async with asyncio.timeout(seconds):
                await admitted
        except BaseException as error:
            if admitted.cancelled():
                self._waiting.remove((size, admitted))
            else:
                self._leave(size)
            if isinstance(error, TimeoutError):
                raise NoRoom from None
            raise
        try:
            yield
        finally:
            self._leave(size)

    def _leave(self, size: int) -> None:
        self._working -= 1
        self.add(-size)

    def _admit(self) -> None:
        while self._waiting:
            size, admitted = self._waiting[0]
            if self._working and self.used + size > self.most:
                return
            self._waiting.popleft()
            self._working += 1
            self.used += size
            admitted.set_result(None)
