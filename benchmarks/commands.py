"""Commands as processes of their own, their start in it: CPU time, time by the clock and the most memory of each."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Used(NamedTuple):
    """``peak_mb`` is what the command alone had at most: not the sum with its workers."""

    cpu: float  # seconds, its workers' among them
    wall: float
    peak_mb: int
    out: str


def run(command: Sequence[str], project: Path, code: Path | None = None) -> Used:
    """``whimbrel command --project project``, by this code or that of another ``src`` folder. It must end with 0."""
    began = time.monotonic()
    environment = os.environ | ({"PYTHONPATH": str(code)} if code else {})
    log = project.with_name("output.txt")
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "whimbrel", *command, "--project", str(project)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=project.parent,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall, said = time.monotonic() - began, log.read_text()
    assert process.returncode == 0, f"{command}: {said[-2000:]}"
    return Used(used.ru_utime + used.ru_stime, wall, used.ru_maxrss // 1024, said)
