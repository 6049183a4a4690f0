"""What a fitted learner is, as plain numbers, and the Python that is made of it: from the values of a row to its score.

Nothing but the standard library: this is the request path.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from whimbrel.prediction.model.features import (
    CATEGORY,
    NUMBER,
    Input,
    compile_function,
    indented,
    place_source,
    unpack_source,
)

NAN = float("nan")
LEAF = -1  # a leaf's ``feature``
Score = Callable[..., Any]  # (row) or (row, unknown)
Link = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Linear:
    """``scaled[input][output]`` weighs the scaled amount, ``places[input][place][output]`` the place."""

    strength: float
    intercept: tuple[float, ...]
    scaled: tuple[tuple[float, ...], ...]
    places: tuple[tuple[tuple[float, ...], ...], ...]

    @property
    def outputs(self) -> int:
        return len(self.intercept)

    def as_dict(self) -> dict[str, Any]:
        return {
            "strength": self.strength,
            "intercept": self.intercept,
            "scaled": self.scaled,
            "places": self.places,
        }


@dataclass(frozen=True, slots=True)
class Tree:
    """Node 0 is the root and children stand after their parents. A leaf has ``feature`` -1 and the ``value`` to add."""

    output: int
    feature: tuple[int, ...]
    threshold: tuple[float, ...]  # at or below goes left
    left: tuple[int, ...]
    right: tuple[int, ...]
    missing_left: tuple[bool, ...]
    value: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Boosted:
    leaves: int
    baseline: tuple[float, ...]
    trees: tuple[Tree, ...]

    @property
    def outputs(self) -> int:
        return len(self.baseline)

    def as_dict(self) -> dict[str, Any]:
        names = ("output", "feature", "threshold", "left", "right", "missing_left", "value")
        trees = [{name: getattr(tree, name) for name in names} for tree in self.trees]
        return {"leaves": self.leaves, "baseline": self.baseline, "trees": trees}


@dataclass(frozen=True, slots=True)
class Calibration:
    """``sigmoid``: slope and offset before the link. ``isotonic``: scores at margins, straight lines between them."""

    method: str = "none"  # none | sigmoid | isotonic
    slope: float = 1.0
    offset: float = 0.0
    margins: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        if self.method == "isotonic":
            return {"method": self.method, "margins": self.margins, "scores": self.scores}
        return {"method": self.method, "slope": self.slope, "offset": self.offset}


def compile_scorer(kind: str, inputs: Sequence[Input], learned: Linear | Boosted, calibration: Calibration) -> Score:
    """From a row's values to its score (binary), its scores by class (multiclass) or its value (regression).

    The function raises ValueError, TypeError or OverflowError on a value that is not of its input's type. A list beside
    the row gets each category that training never saw: the column, and the value.
    """
    constants: dict[str, Any] = {"LINK": link(kind, calibration)}
    if isinstance(learned, Linear):
        lines = _linear_source(inputs, learned, constants)
    else:
        lines = _boosted_source(inputs, learned, constants)
    unpack = unpack_source(inputs, constants)
    sums = ", ".join(f"z{output}" for output in range(learned.outputs))
    return compile_function(
        "score",
        ["def score(row, unknown=None):", *indented([*unpack, *lines, f"return LINK({sums})"])],
        constants,
    )


def fill(learner: str, each: Input) -> float:
    """What stands for a missing amount: a linear model has the mean, so that only the place speaks; trees know NaN."""
    return each.mean if learner == "linear" else NAN


def _linear_source(inputs: Sequence[Input], linear: Linear, constants: dict[str, Any]) -> list[str]:
    """Lines from ``v0…`` to the sums ``z0…``, one for each output."""
    lines = []
    outputs = range(len(linear.intercept))
    terms: list[list[str]] = [[] for _ in outputs]
    starts = list(linear.intercept)
    for number, each in enumerate(inputs):
        lines += place_source(number, each, constants, fill=each.mean)
        for output in outputs:
            name = f"WEIGHTS{number}_{output}"
            constants[name] = tuple(place[output] for place in linear.places[number])
            terms[output].append(f"{name}[k{number}]")
            if each.type == NUMBER:
                weight = linear.scaled[number][output] / each.scale
                starts[output] -= weight * each.mean
                constants[f"SLOPE{number}_{output}"] = weight
                terms[output].append(f"SLOPE{number}_{output} * x{number}")
    for output in outputs:
        constants[f"START{output}"] = starts[output]
        lines.append(f"z{output} = " + " + ".join([f"START{output}", *terms[output]]))
    return lines


def _boosted_source(inputs: Sequence[Input], boosted: Boosted, constants: dict[str, Any]) -> list[str]:
    """Lines from ``v0…`` to the sums ``z0…``, one for each output."""
    constants["NAN"] = NAN
    used = {feature for tree in boosted.trees for feature in tree.feature}
    lines = []
    for number, each in enumerate(inputs):
        lines += place_source(number, each, constants, fill=NAN)
        if number in used and each.type == CATEGORY:
            lines.append(f"x{number} = k{number} if k{number} < {each.known} else NAN")
    lines += [f"z{output} = {start!r}" for output, start in enumerate(boosted.baseline)]
    lines += [f"z{tree.output} += {_expression(tree, 0)}" for tree in boosted.trees]
    return lines


def _expression(tree: Tree, node: int) -> str:
    feature = tree.feature[node]
    if feature == LEAF:
        return repr(tree.value[node])
    left, right = _expression(tree, tree.left[node]), _expression(tree, tree.right[node])
    limit = repr(tree.threshold[node])
    # A comparison with NaN is false: "not x > limit" takes NaN to the left, "x <= limit" to the right.
    test = f"not x{feature} > {limit}" if tree.missing_left[node] else f"x{feature} <= {limit}"
    return f"({left} if {test} else {right})"


def link(kind: str, calibration: Calibration) -> Link:
    """From the sums to the score (binary), the scores (several classes) or the value (regression)."""
    if kind == "regression":
        return _value
    if kind == "multiclass":
        return _softmax(calibration.slope)
    if calibration.method == "isotonic":
        return interpolation(calibration.margins, calibration.scores)
    return _sigmoid(calibration.slope, calibration.offset)


def interpolation(places: Sequence[float], values: Sequence[float]) -> Callable[[float], float]:
    """Straight lines between the points; beyond the ends, the ends' values."""
    last = len(places) - 1

    def at(z: float) -> float:
        right = bisect_right(places, z)
        if right == 0 or right > last:
            return values[min(right, last)]
        low, high = places[right - 1], places[right]
        return values[right - 1] + (values[right] - values[right - 1]) * ((z - low) / (high - low))

    return at


def _sigmoid(slope: float, offset: float) -> Link:
    exp = math.exp

    def score(z: float) -> float:
        z = slope * z + offset
        return 1 / (1 + exp(-z)) if z > -700 else 0.0

    return score


def _softmax(slope: float) -> Link:
    exp = math.exp

    def scores(*sums: float) -> list[float]:
        top = max(sums)
        parts = [exp(slope * (z - top)) for z in sums]
        whole = sum(parts)
        return [part / whole for part in parts]

    return scores


def _value(z: float) -> float:
    return z
