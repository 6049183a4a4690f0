"""An application that makes its tables, fills them, and goes on writing: what a migration meets."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pymysql

from demo.servers import SqlServer

Statements = list[str]
CASCADE_MEETS = 1761  # a cascade would make a row that is there already, which IGNORE does not pass over


class Application:
    """``step`` gives the statements of one transaction, at random."""

    def __init__(
        self, server: SqlServer, database: str, schema: str, step: Callable[[random.Random], Statements]
    ) -> None:
        self.database = database
        self._server, self._step, self._dice = server, step, random.Random(7)
        server.execute(*schema.strip().split(";\n"), database=database)

    def write(self, transactions: int) -> None:
        with self._server.connect(self.database) as connection, connection.cursor() as cursor:
            for _ in range(transactions):
                try:
                    for statement in ("BEGIN", *self._step(self._dice), "COMMIT"):
                        cursor.execute(statement)
                except pymysql.err.OperationalError as error:
                    if error.args[0] != CASCADE_MEETS:
                        raise
                    connection.rollback()

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        return list(self._server.execute("SET time_zone = '+00:00'", select, database=self.database))

    @contextmanager
    def writing(self) -> Iterator[Callable[[], int]]:
        """Transactions in a thread; gives how many there were so far."""
        stop, done = threading.Event(), [0]

        def write() -> None:
            while not stop.wait(0.03):  # an application, not a race: what is verified must stand still now and then
                self.write(1)
                done[0] += 1

        with ThreadPoolExecutor(1) as thread:
            end = thread.submit(write)
            try:
                yield lambda: done[0]
            finally:
                stop.set()
            end.result()
