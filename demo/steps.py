"""What the demos have in common: the phases of a migration one by one, timed, and what is printed of them."""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path
from typing import Self

from rich.console import Console

import whimbrel
from whimbrel.cli.migration import verification_lines
from whimbrel.errors import Stopped, WhimbrelError
from whimbrel.migration.positions import drained, source_end
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.project import Project

FOLDER = Path(".demo")

console = Console(highlight=False)


def title(title: str, text: str) -> None:
    console.print(f"\n[bold]{title}[/bold]  {text}")


class LagMeter:
    """Looks at the lag ten times a second while it is entered."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._seen = [0.0]

    @property
    def median(self) -> float:
        return statistics.median(self._seen)

    def _look(self) -> None:
        while not self._done.wait(0.1):
            if (lag := self._progress.lag_seconds) is not None:
                self._seen.append(lag)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def snapshot_and_load(run: Run) -> tuple[float, float]:
    run.fix_start()
    run.start_capture()
    began = time.monotonic()
    run.snapshot()
    exported = time.monotonic()
    run.load()
    return exported - began, time.monotonic() - exported


def drain(run: Run) -> float:
    """Wait until the target has all that the source has now; how long that took, in seconds."""
    began = time.monotonic()
    done = drained(run, source_end(run))
    while not done():
        if run.stop.wait(0.002):
            raise Stopped("the run ended before it had caught up", place="demo")
    return time.monotonic() - began


def prove(project: Project) -> None:
    """Raises WhimbrelError where the sides differ: nothing is handed over then."""
    found = whimbrel.verify(project)
    for table in found.tables:
        for line in verification_lines(table):
            console.print(line)
    if not found.equal:
        raise WhimbrelError("the two sides differ", place="demo", hint="Please report this, with the folder .demo.")
