"""The gate of a renewal: whether a new model may take the present one's place. Figures in, a decision out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from whimbrel.errors import TrainingError
from whimbrel.predict.model import Metrics

# Calibrated probabilities are what an application acts on, so log-loss stands beside the order that AUC looks at.
USUAL = {"binary": ("log_loss", "auc"), "multiclass": ("log_loss", "macro_f1"), "regression": ("rmse",)}
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


def decide(present: Metrics | None, new: Metrics, metrics: tuple[str, ...], tolerance: float) -> Decision:
    """The new model passes when it is at least as good by every metric, give or take ``tolerance``.

    Raises TrainingError for a metric that the rows or the kind of model do not have.
    """
    names = metrics or USUAL[new.kind]
    figures = {
        name: {"present": _figure(present, name) if present else None, "new": _figure(new, name)} for name in names
    }
    worse = [name for name, pair in figures.items() if present and _is_worse(name, pair, tolerance)]
    if not present:
        reason = "there is no model to compare with"
    elif worse:
        reason = "worse by " + ", ".join(f"{name} ({_words(figures[name])})" for name in worse)
    else:
        reason = "at least as good by " + ", ".join(f"{name} ({_words(figures[name])})" for name in names)
    return Decision(not worse, reason, new.rows, figures)


def _figure(metrics: Metrics, name: str) -> float:
    try:
        return metrics[name]
    except KeyError:
        raise TrainingError(
            f"there is no {name!r} over these {metrics.rows} rows of a {metrics.kind} model",
            place="renewal metrics",
            hint="Name metrics of its kind, and hold out enough rows to have outcomes of every kind.",
        ) from None


def _is_worse(name: str, pair: dict[str, float | None], tolerance: float) -> bool:
    present, new = pair["present"], pair["new"]
    assert present is not None
    assert new is not None
    # Asked this way round, a figure that is no number is worse.
    return not (new <= present + tolerance if name in LESS_IS_BETTER else new >= present - tolerance)


def _words(pair: dict[str, float | None]) -> str:
    return f"{pair['present']:.4f} → {pair['new']:.4f}"
