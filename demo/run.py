"""``make demo``: a live table becomes a DynamoDB table on this machine, from nothing to a verified report.

Everything is real but small: a private MariaDB, a local DynamoDB-compatible server, an application that goes on
writing, and whimbrel as a user has it. Leaves nothing running; its files are in ``.demo``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.table import Table

from demo.servers import Ministack, ServerUnavailable, SqlServer, any_sql_server
from demo.shop import LiveWriter, fill
from whimbrel.cli.frame import keep_log
from whimbrel.cli.migration import verification_lines
from whimbrel.errors import Stopped, WhimbrelError
from whimbrel.migration.differences import TableReport
from whimbrel.migration.follow import Follower
from whimbrel.migration.live import Live
from whimbrel.migration.positions import drained, source_end
from whimbrel.migration.prepare import prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.migration.state import StateFolder
from whimbrel.migration.verify import verify_all
from whimbrel.project import PASSWORD_VARIABLE, load_project
from whimbrel.ui.display import Display, pick

FOLDER = Path(".demo")
FOLLOW_SECONDS = 5
PROJECT = """
[source]
url = "{url}"

[target]
endpoint = "{endpoint}"
region = "us-east-1"

[[table]]
source = "shop.purchase"
target = "purchase"
shape = "group"                 # all rows of one order become one item ...
partition_key = {{ name = "customerid" }}
sort_key = {{ name = "orderid" }}
entry = {{ name = "${{productid}}", value = "quantity" }}   # ... with an attribute for each product
"""

console = Console(highlight=False)


@dataclass
class Figures:
    rows: int = 0
    snapshot: float = 0.0  # seconds
    load: float = 0.0
    catch_up: float = 0.0
    drain: float = 0.0
    changes: int = 0
    lag: float = 0.0  # seconds, while the application wrote


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    try:
        with any_sql_server(FOLDER / "source") as source, Ministack(FOLDER / "ministack") as target:
            return demonstrate(source, target, options.rows, options.rate)
    except (ServerUnavailable, WhimbrelError) as error:
        console.print(f"[red]{error}")
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130


def demonstrate(source: SqlServer, target: Ministack, rows: int, rate: int) -> int:
    figures = Figures()
    _title("A live application", f"{source.name} at {source.host}:{source.port}; DynamoDB's part by {target.endpoint}")
    source.execute("CREATE DATABASE shop")
    figures.rows = fill(source, "shop", rows)
    writer = LiveWriter(source, "shop", orders=figures.rows // 4, rate=rate)
    writer.start()
    console.print(f"shop.purchase has {figures.rows:,} rows; an application changes about {rate} of them a second.")
    (FOLDER / "whimbrel.toml").write_text(PROJECT.format(url=source.url("shop"), endpoint=target.endpoint))
    os.environ[PASSWORD_VARIABLE] = source.password
    project, progress, stop = load_project(FOLDER / "whimbrel.toml"), Progress(), threading.Event()
    prepared = prepare(project)
    _title("Migrate", "capture first; then snapshot, load, apply. The application keeps writing.")
    folder = StateFolder(project.state)
    folder.make()
    keep_log(folder.run_log)
    with (
        Display(pick(as_json=False)) as display,
        Live(progress, folder, stop, display.show),
        Run(prepared, stop, progress) as run,
    ):
        figures.snapshot, figures.load = _snapshot_and_load(run)
        with Follower(run):
            figures.catch_up = _drain(run)
            _title("Follow", f"for {FOLLOW_SECONDS} seconds; the application keeps writing")
            with LagMeter(progress) as meter:
                run.stop.wait(FOLLOW_SECONDS)
            figures.lag = meter.median
            _title("Verify, live", "every row and every item, while the application keeps writing")
            live = _verify(run)
            _title("Hand over", "the application stops; what it wrote last is drained; everything is verified again")
            writer.stop()
            figures.drain = _drain(run)
            final = _verify(run)
    figures.changes = progress.applied
    _report(figures, progress, final)
    equal = live.equal and final.equal
    _what_next(equal)
    return 0 if equal else 1


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


def _snapshot_and_load(run: Run) -> tuple[float, float]:
    run.fix_start()
    run.start_capture()
    began = time.monotonic()
    run.snapshot()
    exported = time.monotonic()
    run.load()
    return exported - began, time.monotonic() - exported


def _drain(run: Run) -> float:
    """Wait until the target has all that the source has now; how long that took, in seconds."""
    began = time.monotonic()
    done = drained(run, source_end(run))
    while not done():
        if run.stop.wait(0.002):
            raise Stopped("the run ended before it had caught up", place="demo")
    return time.monotonic() - began


def _verify(run: Run) -> TableReport:
    run.progress.phase = "verify"
    (report,) = verify_all(run.prepared, run.wire, lambda: run.progress.applied_position, run.stop, run.progress)
    run.progress.phase = "apply"
    for line in verification_lines(report):
        console.print(line)
    if report.candidates:
        console.print(f"  ({report.candidates:,} items were being changed while they were read; each was read again)")
    return report


def _report(figures: Figures, progress: Progress, final: TableReport) -> None:
    grid = Table(title="Report", show_header=False, title_justify="left")
    rows = sum(counts.exported_rows for counts in progress.tables.values())
    items = sum(counts.loaded_items for counts in progress.tables.values())
    for name, value in (
        ("rows exported", f"{rows:,} in {figures.snapshot:.1f} s ({rows / figures.snapshot:,.0f} a second)"),
        (
            "items loaded",
            f"{items:,} in {figures.load:.1f} s ({items / figures.load:,.0f} a second; the local server's pace)",
        ),
        ("changes applied", f"{figures.changes:,}; caught up {figures.catch_up:.1f} s after the load"),
        ("lag, following", f"{figures.lag:.1f} s at the median (MariaDB stamps whole seconds)"),
        ("dead letters", f"{progress.dead:,}"),
        ("source now", f"{final.rows:,} rows, which make {final.items:,} items"),
        ("target now", f"{final.found:,} items"),
        ("differences", f"{sum(final.counts.values()):,}"),
        ("final drain", f"{figures.drain * 1000:,.0f} ms from the last write to the last item"),
    ):
        grid.add_row(name, value)
    console.print()
    console.print(grid)


def _what_next(equal: bool) -> None:
    if not equal:
        console.print("[red]The two sides differ: please report this, with the folder .demo.")
        return
    console.print("""
Next, on your own database (docs/getting-started.md):
  pip install .
  export WHIMBREL_SOURCE_PASSWORD=…
  whimbrel init mysql://user@host/database     # writes whimbrel.toml from the live schema; edit the mapping
  whimbrel check                               # what would go wrong, before
  whimbrel migrate                             # stop it and start it again whenever you like
  whimbrel verify
""")


def _title(title: str, text: str) -> None:
    console.print(f"\n[bold]{title}[/bold]  {text}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description="A live migration on this machine.")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rate", type=int, default=300, help="changes a second")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
