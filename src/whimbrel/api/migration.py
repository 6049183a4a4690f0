"""From MySQL or MariaDB into DynamoDB: the migration and its phases, and the proof."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from whimbrel.api.opened import ProjectLike, opened, opened_to_migrate
from whimbrel.handover.cutover import undo_before_migrating
from whimbrel.migration import moving, proving
from whimbrel.migration.differences import Difference, TableReport
from whimbrel.migration.live import Asked, Update
from whimbrel.migration.moving import MigrationPlan, MigrationResult, PlannedTable
from whimbrel.migration.progress import Progress
from whimbrel.migration.proving import Retried, Verification
from whimbrel.migration.waivers import read_waivers

__all__ = [
    "Difference",
    "MigrationPlan",
    "MigrationResult",
    "PlannedTable",
    "Progress",
    "Retried",
    "TableReport",
    "Update",
    "Verification",
    "apply",
    "capture",
    "load",
    "migrate",
    "plan_migrate",
    "refill",
    "retry_dead",
    "snapshot",
    "verify",
]


def migrate(
    project: ProjectLike,
    *,
    until_caught_up: bool = True,
    into_existing: bool = False,
    progress: Callable[[Update], None] | None = None,
    stop: threading.Event | None = None,
) -> MigrationResult:
    """Capture, snapshot, load and apply, from where an earlier call was stopped.

    With ``until_caught_up`` it returns once everything committed to the source by the end of the load has been applied;
    without it, the source is followed until ``stop`` is set. ``into_existing`` writes into target tables
    that have items already. ``progress`` is called about four times a second, from one other thread.

    Raises ProjectError, MappingError, PrivilegeError, SourceError, SchemaDrift, TargetError, and StateError, of which
    Locked says that another process is at work. A dead letter raises nothing: see the result.
    """
    with opened_to_migrate(project, into_existing=into_existing) as found:
        asked = _asked(stop, progress)
        undo_before_migrating(found)
        return moving.migrate(found, asked, until_caught_up=until_caught_up, into_existing=into_existing)


def plan_migrate(project: ProjectLike, *, into_existing: bool = False) -> MigrationPlan:
    """What ``migrate`` would do next. Nothing is done. Raises as ``migrate`` does."""
    with opened_to_migrate(project, into_existing=into_existing) as found:
        return moving.plan(found)


def capture(
    project: ProjectLike,
    *,
    until_caught_up: bool = True,
    progress: Callable[[Update], None] | None = None,
    stop: threading.Event | None = None,
) -> MigrationResult:
    """Only write changes to the change log, from a Position that the first call fixes. Raises as ``migrate`` does.

    ``until_caught_up`` returns once all that the source has now is in the log. Other phases may run beside this.
    """
    with opened_to_migrate(project) as found:
        return moving.capture(found, _asked(stop, progress), until_caught_up=until_caught_up)


def snapshot(
    project: ProjectLike, *, progress: Callable[[Update], None] | None = None, stop: threading.Event | None = None
) -> MigrationResult:
    """Only export the tables to files. Raises as ``migrate`` does."""
    with opened_to_migrate(project) as found:
        return moving.snapshot(found, _asked(stop, progress))


def load(
    project: ProjectLike,
    *,
    into_existing: bool = False,
    progress: Callable[[Update], None] | None = None,
    stop: threading.Event | None = None,
) -> MigrationResult:
    """Only load the exported files into the target. Raises as ``migrate`` does, and StateError before the snapshot."""
    with opened_to_migrate(project, into_existing=into_existing) as found:
        return moving.load(found, _asked(stop, progress), into_existing=into_existing)


def apply(
    project: ProjectLike,
    *,
    until_caught_up: bool = True,
    progress: Callable[[Update], None] | None = None,
    stop: threading.Event | None = None,
) -> MigrationResult:
    """Only apply the change log to the target. Raises as ``migrate`` does, and StateError before the load is done.

    ``until_caught_up`` returns at the end of the change log.
    """
    with opened_to_migrate(project) as found:
        return moving.apply(found, _asked(stop, progress), until_caught_up=until_caught_up)


def refill(
    project: ProjectLike,
    table: str,
    *,
    remove: bool = False,
    progress: Callable[[Update], None] | None = None,
    stop: threading.Event | None = None,
) -> MigrationResult:
    """Write every item of the source table ``table`` again, from its current rows.

    For what an ALTER does to old rows without a word in the binlog. With ``remove``, items of its keys that no row
    makes are removed, as copies may be after a return to the source. Raises as ``migrate`` does, and ProjectError for a
    table that the project does not have.
    """
    with opened_to_migrate(project) as found:
        return moving.refill(found, _asked(stop, progress), table, remove=remove)


def verify(
    project: ProjectLike,
    *,
    waive_dead_letters: Path | str | None = None,
    progress: Callable[[Update], None] | None = None,
    stop: threading.Event | None = None,
) -> Verification:
    """Compare source and target in full, while both are live.

    ``waive_dead_letters`` names a file with lines of ``dead.jsonl``: these letters make no difference.
    Differences are in the result; they raise nothing. Raises as ``migrate`` does, StateError before the load is done,
    and Stopped if ``stop`` was set before the end.
    """
    with opened_to_migrate(project) as found:
        return proving.verify(found, _asked(stop, progress), read_waivers(waive_dead_letters))


def retry_dead(project: ProjectLike, *, dry_run: bool = False, stop: threading.Event | None = None) -> Retried:
    """Retry the dead letters: each row is read from the source and mapped again. Through a stream, what Lambda gave up
    comes first, as the queue ``apply.failures`` has it. With ``dry_run`` both are only told.

    Raises as ``migrate`` does, and Stopped if ``stop`` was set before the end: then all letters stay.
    """
    if dry_run:
        with opened(project) as found:
            return proving.would_retry(found)
    with opened_to_migrate(project) as found:
        return proving.retry_dead(found, _asked(stop))


def _asked(stop: threading.Event | None, progress: Callable[[Update], None] | None = None) -> Asked:
    return Asked(stop or threading.Event(), progress)
