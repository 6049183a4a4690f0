"""Scores that mean what they say: of the rows with a score of 0.3, three in ten are positive."""

from __future__ import annotations

import math

import numpy as np

from whimbrel.prediction.model.scorer import Calibration, link
from whimbrel.prediction.train.feature_columns import Array
from whimbrel.prediction.train.search import loss

PRIOR = 1.0  # nats for the square of the slope's logarithm: what rows must gain before it leaves one


def fit(method: str, kind: str, margins: Array, target: Array) -> Calibration:
    """From the margins of rows that the learner had not seen. Several classes share one slope, whatever the method."""
    if method == "none" or kind == "regression":
        return Calibration()
    if kind == "multiclass":
        return Calibration("sigmoid", slope=_slope(margins, target))
    if method == "isotonic":
        return _isotonic(margins[:, 0], target)
    return _sigmoid(margins, target)


def scores(kind: str, calibration: Calibration, margins: Array) -> Array:
    """The scores of many rows, by the function that serves one."""
    function = link(kind, calibration)
    return np.array([function(*row) for row in margins.tolist()])


def _sigmoid(margins: Array, target: Array) -> Calibration:
    """Slope and offset by Platt's targets: as if one more row of each outcome had come out the other way.

    Without them, few rows that the margins tell apart would have an endless slope.
    """
    from sklearn.linear_model import LogisticRegression

    counts = np.bincount(target, minlength=2)
    sure = ((counts + 1) / (counts + 2))[target]
    twice = np.concatenate([margins, margins])
    outcomes, weights = np.concatenate([target, 1 - target]), np.concatenate([sure, 1 - sure])
    fitted = LogisticRegression(C=1e4).fit(twice, outcomes, sample_weight=weights)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    # A slope that turns the order around says that the folds hold no signal: leave the scores as they are.
    return Calibration("sigmoid", slope, offset) if slope > 0 else Calibration()


def _slope(margins: Array, target: Array) -> float:
    """The slope from a tenth to ten with the least log-loss, where few rows leave it near one."""

    def lost(slope: float) -> float:
        return len(target) * loss("multiclass", slope * margins, target, None) + PRIOR * math.log(slope) ** 2

    return min((float(each) for each in np.geomspace(0.1, 10, 81)), key=lost)


def _isotonic(margins: Array, target: Array) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(margins, target)
    least = 0.5 / len(target)  # no score is certain: a certain one that is wrong has an infinite loss
    scores = np.clip(fitted.y_thresholds_, least, 1 - least)
    return Calibration("isotonic", margins=_floats(fitted.X_thresholds_), scores=_floats(scores))


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(map(float, values))
