"""What is predicted: the kind of model, the names of its classes, and each row's outcome as a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from whimbrel.errors import TrainingError
from whimbrel.prediction.model.features import as_number, as_text, shown
from whimbrel.prediction.train.feature_columns import Array, Values, read_values
from whimbrel.project.predict import ModelRule

# Which of two usual words means "it happened".
POSITIVE = {"yes": "no", "1": "0", "true": "false", "True": "False", "y": "n", "Y": "N", "positive": "negative"}
MOST_CLASSES = 50


@dataclass(frozen=True, slots=True)
class TargetValues:
    """``values`` stand for the rows asked for: the class's number in ``labels``, or the value itself for regression."""

    kind: str
    labels: tuple[str, ...]
    values: Array


def read_target(rule: ModelRule, table: pa.Table, rows: Array) -> TargetValues:
    """Raises TrainingError where the outcomes do not fit the kind that is asked for."""
    found = read_values(table, rule.target).take(rows)
    used = found.used()
    kind = rule.kind if rule.kind != "auto" else _kind(used)
    if kind == "regression":
        return TargetValues(kind, (), numbers(found))
    labels = _labels(rule, kind, sorted({_text(rule.target, value) for value in used}))
    return TargetValues(kind, labels, class_numbers(found, labels))


def class_numbers(values: Values, labels: tuple[str, ...]) -> Array:
    """Each row's class. Raises TrainingError on a class that the labels do not have."""
    made = np.full(len(values.distinct), -1)
    for code in np.unique(values.codes):
        text = _text(values.name, values.distinct[code])
        if text not in labels:
            raise TrainingError(
                f"{values.name!r} has {text!r}, which the model does not know",
                place="data set",
                hint=f"It knows {', '.join(labels)}.",
            )
        made[code] = labels.index(text)
    return made[values.codes]


def numbers(values: Values) -> Array:
    """Each row's outcome as a number. Raises TrainingError on one that is none."""
    made = np.full(len(values.distinct), np.nan)
    for code in np.unique(values.codes):
        value = values.distinct[code]
        try:
            made[code] = float(value) if isinstance(value, str) else as_number(value)
        except (ValueError, TypeError):
            raise _misfit(values.name, value, "a number") from None
        if not np.isfinite(made[code]):
            raise _misfit(values.name, value, "a finite number")
    return made[values.codes]


def _kind(used: list[Any]) -> str:
    if len(used) == 2:
        return "binary"
    return "multiclass" if all(isinstance(value, (str, bool)) for value in used) else "regression"


def _labels(rule: ModelRule, kind: str, texts: list[str]) -> tuple[str, ...]:
    wanted = len(texts) == 2 if kind == "binary" else 2 < len(texts) <= MOST_CLASSES
    if not wanted:
        some = ", ".join(repr(text) for text in texts[:5]) + (", …" if len(texts) > 5 else "")
        raise TrainingError(
            f"{rule.target!r} has {len(texts)} different outcomes ({some}), which is not {kind}",
            place=f"model {rule.name}",
            hint="Give the kind of model that fits, or wait until there are outcomes of both kinds.",
        )
    if kind == "multiclass":
        return tuple(texts)
    positive = rule.positive or next((text for text in texts if POSITIVE.get(text) in texts), "")
    if positive not in texts:
        raise TrainingError(
            f"which of {texts[0]!r} and {texts[1]!r} is the positive outcome of {rule.target!r}"
            + (f" is not known: {positive!r} is neither" if positive else " is not said"),
            place=f"model {rule.name}",
            hint=f'Set it: positive = "{texts[1]}".',
        )
    return next(text for text in texts if text != positive), positive


def _text(name: str, value: Any) -> str:
    try:
        return as_text(value)
    except ValueError:
        raise _misfit(name, value, "a string") from None


def _misfit(name: str, value: Any, wanted: str) -> TrainingError:
    return TrainingError(
        f"column {name!r} must be {wanted}, not {shown(value)}", place="data set", hint="Fix the value or the kind."
    )
