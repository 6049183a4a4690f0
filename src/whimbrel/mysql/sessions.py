"""Connections that the reading of one table leaves to the reading of the next: to make them takes longer than to read a
small table.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from whimbrel.mysql.client import SourceConnection


class Sessions:
    """``side`` and ``readers`` are None, or idle, between two readings; all of them, and the loop in which the readers
    live, are closed at the end. Of one thread.
    """

    def __init__(self) -> None:
        self.loop = asyncio.Runner()
        self.side: SourceConnection | None = None
        self.readers: list[Any] = []

    def __enter__(self) -> Sessions:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.run(self._close())
        self.loop.close()

    async def _close(self) -> None:
        for connection in (self.side, *self.readers):
            if connection:
                connection.close()
