"""The gate: figures in, a decision out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.errors import TrainingError
from whimbrel.prediction.model.model import Metrics
from whimbrel.prediction.train.gate import decide

SHARES = st.floats(0, 1)


def figures(**values: float | None) -> Metrics:
    return Metrics("binary", 100, {"base_rate": 0.3, **values})


# What the base rate of 100 rows, 30 of them positive, reaches.
BASE = Metrics("binary", 100, {"auc": 0.5, "log_loss": 0.6109, "brier": 0.21, "base_rate": 0.3})


def test_without_a_model_in_service_the_new_one_passes_with_its_figures() -> None:
    found = decide(None, figures(auc=0.7, log_loss=0.3), (), 0.0, BASE)
    assert found.passed
    assert found.figures == {"log_loss": {"present": None, "new": 0.3}, "auc": {"present": None, "new": 0.7}}
    assert found.rows == 100


@pytest.mark.parametrize(
    ("new", "passed", "reason"),
    [
        ({"auc": 0.75, "log_loss": 0.30}, True, "at least as good by log_loss (0.3000 → 0.3000)"),
        ({"auc": 0.76, "log_loss": 0.31}, False, "worse by log_loss (0.3000 → 0.3100)"),
        ({"auc": 0.74, "log_loss": 0.29}, False, "worse by auc (0.7500 → 0.7400)"),
        ({"auc": 0.74, "log_loss": 0.31}, False, "worse by log_loss (0.3000 → 0.3100), auc (0.7500 → 0.7400)"),
        ({"auc": math.nan, "log_loss": 0.29}, False, "worse by auc"),
    ],
)
def test_it_must_be_as_good_by_every_metric_of_its_kind(new: dict[str, float], passed: bool, reason: str) -> None:
    found = decide(figures(auc=0.75, log_loss=0.3), figures(**new), (), 0.0, BASE)
    assert found.passed is passed
    assert reason in found.reason


@given(SHARES, SHARES, SHARES)
def test_tolerance_is_on_the_side_of_the_new_model(present: float, new: float, tolerance: float) -> None:
    more = decide(figures(auc=present), figures(auc=new), ("auc",), tolerance, BASE)
    less = decide(figures(brier=present), figures(brier=new), ("brier",), tolerance, BASE)
    assert more.passed == (new >= present - tolerance and new > 0.6038)
    assert less.passed == (new <= present + tolerance and new < 0.21)


def test_a_figure_that_the_rows_do_not_have_is_named() -> None:
    with pytest.raises(TrainingError, match="'auc' is not defined over these 100 rows"):
        decide(None, figures(auc=None, log_loss=0.3), ("auc",), 0.0, BASE)
    with pytest.raises(TrainingError, match="'rmse' is not defined"):
        decide(None, figures(auc=0.5), ("rmse",), 0.0, BASE)


@pytest.mark.parametrize("present", [None, figures(auc=0.3, log_loss=0.9)])
@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ({"auc": 0.38, "log_loss": 0.60}, "no better than chance: auc 0.3800, which must be above 0.60"),
        ({"auc": 0.55, "log_loss": 0.60}, "no better than chance: auc 0.5500"),  # so far above by chance alone
        ({"auc": 0.70, "log_loss": 0.62}, "no better than chance: log_loss 0.6200, which must be below 0.6109"),
    ],
)
def test_a_model_no_better_than_the_base_rate_is_refused(
    present: Metrics | None, new: dict[str, float], reason: str
) -> None:
    found = decide(present, figures(**new), (), 0.0, BASE)
    assert not found.passed
    assert reason in found.reason


@pytest.mark.parametrize(("rmse", "passed"), [(1.9, True), (2.0, False)])
def test_a_regression_is_compared_with_the_mean(rmse: float, passed: bool) -> None:
    base = Metrics("regression", 100, {"rmse": 2.0, "r2": 0.0})
    assert decide(None, Metrics("regression", 100, {"rmse": rmse}), (), 0.0, base).passed is passed
