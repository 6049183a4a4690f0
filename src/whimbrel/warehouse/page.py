"""The reports as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from whimbrel.prediction.train.svg import bar, plot
from whimbrel.project import ReportRule

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;color:#1c2630;background:#fff}
h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #d6dde3}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;font-weight:normal;vertical-align:top}
th{color:#5b6b78}td.n{text-align:right;font-variant-numeric:tabular-nums}
.warning{background:#fff4d6;border-left:4px solid #d99a00;padding:.5rem .8rem;margin:.5rem 0}
.axis{fill:none;stroke:#8a99a6}.line{fill:none;stroke-width:2;stroke:#0b6e99}.bar{fill:#0b6e99}
.name{font-size:12px;text-anchor:middle;fill:#1c2630}.tick{font-size:10px;fill:#5b6b78}.across{text-anchor:middle}
.up{text-anchor:end}
"""


@dataclass(frozen=True, slots=True)
class ShownReport:
    """The answer to one question, its values as texts, or why there is none."""

    report: ReportRule
    names: Sequence[str]
    rows: Sequence[Sequence[str | None]]
    failed: str = ""


def page(reports: Sequence[ShownReport], now: float) -> str:
    """``now`` in seconds since the epoch."""
    made = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    parts = [part for shown in reports for part in _parts(shown)]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Reports</title><style>{STYLE}</style>'
    return f"{head}<h1>Reports</h1><p>As of {made}</p>{''.join(parts)}</html>\n"


def _parts(shown: ShownReport) -> Iterator[str]:
    report = shown.report
    yield f"<h2>{escape(report.title or report.name)}</h2>"
    if shown.failed:
        yield f'<p class="warning">{escape(shown.failed)}</p>'
        return
    values = _values(shown)
    if report.chart == "line" and values is not None and len(values) > 1:
        points = [(float(at), value) for at, value in enumerate(values)]
        bounds = (0.0, float(len(values) - 1), min(0.0, *values), max(0.0, *values))
        yield plot(report.title or report.name, report.across or "row", report.up, [points], bounds=bounds)
    yield "<table><tr>"
    yield from (f"<th>{escape(name)}</th>" for name in shown.names)
    most = max(map(abs, values), default=0.0) if values and report.chart == "bar" else 0.0
    yield "<th></th></tr>" if most else "</tr>"
    for number, row in enumerate(shown.rows):
        yield "<tr>"
        yield from (_cell(value) for value in row)
        yield f"<td>{bar(abs(values[number]) / most)}</td></tr>" if values and most else "</tr>"
    yield "</table>"


def _cell(value: str | None) -> str:
    if value is None:
        return "<td></td>"
    return f'<td class="n">{escape(value)}</td>' if _number(value) is not None else f"<td>{escape(value)}</td>"


def _values(shown: ShownReport) -> list[float] | None:
    """Those that the chart is of; None where the report has no such column, or it has no numbers."""
    if shown.report.up not in shown.names:
        return None
    place = list(shown.names).index(shown.report.up)
    found = [_number(row[place] or "0") for row in shown.rows]
    return None if None in found else [value for value in found if value is not None]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
