"""Scores that mean what they say: of the rows with a score of 0.3, three in ten are positive."""

from __future__ import annotations

import numpy as np

from whimbrel.predict.columns import Array
from whimbrel.predict.scorer import Calibration, link


def fit(method: str, kind: str, margins: Array, target: Array) -> Calibration:
    """From the margins of rows that the learner had not seen. Several classes share one slope, whatever the method."""
    if method == "none" or kind == "regression":
        return Calibration()
    if kind == "multiclass":
        return Calibration("sigmoid", slope=_slope(margins, target))
    if method == "isotonic":
        return _isotonic(margins[:, 0], target)
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1e4).fit(margins, target)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    # A slope that turns the order around says that the folds hold no signal: leave the scores as they are.
    return Calibration("sigmoid", slope, offset) if slope > 0 else Calibration()


def scores(kind: str, calibration: Calibration, margins: Array) -> Array:
    """The scores of many rows, by the function that serves one."""
    function = link(kind, calibration)
    return np.array([function(*row) for row in margins.tolist()])


def _slope(margins: Array, target: Array) -> float:
    """The slope with the least log-loss, among slopes from a tenth to ten."""
    rows = np.arange(len(target))

    def loss(slope: float) -> float:
        z = slope * margins
        top = z.max(1)
        return float(np.mean(top + np.log(np.exp(z - top[:, None]).sum(1)) - z[rows, target]))

    return min((float(each) for each in np.geomspace(0.1, 10, 81)), key=loss)


def _isotonic(margins: Array, target: Array) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(margins, target)
    least = 0.5 / len(target)  # no score is certain: a certain one that is wrong has an infinite loss
    scores = np.clip(fitted.y_thresholds_, least, 1 - least)
    return Calibration("isotonic", margins=_floats(fitted.X_thresholds_), scores=_floats(scores))


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(map(float, values))
