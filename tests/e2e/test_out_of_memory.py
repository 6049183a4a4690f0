"""The memory is used up in any phase: the process ends soon, says so, and the same command goes on when it has more."""

from __future__ import annotations

import re
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.shop import CREATE
from tests.e2e import judge
from tests.e2e.work import GROUP, UNALIGNED, Work

ENDS_WITHIN = 60.0  # seconds, on a busy machine; some of them pass before the limit is met
MB = 1 << 20
ROWS = 20_000
MIGRATE = ("migrate", "--until-caught-up")
PHASES = ("snapshot", "load", "regroup", "apply", "verify")
MORE = (0, 1, 2, 4, 8)  # MB that it may have beside what it has in the phase; with much more it comes to its end
FAST = {("snapshot", 0)}
# These run out of it; what the others had before may be all that they need.
MUST = {("snapshot", 0), ("snapshot", 1), ("load", 0)}


def filled(work: Work, mapping: str = GROUP) -> None:
    work.mapping = mapping
    work.source_settings = "chunk_rows = 2000\nconnections = 2"
    work.write_project()
    work.source.execute(
        CREATE,
        f"INSERT INTO purchase SELECT CONCAT('c', seq DIV 30), CONCAT('o', seq DIV 10), CONCAT('p', seq MOD 100), seq "
        f"FROM seq_1_to_{ROWS}",
        database=work.database,
    )


@contextmanager
def reached(work: Work, phase: str) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of ``phase``."""
    if phase in ("apply", "verify"):
        work.call(*MIGRATE)
        work.source.execute("UPDATE purchase SET quantity = quantity + 1", database=work.database)
    work.forked = False  # whose memory is its own
    process = work.start(*(["verify"] if phase == "verify" else MIGRATE))
    marks = {"regroup": "spill", "verify": "verify"}
    try:
        if phase in marks:
            work.wait_for((work.state / marks[phase]).exists, process)
        else:
            lock = work.state / "lock"
            work.wait_for(lambda: lock.exists() and lock.read_text().strip() == str(process.pid), process)
            work.wait_for(work.in_phase(phase), process)
        yield process
    finally:
        process.kill()
        process.communicate()


def allow(process: subprocess.Popen[str], more: int) -> None:
    """So many MB of address space beside what it has."""
    found = re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found
    resource.prlimit(process.pid, resource.RLIMIT_AS, (int(found[1]) * 1024 + more * MB, resource.RLIM_INFINITY))


def ends_by_name(process: subprocess.Popen[str]) -> bool:
    """Whether it was short of memory at all."""
    began = time.monotonic()
    try:
        out, err = process.communicate(timeout=2 * ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"it did not end: {process.communicate()}") from None
    said = f"{process.returncode}\n{out}\n{err}"
    assert time.monotonic() - began < ENDS_WITHIN, said
    assert process.returncode in (0, 3), said
    assert "Traceback" not in said
    assert process.returncode == 0 or "memory" in said, said
    return process.returncode == 3


@pytest.mark.parametrize(
    ("phase", "more"),
    [
        pytest.param(phase, more, marks=() if (phase, more) in FAST else pytest.mark.slow)
        for phase in PHASES
        for more in MORE
    ],
)
def test_it_ends_by_name_and_goes_on(work: Work, phase: str, more: int) -> None:
    filled(work, UNALIGNED if phase == "regroup" else GROUP)
    with reached(work, phase) as process:
        allow(process, more)
        short = ends_by_name(process)
    assert short or (phase, more) not in MUST, "it needed no memory"
    goes_on(work)


@pytest.mark.parametrize("limit", [pytest.param(limit, marks=pytest.mark.slow) for limit in range(20, 140, 8)])
def test_at_the_start(work: Work, limit: int) -> None:
    filled(work)
    process = work.start(*MIGRATE, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit * MB, -1)))
    assert ends_by_name(process)
    goes_on(work)


def goes_on(work: Work) -> None:
    work.call(*MIGRATE)
    if work.mapping == GROUP:
        work.assert_nothing_lost()
        return
    rows = work.source.execute("SELECT orderid, productid, quantity FROM purchase", database=work.database)
    items = judge.items(work.endpoint, work.target, "orderid")
    found = {(*key, name, item[name]) for key, item in items.items() for name in item.keys() - {"orderid"}}
    assert found == set(rows)
