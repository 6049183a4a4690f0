"""The commands that look and prove: verify, status, retry-dead."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import click

from whimbrel import checkpoint
from whimbrel.cli.frame import DEAD_LETTERS, DIFFERENCES, OK, say_json, shown
from whimbrel.cli.stopping import INTERRUPTED, interruptible
from whimbrel.dynamodb.wire import Wire
from whimbrel.errors import Locked, StateError
from whimbrel.migration.dead import read_letters
from whimbrel.migration.differences import TableReport
from whimbrel.migration.follow import Follower
from whimbrel.migration.prepare import Prepared, followable, prepare, same_rules
from whimbrel.migration.progress import Progress
from whimbrel.migration.retry import retry
from whimbrel.migration.run import Run
from whimbrel.migration.state import StateFolder
from whimbrel.migration.verify import verify_all
from whimbrel.project import OFF, Project
from whimbrel.records import Position

LISTED = 20  # differences shown to a person; --json has more


def verify(project: Project, as_json: bool) -> int:
    """Compare everything, with the applier of this process or that of a `whimbrel migrate` that runs elsewhere."""
    prepared, progress = prepare(project), Progress(phase="verify")
    with interruptible() as stop, shown(project, progress, as_json):
        try:
            with Run(prepared, stop, progress) as run:
                if run.phase == "apply":
                    run.start_capture()
                with Follower(run):
                    progress.phase = "verify"
                    reports = verify_all(prepared, run.wire, lambda: progress.applied_position, stop, progress)
        except Locked:
            applied = _applied_elsewhere(prepared)
            with closing(Wire(project.target)) as wire:
                reports = verify_all(prepared, wire, applied, stop, progress)
        if stop.is_set():
            return INTERRUPTED
    code = report_verification(reports, as_json)
    if code == DIFFERENCES and not as_json:
        for source, versions in prepared.versions.items():
            if columns := versions.altered(prepared.mappings[source].table):
                click.echo(
                    f"{source} was altered ({', '.join(columns)}): items of rows that nobody has written since are as "
                    f"they were. `whimbrel refill {source}` puts them anew."
                )
    return code


def report_verification(reports: list[TableReport], as_json: bool) -> int:
    equal = all(report.equal for report in reports)
    if as_json:
        say_json({"equal": equal, "tables": [report.as_dict() for report in reports]})
        return OK if equal else DIFFERENCES
    for report in reports:
        for line in verification_lines(report):
            click.echo(line)
    return OK if equal else DIFFERENCES


def verification_lines(report: TableReport) -> list[str]:
    """The result for one table, for people."""
    counted = f"{report.rows:,} rows make {report.items:,} items; the target has {report.found:,}"
    total = sum(report.counts.values())
    words = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.counts.items()))
    lines = [f"{report.source} → {report.target}: {counted}. Differences: {total:,}{f' ({words})' if words else ''}"]
    if report.softly_deleted:
        lines.append(f"  {report.softly_deleted:,} items stay although their rows went, and say so")
    if report.held:
        lines.append(
            f"  {report.held:,} items are as somebody else wrote them, and their table's condition protects them"
        )
    if report.not_compared:
        lines.append(f"  not compared, as they say how a row came: {', '.join(report.not_compared)}")
    for difference in report.differences[:LISTED]:
        lines.append(f"  {difference.kind} {json.dumps(difference.key)}")
        lines.append(f"    source {json.dumps(difference.expected)}")
        lines.append(f"    target {json.dumps(difference.found)}")
        if difference.reason:
            lines.append(f"    {difference.reason}")
    if total > LISTED:
        lines.append(f"  … and {total - LISTED:,} more; --json lists them")
    return lines


def _applied_elsewhere(prepared: Prepared) -> Callable[[], Position | None]:
    """The applied Position as the process that holds the run lock saves it."""
    path = StateFolder(prepared.project.state).checkpoint
    now = checkpoint.load(path)
    followable(prepared, now)
    same_rules(prepared, now.rules)
    if now.phase != "apply":
        raise StateError(
            f"the phase is {now.phase!r}", place=str(path), hint="Verify when the load is done and changes are applied."
        )
    return lambda: checkpoint.load(path).applied_position


def status(project: Project, as_json: bool) -> int:
    """The Checkpoint, the live figures of a running process, and the dead letters by reason."""
    folder = StateFolder(project.state)
    if not folder.checkpoint.exists():
        raise StateError("nothing has begun yet", place=str(folder.root), hint="Begin with: whimbrel migrate")
    now = checkpoint.load(folder.checkpoint)
    live = _live(folder)
    letters = read_letters(folder.dead)
    if as_json:
        say_json({"checkpoint": checkpoint.as_dict(now), "running": live, "dead_letters": len(letters)})
        return DEAD_LETTERS if letters else OK
    click.echo(f"phase      {now.phase}" + ("" if live else " (no process is at work)"))
    click.echo(f"start      {now.start}")
    click.echo(f"applied    {now.applied_position or 'nothing yet'}")
    for source, table in now.tables.items():
        loaded = f"{table.rows_loaded:,} loaded as {table.items_loaded:,} items"
        click.echo(f"{source}: {table.rows_exported:,} rows exported, {loaded}")
    if project.target.mark == OFF:
        click.echo("mark       off: a second state folder on the same target is not noticed")
    elif now.migration:
        click.echo(f"mark       {now.migration} in table {project.target.mark}")
    if live:
        click.echo(f"lag        {live['lag_changes']:,} changes, {live['lag_seconds']} s")
    if held := now.counters.get("held", 0):
        click.echo(f"held back  {held:,} writes, by the condition of their table")
    click.echo(f"dead       {len(letters):,} letters")
    for reason, count in _by_reason(letters):
        click.echo(f"  {count:,} times: {reason}")
    return DEAD_LETTERS if letters else OK


def retry_dead(project: Project, as_json: bool, *, dry_run: bool) -> int:
    """Map the rows of all dead letters again, as they are in the source now, and write what can be written."""
    folder = StateFolder(project.state)
    letters = read_letters(folder.dead)
    if dry_run or not letters:
        values = {"dead_letters": len(letters), "written": 0}
        say_json(values) if as_json else click.echo(
            f"{len(letters):,} dead letters{'; nothing was done' if dry_run else ''}."
        )
        return DEAD_LETTERS if letters else OK
    prepared, progress = prepare(project), Progress(phase="retry")
    with interruptible() as stop, Run(prepared, stop, progress) as run:
        letters = run.dead.letters()  # those that the lock protects: another process may have ended meanwhile
        written, left = retry(run, letters)
    if as_json:
        say_json({"dead_letters": left, "written": written})
    else:
        click.echo(f"{len(letters):,} letters played again: {written:,} items written, {left:,} letters left.")
    return DEAD_LETTERS if left else OK


def _live(folder: StateFolder) -> dict[str, Any] | None:
    """The status file, if the process that writes it is still at it."""
    try:
        values: dict[str, Any] = json.loads(folder.status.read_bytes())
        return values if time.time() - values["time"] < 10 else None
    except (OSError, ValueError, TypeError, KeyError):  # half written, or by nobody of ours: nothing is decided by it
        return None


def _by_reason(letters: list[dict[str, Any]]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for letter in letters:
        counts[letter["reason"]] = counts.get(letter["reason"], 0) + 1
    return sorted(counts.items(), key=lambda pair: -pair[1])[:10]
