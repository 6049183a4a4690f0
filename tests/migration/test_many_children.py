"""A row that many look up changes: memory does not grow with them, and a process that dies goes on where it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(count: int, folder: Path, *left: str, code: int = 0) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.migration.many_children", str(count), str(folder), *left]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == code, done.stderr
    return dict(json.loads(done.stdout)) if done.stdout else {}


def killed_and_gone_on_with(count: int, folder: Path, portions: int) -> dict[str, Any]:
    folder.mkdir()
    run(count, folder, str(portions), code=-signal.SIGKILL)
    said = run(count, folder)
    print(said)
    assert 0 < said["items"] <= count
    return said


def test_memory_does_not_grow_with_the_rows_that_wait(tmp_path: Path) -> None:
    few, many = (killed_and_gone_on_with(count, tmp_path / str(count), 2) for count in (15_000, 60_000))
    assert many["write"]["peak_mb"] - few["write"]["peak_mb"] < 45  # of which SQLite may keep 32


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_rows_that_wait(tmp_path: Path) -> None:
    said = killed_and_gone_on_with(1_000_000, tmp_path / "million", 50)
    assert said["items"] < 600_000  # those that were written before the process died are not written again
    assert said["write"]["peak_mb"] < 250
