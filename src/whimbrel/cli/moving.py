"""The commands that move data: migrate, and its phases one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from whimbrel.cli.frame import DEAD_LETTERS, OK, say_json, shown
from whimbrel.cli.stopping import INTERRUPTED, interruptible
from whimbrel.dynamodb.session import Session
from whimbrel.dynamodb.tables import table_exists
from whimbrel.errors import Stopped
from whimbrel.migration import refill as refilling
from whimbrel.migration.follow import follow
from whimbrel.migration.positions import drained, reached, source_end
from whimbrel.migration.prepare import Prepared, prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.project import OFF, Project, rule_named
from whimbrel.ui.display import Display


def migrate(project: Project, as_json: bool, *, until_caught_up: bool, into_existing: bool) -> int:
    def work(run: Run, display: Display) -> None:
        _fix_start(run, display)
        for step in (run.start_capture, run.snapshot, run.load):
            if not run.stop.is_set():
                step()
        if not run.stop.is_set():
            display.say("Loaded; applying what was captured meanwhile.")
            _follow(run, display, until_caught_up)

    return _running(project, as_json, work, into_existing=into_existing)


def phase(project: Project, as_json: bool, name: str, *, into_existing: bool = False) -> int:
    def work(run: Run, display: Display) -> None:
        if name == "snapshot":
            _fix_start(run, display)
            run.snapshot()
        else:
            run.load()

    return _running(project, as_json, work, into_existing=into_existing)


def apply(project: Project, as_json: bool, *, until_caught_up: bool) -> int:
    """Without a capture of its own; so "caught up" is the end of the change log."""

    def work(run: Run, _display: Display) -> None:
        follow(run, lambda: until_caught_up and run.progress.log_drained)

    return _running(project, as_json, work)


def capture(project: Project, as_json: bool, *, until_caught_up: bool) -> int:
    prepared, progress = prepare(project), Progress(phase="capture")
    with interruptible() as stop, shown(project, progress, as_json) as display:
        with Run(prepared, stop, progress) as run:
            _fix_start(run, display)
            start, copying = run.start, run.new_capture(stop.set)
            watch = run.new_watch(copying, stop.set)
            end = source_end(run) if until_caught_up else None
        # The run lock is free again: snapshot, load and apply may work beside this from another terminal.
        copying.start()
        watch.start()
        display.say(f"Capturing since {start}.")
        while end is None or not reached(progress.captured_position, end):
            if stop.wait(0.02):
                break
        interrupted = stop.is_set()
        watch.stop()
        copying.stop()
        copying.check()
        watch.check()
    return _report(progress, as_json, interrupted)


def _fix_start(run: Run, display: Display) -> None:
    if start := run.fix_start():
        waited = f"writers waited for at most {start.held_ms:.0f} ms" if start.held_ms else "no write waited for it"
        display.say(f"Start fixed at {start.position}, {start.way}; {waited}.")


def refill(project: Project, as_json: bool, name: str, *, dry_run: bool) -> int:
    """All rows of one table, named as in the project file or without its database."""
    rule = rule_named(project, name)
    source, number = rule.source, project.tables.index(rule)
    if dry_run:
        values = {"table": source, "items": 0}
        say_json(values) if as_json else click.echo(f"Would put the items of all rows of {source}. Nothing was done.")
        return OK

    def work(run: Run, display: Display) -> None:
        spelled = run.prepared.project.tables[number].source  # as the server spells it
        display.say(f"{refilling.refill(run, spelled):,} items of {source} were written again.")

    return _running(project, as_json, work)


def show_plan(project: Project, as_json: bool) -> int:
    """What migrate would do next, without doing any of it."""
    prepared = prepare(project)
    client = Session(project.target).client()
    tables = [
        {
            "source": source,
            "rows": prepared.estimates[source],
            "target": mapping.target,
            "exists": table_exists(client, mapping.target),
            "key": dict(mapping.key_attributes),
            "regrouped_on_disk": not mapping.aligned,
        }
        for source, mapping in prepared.mappings.items()
    ]
    mark = None if project.target.mark == OFF else project.target.mark
    made = mark is not None and not table_exists(client, mark)
    if as_json:
        say_json(
            {
                "source": f"{project.source.host}:{project.source.port}",
                "tables": tables,
                "mark": {"table": mark, "exists": not made} if mark else None,
                "state": str(project.state),
            }
        )
        return OK
    click.echo(f"Would capture from {project.source.host}:{project.source.port} into {project.state}, then:")
    for table in tables:
        click.echo(_plan_line(table))
    if mark:
        click.echo(f"  the mark of this state folder into {mark}, {'which would be made' if made else 'which exists'}")
    click.echo("Nothing was done.")
    return OK


def _plan_line(table: dict[str, Any]) -> str:
    key = " and ".join(f"{name} ({kind})" for name, kind in table["key"].items())
    made = "which exists" if table["exists"] else "which would be made"
    extra = ", regrouped on disk" if table["regrouped_on_disk"] else ""
    return f"  {table['source']} (about {table['rows']:,} rows) into {table['target']}, {made}, keyed by {key}{extra}"


def _running(
    project: Project, as_json: bool, work: Callable[[Run, Display], None], *, into_existing: bool = False
) -> int:
    """Do ``work`` with a Run, a display and signals handled; report, and return the exit code."""
    prepared: Prepared = prepare(project)
    progress = Progress()
    with interruptible() as stop, shown(project, progress, as_json) as display:
        with Run(prepared, stop, progress, into_existing=into_existing) as run:
            with suppress(Stopped):
                work(run, display)
            interrupted = stop.is_set()
        run.check_capture()
    return _report(progress, as_json, interrupted)


def _follow(run: Run, display: Display, until_caught_up: bool) -> None:
    if until_caught_up:
        follow(run, drained(run, source_end(run)))
        if not run.stop.is_set():
            run.ask_source()  # after the last change was applied, before anybody says "Done"
        return
    said = threading.Event()

    def never() -> bool:
        if run.progress.caught_up and not said.is_set():
            said.set()
            display.say("Caught up; following the source until Ctrl-C.")
        return False

    follow(run, never)


def _report(progress: Progress, as_json: bool, interrupted: bool) -> int:
    code = INTERRUPTED if interrupted else DEAD_LETTERS if progress.dead else OK
    if as_json:
        say_json({"event": "end", "exit_code": code} | progress.as_dict())
    elif interrupted:
        click.echo("Stopped; the same command goes on from here.", err=True)
    else:
        click.echo(_summary(progress), err=True)
    return code


def _summary(progress: Progress) -> str:
    rows = sum(counts.exported_rows for counts in progress.tables.values())
    items = sum(counts.loaded_items for counts in progress.tables.values())
    text = f"Done: {rows:,} rows exported, {items:,} items loaded, {progress.applied:,} changes applied."
    if progress.held:
        text += f" {progress.held:,} writes held back by the condition of their table."
    if progress.dead:
        text += (
            f" {progress.dead:,} dead letters: see `whimbrel status`, and `whimbrel retry-dead` once they are mended."
        )
    return text
