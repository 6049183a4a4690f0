"""The learner ``linear``: a weight for each place of each input and, for numbers, one for the scaled amount.

scikit-learn fits it. Quantile bins under a logistic model follow any shape of one input, hold when time passes, and
score in some microseconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from whimbrel.prediction.model.features import NUMBER, Input
from whimbrel.prediction.model.scorer import Linear
from whimbrel.prediction.train.feature_columns import Array, FeatureColumn
from whimbrel.prediction.train.holdout import Split
from whimbrel.prediction.train.search import Choice, in_parallel, loss

once, form = False, "linear"  # see train.Learner
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)  # scikit-learn's C: how little the weights are held small
MOST_STEPS = 500
# For classes only, since a regression's numbers may go anywhere:
REACH = 3.0  # standard deviations; an outlier pulls no further
OVER_TIME = (
    0.3  # amounts in time-ordered data: their straight line runs on into values that nobody has seen, bins do not
)


def matrix(inputs: Sequence[Input], columns: Sequence[FeatureColumn]) -> Any:
    """A sparse row for each row: a one at each input's place, and the scaled amounts of numbers."""
    import scipy.sparse as sparse

    numbers = [number for number, each in enumerate(inputs) if each.type == NUMBER]
    rows, width, offset = len(columns[0].places), len(inputs) + len(numbers), 0
    data, places = np.ones((rows, width)), np.empty((rows, width), np.int32)  # what there is most of in memory
    for number, (each, column) in enumerate(zip(inputs, columns, strict=True)):
        np.add(column.places, offset, out=places[:, number])
        offset += each.places
    for at, number in enumerate(numbers, len(inputs)):
        data[:, at] = (columns[number].amounts - inputs[number].mean) / inputs[number].scale
        places[:, at] = offset
        offset += 1
    starts = np.arange(rows + 1) * width
    return sparse.csr_matrix((data.ravel(), places.ravel(), starts), shape=(rows, offset))


def search(data: Any, target: Array, weights: Array | None, kind: str, parts: Sequence[Split], seed: int) -> Choice:
    """The strength with the least mean loss over the folds."""

    def judge(part: Split) -> list[Array]:
        known = None if weights is None else weights[part.fit]
        fitted = _path(data[part.fit], target[part.fit], known, kind, STRENGTHS)
        return [_margins(each, data[part.held], kind) for each in fitted]

    found = in_parallel(judge, parts)
    tried = []
    for number, strength in enumerate(STRENGTHS):
        losses = [
            loss(kind, margins[number], target[part.held], None if weights is None else weights[part.held])
            for margins, part in zip(found, parts, strict=True)
        ]
        tried.append({"strength": strength, "loss": float(np.mean(losses))})
    best = min(range(len(tried)), key=lambda number: tried[number]["loss"])
    margins = np.concatenate([each[best] for each in found])
    return Choice({"strength": STRENGTHS[best]}, margins, tried)


def fit(
    data: Any, target: Array, weights: Array | None, kind: str, inputs: Sequence[Input], setting: Any, seed: int
) -> tuple[Linear, Array]:
    """The fitted weights as plain numbers, and the estimator's own sums for the rows it was fitted on."""
    estimator = in_parallel(lambda strength: _path(data, target, weights, kind, [strength])[0], [setting["strength"]])[
        0
    ]
    weights, start = np.atleast_2d(estimator.coef_).T, np.atleast_1d(estimator.intercept_)
    return as_linear(weights, start, inputs, setting["strength"]), _margins(estimator, data, kind)


def sums(data: Any, target: Array, judged: Any, kind: str, strength: float) -> Array:
    """Fit on ``data`` and give the sums of ``judged``, without exporting anything."""
    return _margins(_path(data, target, None, kind, [strength])[0], judged, kind)


def _path(data: Any, target: Array, weights: Array | None, kind: str, strengths: Sequence[float]) -> list[Any]:
    """One fitted estimator for each strength, each starting where the one before it ended."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if kind == "regression":
        made = [Ridge(alpha=1 / strength, solver="sparse_cg", tol=1e-6) for strength in strengths]
        return [each.fit(data, target, sample_weight=weights) for each in made]
    estimators: list[Any] = []
    for strength in strengths:
        estimator = LogisticRegression(C=strength, max_iter=MOST_STEPS, warm_start=True)
        if estimators:
            last = estimators[-1]
            estimator.coef_, estimator.intercept_ = last.coef_.copy(), last.intercept_.copy()
            estimator.classes_ = last.classes_
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # steps ran out: close enough, and the hold-out judges it
            estimators.append(estimator.fit(data, target, sample_weight=weights))
    return estimators


def _margins(estimator: Any, data: Any, kind: str) -> Array:
    """The estimator's sums before any link function, a column for each output."""
    found = estimator.predict(data) if kind == "regression" else estimator.decision_function(data)
    return np.asarray(found, dtype=float).reshape(data.shape[0], -1)


def as_linear(weights: Array, start: Array, inputs: Sequence[Input], strength: float) -> Linear:
    """From a weight for each column of ``matrix`` and each output, and a number for each output."""
    places, scaled, offset = [], [], 0
    for each in inputs:
        places.append(tuple(tuple(map(float, row)) for row in weights[offset : offset + each.places]))
        offset += each.places
    for each in inputs:
        scaled.append(tuple(map(float, weights[offset])) if each.type == NUMBER else ())
        offset += each.type == NUMBER
    return Linear(strength, tuple(map(float, start)), tuple(scaled), tuple(places))
