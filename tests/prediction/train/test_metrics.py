"""The figures are what their definitions say, worked out row by row."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    outcomes, scores = found
    ours = metrics.binary(np.array(outcomes).astype(int), np.array(scores), 0.5, ("no", "yes"))
    positives = [score for outcome, score in zip(outcomes, scores, strict=True) if outcome]
    negatives = [score for outcome, score in zip(outcomes, scores, strict=True) if not outcome]
    ahead = sum((high > low) + (high == low) / 2 for high in positives for low in negatives)
    assert ours["auc"] == pytest.approx(ahead / (len(positives) * len(negatives)))
    # Each positive says how many of the rows that score at least as much are positive.
    precisions = [
        sum(each >= score for each in positives) / sum(each >= score for each in scores) for score in positives
    ]
    assert ours["average_precision"] == pytest.approx(sum(precisions) / len(positives))
    lost = [-math.log(score if outcome else 1 - score) for outcome, score in zip(outcomes, scores, strict=True)]
    assert ours["log_loss"] == pytest.approx(sum(lost) / len(lost))
    squares = [(score - outcome) ** 2 for outcome, score in zip(outcomes, scores, strict=True)]
    assert ours["brier"] == pytest.approx(sum(squares) / len(squares))
    counts = Counter((outcome, score >= 0.5) for outcome, score in zip(outcomes, scores, strict=True))
    assert ours.confusion == tuple(
        tuple(counts[actual, called] for called in (False, True)) for actual in (False, True)
    )
    wrong = counts[True, False] + counts[False, True]
    assert ours["f1"] == pytest.approx(2 * counts[True, True] / max(1, 2 * counts[True, True] + wrong))
    assert ours["accuracy"] == pytest.approx(1 - wrong / len(scores))


def test_figures_that_rows_of_one_outcome_do_not_have() -> None:
    scores = np.array([0.2, 0.7])
    none = metrics.binary(np.zeros(2, int), scores, 0.5, ("no", "yes"))
    assert (none.values["auc"], none.values["average_precision"], none["recall"], none["f1"]) == (None, None, 0, 0)
    assert none["log_loss"] == pytest.approx(-(math.log(0.8) + math.log(0.3)) / 2)
    every = metrics.binary(np.ones(2, int), scores, 0.5, ("no", "yes"))
    assert (every.values["auc"], every["average_precision"], every["recall"]) == (None, 1, 0.5)
    assert every.confusion == ((0, 0), (1, 1))
    assert metrics.regression(np.ones(2), scores).values["r2"] is None


@settings(max_examples=30, deadline=None)
@given(answers)
def test_the_best_f1_is_the_best_there_is(found: tuple[list[bool], list[float]]) -> None:
    def f1(limit: float) -> float:
        right, false_alarms, overlooked = outcome_counts(found, limit)
        return 2 * right / (2 * right + false_alarms + overlooked)

    limit = threshold.choose(ThresholdRule("f1"), np.array(found[0]).astype(int), np.array(found[1]))
    assert f1(limit) == pytest.approx(max(map(f1, found[1])))


@settings(max_examples=30, deadline=None)
@given(answers, st.floats(0.1, 10), st.floats(0.1, 10))
def test_the_least_cost_is_the_least_there_is(
    found: tuple[list[bool], list[float]], false_positive: float, false_negative: float
) -> None:
    def cost(limit: float) -> float:
        _, false_alarms, overlooked = outcome_counts(found, limit)
        return false_alarms * false_positive + overlooked * false_negative

    rule = ThresholdRule("cost", false_positive=false_positive, false_negative=false_negative)
    limit = threshold.choose(rule, np.array(found[0]).astype(int), np.array(found[1]))
    assert cost(limit) <= min(map(cost, found[1])) + 1e-9


def outcome_counts(found: tuple[list[bool], list[float]], limit: float) -> tuple[int, int, int]:
    """Rows called positive that are, those that are not, and positive ones that are not called so."""
    called = Counter((outcome, score >= limit) for outcome, score in zip(*found, strict=True))
    return called[True, True], called[False, True], called[True, False]


def test_several_classes() -> None:
    draw = np.random.default_rng(0)
    target, scores = draw.integers(0, 4, 300), draw.dirichlet(np.ones(5), 300)  # of the last class there is no row
    ours = metrics.multiclass(target, scores, "abcde")
    called = [max(range(5), key=row.__getitem__) for row in scores.tolist()]
    counts = Counter(zip(target.tolist(), called, strict=True))
    assert ours.confusion == tuple(tuple(counts[actual, each] for each in range(5)) for actual in range(5))
    assert ours["log_loss"] == pytest.approx(-sum(math.log(scores[row, each]) for row, each in enumerate(target)) / 300)
    shares = []
    for each in range(5):
        named, actual = called.count(each), target.tolist().count(each)
        shares.append(2 * counts[each, each] / (named + actual))
    assert ours["macro_f1"] == pytest.approx(sum(shares) / 5)


def test_a_class_that_neither_is_there_nor_is_called_has_no_say() -> None:
    scores = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    assert metrics.multiclass(np.array([0, 1]), scores, "abc")["macro_f1"] == 1


def test_regression() -> None:
    ours = metrics.regression(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 2.0]))
    assert (ours["rmse"], ours["mae"], ours["r2"]) == pytest.approx((math.sqrt(5 / 3), 1.0, 1 - 5 / 2))


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
