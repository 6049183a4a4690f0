"""``make demo``: a live table becomes a DynamoDB table on this machine, there, back, and there again.

Everything is real but small: a private MariaDB, a local DynamoDB-compatible server, an application that goes on
writing, and whimbrel as a user has it. Leaves nothing running; its files are in ``.demo``.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

import whimbrel
from demo.application import CUSTOMER, Running, Settings, allow
from demo.judge import Notes, at_dynamodb
from demo.servers import Ministack, SqlServer, any_sql_server
from demo.shop import fill
from demo.steps import FOLDER, TABLES, LagMeter, console, drain, exit_code, prove, running, snapshot_and_load, title
from whimbrel.migration.follow import Follower
from whimbrel.migration.progress import Progress
from whimbrel.project import PASSWORD_VARIABLE, Project, load_project
from whimbrel.project.cutover import REVERSE_PASSWORD_VARIABLE

LEASE_SECONDS, WRITE_SECONDS = 0.5, 1.0  # of the demo's application
FOLLOW_SECONDS = 5
PROJECT = """
[source]
url = "{url}"

[target]
endpoint = "{endpoint}"
region = "us-east-1"

[cutover]
reverse_user = "way_back"       # the account that the way back writes with
route_file = "route.json"       # which side is open: the application reads it
lease_seconds = {lease}
write_seconds = {write}
late_seconds = 1.0
"""


@dataclass
class Figures:
    rows: int = 0
    snapshot: float = 0.0  # seconds
    load: float = 0.0
    catch_up: float = 0.0
    stalls: tuple[float, ...] = ()  # milliseconds for which nobody could write
    acknowledged: int = 0
    changes: int = 0
    lag: float = 0.0  # seconds, while the application wrote


def main() -> int:
    options = _options()

    def on_servers() -> int:
        with any_sql_server(FOLDER / "source") as source, Ministack(FOLDER / "ministack") as target:
            return demonstrate(source, target, options.rows, options.rate)

    return exit_code(on_servers)


def demonstrate(source: SqlServer, target: Ministack, rows: int, rate: int) -> int:
    figures = Figures()
    title("A live application", f"{source.name} at {source.host}:{source.port}; DynamoDB's part by {target.endpoint}")
    source.execute("CREATE DATABASE shop")
    figures.rows = fill(source, "shop", rows)
    settings = _prepare(source, target, rate)
    project, progress, stop = load_project(FOLDER / "whimbrel.toml"), Progress(), threading.Event()
    with Running(settings, FOLDER / "application.json") as application:
        console.print(f"shop.purchase has {figures.rows:,} rows; an application writes about {rate} times a second.")
        title("Migrate", "capture first; then snapshot, load, apply. The application keeps writing.")
        _migrate(project, progress, stop, figures)
        title("Verify, live", "every row and every item, while the application keeps writing")
        prove(project)
        title("Cut over", "MySQL closes, the rest is drained and proved, DynamoDB opens. The application follows")
        figures.stalls = (whimbrel.cutover(project).stall_ms or 0.0,)
        _write_at_dynamodb(project)
        title("Roll back", "what was written at DynamoDB is in MySQL again, and MySQL opens")
        figures.stalls += (whimbrel.rollback(project).stall_ms or 0.0,)
        title("And over again", "migrate from where MySQL was opened, verify, cut over")
        whimbrel.migrate(project)
        prove(project)
        figures.stalls += (whimbrel.cutover(project).stall_ms or 0.0,)
        time.sleep(1)
        failed = application.has_failed
    notes = Notes(Path(settings.logs))
    figures.changes, figures.acknowledged = progress.applied, notes.acknowledged()
    mine = {key: value for key, value in at_dynamodb(target.client()).items() if key in notes.by_key}
    lost = notes.wrong(mine)
    _report(figures, progress, len(lost))
    _what_next(not lost and not failed)
    return 1 if lost or failed else 0


def _prepare(source: SqlServer, target: Ministack, rate: int) -> Settings:
    """The application's other table, its settings, the accounts, and the project file."""
    source.execute(CUSTOMER, database="shop")
    allow(source, "shop", "way_back")
    (FOLDER / "whimbrel.toml").write_text(_project(source, target))
    os.environ[PASSWORD_VARIABLE] = os.environ[REVERSE_PASSWORD_VARIABLE] = source.password
    return Settings.of(source, "shop", target.endpoint, FOLDER, threads=4, rate=rate)


def _project(source: SqlServer, target: Ministack) -> str:
    seconds = {"lease": LEASE_SECONDS, "write": WRITE_SECONDS}
    return PROJECT.format(url=source.url("shop"), endpoint=target.endpoint, **seconds) + TABLES


def _migrate(project: Project, progress: Progress, stop: threading.Event, figures: Figures) -> None:
    with running(project, progress, stop) as run:
        figures.snapshot, figures.load = snapshot_and_load(run)
        with Follower(run):
            figures.catch_up = drain(run)
            title("Follow", f"for {FOLLOW_SECONDS} seconds; the application keeps writing")
            with LagMeter(progress) as meter:
                run.stop.wait(FOLLOW_SECONDS)
            figures.lag = meter.median


def _write_at_dynamodb(project: Project) -> None:
    """For some seconds, with all of it followed back into MySQL."""
    stop = threading.Event()
    timer = threading.Timer(FOLLOW_SECONDS, stop.set)
    timer.start()
    console.print(f"DynamoDB is open, and MySQL follows it for {FOLLOW_SECONDS} seconds.")
    whimbrel.cutover(project, until_open=False, stop=stop)
    timer.cancel()


def _report(figures: Figures, progress: Progress, lost: int) -> None:
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
        ("stalls", _stalls(figures)),
        ("acknowledged", f"{figures.acknowledged:,} writes by the application, at one side or the other"),
        ("lost or doubled", f"{lost:,}, by the application's own log"),
    ):
        grid.add_row(name, value)
    console.print()
    console.print(grid)


def _stalls(figures: Figures) -> str:
    there, back, again = (f"{stall:,.0f} ms" for stall in figures.stalls)
    waited = f"{1000 * (LEASE_SECONDS + WRITE_SECONDS):,.0f} ms"
    return f"cutover {there} · rollback {back}, of which it waits {waited} for leases and late writes · cutover {again}"


def _what_next(equal: bool) -> None:
    if not equal:
        console.print("[red]DynamoDB lacks what was acknowledged: please report this, with the folder .demo.")
        return
    console.print("""
Next, on your own database (docs/getting-started.md):
  pip install .
  export WHIMBREL_SOURCE_PASSWORD=…
  whimbrel init mysql://user@host/database     # writes whimbrel.toml from the live schema; edit the mapping
  whimbrel check                               # what would go wrong, before
  whimbrel migrate                             # stop it and start it again whenever you like
  whimbrel verify
  whimbrel cutover --plan                      # what a cutover needs, and how long nobody can write
""")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description="A live migration on this machine.")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rate", type=int, default=300, help="changes a second")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
