"""The learners beside the defaults of scikit-learn's histogram boosting and of LightGBM, on the data sets of others.

One split of few rows says little: a single row that was taken for certain can be half of a log-loss. So the comparison
itself is over many splits, and slow. What runs each time is the first splits, where nothing is left to chance: the
seeds are fixed, and each bound is below what the better rival reaches on these splits, so that a learner like it would
fail.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from benchmarks import models


class Bound(NamedTuple):
    """The loss that ``boosted`` reaches at most, in the mean over the first splits."""

    loss: float
    splits: int = 1
    rows: int = 0  # drawn from the data set; 0: all


BOUNDS = {
    "breast cancer": Bound(0.155),
    "wine": Bound(0.030, splits=4),
    "penguins": Bound(0.026, splits=3),
    "diabetes": Bound(61.8),
    "fair": Bound(0.570),
    "diamonds": Bound(745, rows=6000),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "wine" else ()) for name in models.CASES]
)
def test_boosted_stays_within_its_bound_and_ahead_of_both(name: str) -> None:
    bound, case = BOUNDS[name], models.CASES[name]()
    if bound.rows:
        drawn = np.random.default_rng(0).permutation(case.table.num_rows)[: bound.rows]
        case = case._replace(table=case.table.take(drawn))
    found = models.compare(case, bound.splits, ("boosted",))
    assert found["boosted"].mean <= bound.loss < min(found[rival].mean for rival in models.RIVALS), found


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", models.CASES)
def test_boosted_is_at_least_level_on_each_of_six_data_sets(name: str) -> None:
    found = models.compare(models.CASES[name](), learners=("boosted",))
    mean, error = models.behind(found, "boosted")
    assert mean <= error, found
