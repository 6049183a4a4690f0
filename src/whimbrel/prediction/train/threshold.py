"""The score from which a row is called positive, by a stated criterion, from rows that the learner had not seen."""

from __future__ import annotations

import numpy as np

from whimbrel.errors import TrainingError
from whimbrel.prediction.train.feature_columns import Array
from whimbrel.project.predict import ThresholdRule


def choose(rule: ThresholdRule, target: Array, scores: Array) -> float:
    """The best threshold by the criterion. Raises TrainingError where none gives the precision that is asked for."""
    if rule.criterion == "fixed":
        return rule.value
    falling, hits, misses = _counts_by_threshold(target, scores)
    precision, recall = hits / (hits + misses), hits / max(1, int(target.sum()))
    worth = _worth(rule, target, hits, misses, precision, recall)
    if not np.isfinite(worth).any():
        raise TrainingError(
            f"no threshold gives a precision of {rule.precision}; the highest is {precision.max():.3f}",
            place="threshold",
            hint="Ask for a lower precision, or use another criterion.",
        )
    best = int(worth.argmax())
    below = falling[best + 1] if best + 1 < len(falling) else falling[best]
    # Between two scores, so that a rounding of the last digit moves no row over it; above the lower one in any case.
    between = (falling[best] + below) / 2
    return float(between if between > below else falling[best])


def _counts_by_threshold(target: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Every distinct score, falling, and how many positives and negatives score at least it."""
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], target[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    true_positives = np.cumsum(hits)[last]
    return falling[last], true_positives, last + 1 - true_positives


def _worth(rule: ThresholdRule, target: Array, hits: Array, misses: Array, precision: Array, recall: Array) -> Array:
    if rule.criterion in ("f1", "f_beta"):
        square = 1.0 if rule.criterion == "f1" else rule.beta**2
        return (1 + square) * precision * recall / np.maximum(square * precision + recall, 1e-300)
    if rule.criterion == "accuracy":
        return hits - misses
    if rule.criterion == "precision_at_target_recall":
        return np.where(recall >= rule.recall, precision, -np.inf)
    if rule.criterion == "recall_at_target_precision":
        return np.where(precision >= rule.precision, recall, -np.inf)
    overlooked = int(target.sum()) - hits
    return -(rule.false_positive * misses + rule.false_negative * overlooked)
