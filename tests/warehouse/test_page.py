"""What the page of reports shows of answers that are not as a chart would like them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from whimbrel.project import ReportRule
from whimbrel.warehouse.duckdb_file import DuckDBFile
from whimbrel.warehouse.ledger import make_ledger
from whimbrel.warehouse.page import ShownReport, page
from whimbrel.warehouse.reports import Reports


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


def test_a_line_is_in_the_order_of_its_axis_and_what_is_long_is_cut(tmp_path: Path) -> None:
    """The rows are put in from the last to the first; as texts, 10 would come before 9."""
    engine = DuckDBFile(tmp_path / "w.duckdb", tmp_path / "spill")
    with engine.session() as session:
        make_ledger(session)
        session.execute("CREATE TABLE days AS SELECT 2000 - i AS day, i AS v FROM range(2000) AS r(i)")
    sql = "SELECT day, v, repeat('x', 5000) AS words FROM main.days"
    rules = tuple(
        ReportRule(f"r{number}", sql, view=view, chart="line", up="v", across=across)
        for number, (view, across) in enumerate([(False, "day"), (True, "day"), (False, "Days of the year")])
    )
    assert Reports(engine, rules, tmp_path / "page.html").refresh()
    first, second, third = (tmp_path / "page.html").read_text().split("<h2>")[1:]
    for text in (first, second):
        assert re.findall(r'<td class="n">(\d+)</td><td class="n">(\d+)</td>', text)[8:10] == [
            ("9", "1991"),
            ("10", "1990"),
        ]
        assert "These are the first 1,000 rows." in text
    assert "Days of the year" in third
    assert max(map(len, re.findall("x+", first))) == 1_000
