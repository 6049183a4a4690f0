"""``whimbrel renew`` and ``whimbrel schedule``: what they print of renewals."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from whimbrel.api import prediction as verbs
from whimbrel.api.prediction import Renewal
from whimbrel.cli.frame import OK, USER_ERROR, follow, keep_log, report_error, say_json
from whimbrel.cli.stopping import FAILED, interruptible
from whimbrel.errors import UserError, WhimbrelError
from whimbrel.project import Project


def abort(project: Project, as_json: bool, model: str) -> int:
    """End what a renewal has under way."""
    for each in verbs.abort_renewal(project, model=model, following=follow(as_json)):
        if as_json:
            say_json(each.to_dict())
            continue
        for job, status in each.jobs.items():
            click.echo(f"{each.model}: training job {job} is {status}")
        click.echo(
            f"{each.model}: " + (f"the renewal ended before {each.step}" if each.step else "no renewal is under way")
        )
        if each.endpoint:
            click.echo(f"{each.model}: its endpoint is {each.endpoint}")
    return OK


def step(project: Project, as_json: bool, model: str, step: str, execution: str) -> int:
    """One step of the renewal that an execution runs."""
    if not (model and execution):
        raise UserError("--step needs --model and --execution", hint="A state machine gives them (docs/renew.md).")
    with interruptible() as stop:
        done = verbs.renew_step(
            project, model=model, step=step, execution=execution, following=follow(as_json), stop=stop
        )
    if as_json:
        say_json({"model": model, "step": step, "outcome": done.outcome if done else ""})
    elif done and "results" in done.line:
        say(done, as_json)
    else:
        click.echo(f"{model}: {step} is done" + (f"; the renewal is over: {done.outcome}" if done else ""))
    return OK


def renew(project: Project, as_json: bool, model: str, *, dry_run: bool) -> int:
    """Renew the model called ``model``, or every model that has a [[renewal]], once."""
    if dry_run:
        for plan in verbs.plan_renew(project, model=model):
            words = f"{plan.model} behind {plan.endpoint}: would {', '.join(plan.steps)}"
            say_json(plan.to_dict()) if as_json else click.echo(words)
        return OK
    failed: list[WhimbrelError] = []

    def done(renewal: Renewal) -> None:
        say(renewal, as_json)
        if renewal.error:
            failed.append(renewal.error)

    with interruptible() as stop:
        try:
            verbs.renew(project, model=model, progress=done, following=follow(as_json), stop=stop)
        except WhimbrelError as error:
            if error not in failed:  # else it is reported already
                raise
    return OK if not failed else USER_ERROR if isinstance(failed[-1], UserError) else FAILED


def schedule(project: Project, as_json: bool) -> int:
    """Renew by the clock until Ctrl-C."""
    keep_log(project.state / "renew" / "schedule.log")

    def due(model: str, moment: datetime) -> None:
        text = f"{model}: renewed next at {moment:%Y-%m-%d %H:%M:%S} UTC"
        say_json({"model": model, "next": moment.isoformat()}) if as_json else click.echo(text)
        sys.stdout.flush()

    with interruptible() as stop:
        told = follow(as_json)
        verbs.schedule(project, due=due, progress=lambda renewal: say(renewal, as_json), following=told, stop=stop)
    return OK


def say(renewal: Renewal, as_json: bool) -> None:
    if renewal.error:
        report_error(renewal.error, as_json)
    elif as_json:
        say_json(renewal.to_dict())
    else:
        _say(renewal)


def _say(renewal: Renewal) -> None:
    results = renewal.line["results"]
    words = {
        "renewed": f"{renewal.endpoint} answers with version {results['train']['version']}",
        "kept": f"{renewal.endpoint} keeps its model",
        "returned": f"{renewal.endpoint} took the new model back: {results.get('update', {}).get('reason', '')}",
    }
    model, converted = renewal.model, results["convert"]
    click.echo(f"{model}: {converted['rows']:,} rows; {results['gate']['reason']}; {words[renewal.outcome]}")
    if converted.get("refused"):
        click.echo(f"{model}: {converted['refused']:,} items are not in the data set:\n{converted['reasons']}")
    for start, end in converted.get("gaps", ()):
        click.echo(f"{model}: the changes from {start} to {end} are in no export; that gap was accepted.")
