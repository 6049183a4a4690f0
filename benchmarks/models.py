"""How good the learners are beside others: six data sets that packages ship, against the defaults of scikit-learn's
HistGradientBoosting and of LightGBM, fitted and judged on the same rows in the same run.

    python -m benchmarks.models [DATA SET ...]

The mean over splits into three quarters and one quarter: log-loss for classes, RMSE for numbers. "behind": by how much
``boosted`` is behind the better rival in the mean, below zero where it is ahead, and the standard error of that mean.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.prediction.train import metrics
from whimbrel.prediction.train.feature_columns import Array
from whimbrel.prediction.train.search import in_parallel
from whimbrel.prediction.train.tables import read_table
from whimbrel.prediction.train.targets import read_target
from whimbrel.prediction.train.train import scored, train
from whimbrel.project.predict import ModelRule

HELD = 0.25
SPLITS = 10
SPLITS_OF_MANY = 3  # rows enough that chance has little say
MANY = 5000
LEARNERS = ("linear", "boosted")
RIVALS = ("HistGradientBoosting", "LightGBM")
Scores = tuple[Array, Array]  # scores and outcomes, as ``train.scored`` gives them


class Case(NamedTuple):
    """A data set and what is predicted in it."""

    table: pa.Table
    target: str
    positive: str = ""

    @property
    def splits(self) -> int:
        return SPLITS_OF_MANY if self.table.num_rows > MANY else SPLITS


def main() -> int:
    wanted = sys.argv[1:] or list(CASES)
    print(
        f"{'data set':<14} {'rows':>6} {'figure':<9} "
        + " ".join(f"{name:>20}" for name in (*LEARNERS, *RIVALS))
        + "  behind"
    )
    for name in wanted:
        case = CASES[name]()
        found = compare(case)
        figure = next(iter(found.values())).name
        row = " ".join(f"{found[each].mean:>20.4f}" for each in (*LEARNERS, *RIVALS))
        mean, error = behind(found, "boosted")
        print(f"{name:<14} {case.table.num_rows:>6,} {figure:<9} {row}  {mean:+.4f} ± {error:.4f}", flush=True)
    return 0


class Figure(NamedTuple):
    name: str
    values: tuple[float, ...]  # one for each split

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))


def behind(found: dict[str, Figure], learner: str) -> tuple[float, float]:
    """How far the learner's mean is behind that of the better rival, and the standard error over the same splits."""
    rival = min((found[each] for each in RIVALS), key=lambda each: each.mean)
    differences = np.array(found[learner].values) - np.array(rival.values)
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    return float(differences.mean()), error


def compare(case: Case, splits: int = 0, learners: tuple[str, ...] = LEARNERS) -> dict[str, Figure]:
    """By contestant, its loss on the held rows of each split."""
    found: dict[str, list[tuple[str, float]]] = {}
    for seed, (fit, held) in enumerate(parts(case, splits or case.splits)):
        for learner in learners:
            found.setdefault(learner, []).append(loss(ours(case, learner, fit, held, seed)))
        for rival in RIVALS:
            found.setdefault(rival, []).append(loss(theirs(case, rival, fit, held, seed)))
    return {name: Figure(each[0][0], tuple(value for _, value in each)) for name, each in found.items()}


def parts(case: Case, splits: int) -> Iterator[tuple[Array, Array]]:
    from sklearn.model_selection import train_test_split

    rows = np.arange(case.table.num_rows)
    outcomes = pc.dictionary_encode(case.table[case.target].combine_chunks()).indices.to_numpy()
    classes = outcomes if outcomes.max() < 10 else None
    for seed in range(splits):
        yield tuple(train_test_split(rows, test_size=HELD, stratify=classes, random_state=seed))


def ours(case: Case, learner: str, fit: Array, held: Array, seed: int) -> Scores:
    """As ``whimbrel train`` makes it of the rows to fit."""
    rule = ModelRule("case", "case", case.target, learner=learner, positive=case.positive, holdout=0, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        model = train(rule, case.table.take(fit), manifest_id="", as_of="", folder=Path(folder))
    return scored(model, case.table.take(held))


def theirs(case: Case, rival: str, fit: Array, held: Array, seed: int) -> Scores:
    data, categories = _matrix(case)
    rule = ModelRule("case", "case", case.target, positive=case.positive)
    target = read_target(rule, case.table, np.arange(case.table.num_rows))
    estimator = _rival(rival, target.kind == "regression", categories, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        in_parallel(
            lambda known: estimator.fit(data[known], target.values[known]), [fit]
        )  # no thread waits for another
        if target.kind == "regression":
            return np.asarray(estimator.predict(data[held])), target.values[held]
        scores = np.asarray(estimator.predict_proba(data[held]))
    return scores[:, 1] if target.kind == "binary" else scores, target.values[held]


def loss(found: Scores) -> tuple[str, float]:
    scores, target = found
    if target.dtype.kind == "f":
        return "RMSE", float(np.sqrt(np.mean((scores - target) ** 2)))
    return "log-loss", metrics.log_loss(np.stack([1 - scores, scores], 1) if scores.ndim == 1 else scores, target)


def _rival(name: str, numbers: bool, categories: list[int], seed: int) -> Any:
    if name == "LightGBM":
        import lightgbm

        made = lightgbm.LGBMRegressor if numbers else lightgbm.LGBMClassifier
        return made(random_state=seed, verbose=-1, n_jobs=1, categorical_feature=categories)
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if numbers else HistGradientBoostingClassifier
    return kind(random_state=seed, categorical_features=categories or None)


def _matrix(case: Case) -> tuple[Array, list[int]]:
    """All inputs as numbers, and which of them are codes of categories."""
    columns, categories = [], []
    for number, name in enumerate(each for each in case.table.column_names if each != case.target):
        column = case.table[name].combine_chunks()
        if pa.types.is_string(column.type):
            categories.append(number)
            column = pc.dictionary_encode(column).indices
        columns.append(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False))
    return np.stack(columns, 1), categories


def _scikit(name: str) -> Case:
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    names = [str(each) for each in found.feature_names]
    columns = {each: pa.array(found.data[:, number]) for number, each in enumerate(names)}
    if name == "diabetes":
        return Case(pa.table(columns | {"target": pa.array(found.target)}), "target")
    labels = pa.array([str(found.target_names[each]) for each in found.target])
    return Case(pa.table(columns | {"target": labels}), "target", "malignant" if name == "breast_cancer" else "")


def _shipped(package: str, path: str) -> pa.Table:
    """A CSV file of a package, which need not be imported for it."""
    found = find_spec(package)
    assert found is not None, f"pip install {package}"
    return read_table([Path(str(found.origin)).parent / path])


def _penguins() -> Case:
    table = _shipped("plotnine", "data/penguins.csv")
    # The file says NA where nothing was measured.
    columns = {}
    for name in table.column_names:
        column = pc.cast(table[name], pa.string())
        known = pc.if_else(pc.equal(column, "NA"), pa.scalar(None, pa.string()), column)
        columns[name] = known if name in ("species", "island", "sex") else pc.cast(known, pa.float64())
    return Case(pa.table(columns), "species")


def _fair() -> Case:
    table = _shipped("statsmodels", "datasets/fair/fair.csv")
    had = pc.if_else(pc.greater(table["affairs"], 0), "yes", "no")
    return Case(table.drop_columns("affairs").append_column("had", had), "had")


CASES: dict[str, Callable[[], Case]] = {
    "breast cancer": lambda: _scikit("breast_cancer"),
    "wine": lambda: _scikit("wine"),
    "penguins": _penguins,
    "diabetes": lambda: _scikit("diabetes"),
    "fair": _fair,
    "diamonds": lambda: Case(_shipped("plotnine", "data/diamonds.csv"), "price"),
}


if __name__ == "__main__":
    sys.exit(main())
