"""Closed by making the tables' schema read-only (``mysql.read_only``). Nobody can write, also not a reverse stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from whimbrel.handover.means import UNDO_PATIENCE, LockTables, Shut, Wait
from whimbrel.mysql.barrier import PATIENCE, Barrier, Name, patiently, refuse_prepared
from whimbrel.mysql.connect import Mysql
from whimbrel.mysql.read_only import is_read_only, set_read_only
from whimbrel.project import Source


class BySchema:
    """``tables`` are of one schema, and whimbrel's own are in another one."""

    named = "READ ONLY"
    read_lock = True

    def __init__(self, source: Source, tables: list[Name], wait: Wait) -> None:
        self._source, self._tables, self._wait = source, tables, wait
        self._schema = tables[0][0]

    @contextmanager
    def shut(self, locked: LockTables, patience: float) -> Iterator[Shut]:
        """ALTER SCHEMA waits for whoever has written; what comes later is refused. So the end may be read after it."""
        since = self._set(locked, patience, on=True)
        with locked(self._tables, patience) as held:
            refuse_prepared(held)
            yield Shut(held, since)

    def faults(self, connection: Mysql) -> list[str]:
        return [] if is_read_only(connection, self._schema) else [f"schema {self._schema} is not read-only any more"]

    def make_again(self, locked: LockTables) -> None:
        self._set(locked, PATIENCE, on=True)

    def give_back(self, held: Barrier) -> None:
        """Not within a lock of its tables, for which it would wait."""

    def open(self, locked: LockTables) -> None:
        self._set(locked, UNDO_PATIENCE, on=False)

    def _set(self, locked: LockTables, patience: float, *, on: bool) -> float:
        """When it was done, by time.monotonic()."""
        patiently(partial(self._try, locked, on=on), self._source, self._wait, patience)
        return time.monotonic()

    def _try(self, locked: LockTables, *, on: bool) -> float | None:
        with locked([]):
            return set_read_only(self._source, self._schema, on=on)
