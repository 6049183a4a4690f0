"""``whimbrel serve``, ``predict``, ``endpoint …`` and ``drift``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from whimbrel.api import prediction as verbs
from whimbrel.api.prediction import Deployment, DeploymentPlan, EndpointDrift, EndpointStatus
from whimbrel.cli.frame import OK, follow, keep_log, say_json
from whimbrel.cli.stopping import FAILED, interruptible, signalled
from whimbrel.errors import UserError
from whimbrel.prediction.model.drift import LEAST_ROWS, MOVED, MOVED_FAR
from whimbrel.prediction.serve.project import registry_folder
from whimbrel.project import Project

_UNKNOWN = "whimbrel: categories that training never saw, scored as other"


def serve(project: Project, as_json: bool, host: str, port: int | None, model: Path | None, endpoint: str) -> int:
    """Serve the project's endpoints until a signal."""
    keep_log(registry_folder(project) / "serve.log")

    def ready(url: str) -> None:
        say_json({"event": "ready", "url": url}) if as_json else click.echo(f"Serving at {url}  (Ctrl-C ends it)")
        sys.stdout.flush()

    with signalled() as stop:
        verbs.serve(project, host=host, port=port, model=model, endpoint=endpoint, ready=ready, stop=stop)
    return OK


def update(project: Project, as_json: bool, endpoint: str, model: Path, *, dry_run: bool, at_once: bool) -> int:
    """Put a model file behind an endpoint; FAILED when it was rolled back."""
    if dry_run:
        plan = verbs.plan_update_endpoint(project, endpoint, model=model, at_once=at_once)
        say_json(plan.to_dict()) if as_json else click.echo(_plan_text(plan))
        return OK
    with interruptible() as stop:
        done = verbs.update_endpoint(
            project, endpoint, model=model, at_once=at_once, following=follow(as_json), stop=stop
        )
    say_json(done.to_dict()) if as_json else click.echo(_said(done))
    return OK if done.live else FAILED


def status(project: Project, as_json: bool) -> int:
    """Show which models every endpoint serves."""
    return _say_status(verbs.endpoints(project), as_json)


def weights(project: Project, as_json: bool, endpoint: str, wanted: tuple[str, ...]) -> int:
    """Give each VARIANT=WEIGHT its weight, live."""
    pairs = [each.partition("=") for each in wanted]
    try:
        shares = {name: float(value) for name, _, value in pairs}
    except ValueError as error:
        raise UserError(str(error), place="weights", hint="Write VARIANT=WEIGHT.") from None
    return _say_status(verbs.weigh_endpoint(project, endpoint, shares), as_json)


def predict(project: Project, endpoint: str, model: Path | None, rows: tuple[str, ...]) -> int:
    """Print the predictions for rows of CSV, of the arguments or of standard input, as SageMaker would answer."""
    done = verbs.predict(project, "\n".join(rows) if rows else sys.stdin.read(), endpoint=endpoint, model=model)
    if done.unknown:
        click.echo(f"{_UNKNOWN}: {done.unknown}", err=True)
    click.echo(done.body)
    return OK


def drift(project: Project, as_json: bool, endpoint: str, since: str) -> int:
    """Compare the calls that the endpoint's present model answered with its training."""
    found = verbs.drift(project, endpoint=endpoint, since=since)
    say_json(found.to_dict()) if as_json else _say_drift(found)
    return OK


def _say_status(found: tuple[EndpointStatus, ...], as_json: bool) -> int:
    if as_json:
        say_json({"endpoints": [each.to_dict() for each in found]})
        return OK
    for each in found:
        click.echo(f"{each.endpoint}  {each.status}" + (f"  ({each.reason})" if each.reason else ""))
        for variant in each.variants:
            click.echo(f"  {variant.variant}  weight {variant.weight:g}  version {variant.version}")
    if not found:
        there = "on SageMaker: whimbrel endpoint update NAME --model FILE"
        click.echo(f"No endpoint exists yet. Make one with: whimbrel serve --model FILE; {there}")
    return OK


def _say_drift(found: EndpointDrift) -> None:
    drift = found.drift
    refused = f"{drift.refused:,} that it does not take"
    click.echo(f"{found.endpoint}, version {found.version}: {drift.rows:,} rows captured, {refused}")
    if not drift.rows:
        click.echo(f"No captured calls of it are in {found.folder}.")
        return
    if drift.rows < LEAST_ROWS:
        click.echo(f"  Fewer than {LEAST_ROWS} rows: this may all be chance.")
    if drift.scores is not None:
        click.echo(f"  {'(scores)':<24} PSI {drift.scores:7.3f}  {_word(drift.scores)}")
    for each in sorted(drift.inputs, key=lambda each: -each.psi):
        more = f"{each.missing:.1%} missing, {each.unknown:.1%} unknown, {each.outside:.1%} out of range"
        click.echo(f"  {each.input:<24} PSI {each.psi:7.3f}  {_word(each.psi):<9}  {more}")


def _word(psi: float) -> str:
    return "moved far" if psi > MOVED_FAR else "moved" if psi > MOVED else ""


def _plan_text(plan: DeploymentPlan) -> str:
    stages = ", then ".join(f"{share:.0%} of the calls for {seconds:g} s" for share, seconds in plan.stages)
    return f"{plan.endpoint} would get version {plan.version}: checked, then {stages}. Nothing was done."


def _said(done: Deployment) -> str:
    if done.live:
        return f"{done.endpoint} answers with version {done.version}"
    return f"{done.endpoint} was not updated to version {done.version}: {done.reason}"
