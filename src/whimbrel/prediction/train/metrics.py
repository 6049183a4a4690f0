"""How good answers were: the figures that the report shows and that the gate of a renewal compares.

scikit-learn's, but for the calibration error, of which it has none, and for AUC and log-loss: training asks for those
of every input, and ours take a quarter of the time. scikit-learn is imported where a figure is made, so that a command
that makes none starts without it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whimbrel.prediction.model.model import Metrics
from whimbrel.prediction.train.feature_columns import Array

CALIBRATION_BINS = 10
LEAST_SCORE = 1e-15


def binary(target: Array, scores: Array, threshold: float, labels: Sequence[str]) -> Metrics:
    """``target`` is 0 or 1, ``scores`` those of class 1."""
    from sklearn import metrics as made

    called = (scores >= threshold).astype(int)
    precision, recall, f1, _ = made.precision_recall_fscore_support(target, called, average="binary", zero_division=0)
    values: dict[str, float | None] = {
        "auc": auc(target, scores),
        "average_precision": float(made.average_precision_score(target, scores)) if target.any() else None,
        "log_loss": log_loss(np.stack([1 - scores, scores], 1), target),
        "brier": float(np.mean((scores - target) ** 2)),
        "calibration_error": calibration_error(target, scores),
        "accuracy": float(np.mean(called == target)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "base_rate": float(np.mean(target)),
    }
    return Metrics("binary", len(target), values, tuple(labels), _confusion(target, called, 2))


def multiclass(target: Array, scores: Array, labels: Sequence[str]) -> Metrics:
    """``scores`` has a column for each class."""
    from sklearn.metrics import f1_score

    called = scores.argmax(1)
    values: dict[str, float | None] = {
        "log_loss": log_loss(scores, target),
        "accuracy": float(np.mean(called == target)),
        "macro_f1": float(f1_score(target, called, average="macro", zero_division=0)),
    }
    return Metrics("multiclass", len(target), values, tuple(labels), _confusion(target, called, len(labels)))


def regression(target: Array, found: Array) -> Metrics:
    from sklearn import metrics as made

    values: dict[str, float | None] = {
        "rmse": float(made.root_mean_squared_error(target, found)),
        "mae": float(made.mean_absolute_error(target, found)),
        "r2": float(made.r2_score(target, found)) if np.ptp(target) else None,
    }
    return Metrics("regression", len(target), values)


def auc(target: Array, scores: Array) -> float | None:
    """How often a positive scores above a negative; a tie counts half. None where there is only one class."""
    found, place = np.unique(scores, return_inverse=True)
    return auc_of_counts(found, np.bincount(place, weights=1 - target), np.bincount(place, weights=target))


def auc_of_counts(scores: Array, negatives: Array, positives: Array) -> float | None:
    """The same of so many rows that have each of the scores."""
    order = np.argsort(scores)
    scores, negatives, positives = scores[order], negatives[order], positives[order]
    if not positives.sum() or not negatives.sum():
        return None
    first = np.flatnonzero(np.diff(scores, prepend=np.nan))  # of those that tie
    negatives, positives = np.add.reduceat(negatives, first), np.add.reduceat(positives, first)
    above = positives * (np.cumsum(negatives) - negatives / 2)
    return float(above.sum() / (positives.sum() * negatives.sum()))


def log_loss(scores: Array, target: Array) -> float:
    """Mean of minus the logarithm of the score of the true outcome, in nats."""
    came_true = scores[np.arange(len(target)), target]
    return float(-np.mean(np.log(np.clip(came_true, LEAST_SCORE, 1))))


def calibration_error(target: Array, scores: Array) -> float:
    """Mean distance of score and outcome over ten bins of as many rows each."""
    return float(
        sum(abs(said - observed) * rows for said, observed, rows in calibration_curve(target, scores)) / len(target)
    )


def calibration_curve(target: Array, scores: Array) -> list[tuple[float, float, int]]:
    """For each bin, from the lowest scores up: mean score, share of positives, rows."""
    parts = np.array_split(np.argsort(scores, kind="stable"), CALIBRATION_BINS)
    return [(float(scores[part].mean()), float(target[part].mean()), len(part)) for part in parts if len(part)]


def _confusion(target: Array, called: Array, classes: int) -> tuple[tuple[int, ...], ...]:
    from sklearn.metrics import confusion_matrix

    table = confusion_matrix(target, called, labels=np.arange(classes))
    return tuple(tuple(map(int, row)) for row in table)
