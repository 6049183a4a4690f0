"""The verbs that look and prove, as they are done with one project: verify and retry-dead."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from whimbrel import checkpoint, handed_over
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import Locked, StateError, Stopped
from whimbrel.handed_over import CUTTING, refuse_handed_over
from whimbrel.kinesis.failures import GivenUp
from whimbrel.migration.differences import TableReport
from whimbrel.migration.follow import Follower
from whimbrel.migration.given_up import quieten_past, reported
from whimbrel.migration.last_report import keep_report
from whimbrel.migration.live import Asked, Live
from whimbrel.migration.prepare import Prepared, followable, prepare, same_rules
from whimbrel.migration.progress import Progress
from whimbrel.migration.retry import retry
from whimbrel.migration.run import Run
from whimbrel.migration.state import StateFolder
from whimbrel.migration.status import dead_letters
from whimbrel.migration.verify import verify_all
from whimbrel.migration.waivers import NONE, Waivers
from whimbrel.project import Project
from whimbrel.records import Position


@dataclass(frozen=True, slots=True)
class Verification:
    """What comparing source and target found. ``altered`` names, by source table, the columns that came or went since
    the migration began: items of rows that nobody has written since are as they were.
    """

    tables: tuple[TableReport, ...]
    altered: dict[str, tuple[str, ...]]

    @property
    def equal(self) -> bool:
        return all(table.equal for table in self.tables)

    def to_dict(self) -> dict[str, Any]:
        return {"equal": self.equal, "tables": [table.to_dict() for table in self.tables]}


@dataclass(frozen=True, slots=True)
class Retried:
    """``letters`` were retried: ``written`` items went to the target, ``dead_letters`` are left.

    ``given_up`` are the batches that Lambda gave up, of which nothing is left to do but these letters.
    """

    letters: int
    written: int
    dead_letters: int
    given_up: tuple[GivenUp, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        given_up = [each.to_dict() for each in self.given_up]
        return {"dead_letters": self.dead_letters, "written": self.written, "given_up": given_up}


def verify(project: Project, asked: Asked, waivers: Waivers = NONE) -> Verification:
    """Compare everything, with the applier of this process or that of a `whimbrel migrate` that runs elsewhere. Dead
    letters of ``waivers`` make no difference.
    """
    prepared, progress, stop = prepare(project), Progress(phase="verify"), asked.stop
    folder = StateFolder(project.state)
    folder.make()
    with Live(progress, folder, stop, asked.tell):
        try:
            with Run(prepared, stop, progress) as run:
                if run.phase == "apply":
                    run.start_capture()
                with Follower(run):
                    progress.phase = "verify"
                    reports = verify_all(prepared, run.wire, lambda: progress.applied_position, stop, progress, waivers)
        except Locked:
            elsewhere = _applied_elsewhere(prepared)
            with closing(DynamoClient(project.target)) as wire:
                reports = verify_all(prepared, wire, elsewhere, stop, progress, waivers)
        if stop.is_set():
            raise Stopped("the verification was stopped before its end", hint="Run it again: it begins from scratch.")
    altered = {
        source: tuple(columns)
        for source, versions in prepared.versions.items()
        if (columns := versions.altered(prepared.mappings[source].table))
    }
    found = Verification(tuple(reports), altered)
    keep_report(folder.report, found.to_dict())
    return found


def _applied_elsewhere(prepared: Prepared) -> Callable[[], Position | None]:
    """The applied Position as the process that holds the run lock saves it."""
    path = StateFolder(prepared.project.state).checkpoint
    if handed_over.load(prepared.project.state).step != CUTTING:  # that one is at work
        refuse_handed_over(prepared.project.state)
    now = checkpoint.load(path)
    followable(prepared, now)
    same_rules(prepared, now.rules)
    if now.phase != "apply":
        raise StateError(
            f"the phase is {now.phase!r}", place=str(path), hint="Verify when the load is done and changes are applied."
        )
    return lambda: checkpoint.load(path).whole_position


def would_retry(project: Project) -> Retried:
    """What ``retry_dead`` would begin with; nothing is done."""
    letters = dead_letters(project)
    return Retried(letters, 0, letters, reported(project))


def retry_dead(project: Project, asked: Asked) -> Retried:
    """Map the rows of all dead letters again, as they are in the source now, and write what can be written."""
    if not dead_letters(project) and not project.stream:  # a function's are fetched first
        return Retried(0, 0, 0)
    prepared, progress = prepare(project), Progress(phase="retry")
    with Run(prepared, asked.stop, progress) as run:
        given_up = quieten_past(run) if project.stream and run.phase == "apply" else ()
        letters = len(run.dead)  # those that the lock protects: another process may have ended meanwhile
        done = retry(run)
        return Retried(letters, done.written, len(run.dead), given_up)
