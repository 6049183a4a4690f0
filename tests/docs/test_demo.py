"""The picture of the demo on the home page: what `make demo` prints today, but for its figures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

KEPT = ROOT / "docs" / "pictures" / "demo.txt"


def lines(printed: str) -> list[str]:
    """Up to what is said to do next, without progress, figures and frames."""
    shown = re.sub(r"\d[\d.,:]*\d|\d", "0", printed.partition("\n\nNext,")[0])
    words = [" ".join(re.sub(r"[─-╿]", " ", line).split()) for line in shown.splitlines()]
    return [line for line in words if line and " · shop.purchase: " not in line and not line.startswith("apply ·")]


@pytest.mark.slow
@pytest.mark.docs
def test_the_picture_of_the_demo_is_what_it_prints(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo.run", "--rows", "20000", "--rate", "50"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "110"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # How a line is wrapped depends on its figures.
    assert " ".join(lines(done.stdout)) == " ".join(lines(KEPT.read_text())), "run: scripts/record-demo"


def test_the_demo_that_is_shown_lost_nothing() -> None:
    shown = lines(KEPT.read_text())
    assert "lost or doubled 0, by the application's own log" in shown
    assert len(shown) > 20
