"""Tables that tests train on: made up, and the original bank data where it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from whimbrel.project.predict import ModelRule

ROOT = Path(__file__).resolve().parents[3]
ORIGINAL = Path(os.environ.get("WHIMBREL_BANK_DATA", ROOT.parent / "shared" / "data" / "bank-additional-full.csv"))


def original() -> pa.Table:
    return pa.csv.read_csv(ORIGINAL, parse_options=pa.csv.ParseOptions(delimiter=";"))


def rule(**settings: Any) -> ModelRule:
    return ModelRule(**({"name": "calls", "dataset": "calls", "target": "y"} | settings))


def calls(rows: int = 3000, seed: int = 0) -> pa.Table:
    """A small likeness: two numbers, two categories, some missing, and an outcome that follows three of them."""
    draw = np.random.default_rng(seed)
    age = draw.integers(18, 90, rows).astype(float)
    rate = draw.normal(1.0, 2.0, rows).round(3)
    job = draw.choice(["admin", "student", "retired", "cook"], rows, p=[0.5, 0.2, 0.2, 0.1])
    contact = draw.random(rows) < 0.6
    z = -1.5 + 0.8 * (np.abs(age - 50) > 20) - 0.7 * rate + 1.2 * (job == "student") + 0.2 * draw.normal(size=rows)
    happened = draw.random(rows) < 1 / (1 + np.exp(-z))
    gone = draw.random(rows) < 0.1
    return pa.table(
        {
            "age": pa.array([None if lost else int(each) for each, lost in zip(age, gone, strict=True)]),
            "rate": pa.array(rate),
            "job": pa.array([None if lost else str(each) for each, lost in zip(job, gone[::-1], strict=True)]),
            "contact": pa.array(contact),
            "y": pa.array(["yes" if each else "no" for each in happened]),
        }
    )


def rows_of(table: pa.Table, names: list[str]) -> list[list[Any]]:
    return [list(row) for row in zip(*(table[name].to_pylist() for name in names), strict=True)]
