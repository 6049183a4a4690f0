"""Closed by three BEFORE triggers a table (``mysql.triggers``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from whimbrel.handover.means import UNDO_PATIENCE, LockTables, Shut
from whimbrel.mysql.barrier import Barrier, Name, refuse_prepared
from whimbrel.mysql.connect import Mysql, connect
from whimbrel.mysql.triggers import (
    FenceTrigger,
    drop_triggers,
    fence_faults,
    first_triggers,
    make_triggers,
    refuse_blind,
    standing,
)
from whimbrel.project import Source


class ByTriggers:
    named = "the triggers"
    read_lock = False

    def __init__(self, source: Source, tables: list[Name], triggers: list[FenceTrigger]) -> None:
        self._source, self._tables, self._triggers = source, tables, triggers

    @contextmanager
    def shut(self, locked: LockTables, patience: float) -> Iterator[Shut]:
        """The order matters: the lock, no prepared transaction, the triggers."""
        with closing(connect(self._source)) as connection:
            first = first_triggers(connection, self._tables)
        with locked(self._tables, patience) as held:
            refuse_prepared(held)
            make_triggers(held.execute, self._triggers, first)
            yield Shut(held, held.granted)

    def faults(self, connection: Mysql) -> list[str]:
        return fence_faults(connection, self._triggers)

    def make_again(self, locked: LockTables) -> None:
        with locked(self._tables) as held:
            drop_triggers(held.execute, standing(held.session, self._tables))
            make_triggers(held.execute, self._triggers, first_triggers(held.session, self._tables))

    def give_back(self, held: Barrier) -> None:
        drop_triggers(held.execute, standing(held.session, self._tables))

    def open(self, locked: LockTables) -> None:
        """Under a short lock: DROP TRIGGER would wait behind an open transaction, and all reads of the table behind
        it.
        """
        with closing(connect(self._source)) as connection:
            refuse_blind(connection, self._tables)
            left = standing(connection, self._tables)
            fenced = [table for table in self._tables if standing(connection, [table])]
        if left:
            with locked(fenced, UNDO_PATIENCE) as held:
                drop_triggers(held.execute, left)
