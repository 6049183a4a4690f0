"""The verbs that move data, as they are done with one project: migrate, its phases one by one, and refill."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from whimbrel.dynamodb.session import Session
from whimbrel.dynamodb.tables import table_exists
from whimbrel.errors import Stopped
from whimbrel.migration import refill as refilling
from whimbrel.migration.follow import follow
from whimbrel.migration.imports import load_engine
from whimbrel.migration.kept_state import adopt
from whimbrel.migration.late import Late
from whimbrel.migration.live import Asked, Live
from whimbrel.migration.metrics import measured
from whimbrel.migration.positions import drained, reached, source_end
from whimbrel.migration.prepare import Prepared, prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.migration.state import StateFolder
from whimbrel.migration.stream import most_bytes
from whimbrel.migration.takeover import Requests
from whimbrel.notes import note
from whimbrel.project import OFF, Project, rule_named

LOOK_EVERY = 0.02  # seconds, for how far a capture is


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """What a run has done, with what earlier runs of the same migration had. ``stopped``: before its end, by ``stop``;
    the same call continues from there. ``figures`` are all counters.
    """

    stopped: bool
    phase: str
    rows_exported: int
    items_loaded: int
    changes_applied: int
    writes_skipped: int  # by the condition of their table
    dead_letters: int
    figures: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return dict(self.figures)


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """One [[table]]: ``rows`` is the source's own estimate, ``exists`` whether its target table does.

    ``key`` has the attributes of the target's key with their types. A table that is ``regrouped_on_disk`` needs about
    as much of the disk as its rows take.
    """

    source: str
    rows: int
    target: str
    exists: bool
    key: dict[str, str]
    regrouped_on_disk: bool

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """``mark`` is the table for the mark of this state folder, "" where none is wanted."""

    source: str
    tables: tuple[PlannedTable, ...]
    mark: str
    mark_exists: bool
    state: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "tables": [table.to_dict() for table in self.tables],
            "mark": {"table": self.mark, "exists": self.mark_exists} if self.mark else None,
            "state": self.state,
        }


def migrate(project: Project, asked: Asked, *, until_caught_up: bool, into_existing: bool) -> MigrationResult:
    def work(run: Run, live: Live) -> None:
        _fix_start(run, live)
        for step in (run.start_capture, run.snapshot, partial(load_engine, run)):
            if not run.stop.is_set():
                step()
        if not run.stop.is_set():
            live.say("Loaded; applying what was captured meanwhile.")
            with Late(run, live.say):
                _follow(run, live, until_caught_up)

    return _running(project, asked, work, into_existing=into_existing)


def snapshot(project: Project, asked: Asked) -> MigrationResult:
    def work(run: Run, live: Live) -> None:
        _fix_start(run, live)
        run.snapshot()

    return _running(project, asked, work)


def load(project: Project, asked: Asked, *, into_existing: bool) -> MigrationResult:
    return _running(project, asked, lambda run, _live: load_engine(run), into_existing=into_existing)


def apply(project: Project, asked: Asked, *, until_caught_up: bool) -> MigrationResult:
    """Without a capture of its own; so "caught up" is the end of the change log."""

    def work(run: Run, live: Live) -> None:
        follow(run, _yielding(run, live, lambda: until_caught_up and run.progress.log_drained))

    return _running(project, asked, work)


def capture(project: Project, asked: Asked, *, until_caught_up: bool) -> MigrationResult:
    prepared, progress, stop = _prepared(project, asked.stop), Progress(phase="capture"), asked.stop
    with _live(project, progress, asked) as live:
        with Run(prepared, stop, progress) as run:
            _fix_start(run, live)
            start, copying = run.start, run.new_capture()
            end = source_end(run) if until_caught_up else None
        # The run lock is free again: snapshot, load and apply may work beside this from another process, which has the
        # address of the metrics.
        copying.start()
        live.say(f"Capturing since {start}.")
        while end is None or not reached(progress.captured_position, end):
            if stop.wait(LOOK_EVERY):
                break
        interrupted = stop.is_set()
        copying.stop()
        copying.check()
    return _result(progress, interrupted)


def refill(project: Project, asked: Asked, name: str, *, remove: bool = False) -> MigrationResult:
    """All rows of one table, named as in the project file or without its database; ``remove`` what no row makes."""
    rule = rule_named(project, name)
    number = project.tables.index(rule)

    def work(run: Run, live: Live) -> None:
        spelled = run.prepared.project.tables[number].name  # as the server spells it
        done = refilling.refill(run, spelled, remove=remove)
        live.say(f"{done.items:,} items of {rule.name} were written again.")
        if remove:
            live.say(f"{done.removed:,} items that no row of it makes were removed.")

    return _running(project, asked, work)


def plan(project: Project) -> MigrationPlan:
    """What migrate would do next, without doing any of it."""
    prepared = prepare(project)
    client = Session(project.target).client()
    tables = tuple(
        PlannedTable(
            source=source,
            rows=prepared.estimates[source],
            target=mapping.target,
            exists=table_exists(client, mapping.target),
            key=dict(mapping.key_attributes),
            regrouped_on_disk=mapping.regrouped,
        )
        for source, mapping in prepared.mappings.items()
    )
    mark = "" if project.target.mark == OFF else project.target.mark
    exists = bool(mark) and table_exists(client, mark)
    return MigrationPlan(f"{project.source.host}:{project.source.port}", tables, mark, exists, str(project.state))


def _fix_start(run: Run, live: Live) -> None:
    if run.phase == "new" and run.prepared.project.stream:
        most_bytes(run.prepared.project)  # that the stream is there is known before hours of work
    if start := run.fix_start():
        waited = f"writers waited for at most {start.held_ms:.0f} ms" if start.held_ms else "no write waited for it"
        live.say(f"Start fixed at {start.position}, {start.way}; {waited}.")


def _running(
    project: Project, asked: Asked, work: Callable[[Run, Live], None], *, into_existing: bool = False
) -> MigrationResult:
    """Do ``work`` with a Run that is told of."""
    prepared, progress, stop = _prepared(project, asked.stop), Progress(), asked.stop
    with _live(project, progress, asked) as live:
        with Run(prepared, stop, progress, into_existing=into_existing) as run, measured(project, progress):
            with suppress(Stopped):
                work(run, live)
            interrupted = stop.is_set()
        run.check_capture()
    return _result(progress, interrupted)


def _prepared(project: Project, stop: threading.Event) -> Prepared:
    if before := adopt(project):
        note(f"Continuing from the bucket what {before} began; changes are captured from the start again.")
    prepared = prepare(project)
    if stop.is_set():
        raise Stopped("asked to stop before anything was done")
    return prepared


def _live(project: Project, progress: Progress, asked: Asked) -> Live:
    folder = StateFolder(project.state)
    folder.make()
    return Live(progress, folder, asked.stop, asked.tell)


def _follow(run: Run, live: Live, until_caught_up: bool) -> None:
    if until_caught_up:
        follow(run, _yielding(run, live, drained(run, source_end(run))))
        if not run.stop.is_set():
            run.ask_source()  # after the last change was applied, before anybody says "Done"
        return
    said = threading.Event()

    def never() -> bool:
        if run.progress.caught_up and not said.is_set():
            said.set()
            live.say("Caught up; following the source until Ctrl-C.")
        return False

    follow(run, _yielding(run, live, never))


def _yielding(run: Run, live: Live, done: Callable[[], bool]) -> Callable[[], bool]:
    """``done``, which also ends the run when another whimbrel wants to take over: it is asked between two batches, and
    all that was applied by then is saved.
    """
    requests = Requests(run.folder)

    def done_or_asked() -> bool:
        if not run.stop.is_set() and (who := requests.asked()):
            live.say(f"Ending here, with everything saved: {who} takes over.")
            run.stop.set()
        return done()

    return done_or_asked


def _result(progress: Progress, interrupted: bool) -> MigrationResult:
    counts = progress.tables.values()
    return MigrationResult(
        stopped=interrupted,
        phase=progress.phase,
        rows_exported=sum(each.exported_rows for each in counts),
        items_loaded=sum(each.loaded_items for each in counts),
        changes_applied=progress.applied,
        writes_skipped=progress.held,
        dead_letters=progress.dead,
        figures=progress.to_dict(),
    )
