"""Benchmarks that need no server run from beginning to end at a small size; their figures are for ``make bench``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import paper
from demo import bank

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("part", "size"), [("load", ["--items", "1000"]), ("apply", ["--changes", "1000"])], ids=["load", "apply"]
)
def test_a_benchmark_runs(part: str, size: list[str]) -> None:
    command = [sys.executable, "-m", f"benchmarks.{part}", "--json", "--rounds", "1", *size]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"WHIMBREL_RIVALS": "none"},
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert {each["contestant"] for each in figures} >= {"whimbrel"}
    assert all(each["cpu_us"] > 0 for each in figures)


def test_what_a_billion_rows_take_is_computed_from_what_was_measured() -> None:
    """At 2,000 units, 1e8 items take 13.9 hours: the figure that anybody can check."""
    table = "\n".join(paper.lines())
    assert f"```\n{table}\n```" in (ROOT / "docs" / "aws.md").read_text()
    assert table.count("13.9") == 4


def test_what_a_renewal_takes_is_computed_from_what_was_measured() -> None:
    """What changed is a hundredth of the whole table, and only what reads the table itself takes its units."""
    table = "\n".join(paper.renewal_lines())
    assert f"```\n{table}\n```" in (ROOT / "docs" / "aws.md").read_text()
    whole, changed = [each for each in paper.renewals() if each.exported]
    assert changed.exported * 100 == whole.exported
    assert len({each.read_units for each in paper.renewals() if each.read_units}) == 1
    _, _, most = paper.TRAINING
    assert paper.CALLS * len(bank.COLUMNS) * 110 < most * paper.GB, "what training holds, by docs/operations.md"
