"""What the built-in page shows, as JSON: endpoints and variants, live rates, model versions, drift, models' inputs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from whimbrel.prediction.model.drift import LEAST_ROWS, drift
from whimbrel.prediction.model.features import CATEGORY, Input
from whimbrel.prediction.model.model import Model
from whimbrel.prediction.serve.endpoint import Fleet, LiveEndpoint, LiveVariant
from whimbrel.prediction.serve.figures import SECONDS, quantile_of
from whimbrel.prediction.serve.registry import DELETING
from whimbrel.prediction.serve.served import Served
from whimbrel.prediction.serve.serving import Serving

_RECENT = 10  # seconds over which "now" is meant


def status(serving: Serving, drifts: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """All of it; ``drifts`` are those of ``recent_drift``, by model name."""
    now = time.monotonic()
    return {
        "time": time.time(),
        "endpoints": [_endpoint(serving, live, now) for live in serving.live.values()],
        "models": sorted((_model(each) for each in serving.state.models.values()), key=lambda each: each["created"]),
        "drift": drifts,
        "captured": serving.call_writer.kept,
        "dropped": serving.call_writer.dropped,
    }


def form(served: Served) -> dict[str, Any]:
    """The model's inputs, from which the page makes a form to try a prediction."""
    model = served.model
    return {
        "model": served.name,
        "version": served.version,
        "kind": model.kind,
        "labels": model.labels,
        "threshold": model.threshold,
        "target": model.target,
        "inputs": [_input(each) for each in _row_inputs(model)],
    }


def _row_inputs(model: Model) -> list[Input]:
    """An input for each column of a row; a date is a text there."""
    by_column = {each.column: each for each in model.inputs}
    return [Input(name, CATEGORY) if each.part else each for name, each in by_column.items()]


def recent_drift(served: Served) -> list[dict[str, Any]]:
    """For each input, how far the last calls' rows are from the training rows, the farthest first; see drift.py."""
    rows = list(served.samples)
    if len(rows) < LEAST_ROWS:
        return []
    found = drift(served.model, rows)
    inputs = sorted(found.inputs, key=lambda each: -each.psi)
    return [asdict(each) | {"rows": found.rows} for each in inputs]


def _endpoint(serving: Serving, live: LiveEndpoint, now: float) -> dict[str, Any]:
    stored = serving.state.endpoints.get(live.name)
    trial = live.trial
    found: dict[str, Any] = {
        "name": live.name,
        "status": stored.status if stored else DELETING,
        "config": stored.config if stored else "",
        "pending": stored.pending if stored else "",
        "reason": stored.reason if stored else "",
        "history": list(stored.history[-20:]) if stored else [],
        "variants": [],
    }
    if live.fleet:
        found["variants"] += _fleet(live.fleet, "serving", 1.0 - (trial.share if trial else 0.0), now)
        found["form"] = form(live.fleet.variants[0].served)
    if trial:
        found["variants"] += _fleet(trial.fleet, "trial", trial.share, now)
    found["seconds"] = _seconds([live.fleet, trial.fleet if trial else None, *live.past], now)
    return found


def _fleet(fleet: Fleet, role: str, share: float, now: float) -> list[dict[str, Any]]:
    whole = sum(each.weight for each in fleet.variants)
    even = 1 / len(fleet.variants)
    rows = [_variant(each, role, share * (each.weight / whole if whole else even), now) for each in fleet.variants]
    return rows + ([_variant(fleet.shadow, "shadow", 0.0, now)] if fleet.shadow else [])


def _variant(variant: LiveVariant, role: str, share: float, now: float) -> dict[str, Any]:
    figures = variant.figures
    recent = figures.last(now, _RECENT)
    buckets = [sum(counts) for counts in zip(*(each.buckets for each in recent), strict=True)]
    return {
        "name": variant.name,
        "role": role,
        "share": share,
        "weight": variant.weight,
        "model": variant.served.name,
        "version": variant.served.version,
        "classes": list(variant.served.model.labels),
        "calls": figures.calls,
        "errors": figures.errors,
        "rows": figures.rows,
        "rate": sum(each.calls for each in recent) / _RECENT,
        "error_rate": sum(each.errors for each in recent) / (sum(each.calls for each in recent) or 1),
        "p50": quantile_of(buckets, 0.5),
        "p99": quantile_of(buckets, 0.99),
        "unknown": [
            {"column": column, "count": count, "values": list(figures.unknown.values[column])}
            for column, count in figures.unknown.counts.items()
        ],
    }


def _seconds(fleets: Sequence[Fleet | None], now: float) -> list[list[float]]:
    """[calls, errors, p50, p99] of each second of the last two minutes, oldest first, over all variants."""
    lasts = [variant.figures.last(now, SECONDS) for fleet in fleets if fleet for variant in fleet.variants]
    found = []
    for each in zip(*lasts, strict=True):
        buckets = [sum(counts) for counts in zip(*(second.buckets for second in each), strict=True)]
        calls, errors = sum(second.calls for second in each), sum(second.errors for second in each)
        found.append([calls, errors, quantile_of(buckets, 0.5), quantile_of(buckets, 0.99)])
    return found


def _model(model: Any) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "as_of": model.as_of,
        "position": model.position,
        "created": model.created,
        "kind": model.kind,
        "learner": model.learner,
        "metrics": model.metrics,
    }


def _input(each: Input) -> dict[str, Any]:
    if each.type == CATEGORY:
        likely = max(range(len(each.categories)), key=lambda place: each.shares[place]) if each.shares else 0
        typical = each.categories[likely] if each.categories else ""
        return {"name": each.name, "type": each.type, "categories": sorted(each.categories), "typical": typical}
    middle = each.edges[len(each.edges) // 2] if each.edges else each.mean
    return {"name": each.name, "type": each.type, "low": each.low, "high": each.high, "typical": middle}
