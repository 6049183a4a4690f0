"""``whimbrel train``: the project's models, each from its data set as it stands, or from a file."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from whimbrel.cli.frame import OK, say_json
from whimbrel.errors import ProjectError, UserError
from whimbrel.lake import datasets
from whimbrel.lake.need import need
from whimbrel.project import Project
from whimbrel.project.predict import ModelRule

SHOWN = ("auc", "log_loss", "brier", "calibration_error", "f1", "accuracy", "macro_f1", "rmse", "mae", "r2")


def models_folder(project: Project, name: str) -> Path:
    """Where the versions of a model are kept, each in a folder of its own."""
    return project.state / "models" / name


def train(project: Project, as_json: bool, name: str, data: Path | None, *, dry_run: bool) -> int:
    """Train the model called ``name``, or every model of the project."""
    rules = chosen(project, name)
    if data and len(rules) > 1:
        raise UserError("a file is data for one model", place=str(data), hint="Name the model with --model.")
    need("sklearn", "predict")
    for rule in rules:
        table, manifest, as_of = read_file(data, rule) if data else read_dataset(project, rule)
        if dry_run:
            _say_plan(rule, table, manifest, as_of, as_json)
        else:
            _train(project, rule, table, manifest, as_of, as_json)
    return OK


def chosen(project: Project, name: str) -> list[ModelRule]:
    """The rule called ``name``, or all. Raises ProjectError where there is none."""
    rules = [rule for rule in project.predict.models if not name or rule.name == name]
    if not rules:
        there = ", ".join(rule.name for rule in project.predict.models) or "none"
        message = f"there is no [[model]] called {name!r}" if name else "there is no [[model]]"
        raise ProjectError(message, place=str(project.path), hint=f"The models are: {there}. See docs/predict.md.")
    return rules


def read_dataset(project: Project, rule: ModelRule, identity: str = "") -> tuple[Any, str, str]:
    """The data set (the current one unless ``identity`` names another) as an Arrow table, its id, and its moment."""
    folder = project.path.parent / project.lake.folder
    manifest = datasets.at(folder, rule.dataset, identity=identity)
    return datasets.arrow(folder, manifest), manifest.id, manifest.as_of


def read_file(path: Path, rule: ModelRule) -> tuple[Any, str, str]:
    """A Parquet or CSV file with a header (``,`` or ``;``), named by its SHA-256. Raises UserError."""
    from whimbrel.prediction.train.tables import read_table

    table = read_table([path], categories=rule.categories)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    moment = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return table, f"{path.name} sha256:{digest}", moment


def _train(project: Project, rule: ModelRule, table: Any, manifest: str, as_of: str, as_json: bool) -> None:
    from whimbrel.prediction.train.train import REPORT_FILE, model_path, train

    folder = models_folder(project, rule.name)
    model = train(rule, table, manifest_id=manifest, as_of=as_of, folder=folder)
    path = model_path(folder, model.version)
    if as_json:
        said: dict[str, Any] = {
            "model": model.name,
            "version": model.version,
            "file": str(path),
            "digest": model.digest,
        }
        said |= {"kind": model.kind, "metrics": model.metrics.as_dict()}
        say_json(said | {name: model.facts[name] for name in ("warnings", "left_out")})
        return
    figures = {name: model.metrics.values.get(name) for name in SHOWN}
    words = ", ".join(f"{key} {value:.4f}" for key, value in figures.items() if value is not None)
    click.echo(f"{model.name} {model.version}: {model.kind}, {model.learner}, {model.facts['rows']['fitted']:,} rows")
    click.echo(f"  {model.facts['judged_by']} of {model.metrics.rows:,} rows: {words}")
    for warning in model.facts["warnings"]:
        click.echo(f"  warning: {warning['input']} {warning['message']}")
    _say_left_out(model.facts["left_out"])
    click.echo(f"  model   {path}\n  report  {path.with_name(REPORT_FILE)}")


def _say_plan(rule: ModelRule, table: Any, manifest: str, as_of: str, as_json: bool) -> None:
    from whimbrel.prediction.train.holdout import labelled_rows, split
    from whimbrel.prediction.train.usable import flat_table, usable

    table = flat_table(table, (rule.target, rule.time, *rule.exclude))
    inputs, left_out, _ = usable(rule, table, labelled_rows(rule, table))
    parts = split(rule, table)
    if as_json:
        rows = {"fit": len(parts.fit), "held_out": len(parts.held)}
        said = {"model": rule.name, "manifest": manifest, "as_of": as_of, "rows": rows}
        say_json(said | {"inputs": inputs, "left_out": left_out})
        return
    click.echo(f"{rule.name}: {rule.learner} model of {rule.target!r} from {manifest} as of {as_of}")
    click.echo(f"  would fit {len(parts.fit):,} rows and hold out {len(parts.held):,} ({rule.split})")
    click.echo("  inputs: " + ", ".join(f"{name} ({kind})" for name, kind in inputs.items()))
    _say_left_out(left_out)


def _say_left_out(left_out: dict[str, str]) -> None:
    for name, reason in left_out.items():
        click.echo(f"  left out: {name} {reason}")
