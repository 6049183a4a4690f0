"""The renewals of a project: their steps over its tables, models and endpoints, once or by the clock."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from whimbrel.checkpoint import RunLock
from whimbrel.errors import Stopped, TrainingError, UserError, WhimbrelError
from whimbrel.lake import datasets
from whimbrel.lake.need import need
from whimbrel.lake.opened import open_lake
from whimbrel.lake.refused import reasons_of
from whimbrel.lake.table import ConvertResult, make_dataset, make_export, rule_for
from whimbrel.prediction.engines import Tell, present_model, trained, update
from whimbrel.prediction.model.model import Model, load_model, metrics_from
from whimbrel.prediction.renew.places import model_file, renewal_folder, rows_judged, runs_of, sole, taken_in
from whimbrel.prediction.renew.renew import ABORTED, FAILED, Result, Step, new_run, one_step, renew
from whimbrel.prediction.renew.shared import SharedRuns
from whimbrel.prediction.train.project import read_dataset
from whimbrel.project import Project, models_named, renewals_named
from whimbrel.project.predict import ModelRule
from whimbrel.project.renew import STEPS, RenewalRule

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Renewal:
    """One run. ``outcome`` is ``renewed``, ``kept`` (the gate refused the new model), ``returned`` (the endpoint took
    it back) or ``failed``, with ``error``. ``line`` is the run as the record has it: the result of each step.
    """

    model: str
    endpoint: str
    outcome: str
    line: dict[str, Any]
    error: WhimbrelError | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, "endpoint": self.endpoint} | self.line


@dataclass(frozen=True, slots=True)
class RenewalPlan:
    """``steps`` are those that this renewal has not done yet."""

    model: str
    endpoint: str
    steps: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, "endpoint": self.endpoint, "steps": list(self.steps)}


def renew_all(
    project: Project, model: str, stop: threading.Event, done: Callable[[Renewal], None], tell: Tell
) -> tuple[Renewal, ...]:
    """Renew the model called ``model``, or every model that has a [[renewal]], once.

    An error in one model does not stop the others: the first error is raised after them.
    """
    rules = renewals_named(project, model)
    need("sklearn", "predict")
    made: list[Renewal] = []
    for rule in rules:
        try:
            renewal = renew_one(project, rule, stop, tell)
        except Stopped:
            raise
        except WhimbrelError as error:
            renewal = Renewal(rule.model, rule.endpoint, FAILED, {"outcome": FAILED, "error": str(error)}, error)
        made.append(renewal)
        done(renewal)
    for renewal in made:
        if renewal.error:
            raise renewal.error
    return tuple(made)


def plan_renewals(project: Project, model: str) -> tuple[RenewalPlan, ...]:
    rules = renewals_named(project, model)
    need("sklearn", "predict")
    return tuple(_planned(project, rule) for rule in rules)


def _planned(project: Project, rule: RenewalRule) -> RenewalPlan:
    run = runs_of(project, rule).unfinished() or {"results": {}}
    return RenewalPlan(rule.model, rule.endpoint, tuple(name for name in STEPS if name not in run["results"]))


def renew_by_the_clock(
    project: Project,
    stop: threading.Event,
    due: Callable[[str, datetime], None],
    done: Callable[[Renewal], None],
    tell: Tell,
) -> None:
    """Renew by the cron expressions of the project until ``stop`` is set. ``due`` is told when each model is next."""
    from whimbrel.prediction.renew.schedule import Scheduler

    rules = renewals_named(project, "")
    need("sklearn", "predict")
    (project.state / "renew").mkdir(parents=True, exist_ok=True)

    def renew_due(rule: RenewalRule) -> None:
        try:
            done(renew_one(project, rule, stop, tell))
        except Stopped:
            raise
        except WhimbrelError as error:
            done(Renewal(rule.model, rule.endpoint, FAILED, {"outcome": FAILED, "error": str(error)}, error))
            raise

    scheduler = Scheduler(rules, renew_due, lambda rule: last_renewed(project, rule), stop)
    for model, moment in scheduler.due.items():
        _log.info("renewed next", extra={"model": model, "due": moment.isoformat()})
        due(model, moment)
    scheduler.run()


def renew_one(project: Project, rule: RenewalRule, stop: threading.Event, tell: Tell) -> Renewal:
    """One renewal, from where an earlier one was stopped. Raises Locked when another is under way."""
    with RunLock(renewal_folder(project, rule)), sole(project, rule):
        line = renew(runs_of(project, rule), _steps(project, rule, stop, tell), stop)
    return Renewal(rule.model, rule.endpoint, line["outcome"], line)


def renew_step(
    project: Project, model: str, step: str, execution: str, stop: threading.Event, tell: Tell
) -> Renewal | None:
    """One step of the renewal that ``execution`` runs, from machines that need have nothing in common but the bucket.

    What is done already is not done again. The renewal, if that was its end; None before it. Raises as ``renew_all``,
    and UserError where the step before it is not done, or the lake is not in S3.
    """
    (rule,) = renewals_named(project, model)
    runs = runs_of(project, rule, execution)
    if not isinstance(runs, SharedRuns):
        hint = 'Only a renewal with engine = "sagemaker" is run step by step.'
        raise UserError("it is run by one process", place=f"renewal {model}", hint=hint)
    dataset = rule_for(project, models_named(project, model)[0].dataset)
    if not dataset.columns:
        message = "its types are not in the project file: each run would take them from the data it finds"
        hint = f"Run `whimbrel convert {dataset.table}` once, and put the project file that has them in its place."
        raise UserError(message, place=f"dataset {dataset.name}", hint=hint)
    with sole(project, rule, execution):
        run = runs.unfinished()
        if run is None and (outcome := runs.ended_by(execution)):
            if outcome in (FAILED, ABORTED):
                hint = "The record of its runs says why. The next execution begins with fresh data."
                raise UserError(f"this execution's renewal ended as {outcome}", place=f"renewal {model}", hint=hint)
            return Renewal(rule.model, rule.endpoint, outcome, {"outcome": outcome})
        results = run["results"] if run else {}
        missing = [name for name in STEPS[: STEPS.index(step)] if name not in results]
        if missing:
            message = f"{missing[0]} is not done, which comes before {step}"
            raise UserError(message, place=f"renewal {model}", hint=f"Run it with: --step {missing[0]}")
        if run and run.get("execution") != execution:
            runs.save(run)  # an earlier execution's, which is now this one's to continue: an abort is told to it
        line = one_step(runs, run or new_run(runs), step, _steps(project, rule, stop, tell))
    return Renewal(rule.model, rule.endpoint, line["outcome"], line) if line else None


def renewals_done(project: Project, most: int = 20) -> dict[str, list[dict[str, Any]]]:
    """Of each model with a [[renewal]] its last runs, newest first: the lines of the record."""
    rules = project.predict.renewals
    return {rule.model: runs_of(project, rule).record()[-most:][::-1] for rule in rules}


def last_renewed(project: Project, rule: RenewalRule) -> datetime | None:
    """When this model was renewed last, or tried to be."""
    lines = runs_of(project, rule).record()
    return datetime.fromisoformat(lines[-1]["ended"]) if lines else None


def _steps(project: Project, rule: RenewalRule, stop: threading.Event, tell: Tell) -> dict[str, Step]:
    (model_rule,) = models_named(project, rule.model)
    dataset = rule_for(project, model_rule.dataset)

    def export(_: Mapping[str, Result]) -> Result:
        # A process that was killed before it saved this step has exported it a moment ago.
        return make_export(project, dataset.table, or_last=True, stop=stop).to_dict()

    def convert(_: Mapping[str, Result]) -> Result:
        return converted(make_dataset(project, dataset.table, stop))

    def train(results: Mapping[str, Result]) -> Result:
        return _train(project, rule, model_rule, results["convert"]["id"], tell, stop)

    def gate(results: Mapping[str, Result]) -> Result:
        return _gate(project, rule, model_rule, results)

    def deploy(results: Mapping[str, Result]) -> Result:
        done = update(project, rule.endpoint, model_file(project, results["train"]), tell, stop)
        return {"endpoint": done.endpoint, "version": done.version, "live": done.live, "reason": done.reason}

    return dict(zip(STEPS, (export, convert, train, gate, deploy), strict=True))


def converted(made: ConvertResult) -> Result:
    """With the reasons for what is not in the data set: the record says them each time."""
    return made.to_dict() | {"reasons": reasons_of(made.refused)}


def _train(
    project: Project, rule: RenewalRule, model_rule: ModelRule, dataset: str, tell: Tell, stop: threading.Event
) -> Result:
    """Train from the data set that this run made, unless the present model is just that already."""
    present = present_model(project, rule.endpoint)
    if present and _is_of(project, load_model(present), model_rule, dataset):
        return {"file": str(present), "version": load_model(present).version, "changed": False}
    made = trained(project, model_rule, read_dataset(project, model_rule, dataset), tell, stop)
    found = {"file": made.file, "version": made.version, "changed": True}
    return found | taken_in(project, rule, Path(made.file))


def _is_of(project: Project, model: Model, rule: ModelRule, dataset: str) -> bool:
    """Whether the model was trained from the rows of this data set by these settings.

    An export without changes makes a data set of a later moment that has the same files.
    """
    if model.facts.get("settings") != orjson.loads(orjson.dumps(rule.settings())):
        return False
    with open_lake(project) as lake:
        lake.look(rule.dataset)
        kept = {each.id: each for each in datasets.versions(lake.folder, rule.dataset)}
    return model.manifest in kept and kept[model.manifest].files == kept[dataset].files


def _gate(project: Project, rule: RenewalRule, model_rule: ModelRule, results: Mapping[str, Result]) -> Result:
    """Both models on the same rows: those that the new one was not fitted on."""
    from whimbrel.prediction.train.gate import decide
    from whimbrel.prediction.train.holdout import split
    from whimbrel.prediction.train.train import evaluate

    kept = present_model(project, rule.endpoint)
    if not results["train"]["changed"]:
        return {"passed": False, "reason": "no row has changed since the current model was trained"}
    present = load_model(kept) if kept else None
    used = present.columns if present else ()
    table = rows_judged(project, model_rule, results["convert"]["id"], used)
    held = table.take(split(model_rule, table).held)
    if not held.num_rows:
        raise TrainingError(
            "there are no held-out rows to compare the models on",
            place=f"model {model_rule.name}",
            hint="Set holdout to a share above 0 in its [[model]].",
        )
    # The new model's own figures are those of these rows by the fit that had not seen them, also where it was refitted.
    made = load_model(model_file(project, results["train"]))
    base = metrics_from(made.facts["base"])
    old = evaluate(present, held) if present else None
    return decide(old, made.metrics, rule.metrics, rule.tolerance, base).as_dict()
