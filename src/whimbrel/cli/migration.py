"""The commands from MySQL into DynamoDB: what they print of what the functions of ``whimbrel`` give."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from whimbrel.api import migration as verbs
from whimbrel.api.migration import MigrationPlan, MigrationResult, PlannedTable, Verification
from whimbrel.cli.frame import DEAD_LETTERS, DIFFERENCES, OK, keep_log, say_json
from whimbrel.cli.stopping import ENDS_WITHIN, INTERRUPTED, interruptible
from whimbrel.handed_over import CLOSING, CUTTING, DECIDED, RETURNED, Handover
from whimbrel.migration.differences import TableReport
from whimbrel.migration.late import LateWrites, moment
from whimbrel.migration.moving import Asked
from whimbrel.migration.past_fence import PastFence
from whimbrel.migration.state import StateFolder
from whimbrel.migration.time_to_return import WayBack
from whimbrel.project import OFF, Project, rule_named
from whimbrel.ui.display import Display, lag_words, pick
from whimbrel.ui.shortened import shortened

LISTED = 20  # differences shown to a person; --json has more
REASONS = 10  # of dead letters
Verb = Callable[..., MigrationResult]


def moving(verb: Verb, project: Project, as_json: bool, *arguments: str, **options: bool) -> int:
    """Do one of the verbs that move data, with what it does shown and logged; report, and return the exit code."""
    with shown(project, as_json) as asked:
        done = verb(project, *arguments, progress=asked.tell, stop=asked.stop, **options)
    code = INTERRUPTED if done.stopped else DEAD_LETTERS if done.dead_letters else OK
    if as_json:
        say_json({"event": "end", "exit_code": code} | done.to_dict())
    elif done.stopped:
        click.echo("Stopped. Run the same command to continue.", err=True)
    else:
        click.echo(_summary(done), err=True)
    return code


@contextmanager
def shown(project: Project, as_json: bool, ends_within: float = ENDS_WITHIN) -> Iterator[Asked]:
    """Show the progress to the person, log what happens, and let a signal end it at a safe place."""
    keep_log(StateFolder(project.state).run_log)
    with interruptible(ends_within) as stop, Display(pick(as_json)) as display:
        yield Asked(stop, display.show)


def show_plan(project: Project, as_json: bool, *, into_existing: bool) -> int:
    plan = verbs.plan_migrate(project, into_existing=into_existing)
    if as_json:
        say_json(plan.to_dict())
    else:
        for line in _plan_lines(plan):
            click.echo(line)
    return OK


def show_refill(project: Project, as_json: bool, name: str) -> int:
    source = rule_named(project, name).source
    values = {"table": source, "items": 0}
    say_json(values) if as_json else click.echo(f"Would rewrite the items of all rows of {source}. Nothing was done.")
    return OK


def verify(project: Project, as_json: bool, waive_dead_letters: Path | None) -> int:
    with shown(project, as_json) as asked:
        found = verbs.verify(project, waive_dead_letters=waive_dead_letters, progress=asked.tell, stop=asked.stop)
    if as_json:
        say_json(found.to_dict())
    else:
        for line in _all_verification_lines(found):
            click.echo(line)
    return OK if found.equal else DIFFERENCES


def status(project: Project, as_json: bool) -> int:
    found = verbs.status(project)
    if as_json:
        say_json(found.to_dict())
    else:
        for line in _status_lines(project, found):
            click.echo(line)
    strange = (found.late and found.late.count) or (found.past_fence and found.past_fence.count)
    return DEAD_LETTERS if found.dead_letters else DIFFERENCES if strange else OK


def retry_dead(project: Project, as_json: bool, *, dry_run: bool) -> int:
    if dry_run:
        letters = verbs.dead_letters(project)
        done = verbs.Retried(letters, 0, letters)
    else:
        with interruptible() as stop:
            done = verbs.retry_dead(project, stop=stop)
    if as_json:
        say_json(done.to_dict())
    elif dry_run or not done.letters:
        click.echo(f"{done.letters:,} dead letters{'; nothing was done' if dry_run else ''}.")
    else:
        told = f"{done.written:,} items written, {done.dead_letters:,} dead letters left."
        click.echo(f"{done.letters:,} dead letters retried: {told}")
    return DEAD_LETTERS if done.dead_letters else OK


def _summary(done: MigrationResult) -> str:
    text = f"Done: {done.rows_exported:,} rows exported, {done.items_loaded:,} items loaded, "
    text += f"{done.changes_applied:,} changes applied."
    if done.writes_skipped:
        text += f" {done.writes_skipped:,} writes skipped by their table's condition."
    if done.dead_letters:
        letters = f"{done.dead_letters:,} dead letters"
        text += f" {letters}: see `whimbrel status`, and `whimbrel retry-dead` once they are fixed."
    return text


def _plan_lines(plan: MigrationPlan) -> Iterator[str]:
    yield f"Would capture from {plan.source} into {plan.state}, then:"
    for table in plan.tables:
        yield _plan_line(table)
    if plan.mark:
        made = "which exists" if plan.mark_exists else "which would be created"
        yield f"  the mark of this state folder into {plan.mark}, {made}"
    yield "Nothing was done."


def _plan_line(table: PlannedTable) -> str:
    key = " and ".join(f"{name} ({kind})" for name, kind in table.key.items())
    made = "which exists" if table.exists else "which would be created"
    extra = ", regrouped on disk" if table.regrouped_on_disk else ""
    return f"  {table.source} (about {table.rows:,} rows) into {table.target}, {made}, keyed by {key}{extra}"


def _all_verification_lines(found: Verification) -> Iterator[str]:
    for table in found.tables:
        yield from verification_lines(table)
    if found.equal:
        return
    for source, columns in found.altered.items():
        yield (
            f"{source} was altered ({', '.join(columns)}): items of rows not written since are "
            f"unchanged. `whimbrel refill {source}` rewrites them."
        )


def verification_lines(report: TableReport) -> list[str]:
    """The result for one table, for people."""
    counted = (
        f"{report.rows:,} rows when read make {report.items:,} items; the target had {report.found:,} when scanned"
    )
    total = sum(report.counts.values())
    words = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.counts.items()))
    lines = [f"{report.source} → {report.target}: {counted}. Differences: {total:,}{f' ({words})' if words else ''}"]
    if report.softly_deleted:
        lines.append(
            f"  {report.softly_deleted:,} items are kept although their rows are gone, and are marked as deleted"
        )
    if report.waived:
        lines.append(f"  {len(report.waived):,} items of dead letters differ, and are waived")
    if report.held:
        lines.append(
            f"  {report.held:,} items were written by another application, and their table's condition protects them"
        )
    if report.not_compared:
        lines.append(f"  not compared (change metadata): {', '.join(report.not_compared)}")
    for difference in report.differences[:LISTED]:
        lines.append(f"  {difference.kind} {json.dumps(difference.key)}")
        lines.append(f"    source {json.dumps(difference.expected)}")
        lines.append(f"    target {json.dumps(difference.found)}")
        if difference.reason:
            lines.append(f"    {difference.reason}")
    if total > LISTED:
        lines.append(f"  … and {total - LISTED:,} more; --json lists them")
    return lines


def _status_lines(project: Project, found: verbs.Status) -> Iterator[str]:
    now, live = found.checkpoint, found.running
    yield f"phase      {now.phase}" + ("" if live else " (no process is running)")
    yield from _handover_lines(found.handover)
    if found.way_back:
        yield from _way_back_lines(found.way_back)
    if found.past_fence:
        yield from _past_fence_lines(found.past_fence)
    if found.late:
        yield from _late_lines(found.late)
    yield f"start      {shortened(str(now.start))}"
    yield f"applied    {shortened(str(now.applied_position or 'nothing yet'))}"
    if live:
        yield from _live_lines(live)
    else:
        yield "tables     as last saved:"
        for source, table in now.tables.items():
            yield f"  {source}: {_counts(table.rows_exported, table.rows_loaded, table.items_loaded)}"
    if project.target.mark == OFF:
        yield "mark       off: a second state folder on the same target is not noticed"
    elif now.migration:
        yield f"mark       {now.migration} in table {project.target.mark}"
    if held := now.counters.get("held", 0):
        yield f"skipped    {held:,} writes, by their table's condition"
    yield f"dead       {found.dead_letters:,} dead letters"
    for reason, count in found.reasons[:REASONS]:
        yield f"  {count:,} times: {reason}"


def _way_back_lines(way: WayBack) -> Iterator[str]:
    if not way.remains_seconds:
        yield "way back   is gone: the source lacks changes that the table's stream no longer has"
        if way.ended:
            yield f"           {way.ended}"
        return
    left = f"{way.remains_seconds / 3600:,.1f} hours are left to return"
    if way.following:
        yield f"way back   the source is {way.lag_seconds:,.1f} s behind DynamoDB; {left}"
    else:
        yield f"way back   nobody follows DynamoDB: run `whimbrel cutover`; {left}"
    if way.ended:
        yield f"           the last one that did ended: {way.ended}"
    if way.dead_letters:
        yield f"           {way.dead_letters:,} items could not be written back: see reverse-dead.jsonl"


def _past_fence_lines(found: PastFence) -> Iterator[str]:
    """What others wrote to the source since the cutover."""
    yield f"fence      {found.count:,} changes by others at the source, up to {shortened(found.position)}"
    if found.count:
        yield f"           {found.first}: see {found.path}"
    for each in found.faults:
        yield f"           {each}"
    if found.ended:
        yield f"           not looked for any more: {found.ended}"


def _late_lines(late: LateWrites) -> Iterator[str]:
    """Writes at DynamoDB after a rollback opened the source."""
    yield f"late       {late.count:,} writes at DynamoDB after the source was opened, up to {moment(late.until)}"
    if late.count:
        yield f"           see {late.path}; move it away once they are seen to"
    for began, ended, why in late.unknown:
        yield f"           not known from {moment(began)} to {moment(ended)}: {why}"
    if late.ended:
        yield f"           not looked for any more: {late.ended}"


def _handover_lines(now: Handover) -> Iterator[str]:
    """Which side takes writes, from the first cutover on."""
    if not now.epoch:
        return
    sides = {
        "mysql": "the source takes writes",
        "dynamodb": "DynamoDB takes writes",
        "none": "nobody takes writes yet",
    }
    yield f"side       {sides[now.side]} (step {now.step}, epoch {now.epoch})"
    if now.step == CUTTING:
        yield "           a cutover is under way; if its process has ended, `whimbrel cutover` or `migrate` undoes it"
    if now.step == DECIDED:
        yield "           the cutover is decided; `whimbrel cutover` tells the application and opens DynamoDB"
    if now.step == CLOSING:
        yield "           a rollback is under way; if its process has ended, `rollback` continues, `cutover` undoes it"
    if now.step == RETURNED:
        yield "           the return is decided; `whimbrel rollback` opens the source and tells the application"
    if now.source_gone:
        yield f"source     was given up as gone at {moment(now.source_gone)}: there is no way back"
    if now.stall_ms is not None:
        yield f"stall      nobody could write for {now.stall_ms:,.0f} ms; the source ended at {shortened(str(now.end))}"


def _live_lines(live: dict[str, Any]) -> Iterator[str]:
    """What the process that is running says of itself."""
    yield f"tables     now, by the running process (pid {live['pid']}):"
    for source, table in live["tables"].items():
        counts = _counts(table["exported_rows"], table["loaded_rows"], table["loaded_items"])
        about = f" of about {table['estimated_rows']:,} by the source's estimate" if live["phase"] == "snapshot" else ""
        yield f"  {source}{about}: {counts}"
    if live["phase"] in ("start", "snapshot", "load"):
        yield f"lag        {live['captured']:,} changes captured; they are applied after the load"
    else:
        yield f"lag        {lag_words(live)}"
    for what in ("capturing", "applying"):
        if live.get(what):
            yield f"{what:<10} a transaction: {live[what]:,} changes so far"


def _counts(exported: int, loaded: int, items: int) -> str:
    return f"{exported:,} rows exported, {loaded:,} loaded as {items:,} items"
