"""``whimbrel renew`` and ``whimbrel schedule``: export, convert, train, gate, update, as one resumable run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click
import orjson

from whimbrel.checkpoint import RunLock
from whimbrel.cli.access import control_keys
from whimbrel.cli.frame import (
    OK,
    USER_ERROR,
    keep_log,
    report_error,
    say_json,
)
from whimbrel.cli.serve import registry_folder
from whimbrel.cli.serve import rule_for as endpoint_rule
from whimbrel.cli.stopping import FAILED, interruptible
from whimbrel.cli.train import chosen, models_folder, read_dataset
from whimbrel.errors import ProjectError, Stopped, TrainingError, UserError, WhimbrelError
from whimbrel.lake import datasets
from whimbrel.lake.need import need
from whimbrel.lake.refused import reasons_of
from whimbrel.lake.sql import lake_folder
from whimbrel.lake.table import make_dataset, make_export, rule_for
from whimbrel.prediction.model.model import Model, load_model, metrics_from
from whimbrel.prediction.renew.renew import STEPS, Result, Step, record, unfinished
from whimbrel.prediction.renew.renew import renew as renew_run
from whimbrel.prediction.serve.deploy import deploy
from whimbrel.prediction.serve.registry import Registry
from whimbrel.project import Project
from whimbrel.project.predict import ModelRule
from whimbrel.project.renew import RenewalRule


def renew(project: Project, as_json: bool, model: str, *, dry_run: bool) -> int:
    """Renew the model called ``model``, or every model that has a [[renewal]], once."""
    rules = renewals(project, model)
    need("sklearn", "predict")
    if dry_run:
        return _say_plan(project, rules, as_json)
    code = OK
    with interruptible() as stop:
        for rule in rules:
            try:
                _say(rule, renew_one(project, rule, stop), as_json)
            except Stopped:
                raise
            except WhimbrelError as error:  # one model's trouble does not hold the others up
                report_error(error, as_json)
                code = USER_ERROR if isinstance(error, UserError) else FAILED
    return code


def schedule(project: Project, as_json: bool) -> int:
    """Renew by the clock until Ctrl-C."""
    from whimbrel.prediction.renew.schedule import Scheduler

    rules = renewals(project, "")
    need("sklearn", "predict")
    (project.state / "renew").mkdir(parents=True, exist_ok=True)
    keep_log(project.state / "renew" / "schedule.log")
    with interruptible() as stop:

        def due(rule: RenewalRule) -> None:
            try:
                _say(rule, renew_one(project, rule, stop), as_json)
            except WhimbrelError as error:
                report_error(error, as_json)
                raise

        scheduler = Scheduler(rules, due, lambda rule: _last(project, rule), stop)
        for model, moment in scheduler.due.items():
            text = f"{model}: renewed next at {moment:%Y-%m-%d %H:%M:%S} UTC"
            say_json({"model": model, "next": moment.isoformat()}) if as_json else click.echo(text)
        sys.stdout.flush()
        scheduler.run()
    return OK


def renewals(project: Project, model: str) -> tuple[RenewalRule, ...]:
    """The rule for ``model``, or all. Raises ProjectError where there is none, or none of the model that one names."""
    rules = tuple(rule for rule in project.predict.renewals if not model or rule.model == model)
    if not rules:
        wanted = f"[[renewal]] for {model!r}" if model else "[[renewal]]"
        raise ProjectError(f"there is no {wanted}", place=str(project.path), hint="Write one; see docs/renew.md.")
    for rule in rules:
        chosen(project, rule.model)
    return rules


def renew_one(project: Project, rule: RenewalRule, stop: threading.Event) -> Result:
    """One renewal, from where an earlier one was stopped. Raises Locked when another is under way."""
    folder = renewal_folder(project, rule)
    with RunLock(folder):
        return renew_run(folder, _steps(project, rule, stop), stop)


def renewal_folder(project: Project, rule: RenewalRule) -> Path:
    return project.state / "renew" / rule.model


def _steps(project: Project, rule: RenewalRule, stop: threading.Event) -> dict[str, Step]:
    (model_rule,) = chosen(project, rule.model)
    dataset = rule_for(project, model_rule.dataset)

    def export(_: Mapping[str, Result]) -> Result:
        return make_export(project, dataset.table, "", "auto", None, stop, lambda items: None)

    def convert(_: Mapping[str, Result]) -> Result:
        return _convert(project, dataset.table, stop)

    def train(results: Mapping[str, Result]) -> Result:
        return _train(project, rule, model_rule, results["convert"]["id"])

    def gate(results: Mapping[str, Result]) -> Result:
        return _gate(project, rule, model_rule, results)

    def update(results: Mapping[str, Result]) -> Result:
        file, endpoint = Path(results["train"]["file"]), endpoint_rule(project, rule.endpoint)
        done = deploy(registry_folder(project), endpoint, file, control_keys(project))
        return {"endpoint": done.endpoint, "version": done.version, "live": done.live, "reason": done.reason}

    return dict(zip(STEPS, (export, convert, train, gate, update), strict=True))


def _convert(project: Project, table: str, stop: threading.Event) -> Result:
    made = make_dataset(project, table, stop)
    manifest = made.manifest
    return {"dataset": manifest.name, "id": manifest.id, "as_of": manifest.as_of, "rows": manifest.rows} | {
        "changed": made.converted is not None,
        "refused": manifest.refused,
        "reasons": reasons_of(made.refused),
        "gaps": [list(gap) for gap in manifest.gaps],
    }


def _train(project: Project, rule: RenewalRule, model_rule: ModelRule, dataset: str) -> Result:
    """Train from the data set that this run made, unless the present model is just that already."""
    from whimbrel.prediction.train.train import model_path, train

    present = present_model(project, rule.endpoint)
    if present and _is_of(project, load_model(present), model_rule, dataset):
        return {"file": str(present), "version": load_model(present).version, "changed": False}
    table, manifest, as_of = read_dataset(project, model_rule, dataset)
    folder = models_folder(project, model_rule.name)
    model = train(model_rule, table, manifest_id=manifest, as_of=as_of, folder=folder)
    return {"file": str(model_path(folder, model.version)), "version": model.version, "changed": True}


def _is_of(project: Project, model: Model, rule: ModelRule, dataset: str) -> bool:
    """Whether the model was trained from the rows of this data set by these settings.

    An export without changes makes a data set of a later moment that has the same files.
    """
    if model.facts.get("settings") != orjson.loads(orjson.dumps(asdict(rule))):
        return False
    kept = {each.id: each for each in datasets.versions(lake_folder(project), rule.dataset)}
    return model.manifest in kept and kept[model.manifest].files == kept[dataset].files


def _gate(project: Project, rule: RenewalRule, model_rule: ModelRule, results: Mapping[str, Result]) -> Result:
    """Both models on the same rows: those that the new one was not fitted on."""
    from whimbrel.prediction.train.gate import decide
    from whimbrel.prediction.train.holdout import split
    from whimbrel.prediction.train.train import evaluate

    present = present_model(project, rule.endpoint)
    if not results["train"]["changed"]:
        return {"passed": False, "reason": "no row has changed since the present model was trained"}
    table, _, _ = read_dataset(project, model_rule, results["convert"]["id"])
    held = table.take(split(model_rule, table).held)
    if not held.num_rows:
        raise TrainingError(
            "no rows are held out to compare the models on",
            place=f"model {model_rule.name}",
            hint="Set holdout to a share above 0 in its [[model]].",
        )
    # The new model's own figures are those of these rows by the fit that had not seen them, also where it was refitted.
    made = load_model(Path(results["train"]["file"]))
    base = metrics_from(made.facts["base"])
    old = evaluate(load_model(present), held) if present else None
    return decide(old, made.metrics, rule.metrics, rule.tolerance, base).as_dict()


def present_model(project: Project, endpoint: str) -> Path | None:
    """The file of the model that the endpoint answers with; None while there is no endpoint."""
    registry = Registry(registry_folder(project))
    state = registry.state
    if endpoint not in state.endpoints:
        return None
    variant = state.configs[state.endpoints[endpoint].config].variants[0]
    return registry.model_path(state.models[variant.model])


def _last(project: Project, rule: RenewalRule) -> datetime | None:
    """When this model was renewed last, or tried to be."""
    folder = renewal_folder(project, rule)
    lines = record(folder)
    return datetime.fromisoformat(lines[-1]["ended"]) if lines else None


def _say(rule: RenewalRule, line: Result, as_json: bool) -> None:
    if as_json:
        say_json({"model": rule.model, "endpoint": rule.endpoint} | line)
        return
    results = line["results"]
    words = {
        "renewed": f"{rule.endpoint} answers with version {results['train']['version']}",
        "kept": f"{rule.endpoint} keeps its model",
        "returned": f"{rule.endpoint} took the new model back: {results.get('update', {}).get('reason', '')}",
    }
    converted = results["convert"]
    rows = converted["rows"]
    click.echo(f"{rule.model}: {rows:,} rows; {results['gate']['reason']}; {words[line['outcome']]}")
    if converted.get("refused"):
        click.echo(f"{rule.model}: {converted['refused']:,} items are not in the data set:\n{converted['reasons']}")
    for start, end in converted.get("gaps", ()):
        click.echo(f"{rule.model}: the changes from {start} to {end} are in no export, which was accepted.")


def _say_plan(project: Project, rules: tuple[RenewalRule, ...], as_json: bool) -> int:
    for rule in rules:
        run = unfinished(renewal_folder(project, rule)) or {"results": {}}
        steps = [name for name in STEPS if name not in run["results"]]
        if as_json:
            say_json({"model": rule.model, "endpoint": rule.endpoint, "steps": steps})
        else:
            click.echo(f"{rule.model} behind {rule.endpoint}: would {', '.join(steps)}")
    return OK
