"""``whimbrel drift``: how far captured calls have moved from what the model in service was trained on."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import click

from whimbrel.cli.frame import OK, say_json
from whimbrel.cli.renew import present_model
from whimbrel.cli.serve import only_endpoint, rule_for
from whimbrel.errors import UserError
from whimbrel.lake.manifest import asked_time
from whimbrel.prediction.model.drift import LEAST_ROWS, MOVED, MOVED_FAR, Drift
from whimbrel.prediction.model.model import load_model
from whimbrel.prediction.serve.captured import captured_drift
from whimbrel.project import Project


def drift(project: Project, as_json: bool, endpoint: str, since: str) -> int:
    """Compare the calls that the endpoint's present model answered with its training."""
    name = endpoint or only_endpoint(project)
    file = present_model(project, name)
    if file is None:
        raise UserError("there is no such endpoint yet", place=name, hint="Begin it with: whimbrel serve")
    model = load_model(file)
    folder = Path(rule_for(project, name).capture_folder) / name
    found = captured_drift(model, folder, _moment(since))
    if as_json:
        say_json({"endpoint": name, "version": model.version, "folder": str(folder)} | found.as_dict())
    else:
        _say(name, model.version, folder, found)
    return OK


def _say(name: str, version: str, folder: Path, found: Drift) -> None:
    click.echo(f"{name}, version {version}: {found.rows:,} rows captured, {found.refused:,} that it does not take")
    if not found.rows:
        click.echo(f"There is nothing of it in {folder}.")
        return
    if found.rows < LEAST_ROWS:
        click.echo(f"  Fewer than {LEAST_ROWS} rows: this may all be chance.")
    if found.scores is not None:
        click.echo(f"  {'(scores)':<24} PSI {found.scores:7.3f}  {_word(found.scores)}")
    for each in sorted(found.inputs, key=lambda each: -each.psi):
        more = f"{each.missing:.1%} missing, {each.unknown:.1%} unknown, {each.outside:.1%} out of range"
        click.echo(f"  {each.input:<24} PSI {each.psi:7.3f}  {_word(each.psi):<9}  {more}")


def _moment(since: str) -> str:
    """As captured calls have their time. Raises UserError."""
    return asked_time(since, "--since").astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if since else ""


def _word(psi: float) -> str:
    return "moved far" if psi > MOVED_FAR else "moved" if psi > MOVED else ""
