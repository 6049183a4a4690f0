"""What ``whimbrel cutover`` prints of what the functions of ``whimbrel`` give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from whimbrel.api import handover as verbs
from whimbrel.cli.frame import DIFFERENCES, OK, USER_ERROR, say, say_json
from whimbrel.cli.shown import shown
from whimbrel.cli.stopping import INTERRUPTED
from whimbrel.errors import UserError
from whimbrel.handed_over import DECIDED, FOLLOWING, OPEN
from whimbrel.project import Project

UNDONE_WITHIN = 30.0  # seconds from a Ctrl-C: what is closed is opened again first, as the application waits


def show_plan(project: Project, as_json: bool, waive_dead_letters: Path | None) -> int:
    """The exit code says if there is an error among the findings."""
    plan = verbs.plan_cutover(project, waive_dead_letters=waive_dead_letters)
    say(plan, as_json, _plan_lines(plan))
    return USER_ERROR if plan.errors else OK


def cutover(project: Project, as_json: bool, *, yes: bool, until_open: bool, waive_dead_letters: Path | None) -> int:
    begins = verbs.handed_over(project).step == FOLLOWING
    if begins and not (yes or _agreed("Close the source for writes, and open DynamoDB?")):
        return INTERRUPTED
    with shown(project, as_json, UNDONE_WITHIN) as asked:
        done = verbs.cutover(
            project,
            until_open=until_open,
            waive_dead_letters=waive_dead_letters,
            progress=asked.tell,
            stop=asked.stop,
        )
    if as_json:
        say_json({"event": "end", "exit_code": OK} | done.to_dict())
    else:
        stall = _stall(done.stall_ms, done.stall_parts)
        click.echo(f"DynamoDB is open for writes to {', '.join(done.tables)}.{stall}", err=True)
    return INTERRUPTED if asked.stop.is_set() else OK


def open_without_source(project: Project, as_json: bool) -> int:
    """Whoever says so types the name of a table: --yes does not."""
    name = project.tables[0].source
    click.echo("The way back is given up for good: nothing that is written at DynamoDB comes to the source.", err=True)
    try:
        typed = click.prompt(f"To open DynamoDB without the source, type {name}", err=True)
    except click.Abort:
        raise UserError("nobody is there to confirm it", place="--source-is-gone", hint=f"Type {name}.") from None
    if typed.strip() != name:
        raise UserError(f"{typed!r} is not {name!r}: nothing was done", place="--source-is-gone")
    with shown(project, as_json) as asked:
        done = verbs.cutover(project, source_is_gone=True, progress=asked.tell, stop=asked.stop)
    if as_json:
        say_json({"event": "end", "exit_code": OK} | done.to_dict())
    else:
        tables = ", ".join(done.tables)
        click.echo(f"DynamoDB is open for writes to {tables}. `whimbrel finish` removes what is left.", err=True)
    return OK


def rollback(project: Project, as_json: bool, *, yes: bool, waive_dead_letters: Path | None, unwatched: bool) -> int:
    begins = verbs.handed_over(project).step in (DECIDED, OPEN)
    if begins and not (yes or _agreed("Close DynamoDB for writes, and open the source?")):
        return INTERRUPTED
    with shown(project, as_json, UNDONE_WITHIN) as asked:
        done = verbs.rollback(
            project, waive_dead_letters=waive_dead_letters, unwatched=unwatched, progress=asked.tell, stop=asked.stop
        )
    code = DIFFERENCES if done.late_writes else OK
    if as_json:
        say_json({"event": "end", "exit_code": code} | done.to_dict())
    else:
        stall = _stall(done.stall_ms, done.stall_parts)
        late = f" {done.late_writes:,} writes at DynamoDB came after that." if done.late_writes else ""
        click.echo(f"The source is open for writes to {', '.join(done.tables)}.{stall}{late}", err=True)
    return code


def _stall(stall_ms: float | None, parts: Mapping[str, float]) -> str:
    if stall_ms is None:
        return ""
    where = f" ({', '.join(f'{part} {took:,.0f}' for part, took in parts.items())})" if parts else ""
    return f" Nobody could write for {stall_ms:,.0f} ms{where}."


def finish(project: Project, as_json: bool, *, yes: bool, keep_fence: bool) -> int:
    if not (yes or _agreed("Give up the way back to the source?")):
        return INTERRUPTED
    with shown(project, as_json) as asked:
        done = verbs.finish(project, keep_fence=keep_fence, stop=asked.stop)
    if as_json:
        say_json({"event": "end", "exit_code": OK} | done.to_dict())
    else:
        for each in done.removed:
            click.echo(f"removed  {each}")
        for target, attribute in done.expiring.items():
            click.echo(f"expires  items of {target}, by {attribute}: DynamoDB deletes them from now on")
        kept = "The fence stays." if done.fence_kept else "Whoever still writes to the old tables is not refused."
        click.echo(f"Finished. {kept} The last report: {done.report}", err=True)
    return OK


def _agreed(question: str) -> bool:
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        raise UserError("nobody is there to confirm it", place=question, hint="Pass --yes.") from None
    if not agreed:
        click.echo("Nothing was done.", err=True)
    return agreed


def _plan_lines(plan: verbs.CutoverPlan) -> Iterator[str]:
    for each in plan.findings:
        yield f"{each.severity:<8} {each.place}: {each.reason}  [{each.code}]"
        yield f"         {each.remedy}"
    yield f"step     {plan.step}; {', '.join(plan.tables)}"
    for number, step in enumerate(plan.steps, 1):
        yield f"{number:>6}.  {step}"
    verified = "all" if plan.dirty is None else f"{plan.dirty:,}"
    stall = "not known" if plan.stall_ms is None else f"about {plan.stall_ms:,.0f} ms"
    yield f"stall    {stall}; {verified} items to verify meanwhile"
    yield "Nothing was done." if plan.errors else "Ready. Nothing was done. Next: whimbrel cutover"
