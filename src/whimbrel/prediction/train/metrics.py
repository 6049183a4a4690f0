"""How good answers were: the figures that the report shows and that the gate of a renewal compares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whimbrel.prediction.model.model import Metrics
from whimbrel.prediction.train.columns import Array

CALIBRATION_BINS = 10
LEAST_SCORE = 1e-15


def binary(target: Array, scores: Array, threshold: float, labels: Sequence[str]) -> Metrics:
    """``target`` is 0 or 1, ``scores`` those of class 1."""
    called = (scores >= threshold).astype(int)
    confusion = confusion_matrix(target, called, 2)
    (_, false_positive), (false_negative, true_positive) = confusion
    precision = true_positive / max(1, true_positive + false_positive)
    recall = true_positive / max(1, true_positive + false_negative)
    values: dict[str, float | None] = {
        "auc": auc(target, scores),
        "average_precision": average_precision(target, scores),
        "log_loss": log_loss(np.stack([1 - scores, scores], 1), target),
        "brier": float(np.mean((scores - target) ** 2)),
        "calibration_error": calibration_error(target, scores),
        "accuracy": float(np.mean(called == target)),
        "precision": precision,
        "recall": recall,
        "f1": f_beta(precision, recall),
        "base_rate": float(np.mean(target)),
    }
    return Metrics("binary", len(target), values, tuple(labels), confusion)


def multiclass(target: Array, scores: Array, labels: Sequence[str]) -> Metrics:
    """``scores`` has a column for each class."""
    called = scores.argmax(1)
    confusion = confusion_matrix(target, called, len(labels))
    table = np.array(confusion)
    right, named, actual = np.diag(table), table.sum(0), table.sum(1)
    present = (named + actual) > 0
    values: dict[str, float | None] = {
        "log_loss": log_loss(scores, target),
        "accuracy": float(np.mean(called == target)),
        "macro_f1": float(np.mean(2 * right[present] / (named + actual)[present])),
    }
    return Metrics("multiclass", len(target), values, tuple(labels), confusion)


def regression(target: Array, found: Array) -> Metrics:
    error = found - target
    spread = float(np.sum((target - target.mean()) ** 2))
    values: dict[str, float | None] = {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "r2": 1 - float(np.sum(error**2)) / spread if spread else None,
    }
    return Metrics("regression", len(target), values)


def auc(target: Array, scores: Array) -> float | None:
    """How often a positive scores above a negative; a tie counts half. None where there is only one class."""
    positives = int(target.sum())
    negatives = len(target) - positives
    if not positives or not negatives:
        return None
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(count) - (count - 1) / 2
    return float((ranks[place][target == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def counts_by_threshold(target: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Every distinct score, falling, and how many positives and negatives score at least it."""
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], target[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    true_positives = np.cumsum(hits)[last]
    return falling[last], true_positives, last + 1 - true_positives


def average_precision(target: Array, scores: Array) -> float | None:
    if not target.sum():
        return None
    _, hits, misses = counts_by_threshold(target, scores)
    steps = np.diff(np.concatenate([[0], hits])) / target.sum()
    return float(np.sum(steps * hits / (hits + misses)))


def log_loss(scores: Array, target: Array) -> float:
    """Mean of minus the logarithm of the score of what came true, in nats."""
    came_true = scores[np.arange(len(target)), target]
    return float(-np.mean(np.log(np.clip(came_true, LEAST_SCORE, 1))))


def calibration_error(target: Array, scores: Array) -> float:
    """Mean distance of score and outcome over ten bins of as many rows each."""
    return float(sum(abs(said - came) * rows for said, came, rows in calibration_curve(target, scores)) / len(target))


def calibration_curve(target: Array, scores: Array) -> list[tuple[float, float, int]]:
    """For each bin, from the lowest scores up: mean score, share of positives, rows."""
    parts = np.array_split(np.argsort(scores, kind="stable"), CALIBRATION_BINS)
    return [(float(scores[part].mean()), float(target[part].mean()), len(part)) for part in parts if len(part)]


def confusion_matrix(target: Array, called: Array, classes: int) -> tuple[tuple[int, ...], ...]:
    table = np.bincount(target.astype(int) * classes + called.astype(int), minlength=classes * classes)
    return tuple(tuple(map(int, row)) for row in table.reshape(classes, classes))


def f_beta(precision: float, recall: float, beta: float = 1.0) -> float:
    below = beta * beta * precision + recall
    return (1 + beta * beta) * precision * recall / below if below else 0.0
