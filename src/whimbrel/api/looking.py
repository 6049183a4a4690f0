"""What a person looks at beside ``status``: events, curves, dead letters, what the last verification found, one key."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from whimbrel.api.opened import ProjectLike, opened, opened_to_migrate
from whimbrel.lake import confined, contents
from whimbrel.lake.confined import FirstRows
from whimbrel.lake.contents import LakeContents
from whimbrel.migration import events as happened
from whimbrel.migration import letters_seen
from whimbrel.migration import one_item as items
from whimbrel.migration.dead import Letter
from whimbrel.migration.events import Event
from whimbrel.migration.figures import read_figures
from whimbrel.migration.last_report import read_report
from whimbrel.migration.live import read_last_status
from whimbrel.migration.one_item import OneItem
from whimbrel.migration.state import StateFolder
from whimbrel.prediction.renew import project as renewals
from whimbrel.prediction.serve import project as serving


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


def key_columns(project: ProjectLike) -> dict[str, tuple[str, ...]]:
    """The columns of each source table's primary key, by the name of its [[table]]. Raises as ``migrate`` does."""
    with opened_to_migrate(project) as found:
        return items.key_columns(found)


def one_item(project: ProjectLike, table: str, key: Mapping[str, str]) -> OneItem:
    """One key of ``table`` on both sides, and its changes in the log. ``key`` has the primary key's values as text,
    bytes as ``0x…``. Raises UserError for a key that is not whole, and as ``migrate`` does.
    """
    with opened_to_migrate(project) as found:
        return items.one_item(found, table, key)


def lake_contents(project: ProjectLike) -> LakeContents:
    """The data sets and exports of the project's lake. Raises UserError, and what a lake in S3 raises."""
    with opened(project) as found:
        return contents.contents(found)


def first_rows(
    project: ProjectLike, sql: str, *, most: int = 500, seconds: float = 60.0, stop: threading.Event | None = None
) -> FirstRows:
    """The first rows of one query over the data sets, which is answered in a process that reads no other files, writes
    none, and has ``seconds`` and 1 GiB of memory. Raises UserError, also where that is too little, or ``stop`` is set.
    """
    with opened(project) as found:
        return confined.first_rows(found, sql, confined.Bounds(most, seconds), stop or threading.Event())


def renewals_done(project: ProjectLike) -> dict[str, list[dict[str, Any]]]:
    """The last renewals of each model, newest first, as their record has them."""
    with opened(project, optional=True) as found:
        return renewals.renewals_done(found)


def live_endpoints(project: ProjectLike) -> dict[str, Any] | None:
    """What the project's running server shows of its endpoints; None where none runs. Raises TargetUnreachable."""
    with opened(project, optional=True) as found:
        return serving.live_status(found)
