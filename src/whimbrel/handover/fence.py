"""The fence around the tables of a cutover: closed, sealed, and taken away again, by one of the ``means``.

Every lock that is taken here has the coordinator's rows in it, too. Under it they are compared first: a command that
slept while another one took over neither leaves a fence behind nor removes another's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from whimbrel.errors import FenceBroken, HandoverError
from whimbrel.handover.by_command import ByCommand
from whimbrel.handover.by_revoke import ByRevoke
from whimbrel.handover.by_schema import BySchema
from whimbrel.handover.by_triggers import ByTriggers
from whimbrel.handover.hooks import run_command, told
from whimbrel.handover.means import Means
from whimbrel.handover.state import Coordinator
from whimbrel.mysql.barrier import GENTLE, PATIENCE, Barrier, Name, Pauses, Wait, barrier, refuse_prepared
from whimbrel.mysql.connect import Mysql, connect, quoted, rows_as_dicts
from whimbrel.mysql.triggers import fence_triggers
from whimbrel.notes import note
from whimbrel.project import Project
from whimbrel.project.cutover import COMMAND, READ_ONLY_SCHEMA, REVOKE
from whimbrel.records import Position

WHILE_CLOSED = Pauses(0.01, 1.0)  # nobody can write anyway: what they would wait for is the next try
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
        self._project = project
        self._source = project.source
        self._coordinator = coordinator
        self._wait = wait
        self._hold = hold
        self._gently = False  # an application writes, and waits with each try to lock the tables

    def close(self, end_of: EndOf, patience: float) -> Closed:
        """Make the fence. Nothing of ours stands on the tables when this is called; whatever is raised, some of it may.

        The end is read under the lock. Raises FenceBroken, TablesBusy, PrivilegeError, HandoverTaken, and the errors of
        the source.
        """
        tables = self._coordinator.tables
        self._gently = True
        try:
            with self._means.shut(self._locked, patience) as (held, since):
                end = end_of(held.session)
                identities = {table: identity(held, table) for table in tables}
                waited = (held.granted - held.asked) * 1000
                return Closed(end, since, waited, held.server(), identities)
        finally:
            self._gently = False

    @contextmanager
    def sealed(self, closed: Closed, patience: float) -> Iterator[Barrier]:
        """The lock once more, with the fence and the tables as they were when it was closed; else FenceBroken.
        Whoever reads the tables within a transaction keeps it away: TablesBusy.

        While it is held nobody can change the tables, not even who may drop triggers.
        """
        with self._locked(self._coordinator.tables, patience) as held:
            refuse_prepared(held)
            if held.server() != closed.server:
                raise _broken(["another server answers"])
            faults = self._means.faults(held.session)
            for table, was in closed.identities.items():
                if identity(held, table) != was:
                    faults.append(f"table {'.'.join(table)} was altered, or replaced by another one")
            if faults:
                raise _broken(faults)
            yield held

    @contextmanager
    def returning(self) -> Iterator[Barrier]:
        """The lock in which the source is given back, at the end of the block and before the lock goes if that can be
        done within; else by ``open``.
        """
        with self._locked(self._coordinator.tables) as held:
            refuse_prepared(held)
            if held.server() != self._coordinator.now.server:
                raise _broken(["another server answers"])
            yield held
            self._means.give_back(held)

    def faults(self) -> list[str]:
        """What of the fence is not as it was made."""
        with closing(connect(self._source)) as connection:
            return self._means.faults(connection)

    def make_again(self) -> None:
        """After the decision: what somebody removed is put back, as it was."""
        self._means.make_again(self._locked)

    def open(self) -> None:
        """Take everything of the fence away; a part that is already gone is not an error."""
        self._means.open(self._locked)

    @property
    def named(self) -> str:
        """What it leaves at the source, in words."""
        return self._means.named

    @property
    def _means(self) -> Means:
        """As it was closed, whatever the project file says by now."""
        now, tables, settings = self._coordinator.now, self._coordinator.tables, self._project.cutover
        if now.fence == REVOKE:
            return ByRevoke(self._source, self._coordinator, settings, self._wait)
        if now.fence == READ_ONLY_SCHEMA:
            return BySchema(self._source, tables, self._wait)
        if now.fence == COMMAND:
            return ByCommand(tables, self._run, self._wait)
        return ByTriggers(self._source, tables, fence_triggers(tables, now.fence_epoch, now.exempt))

    def _run(self, event: str) -> None:
        settings = self._project.cutover
        if not settings.fence_command:
            hint = "Set it in [cutover] again: it alone can take its fence away."
            raise HandoverError("is not set any more", place="cutover.fence_command", hint=hint)
        side = "none" if event == "fence" else "mysql"
        run_command(settings.fence_command, told(event, side, self._coordinator.now, settings))

    @contextmanager
    def _locked(self, tables: list[Name], patience: float = PATIENCE, hold: float = 0.0) -> Iterator[Barrier]:
        names = [*tables, self._coordinator.row_table]
        read = tables if self._means.read_lock else ()
        hold = max(hold, self._hold)
        pauses = GENTLE if self._gently else WHILE_CLOSED
        with barrier(
            self._source, names, self._wait, hold=hold, patience=patience, read=read, pauses=pauses, tell=note
        ) as held:
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


def elapsed(since: float) -> float:
    return time.monotonic() - since


def _broken(faults: list[str]) -> FenceBroken:
    return FenceBroken(
        f"the fence is not as it was made: {'; '.join(faults)}",
        place="fence",
        hint="Find out who did this. Then start again.",
    )
