"""The commands from MySQL into DynamoDB: what they print of what the functions of ``whimbrel`` give."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from whimbrel.api import migration as verbs
from whimbrel.api.migration import MigrationPlan, MigrationResult, PlannedTable, Verification
from whimbrel.cli.frame import DEAD_LETTERS, DIFFERENCES, OK, say, say_json
from whimbrel.cli.shown import LISTED, shown
from whimbrel.cli.stopping import INTERRUPTED, interruptible
from whimbrel.migration.differences import TableReport
from whimbrel.project import Project, rule_named

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


def show_plan(project: Project, as_json: bool, *, into_existing: bool) -> int:
    plan = verbs.plan_migrate(project, into_existing=into_existing)
    say(plan, as_json, _plan_lines(plan))
    return OK


def show_refill(project: Project, as_json: bool, name: str, *, remove: bool) -> int:
    source = rule_named(project, name).name
    values = {"table": source, "items": 0}
    also = ", and remove those of its keys that no row makes" if remove else ""
    plain = f"Would rewrite the items of all rows of {source}{also}. Nothing was done."
    say_json(values) if as_json else click.echo(plain)
    return OK


def verify(project: Project, as_json: bool, waive_dead_letters: Path | None) -> int:
    with shown(project, as_json) as asked:
        found = verbs.verify(project, waive_dead_letters=waive_dead_letters, progress=asked.tell, stop=asked.stop)
    say(found, as_json, _all_verification_lines(found))
    return OK if found.equal else DIFFERENCES


def retry_dead(project: Project, as_json: bool, *, dry_run: bool) -> int:
    with interruptible() as stop:
        done = verbs.retry_dead(project, dry_run=dry_run, stop=stop)
    if as_json:
        say_json(done.to_dict())
        return DEAD_LETTERS if done.dead_letters else OK
    for batch in done.given_up[:LISTED]:
        click.echo(f"Lambda gave up {batch.records:,} records of {batch.shard} at {batch.at}: {batch.why}.")
    if len(done.given_up) > LISTED:
        click.echo(f"  … and {len(done.given_up) - LISTED:,} batches more; --json lists them")
    if dry_run or not done.letters:
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
