"""Small models made by hand, so that serving is tested without training."""

from __future__ import annotations

from pathlib import Path

from whimbrel.prediction.model.features import CATEGORY, NUMBER, Input
from whimbrel.prediction.model.model import Metrics, Model, save_model
from whimbrel.prediction.model.scorer import Calibration, Linear

JOBS = ("admin.", "blue-collar", "retired", "student")
ROW = "34,retired,999,1.5"
COLUMNS = ["age", "job", "pdays", "euribor3m"]


def inputs() -> tuple[Input, ...]:
    return (
        Input("age", NUMBER, edges=(30.0, 40.0), low=17, high=98, mean=40, scale=10, shares=(0.3, 0.4, 0.3, 0.0)),
        Input("job", CATEGORY, categories=JOBS, shares=(0.4, 0.3, 0.2, 0.1, 0.0, 0.0)),
        Input("pdays", NUMBER, edges=(500.0,), low=0, high=999, mean=960, scale=180, shares=(0.1, 0.9, 0.0)),
        Input("euribor3m", NUMBER, edges=(2.0,), low=0.6, high=5.1, mean=3.6, scale=1.7, shares=(0.4, 0.6, 0.0)),
    )


def model(version: str = "v1", *, intercept: float = 0.0, kind: str = "binary") -> Model:
    """A linear model whose answers the intercept moves: the versions of a test can be told apart by their scores."""
    outputs = 3 if kind == "multiclass" else 1
    labels = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": ()}[kind]
    known = inputs()
    weights = Linear(
        strength=1.0,
        intercept=tuple(intercept + 0.1 * output for output in range(outputs)),
        scaled=tuple((0.1,) * outputs if each.type == NUMBER else () for each in known),
        places=tuple(
            tuple(tuple(0.05 * place + 0.1 * output for output in range(outputs)) for place in range(each.places))
            for each in known
        ),
    )
    auc = 0.9 + intercept / 100
    values = {"auc": auc, "log_loss": 0.3} if kind == "binary" else {"log_loss": 0.3}
    return Model(
        name="bank",
        version=version,
        kind=kind,
        learner="linear",
        target="y",
        labels=labels,
        inputs=known,
        ignored=("customer_id",),
        parameters=weights,
        calibration=Calibration(),
        threshold=0.5,
        metrics=Metrics(kind, 100, dict(values)),
        manifest="m-1",
        as_of="2026-01-01T00:00:00Z",
    )


def model_file(folder: Path, version: str = "v1", *, intercept: float = 0.0, kind: str = "binary") -> Path:
    path = folder / f"{version}.json"
    save_model(model(version, intercept=intercept, kind=kind), path)
    return path
