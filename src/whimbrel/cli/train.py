"""``whimbrel train``: what it prints of the models that are made."""

from __future__ import annotations

from pathlib import Path

import click

from whimbrel.api import prediction as verbs
from whimbrel.api.prediction import TrainedModel, TrainPlan
from whimbrel.cli.frame import OK, follow, say_json
from whimbrel.cli.stopping import interruptible
from whimbrel.project import Project

SHOWN = ("auc", "log_loss", "brier", "calibration_error", "f1", "accuracy", "macro_f1", "rmse", "mae", "r2")


def train(project: Project, as_json: bool, name: str, data: Path | None, *, dry_run: bool) -> int:
    """Train the model called ``name``, or every model of the project."""
    if dry_run:
        for plan in verbs.plan_train(project, model=name, data=data):
            say_json(plan.to_dict()) if as_json else _say_plan(plan)
        return OK

    def made(model: TrainedModel) -> None:
        say_json(model.to_dict()) if as_json else _say(model)

    with interruptible() as stop:
        verbs.train(project, model=name, data=data, progress=made, following=follow(as_json), stop=stop)
    return OK


def _say(model: TrainedModel) -> None:
    figures = {name: model.metrics["values"].get(name) for name in SHOWN}
    words = ", ".join(f"{key} {value:.4f}" for key, value in figures.items() if value is not None)
    click.echo(f"{model.model} {model.version}: {model.kind}, {model.learner}, {model.rows_fitted:,} rows")
    click.echo(f"  {model.judged_by} of {model.rows_judged:,} rows: {words}")
    for warning in model.warnings:
        click.echo(f"  warning: {warning['input']} {warning['message']}")
    _say_left_out(model.left_out)
    click.echo(f"  model   {model.file}\n  report  {model.report}")


def _say_plan(plan: TrainPlan) -> None:
    click.echo(f"{plan.model}: {plan.learner} model of {plan.target!r} from {plan.manifest} as of {plan.as_of}")
    click.echo(f"  would fit {plan.rows['fit']:,} rows and hold out {plan.rows['held_out']:,} ({plan.split})")
    click.echo("  inputs: " + ", ".join(f"{name} ({kind})" for name, kind in plan.inputs.items()))
    _say_left_out(plan.left_out)


def _say_left_out(left_out: dict[str, str]) -> None:
    for name, reason in left_out.items():
        click.echo(f"  left out: {name} {reason}")
