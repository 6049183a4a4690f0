"""Our figures are those that scikit-learn gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

from whimbrel.prediction.model.scorer import Calibration, interpolation
from whimbrel.prediction.train import calibrate, metrics, threshold
from whimbrel.project.predict import ThresholdRule

# Scores with many ties and with none.
answers = st.integers(10, 80).flatmap(
    lambda rows: st.tuples(
        st.lists(st.booleans(), min_size=rows, max_size=rows).filter(lambda each: len(set(each)) == 2),
        st.lists(st.one_of(st.sampled_from([0.1, 0.5, 0.9]), st.floats(0.001, 0.999)), min_size=rows, max_size=rows),
    )
)


@settings(max_examples=30, deadline=None)
@given(answers)
def test_binary(found: tuple[list[bool], list[float]]) -> None:
    target, scores = np.array(found[0]).astype(int), np.array(found[1])
    ours = metrics.binary(target, scores, 0.5, ("no", "yes"))
    called = (scores >= 0.5).astype(int)
    assert ours["auc"] == pytest.approx(theirs.roc_auc_score(target, scores))
    assert ours["average_precision"] == pytest.approx(theirs.average_precision_score(target, scores))
    assert ours["log_loss"] == pytest.approx(theirs.log_loss(target, scores))
    assert ours["brier"] == pytest.approx(theirs.brier_score_loss(target, scores))
    assert ours["f1"] == pytest.approx(theirs.f1_score(target, called, zero_division=0))
    assert ours.confusion == tuple(map(tuple, theirs.confusion_matrix(target, called).tolist()))


@settings(max_examples=30, deadline=None)
@given(answers)
def test_the_best_f1_is_the_best_there_is(found: tuple[list[bool], list[float]]) -> None:
    target, scores = np.array(found[0]).astype(int), np.array(found[1])
    limit = threshold.choose(ThresholdRule("f1"), target, scores)
    best = max(metrics.binary(target, scores, each, "ny")["f1"] for each in scores)
    assert metrics.binary(target, scores, limit, "ny")["f1"] == pytest.approx(best)


@settings(max_examples=30, deadline=None)
@given(answers, st.floats(0.1, 10), st.floats(0.1, 10))
def test_the_least_cost_is_the_least_there_is(
    found: tuple[list[bool], list[float]], false_positive: float, false_negative: float
) -> None:
    target, scores = np.array(found[0]).astype(int), np.array(found[1])

    def cost(limit: float) -> float:
        (_, positive), (negative, _) = metrics.binary(target, scores, limit, "ny").confusion
        return positive * false_positive + negative * false_negative

    rule = ThresholdRule("cost", false_positive=false_positive, false_negative=false_negative)
    assert cost(threshold.choose(rule, target, scores)) <= min(map(cost, scores)) + 1e-9


def test_several_classes() -> None:
    draw = np.random.default_rng(0)
    target, scores = draw.integers(0, 4, 300), draw.dirichlet(np.ones(4), 300)
    ours = metrics.multiclass(target, scores, "abcd")
    assert ours["log_loss"] == pytest.approx(theirs.log_loss(target, scores))
    assert ours["macro_f1"] == pytest.approx(theirs.f1_score(target, scores.argmax(1), average="macro"))


def test_regression() -> None:
    draw = np.random.default_rng(0)
    target = draw.normal(size=300)
    found = target + draw.normal(size=300)
    ours = metrics.regression(target, found)
    assert ours["rmse"] == pytest.approx(theirs.root_mean_squared_error(target, found))
    assert ours["mae"] == pytest.approx(theirs.mean_absolute_error(target, found))
    assert ours["r2"] == pytest.approx(theirs.r2_score(target, found))


def test_a_score_that_says_what_comes_has_no_calibration_error() -> None:
    draw = np.random.default_rng(0)
    scores = draw.random(50_000)
    target = (draw.random(50_000) < scores).astype(int)
    assert metrics.calibration_error(target, scores) < 0.01
    assert metrics.calibration_error(target, scores**3) > 0.2


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_mends_scores_that_say_too_much(method: str) -> None:
    draw = np.random.default_rng(0)
    true = draw.normal(-1, 1.5, 20_000)
    target = (draw.random(20_000) < 1 / (1 + np.exp(-true))).astype(int)
    margins = (3 * true + 1)[:, None]
    before = calibrate.scores("binary", Calibration(), margins)
    after = calibrate.scores("binary", calibrate.fit(method, "binary", margins, target), margins)
    assert metrics.calibration_error(target, before) > 0.1
    assert metrics.calibration_error(target, after) < 0.015
    assert metrics.log_loss(np.stack([1 - after, after], 1), target) < metrics.log_loss(
        np.stack([1 - before, before], 1), target
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20, unique=True), st.lists(st.floats(-60, 60), max_size=20))
def test_interpolation_is_numpys(places: list[float], asked: list[float]) -> None:
    places = sorted(places)
    values: list[Any] = [0.1 * number for number in range(len(places))]
    at = interpolation(places, values)
    assert [at(each) for each in asked] == pytest.approx(np.interp(asked, places, values).tolist())


def test_scores_of_extreme_sums_are_still_scores() -> None:
    margins = np.array([[-1e6], [1e6], [0.0]])
    assert calibrate.scores("binary", Calibration(), margins).tolist() == [0.0, 1.0, 0.5]
    assert calibrate.scores("multiclass", Calibration(), np.array([[1e6, -1e6, 0.0]])).tolist() == [[1.0, 0.0, 0.0]]
