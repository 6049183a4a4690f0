"""Taking over the run lock from a migration that runs: by real processes, that may be killed at any moment."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.shop import LiveWriter, fill
from tests.e2e.work import PATIENCE, Work
from whimbrel.checkpoint import RunLock
from whimbrel.errors import Locked, Stopped
from whimbrel.migration.state import StateFolder
from whimbrel.migration.takeover import Requests, take_over

TAKER = """
import sys, threading
from pathlib import Path
from whimbrel.migration.state import StateFolder
from whimbrel.migration.takeover import take_over
print("waiting", flush=True)
lock = take_over(StateFolder(Path(sys.argv[1])), "whimbrel cutover", threading.Event())
print("taken", flush=True)
sys.stdin.read()
"""


@contextmanager
def taker(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that takes over, and holds the lock until it is told to end, or killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def says(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{word}\n"


def test_a_migration_that_follows_ends_for_who_takes_over_and_nothing_is_lost(work: Work) -> None:
    rows = fill(work.source, work.database, 200)
    writer = LiveWriter(work.source, work.database, orders=rows // 4, rate=200)
    writer.start()
    with work.running_until_it_ends("migrate") as migrate:
        work.wait_for(lambda: work.in_phase("apply")() and work.checkpoint()["applied"], migrate)
        with taker(work.state) as process:
            says(process, "waiting")
            out, err = migrate.communicate(timeout=PATIENCE)
            assert migrate.returncode == 130, err
            assert f"everything saved: whimbrel cutover (pid {process.pid}) takes over" in out + err
            says(process, "taken")
            assert not (work.state / "takeover").exists()
            refused = work.call("apply", code=3)
            assert f"another whimbrel (pid {process.pid}) is at work here" in refused.output
    writer.stop()
    work.call("migrate", "--until-caught-up")  # whoever took over has died
    work.assert_nothing_lost()


def test_a_request_whose_maker_was_killed_harms_nobody(work: Work) -> None:
    fill(work.source, work.database, 20)
    state = StateFolder(work.state)
    state.make()
    with RunLock(work.state), taker(work.state) as process:
        requests = Requests(state)
        says(process, "waiting")
        work.wait_for(requests.asked, process)
        assert (work.state / "takeover").stat().st_mode & 0o777 == 0o600
        process.kill()
        process.wait()
        work.wait_for(lambda: not Requests(state).asked())
    assert (work.state / "takeover").exists()
    with work.running("migrate") as following:
        work.wait_for(lambda: work.in_phase("apply")() and work.checkpoint()["applied_position"], following)
        work.source.execute("INSERT INTO purchase VALUES ('new', 'new', 'new', 1)", database=work.database)
        key = {"customerid": {"S": "new"}, "orderid": {"S": "new"}}
        client = work.endpoint.client()
        work.wait_for(lambda: "Item" in client.get_item(TableName=work.target, Key=key), following)
    take_over(state, "who finds what the dead one left", threading.Event(), patience=0).release()
    work.assert_nothing_lost()


def test_it_waits_with_an_end_and_one_at_a_time(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    stop = threading.Event()
    with RunLock(tmp_path):
        with pytest.raises(Locked, match=f"another whimbrel .pid {os.getpid()}. is at work"):
            take_over(state, "whimbrel rollback", stop, patience=0)
        assert not state.takeover.exists()
        with taker(tmp_path) as process:
            says(process, "waiting")
            requests = Requests(state)
            while not requests.asked():
                assert process.poll() is None
            with pytest.raises(Locked, match=rf"whimbrel cutover \(pid {process.pid}\) is already waiting"):
                take_over(state, "whimbrel rollback", stop)
        stop.set()
        with pytest.raises(Stopped):
            take_over(state, "whimbrel rollback", stop)
    with take_over(state, "whimbrel rollback", stop):
        assert not Requests(state).asked()


def test_who_waits_has_the_lock_when_its_holder_is_killed(tmp_path: Path) -> None:
    with taker(tmp_path) as holder, taker(tmp_path) as waiting:
        says(holder, "waiting")
        says(waiting, "waiting")
        while not (held := (tmp_path / "lock").read_text() if (tmp_path / "lock").exists() else ""):
            assert holder.poll() is None
        first, second = (holder, waiting) if held == f"{holder.pid}\n" else (waiting, holder)
        says(first, "taken")
        first.kill()
        says(second, "taken")
        assert (tmp_path / "lock").read_text() == f"{second.pid}\n"
