"""What the demos have in common: the phases of a migration one by one, timed, and what is printed of them."""

from __future__ import annotations

import shutil
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rich.console import Console

import whimbrel
from demo.servers import ServerUnavailable
from whimbrel.cli.frame import keep_log
from whimbrel.cli.migration import verification_lines
from whimbrel.errors import Stopped, WhimbrelError
from whimbrel.migration.live import Live
from whimbrel.migration.positions import drained, source_end
from whimbrel.migration.prepare import prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.migration.state import StateFolder
from whimbrel.project import Project
from whimbrel.ui.display import Display, pick

FOLDER = Path(".demo")
TABLES = """
[[table]]
source = "shop.purchase"
target = "purchase"
shape = "group"                 # all rows of one order become one item ...
partition_key = { name = "customerid" }
sort_key = { name = "orderid" }
entry = { name = "${productid}", value = "quantity" }   # ... with an attribute for each product

[[table]]
source = "shop.customer"
target = "customer"
shape = "record"
partition_key = { name = "customerid" }
exclude = ["note"]
"""

console = Console(highlight=False)


def title(title: str, text: str) -> None:
    console.print(f"\n[bold]{title}[/bold]  {text}")


def exit_code(demonstrate: Callable[[], int]) -> int:
    """Of a demo: what ``demonstrate`` gives, in a fresh FOLDER; what ends it early is said in a line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    try:
        return demonstrate()
    except (ServerUnavailable, WhimbrelError) as error:
        console.print(f"[red]{error}")
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130


@contextmanager
def running(project: Project, progress: Progress, stop: threading.Event) -> Iterator[Run]:
    """A run as the commands make it, with its log and its display."""
    prepared, folder = prepare(project), StateFolder(project.state)
    folder.make()
    keep_log(folder.run_log)
    with (
        Display(pick(as_json=False)) as display,
        Live(progress, folder, stop, display.show),
        Run(prepared, stop, progress) as run,
    ):
        yield run


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
