"""Training: a table becomes a model file and a report, both in a folder of their own.

The hold-out is set aside first. On the rest, folds choose the learner's setting, and their scores, of rows that the fit
had not seen, choose calibration and threshold. The model is then fitted on all of the rest, and the code that will
serve it is what scores the hold-out.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from whimbrel import __version__
from whimbrel.durable import replace_file, sync_folder
from whimbrel.errors import TrainingError
from whimbrel.prediction.model.features import Input
from whimbrel.prediction.model.kept import MODEL_FILE
from whimbrel.prediction.model.model import Metrics, Model, save_model
from whimbrel.prediction.model.scorer import Calibration, compile_scorer, fill
from whimbrel.prediction.train import boosted, calibrate, gate, leakage, linear, metrics, report, threshold
from whimbrel.prediction.train.feature_columns import (
    Array,
    FeatureColumn,
    Values,
    encode,
    learn_inputs,
    objects,
    read_values,
    take,
)
from whimbrel.prediction.train.holdout import Split, judged, judged_once, labelled_rows, searched, split
from whimbrel.prediction.train.search import Choice, class_weights
from whimbrel.prediction.train.targets import TargetValues, class_numbers, numbers, read_target
from whimbrel.prediction.train.usable import flat_table, usable
from whimbrel.project.predict import ModelRule

LEARNERS: dict[str, Any] = {"linear": linear, "boosted": boosted}
REPORT_FILE = "report.html"
SCORE_BINS = 10
CHECKED_ROWS = 200
SCORED_AT_ONCE = 10_000


class Learner(Protocol):
    """What learns; a module is one too. ``once``: it is fitted once, and judged by one fold."""

    once: bool
    form: str  # of what it makes: linear | boosted

    def matrix(self, inputs: Sequence[Input], columns: Sequence[FeatureColumn]) -> Any:
        """A row of numbers for each row."""

    def search(
        self, data: Any, target: Array, weights: Array | None, kind: str, parts: Sequence[Split], seed: int
    ) -> Choice:
        """The setting that is best over the folds ``parts``."""

    def fit(
        self,
        data: Any,
        target: Array,
        weights: Array | None,
        kind: str,
        inputs: Sequence[Input],
        setting: Any,
        seed: int,
    ) -> tuple[Any, Array]:
        """The parameters, and the sums that the learner itself has for these rows."""


@dataclass(frozen=True, slots=True)
class _Data:
    """The labelled rows of a table, as a learner wants them. Row numbers are those of the table."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    values: tuple[Values, ...]
    target: TargetValues  # its values stand at the table's row numbers
    left_out: dict[str, str]  # columns that cannot be inputs, and why


@dataclass(frozen=True, slots=True)
class _Learned:
    inputs: tuple[Input, ...]
    columns: list[FeatureColumn]
    matrix: Any
    target: Array
    weights: Array | None


def train(
    rule: ModelRule,
    table: pa.Table,
    *,
    manifest_id: str,
    as_of: str,
    position: str = "",
    folder: Path,
    learner: Learner | None = None,
) -> Model:
    """Train by ``rule`` and write ``folder/<version>/model.json`` and ``report.html``; the folder is made if need be.

    ``learner`` is the one that the rule names, unless that is not in this process.
    Raises TrainingError naming what does not fit; OSError where the folder cannot be written.
    """
    learner = learner or LEARNERS[rule.learner]
    table = flat_table(table, (rule.target, rule.time, *rule.exclude))
    data = _read(rule, table)
    parts = split(rule, table)
    kind, labels = data.target.kind, data.target.labels
    learned = _learn(learner, rule, data, parts.fit)
    choice, calibration, limit, inside = _choose(learner, rule, data, learned)
    fitted, sums = _fit(learner, rule, kind, learned, choice)
    model = Model(
        name=rule.name,
        version="",
        kind=kind,
        learner=learner.form,
        target=rule.target,
        labels=labels,
        inputs=learned.inputs,
        ignored=tuple(filter(None, dict.fromkeys((rule.target, rule.time, *rule.exclude, *data.left_out)))),
        parameters=fitted,
        calibration=calibration,
        threshold=limit,
        metrics=inside,
        manifest=manifest_id,
        as_of=as_of,
        position=position,
        digest="unsaved",
    )
    _check_export(model, data.values, parts.fit, sums)
    model, curves = _judge(model, data, parts)
    base = _base(kind, learned.target, data.target.values[parts.held] if len(parts.held) else learned.target, labels)
    facts = _facts(rule, data, learned, parts.fit, parts.held, choice, inside, model, base)
    if rule.refit and len(parts.held):
        model = _refit(learner, rule, data, model, choice, labelled_rows(rule, table))
    model = _named(replace(model, facts=facts, digest=""))
    _write(model, report.page(model, curves), folder)
    return model


def _check_outcomes(rule: ModelRule, target: TargetValues, fit: Array) -> None:
    """Raises TrainingError if an outcome is in no row to learn from."""
    if target.kind != "regression" and len(np.unique(target.values[fit])) < len(target.labels):
        raise TrainingError(
            f"the rows to learn from do not have every outcome of {rule.target!r}",
            place=f"model {rule.name}",
            hint="Hold out fewer rows, or wait until there are outcomes of every kind.",
        )


def evaluate(model: Model, table: pa.Table) -> Metrics:
    """The model's figures over the rows of ``table`` whose outcome is known, scored by the code that serves it.

    Raises TrainingError where a column is not there or does not fit, RowError where a value does not.
    """
    scores, target = scored(model, table)
    return _figures(model.kind, target, scores, model.threshold, model.labels)


def scored(model: Model, table: pa.Table) -> tuple[Array, Array]:
    """The scores of the rows of ``table`` whose outcome is known, and the outcomes."""
    rule = ModelRule(name=model.name, dataset="", target=model.target)
    rows = labelled_rows(rule, table, least=1)
    table = flat_table(table, model.ignored)
    found = read_values(table, model.target).take(rows)
    target = numbers(found) if model.kind == "regression" else class_numbers(found, model.labels)
    return _scores(model, [read_values(table, name) for name in model.columns], rows), target


def model_path(folder: Path, version: str) -> Path:
    """Where ``train`` writes a model's file."""
    return folder / version / MODEL_FILE


def _read(rule: ModelRule, table: pa.Table) -> _Data:
    rows = labelled_rows(rule, table)
    taken = usable(rule, table, rows)
    found = read_target(rule, table, rows)
    values = np.full(table.num_rows, -1, dtype=found.values.dtype)
    values[rows] = found.values
    columns = tuple(taken.values[name] for name in taken.types)
    return _Data(
        tuple(taken.types), tuple(taken.types.values()), columns, replace(found, values=values), taken.left_out
    )


def _learn(learner: Learner, rule: ModelRule, data: _Data, rows: Array) -> _Learned:
    _check_outcomes(rule, data.target, rows)
    target = data.target.values[rows]
    line = learner.form == "linear" and data.target.kind != "regression"
    reach = linear.REACH if line else np.inf
    amount = linear.OVER_TIME if line and rule.split == "time" else 1.0
    inputs, columns = [], []
    for kind, values in zip(data.types, data.values, strict=True):
        taken = values.take(rows)
        for each in learn_inputs(kind, taken, target.astype(float), reach, amount):
            inputs.append(each)
            columns.append(encode(each, taken, fill=fill(learner.form, each)))
    matrix = learner.matrix(inputs, columns)
    return _Learned(tuple(inputs), columns, matrix, target, class_weights(target, data.target.kind, rule.balance))


def _choose(
    learner: Learner, rule: ModelRule, data: _Data, learned: _Learned
) -> tuple[Choice, Calibration, float, Metrics]:
    """Setting, calibration and threshold from the folds, and the figures of the folds' own scores."""
    kind, labels = data.target.kind, data.target.labels
    find = judged_once if learner.once else searched
    some, parts = find(learned.target, len(labels), rule)
    if not parts:
        raise TrainingError(
            f"some outcomes of {rule.target!r} are too rare, or too late, to be learned from earlier rows",
            place=f"model {rule.name}",
            hint="Wait until there are more of them, or leave their rows out.",
        )
    weights = None if learned.weights is None else learned.weights[some]
    choice = learner.search(learned.matrix[some], learned.target[some], weights, kind, parts, rule.seed)
    target = learned.target[some][judged(parts)]
    calibration = calibrate.fit(rule.calibration, kind, choice.margins, target)
    scores = calibrate.scores(kind, calibration, choice.margins)
    limit = threshold.choose(rule.threshold, target, scores) if kind == "binary" else 0.5
    return choice, calibration, limit, _figures(kind, target, scores, limit, labels)


def _fit(learner: Learner, rule: ModelRule, kind: str, learned: _Learned, choice: Choice) -> tuple[Any, Array]:
    weights, inputs = learned.weights, learned.inputs
    return learner.fit(learned.matrix, learned.target, weights, kind, inputs, choice.setting, rule.seed)


def _judge(model: Model, data: _Data, parts: Split) -> tuple[Model, report.Curves]:
    """The model with the figures of the hold-out, or of the folds where nothing is held out, and its scores' spread."""
    if not len(parts.held):
        return _with_spread(model, _scores(model, data.values, parts.fit)), report.Curves()
    scores, target = _scores(model, data.values, parts.held), data.target.values[parts.held]
    figures = _figures(model.kind, target, scores, model.threshold, model.labels)
    return _with_spread(replace(model, metrics=figures), scores), report.curves(model.kind, target, scores)


def _facts(
    rule: ModelRule,
    data: _Data,
    learned: _Learned,
    fit: Array,
    held: Array,
    choice: Choice,
    inside: Metrics,
    model: Model,
    base: Metrics,
) -> dict[str, Any]:
    rows = held if len(held) else fit
    values = take(data.values, fit)
    rises = leakage.importance(model, data.values, rows, data.target.values[rows], rule.seed)
    by_itself = leakage.alone(model.kind, learned.inputs, learned.columns, learned.target)
    suspects = leakage.suspects(by_itself, rises)
    lost = leakage.lost_without(model.kind, learned.inputs, learned.columns, learned.target, suspects)
    by_column = dict(zip(data.names, values, strict=True))
    warnings = leakage.warnings(learned.inputs, [by_column[each.column] for each in learned.inputs], by_itself, lost)
    chance = gate.no_better_than_chance(model.metrics, base)
    if chance:
        warnings.insert(0, {"input": rule.target, "message": f"is predicted {chance}."})
    return {
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "settings": rule.settings(),
        "rows": {"fitted": len(fit), "held_out": len(held), "refitted": rule.refit},
        "judged_by": "hold-out" if len(held) else "folds",
        "folds": inside.as_dict(),
        "base": base.as_dict(),
        "setting": choice.setting,
        "tried": choice.tried,
        "importance": rises,
        "alone": by_itself,
        "lost_without": lost,
        "warnings": warnings,
        "left_out": data.left_out,
        "versions": _versions(),
    }


def _refit(learner: Learner, rule: ModelRule, data: _Data, model: Model, choice: Choice, rows: Array) -> Model:
    """The same settings, calibration and threshold on all rows. The figures stay those of the fit that was judged."""
    learned = _learn(learner, rule, data, rows)
    fitted, sums = _fit(learner, rule, model.kind, learned, choice)
    fresh = replace(model, inputs=learned.inputs, parameters=fitted)
    _check_export(fresh, data.values, rows, sums)
    return fresh


def _figures(kind: str, target: Array, scores: Array, limit: float, labels: tuple[str, ...]) -> Metrics:
    if not np.isfinite(scores).all():
        raise TrainingError(
            f"{np.count_nonzero(~np.isfinite(scores)):,} scores are not finite numbers",
            place="model",
            hint="Its weights or the numbers of these rows are too large: scale the target or the inputs.",
        )
    if kind == "binary":
        return metrics.binary(target, scores, limit, labels)
    return metrics.multiclass(target, scores, labels) if kind == "multiclass" else metrics.regression(target, scores)


def _base(kind: str, fitted: Array, target: Array, labels: tuple[str, ...]) -> Metrics:
    """The figures over the outcomes ``target`` of always answering what the fitted rows have: shares, or the mean."""
    if kind == "regression":
        return _figures(kind, target, np.full(len(target), fitted.mean()), 0.5, labels)
    shares = np.bincount(fitted, minlength=len(labels)) / len(fitted)
    scores = np.full(len(target), shares[1]) if kind == "binary" else np.tile(shares, (len(target), 1))
    return _figures(kind, target, scores, 0.5, labels)


def _scores(model: Model, values: Sequence[Values], rows: Array) -> Array:
    """Of the rows of these numbers. A row takes far more memory than its score: some are made at a time."""
    some = (rows[first : first + SCORED_AT_ONCE] for first in range(0, len(rows), SCORED_AT_ONCE))
    scored_rows = chain.from_iterable(objects(values, each).tolist() for each in some)
    return np.array(model.scores(scored_rows), dtype=float)


def _check_export(model: Model, values: Sequence[Values], rows: Array, sums: Array) -> None:
    """Our own scorer must give what the fitted estimator gives. Raises TrainingError where it does not."""
    plain = compile_scorer(model.kind, model.inputs, model.parameters, Calibration())
    wanted = calibrate.scores(model.kind, Calibration(), sums[:CHECKED_ROWS])
    found = np.array([plain(row) for row in objects(values, rows[:CHECKED_ROWS]).tolist()])
    if not np.allclose(found, wanted, rtol=1e-6, atol=1e-9):
        raise TrainingError(
            "the exported model does not give the same answers as the fitted one",
            place=f"model {model.name}",
            hint=f"Install the scikit-learn that whimbrel is locked to; this is {_versions()['scikit-learn']}.",
        )


def _with_spread(model: Model, scores: Array) -> Model:
    """Deciles of the scores, for drift; of the largest score where there are several classes."""
    flat = scores.max(1) if scores.ndim == 2 else scores
    edges = np.unique(np.quantile(flat, np.linspace(0, 1, SCORE_BINS + 1)[1:-1]))
    shares = np.bincount(np.searchsorted(edges, flat, side="right"), minlength=len(edges) + 1) / len(flat)
    return replace(model, score_edges=tuple(map(float, edges)), score_shares=tuple(map(float, shares)))


def _named(model: Model) -> Model:
    """The version: when it was made, and the head of its digest, so that equal moments do not collide."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    head = model.digest.removeprefix("sha256:")[:8]
    return replace(model, version=f"{stamp}-{head}", digest="")


def _write(model: Model, page: str, folder: Path) -> None:
    """The report first: a model file that is there has its report."""
    path = model_path(folder, model.version)
    path.parent.mkdir(parents=True, exist_ok=True)
    sync_folder(path.parent.parent)
    replace_file(path.with_name(REPORT_FILE), page.encode())
    save_model(model, path)


def _versions() -> dict[str, str]:
    import sklearn

    return {
        "whimbrel": __version__,
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }
