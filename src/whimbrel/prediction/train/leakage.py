"""Which inputs the answers rest on, and which look as if they knew the outcome beforehand.

Skill is the share of the loss of "always the base rate" (or the mean) that is gone: 0 knows nothing, 1 everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from whimbrel.prediction.model.features import NUMBER, Input
from whimbrel.prediction.model.model import Model
from whimbrel.prediction.train import linear, metrics
from whimbrel.prediction.train.feature_columns import Array, FeatureColumn, Values, objects
from whimbrel.prediction.train.search import in_parallel, loss

ALONE_AUC, ALONE_SKILL = 0.95, 0.8  # an attribute alone that is as good as this has probably seen the outcome
DOMINANT = 0.3  # of a model's skill: what goes when it is fitted without the attribute
SUSPECTS = 3  # inputs that are left out in turn: those that shuffling hurts most, and those best alone
STRENGTH = 0.3  # of the linear fits that leave one out
LEFT_OUT_ROWS = 20_000
SAMPLE = 2000  # rows shuffled
QUESTION = "is it known when a prediction is asked for? If not, exclude it."
PRIOR = 10.0  # rows of the base rate that stand beside each place's own


def importance(
    model: Model, values: Sequence[Values], numbers: Array, target: Array, seed: int
) -> list[dict[str, Any]]:
    """By how much the loss rises when one column is shuffled over a sample of rows, the largest first.

    ``values`` are the model's columns, ``numbers`` those of the rows, ``target`` their outcomes. ``share`` is of all
    rises.
    """
    draw = np.random.default_rng(seed)
    sample = draw.permutation(len(numbers))[:SAMPLE]
    rows, target = objects(values, numbers[sample]), target[sample]
    before = score_loss(model.kind, target, model.scores(rows.tolist()))
    rises = []
    for number in range(len(model.columns)):
        shuffled = rows.copy()
        shuffled[:, number] = draw.permutation(shuffled[:, number])
        rises.append(max(0.0, score_loss(model.kind, target, model.scores(shuffled.tolist())) - before))
    whole = sum(rises) or 1.0
    found = [
        {"input": name, "rise": float(rise), "share": float(rise / whole)}
        for name, rise in zip(model.columns, rises, strict=True)
    ]
    return sorted(found, key=lambda each: -each["rise"])


def alone(
    kind: str, inputs: Sequence[Input], columns: Sequence[FeatureColumn], target: Array
) -> dict[str, dict[str, Any]]:
    """How well each input predicts alone: each half of the rows is scored by the outcomes of the other half.

    ``skill`` for all kinds, ``auc`` for binary. What rows of one place and half have is summed first: they all have
    the same score.
    """
    if kind == "regression":
        distance = target - target.mean()  # or the sums of squares would lose what matters
        outcomes = np.stack([distance, distance**2], 1)
    else:
        outcomes = np.eye(int(target.max()) + 1)[target]
    halves = np.arange(len(target)) % 2 == 0
    worst = _lost(kind, *_by_place(np.zeros(len(target), np.int32), outcomes, 1), None) or 1.0
    found = {}
    for each, column in zip(inputs, columns, strict=True):
        here, there = (_by_place(column.places[half], outcomes[half], each.places) for half in (halves, ~halves))
        rates = _rates(*there), _rates(*here)
        lost = sum(_lost(kind, *part, rate) for part, rate in zip((here, there), rates, strict=True))
        figures: dict[str, Any] = {"skill": 1 - lost / worst}
        if kind == "binary":
            scores, counts = np.concatenate(rates)[:, 1], np.concatenate([here[1], there[1]])
            figures["auc"] = metrics.auc_of_counts(scores, counts[:, 0], counts[:, 1])
        found[each.name] = figures
    return found


def warnings(
    inputs: Sequence[Input], values: Sequence[Values], by_itself: dict[str, dict[str, Any]], lost: dict[str, float]
) -> list[dict[str, str]]:
    """What a person should look at before the model is used, each with its input."""
    found = {}
    for name, figures in by_itself.items():
        if figures["skill"] >= ALONE_SKILL or (figures.get("auc") or 0) >= ALONE_AUC:
            by = f"AUC {figures['auc']:.3f}" if figures.get("auc") else f"skill {figures['skill']:.2f}"
            found[name] = f"predicts almost everything alone ({by}): {QUESTION}"
    for name, share in lost.items():
        if share >= DOMINANT and name not in found and len(inputs) > 1:
            found[name] = f"carries much of the model's skill: without it {share:.0%} is lost: {QUESTION}"
    for each, column in zip(inputs, values, strict=True):
        if each.type == NUMBER and not each.part and each.name not in found and _names_rows(column):
            found[each.name] = "is a different whole number in every row: is it an identifier? If so, exclude it."
    return [{"input": name, "message": message} for name, message in found.items()]


def suspects(by_itself: dict[str, dict[str, Any]], rises: list[dict[str, Any]]) -> list[str]:
    """The inputs worth leaving out for a trial."""
    best = sorted(by_itself, key=lambda name: -float(by_itself[name]["skill"]))
    return list(dict.fromkeys([*best[:SUSPECTS], *(each["input"] for each in rises[:SUSPECTS])]))


def lost_without(
    kind: str, inputs: Sequence[Input], columns: Sequence[FeatureColumn], target: Array, names: Sequence[str]
) -> dict[str, float]:
    """The share of skill that goes when a linear model is fitted without the input, for each of ``names``."""
    rows = slice(None, None, max(1, len(target) // LEFT_OUT_ROWS))
    taken = [FeatureColumn(each.amounts[rows], each.places[rows]) for each in columns]
    kept = [[left_out not in (each.name, each.column) for each in inputs] for left_out in (None, *names)]
    whole, *skills = in_parallel(lambda keep: _skill(kind, inputs, taken, target[rows], keep), kept)
    return {name: 1 - skill / whole for name, skill in zip(names, skills, strict=True)} if whole > 0 else {}


def score_loss(kind: str, target: Array, scores: Any) -> float:
    """The mean log-loss of scores as a model gives them, or the mean square of the error."""
    found = np.asarray(scores, dtype=float)
    if kind == "regression":
        return float(np.mean((found - target) ** 2))
    return metrics.log_loss(np.stack([1 - found, found], 1) if kind == "binary" else found, target)


def _skill(
    kind: str, inputs: Sequence[Input], columns: Sequence[FeatureColumn], target: Array, keep: list[bool]
) -> float:
    """Fitted on the even rows, judged on the odd ones."""
    used = [
        # For trees a missing amount is NaN; here it is the mean.
        (each, FeatureColumn(np.where(np.isnan(column.amounts), each.mean, column.amounts), column.places))
        for each, column, wanted in zip(inputs, columns, keep, strict=True)
        if wanted
    ]
    if not used:
        return 0.0
    matrix = linear.matrix([each for each, _ in used], [column for _, column in used])
    judged = target[1::2]
    sums = linear.sums(matrix[::2], target[::2], matrix[1::2], kind, STRENGTH)
    return 1 - loss(kind, sums, judged, None) / _base_loss(kind, judged)


def _base_loss(kind: str, target: Array) -> float:
    if kind == "regression":
        return float(np.var(target)) or 1.0
    shares = np.bincount(target) / len(target)
    return float(-np.sum(shares * np.log(np.maximum(shares, 1e-300)))) or 1.0


def _names_rows(values: Values) -> bool:
    whole = all(isinstance(value, int) for value in values.distinct[:-1])  # the last stands for a missing one
    return whole and len(values.codes) > 100 and len(values.used()) == len(values.codes)


def _by_place(places: Array, outcomes: Array, count: int) -> tuple[Array, Array]:
    """How many rows have each place, and the sum of their outcomes."""
    rows = np.bincount(places, minlength=count)
    return rows, np.stack([np.bincount(places, weights=each, minlength=count) for each in outcomes.T], 1)


def _rates(rows: Array, sums: Array) -> Array:
    """The mean outcome at each place, drawn towards the whole mean where rows are few."""
    rates: Array = (sums + PRIOR * sums.sum(0) / rows.sum()) / (rows[:, None] + PRIOR)
    return rates


def _lost(kind: str, rows: Array, sums: Array, rates: Array | None) -> float:
    """The sum of all rows' losses, where a row's score is the rate of its place, or without rates the mean of all."""
    found = np.tile(sums.sum(0) / rows.sum(), (len(rows), 1)) if rates is None else rates
    if kind != "regression":
        return float(-np.sum(sums * np.log(np.clip(found, metrics.LEAST_SCORE, 1))))
    score = found[:, 0]  # of each row (score - outcome)²
    return float(np.sum(rows * score**2 - 2 * score * sums[:, 0] + sums[:, 1]))
