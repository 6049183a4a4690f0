"""What a person looks at beside ``status``: events, curves, dead letters, what the last verification found. Nothing is
asked of either side.
"""

from __future__ import annotations

from typing import Any

from whimbrel.api.opened import ProjectLike, opened
from whimbrel.migration import events as happened
from whimbrel.migration import letters_seen
from whimbrel.migration.dead import Letter
from whimbrel.migration.events import Event
from whimbrel.migration.figures import read_figures
from whimbrel.migration.last_report import read_report
from whimbrel.migration.live import read_last_status
from whimbrel.migration.state import StateFolder


def events(project: ProjectLike, *, before: int | None = None, count: int = 200) -> list[Event]:
    """What happened, in words, newest first: the ``count`` events before the place ``before`` in the log."""
    with opened(project) as found:
        return happened.read_events(StateFolder(found.state).run_log, before=before, count=count)


def new_events(project: ProjectLike, after: int) -> tuple[list[Event], int]:
    """What happened from the place ``after`` in the log on, oldest first; and the place of what comes next."""
    with opened(project) as found:
        return happened.read_new_events(StateFolder(found.state).run_log, after)


def figures(project: ProjectLike, *, since: float = 0.0) -> list[dict[str, Any]]:
    """How the figures of runs moved since then (seconds since the epoch), oldest first."""
    with opened(project) as found:
        return read_figures(StateFolder(found.state).figures, since)


def last_figures(project: ProjectLike) -> dict[str, Any] | None:
    """The newest figures of a process that has ended; None if none are known."""
    with opened(project) as found:
        return read_last_status(StateFolder(found.state))


def last_verification(project: ProjectLike) -> dict[str, Any] | None:
    """The report of the last whole verification with its ``time``; None where there was none."""
    with opened(project) as found:
        return read_report(StateFolder(found.state).report)


def letters_by_table(project: ProjectLike) -> dict[str, int]:
    """How many dead letters each [[table]] has, by its name. Raises StateError."""
    with opened(project) as found:
        return letters_seen.letters_by_table(StateFolder(found.state).dead)


def letters(project: ProjectLike, *, after: int = 0, count: int = 50) -> tuple[list[Letter], int | None]:
    """Some dead letters from the place ``after`` of their file on, and the next place. Raises StateError."""
    with opened(project) as found:
        return letters_seen.read_page(StateFolder(found.state).dead, after, count)
