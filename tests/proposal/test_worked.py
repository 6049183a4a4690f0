"""Worked examples of single-table designs that experts have published, rebuilt from their descriptions: what the search
finds is as cheap as theirs, by our own reckoning, or nearly. docs/design.md has the same table.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("sqlglot", reason="the extra 'lake' is not installed")

from tests.proposal.described import scale_of
from whimbrel.project import TableRule
from whimbrel.proposal.scale import cost_of_rules
from whimbrel.proposal.search import Search
from whimbrel.setup.project_file import read_rule

FOLDER = Path(__file__).parent / "worked"
NAMES = sorted(each.stem for each in FOLDER.glob("*.toml"))
PAGE = Path(__file__).parents[2] / "docs" / "design.md"


class Compared(NamedTuple):
    """Dollars a month."""

    title: str
    found: float
    expert: float
    one_table_each: float

    @property
    def ratio(self) -> float:
        return self.found / self.expert

    @property
    def line(self) -> str:
        figures = " | ".join(f"${each:,.2f}" for each in (self.one_table_each, self.expert, self.found))
        return f"| {self.title} | {figures} | {self.ratio:.2f} |"


@cache
def compared(name: str) -> Compared:
    described = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    scale = scale_of(described["tables"], described["statements"])
    found = Search(scale).run()
    expert = cost_of_rules(scale, rules_of_text(described["expert"]))
    return Compared(described["title"], scale.total(found.best), expert, scale.total(found.indexed))


def rules_of_text(text: str) -> list[TableRule]:
    rules = [read_rule(f"[[table]]{each}") for each in text.split("[[table]]")[1:]]
    counts, seen, numbered = Counter(rule.source for rule in rules), Counter[str](), []
    for rule in rules:
        seen[rule.source] += 1
        numbered.append(replace(rule, number=seen[rule.source]) if counts[rule.source] > 1 else rule)
    return numbered


@pytest.mark.parametrize("name", NAMES)
def test_never_dearer_than_one_table_each(name: str) -> None:
    assert compared(name).found <= compared(name).one_table_each * (1 + 1e-9)


def test_as_cheap_as_nine_experts_of_ten_within_a_tenth() -> None:
    dear = [name for name in NAMES if compared(name).ratio > 1.1]
    assert len(dear) <= len(NAMES) // 10, [(name, compared(name)) for name in dear]


def test_the_page_has_these_figures() -> None:
    written = re.findall(r"^\| .* \| \$.* \| [0-9.]+ \|$", PAGE.read_text(), re.M)
    assert sorted(written) == sorted(compared(name).line for name in NAMES)
