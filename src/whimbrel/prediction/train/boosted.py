"""The learner ``boosted``: scikit-learn's histogram gradient boosting, its trees as plain arrays.

An input is one number: a number itself, or a category's place in the order of its mean target. A missing value, and a
category that training did not know, is NaN; every split says to which side NaN goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from whimbrel.prediction.model.features import CATEGORY, Input
from whimbrel.prediction.model.scorer import LEAF, NAN, Boosted, Tree
from whimbrel.prediction.train.feature_columns import Array, FeatureColumn
from whimbrel.prediction.train.holdout import Split
from whimbrel.prediction.train.search import Choice, in_parallel, loss

once, form = False, "boosted"  # see train.Learner
LEAVES = (7, 31)
# Numbers take more rounds and smaller leaves than classes: each row says more, and there are more values to reach.
MOST_ROUNDS, MOST_ROUNDS_FOR_NUMBERS = 160, 240
LEAST_ROWS, LEAST_ROWS_FOR_NUMBERS = 50, 10  # of a leaf; in small tables a hundredth of the rows, and at least 2
EVERY = 10  # rounds between two that are judged
RATE = 0.07


def matrix(inputs: Sequence[Input], columns: Sequence[FeatureColumn]) -> Array:
    """A column for each input, as the module's head says."""
    made = np.empty((len(columns[0].places), len(inputs)))
    for number, (each, column) in enumerate(zip(inputs, columns, strict=True)):
        if each.type == CATEGORY:
            made[:, number] = np.where(column.places < each.known, column.places, NAN)
        else:
            made[:, number] = column.amounts
    return made


def search(data: Array, target: Array, weights: Array | None, kind: str, parts: Sequence[Split], seed: int) -> Choice:
    """The number of leaves and of rounds with the least mean loss over the folds."""

    def judge(task: tuple[int, Split]) -> dict[int, Array]:
        leaves, part = task
        known = None if weights is None else weights[part.fit]
        estimator = _estimator(data[part.fit], target[part.fit], known, kind, leaves, most, seed)
        return _margins_by_round(estimator, data[part.held], kind)

    most = MOST_ROUNDS_FOR_NUMBERS if kind == "regression" else MOST_ROUNDS
    tasks = [(leaves, part) for leaves in LEAVES for part in parts]
    made = in_parallel(judge, tasks)
    found = {leaves: made[number * len(parts) : (number + 1) * len(parts)] for number, leaves in enumerate(LEAVES)}
    tried = []
    for leaves, rounds in product(LEAVES, range(EVERY, most + 1, EVERY)):
        losses = [
            loss(kind, margins[rounds], target[part.held], None if weights is None else weights[part.held])
            for margins, part in zip(found[leaves], parts, strict=True)
        ]
        tried.append({"leaves": leaves, "rounds": rounds, "loss": float(np.mean(losses))})
    best = min(tried, key=lambda each: each["loss"])
    setting = {"leaves": int(best["leaves"]), "rounds": int(best["rounds"])}
    margins = np.concatenate([each[setting["rounds"]] for each in found[setting["leaves"]]])
    return Choice(setting, margins, tried)


def fit(
    data: Array, target: Array, weights: Array | None, kind: str, inputs: Sequence[Input], setting: Any, seed: int
) -> tuple[Boosted, Array]:
    """The fitted trees as plain arrays, and the estimator's own sums for the rows it was fitted on."""
    leaves, rounds = setting["leaves"], setting["rounds"]
    estimator = in_parallel(lambda _: _estimator(data, target, weights, kind, leaves, rounds, seed), [0])[0]
    return _export(estimator, leaves), _margins_by_round(estimator, data, kind)[rounds]


def _estimator(
    data: Array, target: Array, weights: Array | None, kind: str, leaves: int, rounds: int, seed: int
) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    make = HistGradientBoostingRegressor if kind == "regression" else HistGradientBoostingClassifier
    least = LEAST_ROWS_FOR_NUMBERS if kind == "regression" else LEAST_ROWS
    estimator = make(
        max_iter=rounds,
        learning_rate=RATE,
        max_leaf_nodes=leaves,
        min_samples_leaf=max(2, min(least, len(target) // 100)),
        l2_regularization=5.0,
        max_features=0.5,
        early_stopping=False,
        random_state=seed,
    )
    return estimator.fit(data, target, sample_weight=weights)


def _margins_by_round(estimator: Any, data: Array, kind: str) -> dict[int, Array]:
    """The sums after every tenth round, a column for each output."""
    staged = estimator.staged_predict if kind == "regression" else estimator.staged_decision_function
    return {
        rounds: np.array(found, dtype=float).reshape(len(data), -1)
        for rounds, found in enumerate(staged(data), 1)
        if rounds % EVERY == 0
    }


def _export(estimator: Any, leaves: int) -> Boosted:
    """scikit-learn has no public form of its trees, so training holds the export to the estimator's own sums."""
    stages = estimator._predictors
    trees = [_tree(output, each.nodes) for stage in stages for output, each in enumerate(stage)]
    baseline = np.ravel(estimator._baseline_prediction)
    return Boosted(leaves, tuple(map(float, baseline)), tuple(trees))


def _tree(output: int, nodes: Any) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    thresholds = np.nan_to_num(np.where(leaf, 0.0, nodes["num_threshold"]))  # JSON knows no infinity
    return Tree(
        output=output,
        feature=tuple(np.where(leaf, LEAF, nodes["feature_idx"]).tolist()),
        threshold=tuple(thresholds.tolist()),
        left=tuple(np.where(leaf, 0, nodes["left"]).tolist()),
        right=tuple(np.where(leaf, 0, nodes["right"]).tolist()),
        missing_left=tuple(nodes["missing_go_to_left"].astype(bool).tolist()),
        value=tuple(np.where(leaf, nodes["value"], 0.0).tolist()),
    )
