"""A query by whoever has the console open. It is answered in a process that ends when the query takes too long or too
much memory: the console may be in the middle of a cutover.
"""

from __future__ import annotations

import logging
import os
import resource
import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

from whimbrel.errors import Stopped, UserError, WorkerLost
from whimbrel.lake.sql import open_database
from whimbrel.memory import out_of_memory
from whimbrel.project import Project
from whimbrel.threads import Thread, Timer
from whimbrel.workers import Do, Tell, Workers

MOST_MEMORY = 1 << 30  # bytes, of the process
GRACE = 5.0  # seconds in which an interrupted query must have ended
_HINT = "`whimbrel query` answers it without this limit."


class FirstRows(NamedTuple):
    """What is not a number, a truth value or NULL is text, cut where it is long. ``more``: there are more rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    rows: int
    seconds: float
    memory: int = MOST_MEMORY


def first_rows(project: Project, sql: str, bounds: Bounds, stop: threading.Event) -> FirstRows:
    """Raises UserError, also when ``stop`` is set."""
    try:
        with Workers(answering, [(project, bounds)], stop) as workers:
            [(_, found)] = workers.answers([sql])
    except WorkerLost:
        raise _too_much(bounds) from None
    except Stopped:
        raise UserError("it was stopped", place="SQL") from None
    return found


def answering(given: tuple[Project, Bounds], stop: threading.Event) -> Do[str, FirstRows]:
    """In the process."""
    logging.disable()  # sqlglot's warnings would go to the console's terminal
    project, bounds = given
    over = threading.Event()

    def answer(sql: str, tell: Tell[FirstRows]) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (bounds.memory, bounds.memory))

        def end() -> None:
            over.set()
            database.interrupt()
            Timer(GRACE, lambda: os._exit(1)).start()

        def end_when_stopped() -> None:
            stop.wait()
            end()

        try:
            with open_database(project) as database:
                database.confine(bounds.memory // 2)
                Timer(bounds.seconds, end).start()
                Thread(end_when_stopped, "stop").start()
                tell(FirstRows(*database.first_rows(sql, bounds.rows)))
        except Exception as error:
            if over.is_set() or out_of_memory(error):
                raise _too_much(bounds) from None
            raise

    return answer


def _too_much(bounds: Bounds) -> UserError:
    message = f"it took more than {bounds.seconds:g} seconds, or more than {bounds.memory >> 20:,} MiB of memory"
    return UserError(message, place="SQL", hint=_HINT)
