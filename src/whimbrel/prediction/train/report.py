"""The report of a training: one HTML page that needs nothing else, no script, no font, no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from whimbrel.prediction.model.model import Metrics, Model
from whimbrel.prediction.train import metrics, svg
from whimbrel.prediction.train.feature_columns import Array

POINTS = 200  # of a curve; more cannot be seen
SHOWN = 30  # inputs listed by importance

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;color:#1c2630;background:#fff}
h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #d6dde3}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;font-weight:normal;vertical-align:top}
th{color:#5b6b78}td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:.9em}
.charts{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0}figcaption{font-weight:600}
.warning{background:#fff4d6;border-left:4px solid #d99a00;padding:.5rem .8rem;margin:.5rem 0}
.axis{fill:none;stroke:#8a99a6}.guide{fill:none;stroke:#b9c4cc;stroke-dasharray:4 4}.line{fill:none;stroke-width:2}
.line0{stroke:#0b6e99}.dot{fill:#c2410c}.bar{fill:#0b6e99}.name{font-size:12px;text-anchor:middle;fill:#1c2630}
.tick{font-size:10px;fill:#5b6b78}.across{text-anchor:middle}.up{text-anchor:end}
"""

NAMES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "log_loss": "log-loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "f1": "F1",
    "macro_f1": "macro F1",
    "base_rate": "base rate",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
}


@dataclass(frozen=True, slots=True)
class Curves:
    """Points for the charts, from the held-out rows; empty where there are none or where the kind has no such curve."""

    roc: tuple[svg.Point, ...] = ()
    precision_recall: tuple[svg.Point, ...] = ()
    calibration: tuple[svg.Point, ...] = ()
    values: tuple[svg.Point, ...] = ()  # regression: outcome and prediction


def curves(kind: str, target: Array, scores: Array) -> Curves:
    if kind == "regression":
        step = max(1, len(target) // POINTS)
        return Curves(values=_points(target[::step], scores[::step]))
    if kind != "binary" or len(np.unique(target)) < 2:
        return Curves()
    from sklearn.metrics import precision_recall_curve, roc_curve

    false_positive, true_positive, _ = roc_curve(target, scores, drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(target, scores)
    bins = tuple((said, observed) for said, observed, _ in metrics.calibration_curve(target, scores))
    return Curves(_thin(_points(false_positive, true_positive)), _thin(_points(recall, precision)), bins)


def page(model: Model, drawn: Curves) -> str:
    """The whole page as HTML that is also well-formed XML."""
    facts = model.facts
    sections = [
        _warnings(facts.get("warnings", [])),
        _section("Metrics", _figures(model)),
        _section("Curves", _charts(drawn)) if drawn != Curves() else "",
        _section("Confusion matrix", _confusion(model.metrics)) if model.metrics.confusion else "",
        _section("What the answers depend on", _importance(facts)),
        _section("Inputs", _inputs(model)),
        _section("Left out", _left_out(facts)) if facts.get("left_out") else "",
        _section("Training", _made(model)),
    ]
    title = escape(f"{model.name} {model.version}")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{escape(model.name)}</h1>"
        f"<p>{escape(_summary(model))}</p>\n" + "\n".join(filter(None, sections)) + "</body></html>\n"
    )


def _summary(model: Model) -> str:
    up_to = f", which has everything that was applied up to {model.position}" if model.position else ""
    return (
        f"Version {model.version}: {model.kind} model of {model.target!r} by the learner {model.learner!r}, "
        f"from data set {model.manifest} as of {model.as_of}{up_to}."
    )


def _warnings(found: list[dict[str, str]]) -> str:
    lines = [f'<p class="warning"><b>{escape(each["input"])}</b> {escape(each["message"])}</p>' for each in found]
    return _section("Warnings", "".join(lines)) if lines else ""


def _figures(model: Model) -> str:
    folds = model.facts.get("folds", {}).get("values", {})
    base = model.facts.get("base", {}).get("values", {})
    rows = [
        [NAMES.get(name, name), _number(value), _number(folds.get(name)), _number(base.get(name))]
        for name, value in model.metrics.values.items()
    ]
    judged = model.facts.get("judged_by", "hold-out")
    text = f"<p>Over {model.metrics.rows:,} rows of the {escape(judged)}, scored by the code that serves.</p>"
    if model.kind == "binary":
        called = escape(model.labels[1])
        rule = escape(model.facts.get("settings", {}).get("threshold", {}).get("criterion", ""))
        text += (
            f"<p>A row is <b>{called}</b> at a score of <b>{model.threshold:.4f}</b> or more (criterion: {rule}).</p>"
        )
    return text + _table(["", judged, "folds of the rest", "base rate alone"], rows)


def _charts(drawn: Curves) -> str:
    charts = []
    if drawn.roc:
        charts += [
            ("ROC", svg.plot("ROC", "false positive rate", "true positive rate", [drawn.roc], diagonal=True)),
            ("Precision and recall", svg.plot("Precision and recall", "recall", "precision", [drawn.precision_recall])),
            (
                "Calibration",
                svg.plot(
                    "Calibration",
                    "mean score",
                    "share of positives",
                    [drawn.calibration],
                    dots=drawn.calibration,
                    diagonal=True,
                ),
            ),
        ]
    if drawn.values:
        every = [value for point in drawn.values for value in point]
        bounds = (min(every), max(every), min(every), max(every))
        chart = svg.plot(
            "Outcome and prediction", "outcome", "prediction", [], dots=drawn.values, diagonal=True, bounds=bounds
        )
        charts.append(("Outcome and prediction", chart))
    figures = [f"<figure><figcaption>{escape(name)}</figcaption>{chart}</figure>" for name, chart in charts]
    return f'<div class="charts">{"".join(figures)}</div>'


def _confusion(found: Metrics) -> str:
    rows = [[label, *(f"{count:,}" for count in row)] for label, row in zip(found.labels, found.confusion, strict=True)]
    return _table(["outcome", *(f"predicted {label}" for label in found.labels)], rows)


def _importance(facts: dict[str, Any]) -> str:
    alone_by_input = facts.get("alone", {})
    lines = []
    for each in facts.get("importance", [])[:SHOWN]:
        alone = alone_by_input.get(each["input"], {})
        cells = [_number(each["rise"]), svg.bar(each["share"]), _number(alone.get("skill")), _number(alone.get("auc"))]
        lines.append(
            f"<tr><td>{escape(each['input'])}</td>" + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>"
        )
    head = _row("th", ["input", "increase in loss when shuffled", "share", "skill alone", "AUC alone"])
    return f"<table>{head}{''.join(lines)}</table>"


def _inputs(model: Model) -> str:
    rows = []
    for each in model.inputs:
        if each.type == "category":
            values = ", ".join(each.categories[:12]) + (", …" if len(each.categories) > 12 else "")
        else:
            values = f"{each.low:g} to {each.high:g}, {len(each.edges) + 1} bins"
        missing = f"{each.shares[each.missing]:.1%}" if each.shares else ""
        rows.append([each.name, each.type, values, missing])
    return _table(["input", "type", "values", "missing"], rows)


def _left_out(facts: dict[str, Any]) -> str:
    return _table(["column", "why it is not an input"], [[name, why] for name, why in facts["left_out"].items()])


def _made(model: Model) -> str:
    facts = model.facts
    rows = facts.get("rows", {})
    lines = [
        ["made", str(facts.get("created", ""))],
        ["rows fitted", f"{rows.get('fitted', 0):,}"],
        ["rows held out", f"{rows.get('held_out', 0):,}" + (", fitted afterwards" if rows.get("refitted") else "")],
        ["setting", ", ".join(f"{name} {value}" for name, value in facts.get("setting", {}).items())],
        ["calibration", model.calibration.method],
        *([name, str(value)] for name, value in facts.get("settings", {}).items()),
        *([f"version of {name}", value] for name, value in facts.get("versions", {}).items()),
    ]
    return _table(["", ""], lines)


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{body}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row("th", head)] if any(head) else []
    return f"<table>{''.join([*lines, *(_row('td', row) for row in rows)])}</table>"


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _points(across: Array, up: Array) -> tuple[svg.Point, ...]:
    return tuple(zip(map(float, across), map(float, up), strict=True))


def _thin(points: Sequence[svg.Point]) -> tuple[svg.Point, ...]:
    step = max(1, len(points) // POINTS)
    return (*points[:-1:step], points[-1])
