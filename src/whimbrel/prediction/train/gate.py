"""The gate of a renewal: whether a new model may take the present one's place. Figures in, a decision out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from whimbrel.errors import TrainingError
from whimbrel.prediction.model.model import Metrics

# Calibrated probabilities are what an application acts on, so log-loss stands beside the order that AUC looks at.
USUAL = {"binary": ("log_loss", "auc"), "multiclass": ("log_loss", "macro_f1"), "regression": ("rmse",)}
COMPARED_WITH_BASE = frozenset({"log_loss", "brier", "auc", "average_precision", "rmse", "mae", "r2"})
BEYOND_CHANCE = 1.645  # standard errors: one model in twenty that knows nothing has an AUC as good as this
LESS_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae"})


@dataclass(frozen=True, slots=True)
class Decision:
    """``figures``: by metric, what the present model (None: there is none) and the new one reach on the same rows."""

    passed: bool
    reason: str
    rows: int
    figures: dict[str, dict[str, float | None]]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def decide(
    present: Metrics | None, new: Metrics, metrics: tuple[str, ...], tolerance: float, base: Metrics
) -> Decision:
    """The new model passes when it is better than ``base``, and not worse than the present model by more than
    ``tolerance`` by any metric.

    ``base`` has the figures of the base rate (or the mean) of the rows that the new model was fitted on. Raises
    TrainingError for a metric that the rows or the kind of model do not have.
    """
    names = metrics or USUAL[new.kind]
    figures = {
        name: {"present": _figure(present, name) if present else None, "new": _figure(new, name)} for name in names
    }
    worse = [name for name, pair in figures.items() if present and _is_worse(name, pair, tolerance)]
    chance = no_better_than_chance(new, base, names)
    if worse or chance:
        told = "worse by " + ", ".join(f"{name} ({_words(figures[name])})" for name in worse) if worse else ""
        reason = "; ".join(filter(None, [told, chance]))
    elif present:
        reason = "at least as good by " + ", ".join(f"{name} ({_words(figures[name])})" for name in names)
    else:
        reason = "there is no model to compare with"
    return Decision(not (chance or worse), reason, new.rows, figures)


def no_better_than_chance(found: Metrics, base: Metrics, metrics: tuple[str, ...] = ()) -> str:
    """By which of its figures the model is not better than always answering the base rate (or the mean); "" by none.

    Looks at those of ``metrics`` for which the comparison makes sense, else at the usual ones of its kind.
    """
    names = [name for name in metrics if name in COMPARED_WITH_BASE] or list(USUAL[found.kind])
    faults = []
    for name in names:
        mine, other = found.values.get(name), base.values.get(name)
        if name not in COMPARED_WITH_BASE or mine is None or other is None:
            continue
        if name == "auc":
            other = 0.5 + BEYOND_CHANCE * _auc_error(found)
        if not (mine < other if name in LESS_IS_BETTER else mine > other):
            faults.append(
                f"{name} {mine:.4f}, which must be {'below' if name in LESS_IS_BETTER else 'above'} {other:.4f}"
            )
    return f"no better than chance: {'; '.join(faults)}" if faults else ""


def _auc_error(found: Metrics) -> float:
    """The standard error of an AUC over rows like these by scores that know nothing."""
    positives = found["base_rate"] * found.rows
    return math.sqrt((found.rows + 1) / (12 * positives * (found.rows - positives)))


def _figure(metrics: Metrics, name: str) -> float:
    try:
        return metrics[name]
    except KeyError:
        raise TrainingError(
            f"{name!r} is not defined over these {metrics.rows} rows of a {metrics.kind} model",
            place="renewal metrics",
            hint="Name metrics of its kind, and hold out enough rows to have every outcome.",
        ) from None


def _is_worse(name: str, pair: dict[str, float | None], tolerance: float) -> bool:
    present, new = pair["present"], pair["new"]
    assert present is not None
    assert new is not None
    # Asked this way round, NaN counts as worse.
    return not (new <= present + tolerance if name in LESS_IS_BETTER else new >= present - tolerance)


def _words(pair: dict[str, float | None]) -> str:
    return f"{pair['present']:.4f} → {pair['new']:.4f}"
