"""The index of recipes: each is a case whose mapping has the lines that are printed, and whose items what they give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CASES = ROOT / "tests" / "cases"
ROW = re.compile(r"^\| \[[^\]]+\]\(\.\./tests/cases/([\w-]+)/\) \| (.+) \| (.+) \|$")
DEFAULT = "nothing: it is the default"


def rows() -> list[tuple[str, str, str]]:
    """Of each recipe: its case, the cell of what is written, the cell of what it gives."""
    lines = (ROOT / "docs" / "recipes.md").read_text().splitlines()
    tables = [line for line in lines if line.startswith("|") and not line.startswith(("| I want", "|---"))]
    found = [ROW.match(line) for line in tables]
    assert all(found), [line for line, match in zip(tables, found, strict=True) if not match]
    return [(each[1], each[2], each[3]) for each in found if each]


def code(cell: str) -> list[str]:
    return [span.replace("\\|", "|") for span in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize(("name", "write", "gives"), rows())
def test_a_recipe_is_in_its_case(name: str, write: str, gives: str) -> None:
    mapping = (CASES / name / "mapping.toml").read_text().splitlines()
    lines = code(write)
    assert bool(lines) != (write == DEFAULT)
    assert not [line for line in lines if line not in mapping]
    items = (CASES / name / "expected.json").read_text()
    shown = code(gives)
    assert shown
    assert not [part for part in shown if part not in items]


def test_there_are_recipes_of_each_kind() -> None:
    assert len(rows()) >= 50
