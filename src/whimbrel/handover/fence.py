"""The fence by triggers around the tables of a cutover: closed, sealed, and taken away again.

Every lock that is taken here has the coordinator's rows in it, too. Under it they are compared first: a command that
slept while another one took over neither leaves a fence behind nor removes another's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from whimbrel.errors import FenceBroken
from whimbrel.handover.state import Coordinator
from whimbrel.mysql.barrier import PATIENCE, Barrier, Name, Wait, barrier
from whimbrel.mysql.connect import Mysql, connect, quoted, rows_as_dicts
from whimbrel.mysql.triggers import (
    FenceTrigger,
    drop_triggers,
    fence_faults,
    fence_triggers,
    first_triggers,
    make_triggers,
    refuse_blind,
    standing,
)
from whimbrel.project import Project
from whimbrel.records import Position

UNDO_PATIENCE = 600.0  # seconds: longer, as writes are refused until it is done
EndOf = Callable[[Mysql], Position]


@dataclass(frozen=True, slots=True)
class Closed:
    """``end`` is the last Position with a write of an application. ``granted``, by time.monotonic(), is when nobody
    could write any more; they had waited for ``asked_ms`` for the lock. ``identities``: what each table was then.
    """

    end: Position
    granted: float
    asked_ms: float
    server: str
    identities: dict[Name, str]


class Fence:
    """Around all tables of ``coordinator``. ``hold`` is how long a lock may be held, in seconds."""

    def __init__(self, project: Project, coordinator: Coordinator, wait: Wait, hold: float) -> None:
        self._source = project.source
        self._coordinator = coordinator
        self._wait = wait
        self._hold = hold

    def close(self, end_of: EndOf, patience: float) -> Closed:
        """Make the fence. Nothing of ours stands on the tables when this is called; whatever is raised, some of it may.

        The order matters: the lock, no prepared transaction, the fence, the end. Raises FenceBroken, TablesBusy,
        PrivilegeError, HandoverTaken, and the errors of the source.
        """
        tables = self._coordinator.tables
        triggers = self._triggers()
        with closing(connect(self._source)) as connection:
            first = first_triggers(connection, tables)
        with self._locked(tables, patience) as held:
            refuse_prepared(held)
            make_triggers(held.execute, triggers, first)
            end = end_of(held.session)
            identities = {table: identity(held, table) for table in tables}
            waited = (held.granted - held.asked) * 1000
            return Closed(end, held.granted, waited, held.server(), identities)

    @contextmanager
    def sealed(self, closed: Closed, patience: float) -> Iterator[Barrier]:
        """The lock once more, with the fence and the tables as they were when it was closed; else FenceBroken.
        Whoever reads the tables within a transaction keeps it away: TablesBusy.

        While it is held nobody can change that, not even who may drop triggers.
        """
        with self._locked(self._coordinator.tables, patience) as held:
            refuse_prepared(held)
            if held.server() != closed.server:
                raise _broken(["another server answers"])
            faults = fence_faults(held.session, self._triggers())
            for table, was in closed.identities.items():
                if identity(held, table) != was:
                    faults.append(f"table {'.'.join(table)} was altered, or replaced by another one")
            if faults:
                raise _broken(faults)
            yield held

    @contextmanager
    def returning(self) -> Iterator[Barrier]:
        """The lock in which the source is given back: the triggers go at the end of the block, before the lock does."""
        tables = self._coordinator.tables
        with self._locked(tables) as held:
            refuse_prepared(held)
            if held.server() != self._coordinator.now.server:
                raise _broken(["another server answers"])
            yield held
            drop_triggers(held.execute, standing(held.session, tables))

    def faults(self) -> list[str]:
        """What of the fence is not as it was made."""
        with closing(connect(self._source)) as connection:
            return fence_faults(connection, self._triggers())

    def make_again(self) -> None:
        """After the decision: what somebody removed is put back, as it was."""
        triggers = self._triggers()
        tables = self._coordinator.tables
        with self._locked(tables) as held:
            drop_triggers(held.execute, standing(held.session, tables))
            make_triggers(held.execute, triggers, first_triggers(held.session, tables))

    def open(self) -> None:
        """Take every trigger of ours away; those that are gone already are no fault. Also under a short lock: DROP
        TRIGGER would wait behind an open transaction, and all reads of the table behind it.
        """
        with closing(connect(self._source)) as connection:
            refuse_blind(connection, self._coordinator.tables)
            left = standing(connection, self._coordinator.tables)
            fenced = [table for table in self._coordinator.tables if standing(connection, [table])]
        if not left:
            return
        with self._locked(fenced, UNDO_PATIENCE) as held:
            drop_triggers(held.execute, left)

    def _triggers(self) -> list[FenceTrigger]:
        now = self._coordinator.now
        return fence_triggers(self._coordinator.tables, now.fence_epoch, now.exempt)

    @contextmanager
    def _locked(self, tables: Sequence[Name], patience: float = PATIENCE) -> Iterator[Barrier]:
        names = [*tables, self._coordinator.row_table]
        with barrier(self._source, names, self._wait, hold=self._hold, patience=patience) as held:
            self._coordinator.sure(held)
            yield held


def identity(held: Barrier, table: Name) -> str:
    """What tells the table from another one in its place, and from itself after an ALTER."""
    [made] = held.rows(
        "SELECT CREATE_TIME AS time FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s", table
    )
    [shown] = rows_as_dicts(held.session, f"SHOW CREATE TABLE {quoted(table[0])}.{quoted(table[1])}")
    text = re.sub(r" AUTO_INCREMENT=\d+", "", str(shown["Create Table"]))
    return f"{made['time']} {text}"


def refuse_prepared(held: Barrier) -> None:
    """A prepared transaction may belong to any table, and commits whenever somebody says so."""
    if names := held.prepared():
        raise FenceBroken(
            f"prepared XA transactions are open: {', '.join(names[:3])}",
            place="XA RECOVER",
            hint="Commit them or roll them back, then start again.",
        )


def elapsed(since: float) -> float:
    return time.monotonic() - since


def _broken(faults: list[str]) -> FenceBroken:
    return FenceBroken(
        f"the fence is not as it was made: {'; '.join(faults)}",
        place="fence",
        hint="Find out who did this. Then start again.",
    )
