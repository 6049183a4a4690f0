"""The ways to close the source's tables, one of which a fence uses, and what each must be able to do.

Each may be cut off anywhere, and is repeated then. ``locked`` gives the barrier around the tables that it is told, with
the coordinator's rows compared under it: so what makes or removes something does it within such a lock, or a command
that slept would undo what a later one did.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from whimbrel.mysql.barrier import Barrier, Name
from whimbrel.mysql.connect import Mysql

UNDO_PATIENCE = 600.0  # seconds: longer, as writes are refused until it is done


class LockTables(Protocol):
    def __call__(
        self, tables: list[Name], patience: float = ..., hold: float = ...
    ) -> AbstractContextManager[Barrier]: ...


class Shut(NamedTuple):
    """All tables are closed, and ``held`` has them locked. Nobody could write since ``since`` (time.monotonic())."""

    held: Barrier
    since: float


class Means(Protocol):
    named: str  # what it leaves at the source, in words
    read_lock: bool  # the tables can be locked for reading only while it stands

    def shut(self, locked: LockTables, patience: float) -> AbstractContextManager[Shut]:
        """Close the tables. On entering, no statement that began before can write any more."""

    def faults(self, connection: Mysql) -> list[str]:
        """What is not as it was made; none where that cannot be seen."""

    def make_again(self, locked: LockTables) -> None:
        """After the decision: put back what ``faults`` found."""

    def give_back(self, held: Barrier) -> None:
        """The source was given back under this lock: open the tables here if it can be done within; ``open`` comes
        later in any case.
        """

    def open(self, locked: LockTables) -> None:
        """Take everything away; a part that is already gone is not an error."""


Wait = Callable[[float], object]
