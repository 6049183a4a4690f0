"""Drift: nothing moves when nothing moved, and what moved is named."""

from __future__ import annotations

import pytest

from tests.prediction.train.tables import calls, rows_of, rule
from whimbrel.prediction.model.drift import MOVED, MOVED_FAR, drift, psi
from whimbrel.prediction.model.model import Model, load_model
from whimbrel.prediction.train.train import model_path, train


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("models")
    made = train(rule(), calls(4000), manifest_id="m", as_of="2026-11-01T00:00:00Z", folder=folder)
    return load_model(model_path(folder, made.version))


def fresh(model: Model) -> list[list[object]]:
    return rows_of(calls(3000, seed=9), [each.name for each in model.inputs])


def test_the_same_world_does_not_drift(model: Model) -> None:
    rows = fresh(model)
    found = drift(model, rows, model.scores(rows))
    assert (found.rows, found.refused) == (3000, 0)
    assert found.scores is not None
    assert found.scores < MOVED
    assert all(each.psi < MOVED for each in found.inputs)
    assert found.inputs[0].missing == pytest.approx(found.inputs[0].missing_trained, abs=0.03)


def test_what_moved_is_named(model: Model) -> None:
    rows = [[age, rate + 4, "pilot" if job == "admin" else job, contact] for age, rate, job, contact in fresh(model)]
    found = drift(model, rows, model.scores(rows))
    moved = {each.input: each for each in found.inputs}
    assert {name for name, each in moved.items() if each.psi > MOVED_FAR} == {"rate", "job"}
    assert moved["job"].unknown == pytest.approx(0.45, abs=0.03)
    assert moved["job"].unknown_trained == 0
    largest = max(calls(4000)["rate"].to_pylist())
    outside = sum(row[1] > largest for row in rows) / len(rows)  # and not what is beyond three deviations
    assert moved["rate"].outside == pytest.approx(outside, abs=0.001)
    assert outside > 0
    assert found.worst is not None
    assert found.worst.input in ("rate", "job")
    assert found.scores is not None
    assert found.scores > MOVED_FAR


def test_attributes_that_stopped_coming_are_seen(model: Model) -> None:
    names = [each.name for each in model.inputs]
    rows = [dict(zip(names, row, strict=True)) for row in fresh(model)]
    for row in rows:
        del row["rate"]
    found = {each.input: each for each in drift(model, iter(rows)).inputs}
    assert (found["rate"].missing, found["rate"].missing_trained) == (1.0, 0.0)
    assert found["rate"].psi > MOVED_FAR


def test_rows_as_csv_and_rows_that_do_not_fit(model: Model) -> None:
    good = [["40", "1.5", "cook", "true"]] * 60
    found = drift(model, [*good, ["x", "1", "cook", "true"], ["1"], None, {"agee": 1}], [0.3, 0.4])
    assert (found.rows, found.refused) == (60, 4)
    assert found.to_dict()["inputs"][0]["input"] == "age"


def test_nothing_captured(model: Model) -> None:
    found = drift(model, [])
    assert (found.rows, found.inputs, found.scores, found.worst) == (0, (), None, None)


def test_psi() -> None:
    assert psi([0.5, 0.5], [0.5, 0.5]) == 0
    assert psi([0.9, 0.1], [0.5, 0.5]) == pytest.approx(0.878, abs=0.001)
    assert psi([1, 0], [0, 1]) < 20
