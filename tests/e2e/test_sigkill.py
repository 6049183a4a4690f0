"""SIGKILL at random moments in every phase, while an application writes: nothing lost, nothing doubled.

The kills come from a seed, which pytest shows: ``WHIMBREL_CHAOS_SEED``; ``WHIMBREL_CHAOS_N`` is how many in all.
A phase is made long by caps (on the snapshot's rows, on the write units), not by much data.
"""

from __future__ import annotations

import math
import os
import random
import subprocess
import time
from collections import Counter

import pytest

from demo.servers import DynamoServer, SqlServer
from demo.shop import LiveWriter, fill
from tests.conftest import SOURCES
from tests.e2e.conftest import MakeWork
from tests.e2e.work import GROUP, RECORD, Work

pytestmark = pytest.mark.chaos

SEED = os.environ.get("WHIMBREL_CHAOS_SEED", "1")
KILLS = math.ceil(int(os.environ.get("WHIMBREL_CHAOS_N", "52")) / 4)  # in each of four migrations
SHARES = {"new": 2, "snapshot": 3, "load": 4, "apply": 4}  # of the kills, in the order of the phases
# So slow that the phase outlasts all the kills in it, and yet some chunks are done between two of them.
SLOW = {"snapshot": "max_rows_per_second = 200", "load": "max_write_units = 100"}
ROWS = 120 * KILLS


# Each server and each shape once in `make test`; the other pairs are slow cases.
QUICK = {("mariadb", "record"), ("mysql", "group")}


@pytest.mark.parametrize(
    ("source_server", "shape"),
    [
        pytest.param(server, shape, marks=() if (server, shape) in QUICK else pytest.mark.slow)
        for server in SOURCES
        for shape in ("group", "record")
    ],
    indirect=["source_server"],
)
@pytest.mark.timeout(60 + 12 * KILLS)
def test_killed_in_every_phase_and_resumed(
    make_work: MakeWork, source_server: SqlServer, dynalite: DynamoServer, shape: str
) -> None:
    print(f"\nWHIMBREL_CHAOS_SEED={SEED}")
    chance = random.Random(f"{SEED} {source_server.name} {shape}")
    work = make_work(source_server, dynalite, mapping=GROUP if shape == "group" else RECORD)
    rows = fill(source_server, work.database, ROWS)
    writer = LiveWriter(source_server, work.database, orders=rows // 4, rate=80)
    writer.start()
    hit: Counter[str] = Counter()
    for phase, kills in shares(KILLS).items():
        slow_down(work, phase)
        for _ in range(kills):
            hit[killed(work, phase, chance)] += 1
    print(f"{hit.total()} kills: {dict(hit)}, {writer.changes} changes")
    assert all(hit[phase] for phase in SHARES if phase != "new"), hit
    assert hit.total() == KILLS
    slow_down(work, "")
    writer.stop()
    work.run("migrate", "--until-caught-up")
    work.assert_nothing_lost()


def shares(kills: int) -> dict[str, int]:
    """``kills`` over the phases by their SHARES, at least one in each."""
    counts = {phase: max(1, kills * share // sum(SHARES.values())) for phase, share in SHARES.items()}
    counts["apply"] += max(0, kills - sum(counts.values()))
    return counts


def slow_down(work: Work, phase: str) -> None:
    phase = "snapshot" if phase == "new" else phase
    work.source_settings = f"chunk_rows = 20\nconnections = 2\n{SLOW[phase] if phase == 'snapshot' else ''}"
    work.target_settings = SLOW[phase] if phase == "load" else ""
    work.write_project()


def killed(work: Work, phase: str, chance: random.Random) -> str:
    """Start a migration, SIGKILL it at a random moment of ``phase``; returns the phase that it was in.

    The start takes no lock that could be held back, and is over soon: then it is hit at its very beginning, or behind.
    """
    process = work.start("migrate")
    try:
        wanted = (phase,) if phase != "new" else ("new", "snapshot")
        work.wait_for(lambda: at_work(work, process) and work.checkpoint()["phase"] in wanted, process)
        time.sleep(chance.uniform(0, 0.1 if phase == "new" else 0.5))  # the random moment: there is no event for it
        return ended(work, process)
    finally:
        process.kill()
        process.communicate()


def ended(work: Work, process: subprocess.Popen[str]) -> str:
    """SIGKILL it; returns the phase that it was in just before."""
    phase = str(work.checkpoint()["phase"])
    assert process.poll() is None, process.communicate()
    process.kill()
    return phase


def at_work(work: Work, process: subprocess.Popen[str]) -> bool:
    """The process has come as far as the run lock, which names it."""
    lock = work.state / "lock"
    return lock.exists() and lock.read_text().strip() == str(process.pid)
