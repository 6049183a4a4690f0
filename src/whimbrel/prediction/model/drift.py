"""How far live inputs and scores have moved from those of the training, by the shares that the model file states.

PSI, the population stability index, is the sum over places of (live - trained) · ln(live / trained): below 0.1 nothing
much has moved, above 0.25 a lot has. The standard library is enough.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from whimbrel.errors import RowError
from whimbrel.prediction.model.dates import date_part
from whimbrel.prediction.model.features import CATEGORY, Input, encoder, row_reader
from whimbrel.prediction.model.model import Model

MOVED, MOVED_FAR = 0.1, 0.25
LEAST_ROWS = 500  # of fewer, chance alone moves the shares that far
LEAST_SHARE = 1e-4  # stands for a share of nothing, so that one new value does not make an endless PSI


@dataclass(frozen=True, slots=True)
class InputDrift:
    """``missing`` and ``unknown`` are shares of the live rows, the others those of the training rows."""

    input: str
    psi: float
    missing: float
    missing_trained: float
    unknown: float = 0.0  # categories that training did not know, or saw too rarely
    unknown_trained: float = 0.0
    outside: float = 0.0  # numbers beyond those of the training rows


@dataclass(frozen=True, slots=True)
class Drift:
    """``scores`` is the PSI of the scores, None where none were given; ``refused`` counts rows that do not fit."""

    rows: int
    refused: int
    inputs: tuple[InputDrift, ...]
    scores: float | None

    @property
    def worst(self) -> InputDrift | None:
        return max(self.inputs, key=lambda each: each.psi, default=None)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def drift(model: Model, rows: Iterable[Any], scores: Iterable[Any] = ()) -> Drift:
    """Compare captured rows (each a list in the order of the inputs, or a dict by name) and captured scores.

    Rows are read one by one and not kept. A row that the model would refuse is counted and left out.
    """
    read = row_reader(model.inputs, model.ignored)
    columns = model.columns
    encoders = [encoder(each, fill=math.nan) for each in model.inputs]
    counts = [[0] * each.places for each in model.inputs]
    outside = [0] * len(model.inputs)
    taken = refused = 0
    for number, row in enumerate(rows):
        try:
            values = read(row, number)
            by_column = dict(zip(columns, values, strict=True))
            given = [by_column[each.column] for each in model.inputs]
            places = [encode(value) for encode, value in zip(encoders, given, strict=True)]
        except (RowError, ValueError, TypeError, OverflowError):
            refused += 1
            continue
        taken += 1
        for each, (_, place) in enumerate(places):
            counts[each][place] += 1
            outside[each] += _is_outside(model.inputs[each], given[each])
    found = tuple(
        _input_drift(model, number, count, outside[number], taken) for number, count in enumerate(counts) if taken
    )
    return Drift(taken, refused, found, score_drift(model, scores))


def score_drift(model: Model, scores: Iterable[Any]) -> float | None:
    """The PSI of scores (the largest, where a score is a list); None without any, or where the model states none."""
    counts = [0] * len(model.score_shares)
    for score in scores if counts else ():
        counts[bisect_right(model.score_edges, max(score) if isinstance(score, (list, tuple)) else score)] += 1
    whole = sum(counts)
    return psi([count / whole for count in counts], model.score_shares) if whole else None


def psi(live: Sequence[float], trained: Sequence[float]) -> float:
    """The population stability index of two lists of shares."""
    pairs = [(max(one, LEAST_SHARE), max(other, LEAST_SHARE)) for one, other in zip(live, trained, strict=True)]
    return sum((one - other) * math.log(one / other) for one, other in pairs)


def _input_drift(model: Model, number: int, counts: list[int], outside: int, rows: int) -> InputDrift:
    each = model.inputs[number]
    live = [count / rows for count in counts]
    trained = each.shares or (0.0,) * each.places
    unknown = each.type == CATEGORY
    return InputDrift(
        each.name,
        psi(live, trained),
        live[each.missing],
        trained[each.missing],
        live[each.known] if unknown else 0.0,
        trained[each.known] if unknown else 0.0,
        outside / rows,
    )


def _is_outside(each: Input, value: Any) -> bool:
    """Whether a number is beyond those of the training rows; an older model knows only where it is held."""
    if each.type == CATEGORY or value is None or value == "":
        return False
    low, high = each.seen or (each.low, each.high)
    number = date_part(value, each.part) if each.part else float(value)
    return number is not None and not low <= number <= high
