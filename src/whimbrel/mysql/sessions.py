"""Connections that the reading of one table leaves to the reading of the next: to make them takes longer than to read a
small table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from whimbrel.mysql.client import SourceConnection
from whimbrel.mysql.connect import Mysql
from whimbrel.mysql.facts import Facts
from whimbrel.records import Table


class Sessions:
    """``side`` and ``readers`` are None, or idle, between two readings; all of them, and the loop in which the readers
    live, are closed at the end. Of one thread.
    """

    def __init__(self) -> None:
        self.loop = asyncio.Runner()
        self.side: SourceConnection | None = None
        self.readers: list[Any] = []
        self._together: list[tuple[str, str]] = []
        self._facts: tuple[Mysql, Facts] | None = None

    def expect(self, tables: Sequence[Table]) -> None:
        """These are read next, and soon: what information_schema says of them is asked for at once."""
        self._together = [(table.schema, table.name) for table in tables]
        self._facts = None

    def facts(self, connection: Mysql, table: Table) -> Facts:
        """What ``connection`` says of the table, and of those that are read with it."""
        name = (table.schema, table.name)
        if name not in self._together:
            return Facts(connection, [name])
        if self._facts is None or self._facts[0] is not connection:
            self._facts = connection, Facts(connection, self._together)
        return self._facts[1]

    def __enter__(self) -> Sessions:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.loop:
            self.loop.run(self._close())

    async def _close(self) -> None:
        for connection in (self.side, *self.readers):
            if connection:
                connection.close()
