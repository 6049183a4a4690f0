"""Spin on the models in spec/."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SPEC = Path(__file__).parents[2] / "spec"
needed = pytest.mark.skipif(
    not (shutil.which("spin") and shutil.which("gcc")),
    reason="the model of the order was not checked: it needs spin and gcc (apt-get install spin gcc)",
)


def check(folder: Path, model: Path, *defines: str, whole: bool) -> str:
    """What spin's checker reports on ``model``; it stops at the first error. ``whole``: none is expected."""
    options = [f"-D{define}" for define in defines]
    generated = subprocess.run(["spin", *options, "-a", model], cwd=folder, capture_output=True, text=True)
    assert generated.returncode == 0, generated.stdout + generated.stderr
    optimise = "-O1" if whole else "-O0"  # an error is found sooner than the compiler would have optimised
    subprocess.run(["gcc", "-w", optimise, "-DSAFETY", "-o", "pan", "pan.c"], cwd=folder, check=True)
    report = subprocess.run(["./pan", "-m10000"], cwd=folder, capture_output=True, text=True).stdout
    assert "max search depth too small" not in report
    return report


def errors(report: str) -> int:
    found = re.search(r"errors: (\d+)", report)
    assert found, report
    return int(found[1])


def unreached(report: str, process: str) -> str:
    """The steps of a process that no interleaving reaches."""
    return report.partition(f"unreached in proctype {process}\n")[2].partition("unreached in")[0]


def defines_of(model: Path) -> set[str]:
    """Every name that the model asks for with #ifdef, #ifndef or defined()."""
    found = re.findall(r"#ifn?def (\w+)|defined\((\w+)\)", model.read_text())
    return {one or other for one, other in found}
