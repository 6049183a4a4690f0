"""Closed by a command of the user's: a proxy that pauses, a flag that the application reads.

That the application keeps to it is never the proof. The lock that follows waits for what is under way, and says where
the last write is; what is written after it is found, before the decision and after.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from whimbrel.errors import HandoverError
from whimbrel.handover.hooks import SECONDS
from whimbrel.handover.means import UNDO_PATIENCE, LockTables, Shut, Wait
from whimbrel.mysql.barrier import PATIENCE, Barrier, Name, refuse_prepared
from whimbrel.mysql.connect import Mysql

_HOLD = 2 * SECONDS
_TRIES = 5


class ByCommand:
    """``run`` calls the command with an event, ``fence`` or ``unfence``; raises HandoverError if it fails."""

    named = "what the fence command closed"
    read_lock = False

    def __init__(self, tables: list[Name], run: Callable[[str], None], wait: Wait) -> None:
        self._tables, self._run, self._wait = tables, run, wait

    @contextmanager
    def shut(self, locked: LockTables, patience: float) -> Iterator[Shut]:
        since = time.monotonic()
        with locked([], patience, _HOLD):
            self._run("fence")
        with locked(self._tables, patience) as held:
            refuse_prepared(held)
            yield Shut(held, since)

    def faults(self, connection: Mysql) -> list[str]:
        return []

    def make_again(self, locked: LockTables) -> None:
        with locked([], PATIENCE, _HOLD):
            self._run("fence")

    def give_back(self, held: Barrier) -> None:
        """Not within the lock of the tables: a command may take its time."""

    def open(self, locked: LockTables) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                with locked([], UNDO_PATIENCE, _HOLD):
                    return self._run("unfence")
            except HandoverError:
                if attempt == _TRIES or self._wait(0.1 * 2**attempt):
                    raise
        return None
