"""What renewing is worth: the bank data in 20 windows of time, each predicted from the earlier ones.

"never": one model of the first windows, never retrained. "renewed": before each window, a model of all windows before
it. Both without `duration`, which is not known before the call. Pooled: over all predicted windows together.

    python -m benchmarks.rolling [FILE]

FILE is the original, or that of ../shared/data; where there is none, the calls are made up.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from demo import bank
from whimbrel.prediction.model.model import Model
from whimbrel.prediction.train import metrics
from whimbrel.prediction.train.tables import read_table
from whimbrel.prediction.train.train import scored, train
from whimbrel.project.predict import ModelRule

WINDOWS = 20
FIRST = (2, 5, 10)  # windows that the first model is made of
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "bank-additional-full.csv"


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    table = read_table([path]) if path.exists() else made_up()
    print(f"{path.name if path.exists() else 'made-up calls'}, {table.num_rows:,} rows in {WINDOWS} windows")
    print(f"{'learner':<9} {'first model':<12} {'way':<8} {'AUC':>7} {'log-loss':>9} {'calibration error':>18}")
    for learner in ("linear", "boosted"):
        for first, way, found in compare(table, learner):
            print(f"{learner:<9} {f'{first} windows':<12} {way:<8} {row(found)}", flush=True)
    return 0


def made_up() -> pa.Table:
    return pa.Table.from_pylist(list(bank.rows(bank.ORIGINAL_ROWS, 0))).drop_columns("customer_id")


def compare(table: pa.Table, learner: str) -> Iterator[tuple[int, str, list[tuple[Any, Any]]]]:
    """For each first model and way, the scores and outcomes of each predicted window."""
    bounds = np.linspace(0, table.num_rows, WINDOWS + 1).astype(int)
    windows = [table.slice(start, end - start) for start, end in pairwise(bounds)]
    models = {number: fit(windows[:number], learner) for number in range(min(FIRST), WINDOWS)}
    renewed = {number: scored(model, windows[number]) for number, model in models.items()}
    for first in FIRST:
        yield first, "never", [scored(models[first], window) for window in windows[first:]]
        yield first, "renewed", [renewed[number] for number in range(first, WINDOWS)]


def fit(windows: list[pa.Table], learner: str) -> Model:
    """A model of all these windows; its settings are chosen on folds that respect time."""
    rule = ModelRule(
        "bank", "bank", "y", learner=learner, exclude=("duration",), split="time", holdout=0, calibration="none"
    )
    with tempfile.TemporaryDirectory() as folder:
        return train(rule, pa.concat_tables(windows), manifest_id="", as_of="", folder=Path(folder))


def loss(scores: Any, target: Any) -> float:
    return metrics.log_loss(np.stack([1 - scores, scores], 1), target)


def row(found: list[tuple[Any, Any]]) -> str:
    scores = np.concatenate([each for each, _ in found])
    target = np.concatenate([each for _, each in found])
    error = metrics.calibration_error(target, scores)
    return f"{metrics.auc(target, scores):>7.4f} {loss(scores, target):>9.4f} {error:>18.4f}"


if __name__ == "__main__":
    sys.exit(main())
