"""The page of sizes is what the script computes from the benchmarks, and the script takes other figures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def made(*arguments: str) -> str:
    command = [sys.executable, str(ROOT / "scripts" / "sizing-page"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def row(page: str, name: str) -> list[str]:
    """The cells of the first row of that name: of the table of times."""
    found = re.search(rf"^\| {name} \| (.*) \|$", page, re.MULTILINE)
    assert found
    return found[1].split(" | ")


def test_the_page_of_sizes_is_what_the_benchmarks_say() -> None:
    page = (ROOT / "docs" / "sizing.md").read_text()
    assert page == made(), "run: scripts/sizing-page > docs/sizing.md"
    rows, *_, by_units, _faster, _catching_up, _verify = row(page, "10 GB, record")
    assert (rows, by_units) == ("33.3 million", "**2.3 h**")  # 33.3 million items at 4,000 a second: 8,333 s


def test_the_command_of_the_page_is_run() -> None:
    page = (ROOT / "docs" / "sizing.md").read_text()
    [arguments] = re.findall(r"^\$ \.venv/bin/python scripts/sizing-page (.*)$", page, re.MULTILINE)
    assert row(made(*arguments.split()), "250 GB, record")[0] == "208 million"  # of 1,200 bytes


def test_it_reckons_with_the_figures_that_are_given() -> None:
    """A billion rows of 1,000 bytes are 1 TB; more changes than the target takes are never caught up with."""
    page = made("--gigabytes", "1000", "--row-bytes", "1000", "--units", "2000", "--changes", "2000")
    rows, *_, by_units, _faster, catching_up, _verify = row(page, "1.0 TB, record")
    assert (rows, by_units, catching_up) == ("1,000 million", "**138.9 h**", "never")
