"""What the page of reports shows of answers that are not as a chart would like them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from whimbrel.project import ReportRule
from whimbrel.warehouse.page import ShownReport, page


def shown(rows: list[tuple[Any, ...]], *, up: str = "v", chart: str = "line", cut: bool = False) -> str:
    report = ReportRule("r", "SELECT 1", chart=chart, up=up)
    return page([ShownReport(report, ["n", "v"], rows, cut)], 0.0)


def lines(text: str) -> list[int]:
    """How many points each line of the chart has."""
    return [len(points.split()) for points in re.findall(r'<polyline points="([^"]*)"', text)]


@pytest.mark.parametrize("gap", [None, "NaN", "nan", "Infinity", "-inf"])
def test_a_line_is_interrupted_where_there_is_no_number(gap: str | None) -> None:
    text = shown([("a", "1"), ("b", "2"), ("c", gap), ("d", "3"), ("e", gap), ("f", "4"), ("g", "5")])
    assert lines(text) == [2, 2]
    assert text.count("<circle") == 1  # the one between two gaps
    [chart] = re.findall("<svg.*?</svg>", text)
    assert "nan" not in chart
    assert "inf" not in chart


@pytest.mark.parametrize("rows", [[("a", "1"), ("b", "two")], [("a", "1_000")]])
def test_a_chart_of_what_is_not_a_number_says_so(rows: list[tuple[Any, ...]]) -> None:
    text = shown(rows)
    assert "There is no column v of numbers for the chart." in text
    assert lines(text) == []
    assert "There is no column w of numbers" in shown([("a", "1")], up="w")


def test_nothing_and_nulls_alone_make_no_chart() -> None:
    for rows in ([], [("a", None), ("b", None)]):
        assert "<svg" not in shown(rows)
        assert 'warning">' not in shown(rows)
    assert shown([("a", None), ("b", "2")], chart="bar").count("<svg") == 1


def test_values_are_texts_and_no_html() -> None:
    text = shown([("<script>alert(1)</script>&'\"", "1")], chart="bar")
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in text


def test_rows_that_are_not_shown_are_not_kept_quiet() -> None:
    assert "These are the first 2 rows." in shown([("a", "1"), ("b", "2")], cut=True)
    assert "These are" not in shown([("a", "1"), ("b", "2")])
