"""The reports as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from math import isfinite

from whimbrel.prediction.train.svg import bar, plot
from whimbrel.project import ReportRule

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;color:#1c2630;background:#fff}
h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #d6dde3}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;font-weight:normal;vertical-align:top}
th{color:#5b6b78}td.n{text-align:right;font-variant-numeric:tabular-nums}
.warning{background:#fff4d6;border-left:4px solid #d99a00;padding:.5rem .8rem;margin:.5rem 0}
.axis{fill:none;stroke:#8a99a6}.line{fill:none;stroke-width:2;stroke:#0b6e99}.bar,.dot{fill:#0b6e99}
.name{font-size:12px;text-anchor:middle;fill:#1c2630}.tick{font-size:10px;fill:#5b6b78}.across{text-anchor:middle}
.up{text-anchor:end}
"""


@dataclass(frozen=True, slots=True)
class ShownReport:
    """The answer to one question, its values as texts, or why there is none. ``cut``: it has more rows."""

    report: ReportRule
    names: Sequence[str]
    rows: Sequence[Sequence[str | None]]
    cut: bool = False
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
    if values is None:
        yield f'<p class="warning">There is no column {escape(report.up)} of numbers for the chart.</p>'
    if report.chart == "line" and values:
        yield from _line(report, values)
    yield "<table><tr>"
    yield from (f"<th>{escape(name)}</th>" for name in shown.names)
    most = max((abs(value) for value in values or () if value is not None), default=0.0)
    bars = values if values and most and report.chart == "bar" else [None] * len(shown.rows)
    yield "<th></th></tr>" if report.chart == "bar" else "</tr>"
    for row, value in zip(shown.rows, bars, strict=True):
        yield "<tr>"
        yield from (_cell(each) for each in row)
        yield f"<td>{bar(abs(value) / most)}</td></tr>" if value is not None else "</tr>"
    yield "</table>"
    if shown.cut:
        yield f"<p>These are the first {len(shown.rows):,} rows.</p>"


def _line(report: ReportRule, values: Sequence[float | None]) -> Iterator[str]:
    """Interrupted where there is no value."""
    there = [(float(at), value) for at, value in enumerate(values) if value is not None]
    if not there:
        return
    heights = [value for _, value in there]
    bounds = (0.0, float(max(1, len(values) - 1)), min(0.0, *heights), max(0.0, *heights))
    lines = [[point for _, point in some] for _, some in groupby(enumerate(there), lambda each: each[1][0] - each[0])]
    dots = [line[0] for line in lines if len(line) == 1]
    whole = [line for line in lines if len(line) > 1]
    title, across = report.title or report.name, report.across or "row"
    yield plot(title, across, report.up, whole, dots=dots, bounds=bounds)


def _cell(value: str | None) -> str:
    if value is None:
        return "<td></td>"
    return f'<td class="n">{escape(value)}</td>' if _number(value) is not None else f"<td>{escape(value)}</td>"


def _values(shown: ShownReport) -> list[float | None] | None:
    """What the chart is of, with None where a row has no value. None as a whole where that is no column of numbers."""
    if not shown.report.up or not shown.rows:
        return []
    if shown.report.up not in shown.names:
        return None
    place = list(shown.names).index(shown.report.up)
    found = list[float | None]()
    for row in shown.rows:
        text = row[place]
        value = None if text is None else _number(text)
        if text is not None and value is None:
            return None
        found.append(value if value is not None and isfinite(value) else None)
    return found


def _number(text: str) -> float | None:
    """None where it is not one, as engines write them."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None
