"""``make demo-warehouse``: two live databases converge in one warehouse, and one statement asks over both of them.

Sports are in one MariaDB, their tickets in another, where a box office sells and changes them all the time. Every step
is whimbrel's own command, printed as a person would type it. Leaves nothing running; its files are in
``.demo/warehouse``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from demo.servers import MariaDB, ServerUnavailable
from demo.sports import CONVERGED, Box, make_sports, make_tickets

FOLDER = Path(".demo/warehouse")
TICKETS = 200_000
PROJECT = """
[warehouse]
engine = "duckdb"
url = "warehouse.duckdb"
batch_seconds = 2
page = "reports.html"

[[silo]]
name = "sourcemysql"
url = "{sports}"
password_env = "SPORTS_PASSWORD"

[[silo]]
name = "ticketing"
url = "{tickets}"
password_env = "TICKETS_PASSWORD"

[[report]]
name = "tickets_by_event"
title = "What the tickets of each event cost"
sql = '''
{converged}
'''
chart = "bar"
up = "total"

[[report]]
name = "by_month"
title = "Sales by month"
sql = '''
SELECT EXTRACT(MONTH FROM e.start_date) AS month, SUM(r.total) AS total
FROM reports.tickets_by_event r JOIN sourcemysql.sporting_event e ON e.id = r.event
GROUP BY month ORDER BY month
'''
view = true
chart = "line"
across = "month"
up = "total"
"""
QUESTION = """SELECT home, away, location, total, average, tickets
FROM reports.tickets_by_event ORDER BY total DESC LIMIT 5"""
console = Console(highlight=False)


class CommandFailed(Exception):
    """A command of the demo did not do what it should; its own words have been printed."""


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True, mode=0o700)
    began = time.monotonic()
    try:
        with MariaDB(FOLDER / "one") as one, MariaDB(FOLDER / "two") as two:
            _demonstrate(one, two)
    except (ServerUnavailable, CommandFailed) as error:
        console.print(f"[red]{error}[/red]")
        return 1
    except KeyboardInterrupt:
        return 130
    console.print(f"\nDone in {time.monotonic() - began:.0f} s. The page with both reports: {FOLDER / 'reports.html'}")
    return 0


def _demonstrate(one: MariaDB, two: MariaDB) -> None:
    console.print(f"Two MariaDBs: sports in one, {TICKETS:,} tickets in the other, which a box office goes on selling.")
    sports, tickets = one.new_database("sports"), two.new_database("tickets")
    make_sports(one, sports)
    make_tickets(two, tickets, TICKETS)
    converged = CONVERGED.format(sports="sourcemysql", tickets="ticketing")
    project = PROJECT.format(sports=one.url(sports), tickets=two.url(tickets), converged=converged)
    (FOLDER / "whimbrel.toml").write_text(project)
    environment = os.environ | {"SPORTS_PASSWORD": one.password, "TICKETS_PASSWORD": two.password}
    box = Box(two, tickets, TICKETS)
    box.start()
    try:
        _call(environment, "check")
        _call(environment, "converge", "--until-caught-up")
        with _following(environment):
            until = box.written + 3_000
            _until(lambda: box.written >= until)
            _call(environment, "status")
        _call(environment, "verify")
        box.stop()
        _call(environment, "converge", "--until-caught-up")
        _call(environment, "verify")
        _call(environment, "query", "--warehouse", QUESTION)
        [(there,)] = two.execute("SELECT SUM(ticket_price) FROM sporting_event_ticket", database=tickets)
        _call(environment, "query", "--warehouse", "SELECT SUM(ticket_price) FROM ticketing.sporting_event_ticket")
        console.print(f"The source says {there}. Statements that the box office wrote meanwhile: {box.written:,}.")
    finally:
        box.stop()


@contextmanager
def _following(environment: dict[str, str]) -> Iterator[None]:
    """``whimbrel converge`` in the background, ended as by Ctrl-C."""
    console.print("\n[bold]$ whimbrel converge &[/bold]")
    with (FOLDER / "converge.log").open("wb") as log:
        running = subprocess.Popen(_command("converge"), cwd=FOLDER, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        running.send_signal(signal.SIGINT)
        code = running.wait(60)
    if code != 130:
        raise CommandFailed((FOLDER / "converge.log").read_text()[-2000:])


def _until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not done() and time.monotonic() < until:
        time.sleep(0.1)


def _call(environment: dict[str, str], *words: str) -> None:
    console.print(f"\n[bold]$ whimbrel {shlex.join(words)}[/bold]", markup=True)
    done = subprocess.run(_command(*words), cwd=FOLDER, env=environment, check=False)
    if done.returncode:
        raise CommandFailed(f"whimbrel {words[0]} ended with {done.returncode}")


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "whimbrel", *words]


if __name__ == "__main__":
    sys.exit(main())
