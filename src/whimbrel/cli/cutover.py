"""What ``whimbrel cutover`` prints of what the functions of ``whimbrel`` give."""

from __future__ import annotations

from collections.abc import Iterator

import click

from whimbrel.api import handover as verbs
from whimbrel.cli.frame import OK, USER_ERROR, say_json
from whimbrel.cli.migration import shown
from whimbrel.cli.stopping import INTERRUPTED
from whimbrel.errors import UserError
from whimbrel.handed_over import FOLLOWING, load
from whimbrel.project import Project


def show_plan(project: Project, as_json: bool) -> int:
    """The exit code says if there is an error among the findings."""
    plan = verbs.plan_cutover(project)
    if as_json:
        say_json(plan.to_dict())
    else:
        for line in _plan_lines(plan):
            click.echo(line)
    return USER_ERROR if plan.errors else OK


def cutover(project: Project, as_json: bool, *, yes: bool) -> int:
    if load(project.state).step == FOLLOWING and not (yes or _agreed()):
        click.echo("Nothing was done.", err=True)
        return INTERRUPTED
    with shown(project, as_json) as asked:
        done = verbs.cutover(project, progress=asked.tell, stop=asked.stop)
    if as_json:
        say_json({"event": "end", "exit_code": OK} | done.to_dict())
    else:
        stall = "" if done.stall_ms is None else f" Nobody could write for {done.stall_ms:,.0f} ms."
        click.echo(f"DynamoDB is open for writes to {', '.join(done.tables)}.{stall}", err=True)
    return OK


def _agreed() -> bool:
    try:
        return click.confirm("Close the source for writes, and open DynamoDB?", err=True)
    except click.Abort:
        raise UserError("there is nobody who could agree", place="cutover", hint="Say --yes.") from None


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
