"""Training on made-up tables: every kind, both learners, every setting, and what is refused."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest

from tests.prediction.train.tables import calls, rows_of, rule
from whimbrel.errors import RowError, TrainingError
from whimbrel.prediction.model.model import Model, load_model
from whimbrel.prediction.model.scorer import Linear
from whimbrel.prediction.train.holdout import folds, split
from whimbrel.prediction.train.train import evaluate, model_path, scored, train
from whimbrel.project.predict import ModelRule, ThresholdRule

LEARNERS = ("linear", "boosted")


def trained(table: pa.Table, folder: Path, **settings: Any) -> Model:
    return train(rule(**settings), table, manifest_id="m-1", as_of="2026-11-01T00:00:00Z", folder=folder)


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_binary_model_learns_and_answers_by_the_same_code(learner: str, tmp_path: Path) -> None:
    table = calls()
    model = trained(table, tmp_path, learner=learner)
    assert (model.kind, model.labels, model.manifest) == ("binary", ("no", "yes"), "m-1")
    assert model.metrics["auc"] > 0.75
    assert model.metrics["calibration_error"] < 0.08
    held = split(rule(learner=learner), table).held
    again = evaluate(model, table.take(pa.array(held)))
    assert again == model.metrics
    rows = rows_of(table, [each.name for each in model.inputs])[:50]
    answers = model.predict(rows)
    named = [dict(zip([each.name for each in model.inputs], row, strict=True)) for row in rows]
    assert model.predict(named) == answers
    assert [answer.label for answer in answers] == [int(answer.score >= model.threshold) for answer in answers]
    assert {answer.name for answer in answers} == {"no", "yes"}
    assert model.predict([[None] * 4, ["", "", "", ""], {}]) == [model.predict([[None] * 4])[0]] * 3
    assert 0 < model.predict([[40, 1.0, "never seen", True]])[0].score < 1


@pytest.mark.parametrize("learner", LEARNERS)
def test_several_classes(learner: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    size = draw.normal(0, 1, 1500)
    colour = draw.choice(["red", "blue"], 1500)
    kind = np.where(size > 0.7, "large", np.where((size < -0.5) & (colour == "red"), "small red", "other"))
    table = pa.table({"size": size, "colour": colour, "y": kind})
    model = trained(table, tmp_path, learner=learner)
    assert (model.kind, model.labels) == ("multiclass", ("large", "other", "small red"))
    assert model.metrics["macro_f1"] > 0.85
    answer = model.predict([[1.5, "red"]])[0]
    assert answer.name == "large"
    assert sum(answer.score) == pytest.approx(1.0)  # type: ignore[arg-type]
    assert load_model(model_path(tmp_path, model.version)).predict([[1.5, "red"]]) == [answer]


@pytest.mark.parametrize("learner", LEARNERS)
def test_regression(learner: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    x = draw.normal(0, 1, 1500)
    colour = draw.choice(["red", "blue"], 1500)
    table = pa.table({"x": x, "colour": colour, "y": 10 + 3 * x + 5 * (colour == "red") + draw.normal(0, 0.3, 1500)})
    model = trained(table, tmp_path, learner=learner)
    assert (model.kind, model.labels, model.metrics.confusion) == ("regression", (), ())
    assert model.metrics["r2"] > 0.97
    assert model.metrics["rmse"] < 0.7
    answer = model.predict([[1.0, "red"]])[0]
    assert (answer.label, answer.name) == (None, None)
    assert answer.score == pytest.approx(18, abs=0.6)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "none"])
@pytest.mark.parametrize("balance", ["none", "balanced"])
def test_calibration_undoes_what_balancing_does_to_scores(method: str, balance: str, tmp_path: Path) -> None:
    model = trained(calls(4000), tmp_path, calibration=method, balance=balance)
    assert model.metrics["auc"] > 0.75
    off = model.metrics["calibration_error"]
    assert (off > 0.1) == (balance == "balanced" and method == "none")
    assert load_model(model_path(tmp_path, model.version)).predict([[30, 1, "cook", True]]) == model.predict(
        [[30, 1, "cook", True]]
    )


def test_over_time_the_hold_out_is_the_latest_and_no_fold_learns_from_later_rows(tmp_path: Path) -> None:
    table = calls(1000)
    order = np.random.default_rng(3).permutation(1000)
    days = [f"2026-{1 + day // 28:02}-{1 + day % 28:02}" for day in order // 3]
    timed = table.append_column("day", pa.array(days))
    by_day = rule(split="time", time="day")
    parts = split(by_day, timed)
    assert len(parts.held) == 200
    assert max(days[row] for row in parts.fit) <= min(days[row] for row in parts.held)
    in_time = [days[row] for row in parts.fit]
    assert in_time == sorted(in_time)
    for part in folds(800, by_day, None):
        assert part.fit.max() < part.held.min()
    assert split(rule(split="time"), table).held.tolist() == list(range(800, 1000))
    model = trained(timed, tmp_path, split="time", time="day")
    assert "day" not in [each.name for each in model.inputs]
    assert "day" in model.ignored


def test_a_stratified_hold_out_keeps_the_shares_and_follows_the_seed() -> None:
    table = calls(1000)
    first, again, other = (split(rule(seed=seed), table) for seed in (0, 0, 1))
    happened = np.array([each == "yes" for each in table["y"].to_pylist()])
    assert first.held.tolist() == again.held.tolist() != other.held.tolist()
    assert happened[first.held].mean() == pytest.approx(happened[first.fit].mean(), abs=0.005)
    assert sorted([*first.fit, *first.held]) == list(range(1000))


def test_training_twice_gives_the_same_model(tmp_path: Path) -> None:
    for learner in LEARNERS:
        one, other = (trained(calls(300), tmp_path / name, learner=learner) for name in ("one", "other"))
        assert one.parameters == other.parameters
        assert (one.threshold, one.metrics) == (other.threshold, other.metrics)


def test_rows_without_an_outcome_wait_for_theirs(tmp_path: Path) -> None:
    table = calls(800)
    outcomes = [None if number % 4 == 0 else each for number, each in enumerate(table["y"].to_pylist())]
    waiting = table.set_column(4, "y", pa.array(outcomes))
    model = trained(waiting, tmp_path)
    assert model.facts["rows"] == {"fitted": 480, "held_out": 120, "refitted": False}
    assert evaluate(model, waiting).rows == 600


def test_without_a_hold_out_the_folds_judge(tmp_path: Path) -> None:
    model = trained(calls(800), tmp_path, holdout=0.0)
    assert model.facts["judged_by"] == "folds"
    assert model.metrics.rows == 800
    assert model.metrics.as_dict() == model.facts["folds"]


def test_refit_learns_from_all_rows_and_keeps_the_figures(tmp_path: Path) -> None:
    plain, refitted = (trained(calls(800), tmp_path, refit=refit) for refit in (False, True))
    assert refitted.metrics == plain.metrics
    assert refitted.threshold == plain.threshold
    assert refitted.parameters != plain.parameters


def test_excluded_attributes_are_no_inputs_but_may_come_with_a_row(tmp_path: Path) -> None:
    model = trained(calls(800), tmp_path, exclude=("rate",))
    assert [each.name for each in model.inputs] == ["age", "job", "contact"]
    item = {"age": 30, "job": "cook", "contact": False}
    assert model.predict([item | {"rate": 3.0, "y": "no"}]) == model.predict([item])
    with pytest.raises(RowError, match="'rates' is not an input"):
        model.predict([item | {"rates": 3.0}])


def test_types_may_be_said(tmp_path: Path) -> None:
    model = trained(calls(800), tmp_path, types={"age": "category"})
    age = model.inputs[0]
    assert age.type == "category"
    assert set(age.categories) <= {str(each) for each in range(18, 90)}
    assert model.predict([["30", 1.0, "cook", True]]) == model.predict([[30, 1.0, "cook", "true"]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "z"}, "the target 'z' is not a column"),
        ({"exclude": ("jobb",)}, "'jobb' is not a column"),
        ({"types": {"agee": "number"}}, "'agee' is not a column"),
        ({"split": "time", "time": "day"}, "'day' is not a column"),
        ({"types": {"job": "number"}}, "column 'job' must be a finite number, not "),
        ({"positive": "maybe"}, "'maybe' is neither"),
        ({"kind": "multiclass"}, "which is not multiclass"),
        ({"kind": "regression"}, "column 'y' must be a number"),
        ({"exclude": ("age", "rate", "job", "contact")}, "no column is left"),
    ],
)
def test_what_does_not_fit_is_named(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        trained(calls(300), tmp_path, **settings)
    assert message in str(caught.value)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_columns_with_numbers_that_cannot_be_computed_with_are_named_all_at_once(tmp_path: Path) -> None:
    table = calls(600)
    for name, value in {"a": math.inf, "b": math.nan, "c": -1e200, "d": 1e150}.items():
        table = table.append_column(name, pa.array([1.0, 2.0, value] * 200))
    with pytest.raises(TrainingError) as caught:
        trained(table, tmp_path)
    assert "'a' has inf; 'b' has nan; 'c' has -1e+200" in str(caught.value)
    assert 'exclude = ["a", "b", "c"]' in caught.value.hint


def test_columns_that_cannot_be_inputs_are_left_out_and_named_all_at_once(tmp_path: Path) -> None:
    table = calls(300)
    unusable = {
        "tags": pa.array([["a"]] * 300),
        "id": pa.array([f"customer-{number}" for number in range(300)]),
        "country": pa.array(["FI"] * 300),
        "empty": pa.nulls(300),
    }
    for name, column in unusable.items():
        table = table.append_column(name, column)
    model = trained(table, tmp_path)
    assert model.facts["left_out"] == {
        "tags": "is of type list<item: string>, which cannot be an input",
        "id": "has 300 different strings in 300 rows: identifiers or free text",
        "country": "has the same value in every row",
        "empty": "has the same value in every row",
    }
    assert model.columns == ["age", "rate", "job", "contact"]
    model.predict([dict.fromkeys(unusable, "x") | {"age": 30}])  # a row may still have them
    page = model_path(tmp_path, model.version).with_name("report.html").read_text()
    assert "identifiers or free text" in page
    only = table.select([*unusable, "y"])
    with pytest.raises(TrainingError, match=r"no column is left .*'tags' is of type .*; 'id' has .*; 'country' has"):
        trained(only, tmp_path)
    with pytest.raises(TrainingError, match=r"'id' has .* different strings"):
        trained(table, tmp_path, types={"id": "category"})  # its user says that it is one


def test_too_little_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="10 rows have a 'y'"):
        trained(calls(10), tmp_path)
    late = calls(100).set_column(4, "y", pa.array(["no"] * 90 + ["yes"] * 10))
    with pytest.raises(TrainingError, match="do not have every outcome"):
        trained(late, tmp_path, split="time")
    later = calls(100).set_column(4, "y", pa.array(["no"] * 70 + ["yes"] * 30))
    with pytest.raises(TrainingError, match="too rare, or too late"):
        trained(later, tmp_path, split="time")


def test_outcomes_other_than_yes_and_no_need_to_be_told_apart(tmp_path: Path) -> None:
    table = calls(300)
    named = table.set_column(4, "y", pa.array(["won" if each == "yes" else "lost" for each in table["y"].to_pylist()]))
    with pytest.raises(TrainingError, match="which of 'lost' and 'won' is the positive outcome"):
        trained(named, tmp_path)
    assert trained(named, tmp_path, positive="won").labels == ("lost", "won")
    numbered = table.set_column(4, "y", pa.array([int(each == "yes") for each in table["y"].to_pylist()]))
    assert trained(numbered, tmp_path).labels == ("0", "1")


def test_evaluating_names_what_a_table_lacks(tmp_path: Path) -> None:
    model = trained(calls(300), tmp_path)
    with pytest.raises(TrainingError, match="there is no column 'job'"):
        evaluate(model, calls(50).drop_columns("job"))
    odd = calls(50).set_column(4, "y", pa.array(["perhaps"] * 50))
    with pytest.raises(TrainingError, match="'y' has 'perhaps'"):
        evaluate(model, odd)
    one_class = calls(50).set_column(4, "y", pa.array(["no"] * 50))
    assert evaluate(model, one_class).values["auc"] is None


def test_scores_that_are_no_numbers_have_no_figures(tmp_path: Path) -> None:
    table = calls(200).set_column(4, "y", pa.array(np.arange(200.0)))
    model = trained(table, tmp_path)
    assert isinstance(model.parameters, Linear)
    overflown = replace(model.parameters, scaled=((1e308,), (1e308,), (), ()))
    with pytest.raises(TrainingError, match="scores are not finite numbers"):
        evaluate(replace(model, parameters=overflown, digest=""), table)


def test_an_attribute_that_knows_the_outcome_is_warned_of(tmp_path: Path) -> None:
    table = calls(2000)
    seconds = [400 + number % 7 if each == "yes" else number % 90 for number, each in enumerate(table["y"].to_pylist())]
    leaky = table.append_column("duration", pa.array(seconds)).append_column("number", pa.array(range(2000)))
    warned = {each["input"]: each["message"] for each in trained(leaky, tmp_path).facts["warnings"]}
    assert set(warned) == {"duration", "number"}
    assert "predicts almost everything alone (AUC " in warned["duration"]
    assert "identifier" in warned["number"]


@pytest.mark.parametrize(
    "threshold",
    [
        ThresholdRule(),
        ThresholdRule("f_beta", beta=3.0),
        ThresholdRule("accuracy"),
        ThresholdRule("precision_at_target_recall", recall=0.9),
        ThresholdRule("recall_at_target_precision", precision=0.7),
        ThresholdRule("cost", false_positive=1, false_negative=20),
        ThresholdRule("fixed", value=0.123),
    ],
    ids=lambda each: each.criterion,
)
def test_the_threshold_follows_its_criterion(threshold: ThresholdRule, tmp_path: Path) -> None:
    table = calls(3000)
    model = trained(table, tmp_path, threshold=threshold)
    plain = trained(table, tmp_path, threshold=ThresholdRule("accuracy"))
    found = model.metrics
    if threshold.criterion == "fixed":
        assert model.threshold == 0.123
    elif threshold.criterion == "precision_at_target_recall":
        assert found["recall"] == pytest.approx(0.9, abs=0.06)
    elif threshold.criterion == "recall_at_target_precision":
        assert found["precision"] == pytest.approx(0.7, abs=0.1)
    elif threshold.criterion in ("f_beta", "cost"):
        assert found["recall"] > plain.metrics["recall"] + 0.2
    elif threshold.criterion == "f1":
        assert found["f1"] >= plain.metrics["f1"]


def test_a_precision_that_no_threshold_gives_is_refused(tmp_path: Path) -> None:
    vague = pa.table({"x": ["a", "b"] * 200, "y": ["yes", "no", "no", "no"] * 100})
    with pytest.raises(TrainingError, match=r"no threshold gives a precision of 1\.0; the highest is 0\.5"):
        trained(vague, tmp_path, threshold=ThresholdRule("recall_at_target_precision", precision=1.0))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "action", "data")]


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_report_is_one_whole_page_and_needs_nothing_else(learner: str, tmp_path: Path) -> None:
    table = calls(1500).rename_columns(["age", "rate", '<job> & "co"', "contact", "y"])
    model = trained(table, tmp_path, learner=learner)
    text = (tmp_path / model.version / "report.html").read_text()
    ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>"))
    page = _Page()
    page.feed(text)
    assert not page.links
    assert not re.search(r"https?:|//|@import|url\(", text)
    assert not {"script", "link", "iframe", "img"} & set(page.tags)
    for wanted in (
        "ROC",
        "Precision and recall",
        "Calibration",
        "Confusion matrix",
        "What the answers depend on",
        "m-1",
    ):
        assert wanted in text
    assert "&lt;job&gt; &amp;" in text
    assert f"{model.metrics['auc']:.4f}" in text
    counts = [f"{count:,}" for row in model.metrics.confusion for count in row]
    assert all(f"<td>{count}</td>" in text for count in counts)


def test_reports_of_other_kinds_are_whole_pages_too(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    x = draw.normal(0, 1, 300)
    for outcome in (pa.array(3 * x), pa.array(np.where(x > 0.5, "a", np.where(x < -0.5, "b", "c")))):
        model = trained(pa.table({"x": x, "y": outcome}), tmp_path)
        text = (tmp_path / model.version / "report.html").read_text()
        ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>"))
        assert ("Outcome and prediction" in text) == (model.kind == "regression")
        assert ("Confusion matrix" in text) == (model.kind == "multiclass")


def test_the_facts_are_plain_data(tmp_path: Path) -> None:
    model = trained(calls(400), tmp_path)
    assert set(model.facts["versions"]) == {"whimbrel", "python", "scikit-learn", "numpy"}
    assert json.loads(json.dumps(model.facts))["settings"]["name"] == "calls"
    scores, target = scored(model, calls(100))
    assert len(scores) == len(target) == 100
    assert isinstance(rule(), ModelRule)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_a_model_of_noise_says_that_it_is_no_better_than_chance(kind: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(7)
    outcomes = {
        "binary": draw.choice(["yes", "no"], 300),
        "multiclass": draw.choice(["a", "b", "c"], 300),
        "regression": draw.normal(size=300),
    }
    columns = {f"c{number}": draw.normal(size=300) for number in range(60)}
    model = trained(pa.table(columns | {"y": outcomes[kind]}), tmp_path)
    first = model.facts["warnings"][0]
    assert first["input"] == "y"
    assert "no better than chance" in first["message"]
    page = model_path(tmp_path, model.version).with_name("report.html").read_text()
    assert "no better than chance" in page
    assert "base rate alone" in page
