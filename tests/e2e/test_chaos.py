"""Everything at once, by a seed: whimbrel, the source and the target are killed, stand still, are cut off and fail, in
every phase, while an application writes. Afterwards both sides hold the same, and nothing was ever said that is not so.

``make chaos SEED=7 N=200``: N disturbances, eight to a migration. What each of them was is printed.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from demo.servers import Dynalite, DynamoServer, Server, SqlServer
from demo.shop import LiveWriter, fill
from tests.conftest import ENDPOINTS, SOURCES
from tests.e2e.conftest import MakeWork
from tests.e2e.work import GROUP, PATIENCE, RECORD, Work
from tests.faults import FaultProxy

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

SEED = os.environ.get("WHIMBREL_CHAOS_SEED", "1")
N = int(os.environ.get("WHIMBREL_CHAOS_N", "24"))
EACH = 8  # disturbances of one migration
ROWS = 1_200
SLOW = {"snapshot": "max_rows_per_second = 150", "load": "max_write_units = 60"}
# What whimbrel may end with by itself: at its start it needs both sides, and it says which it has not.
AWAY = ("SourceUnreachable", "TargetUnreachable")
FAULTS = (
    "throttle",
    "error_500",
    "error_500_after",
    "reset_before",
    "reset_after",
    "truncate",
    "wrong_crc",
    "unprocessed",
)


class Storm:
    """One migration, and what is done to it."""

    def __init__(self, work: Work, proxy: FaultProxy, chance: random.Random) -> None:
        self.work, self.proxy, self.chance = work, proxy, chance
        self.hit: Counter[str] = Counter()
        self.process: subprocess.Popen[str] | None = None
        self.disturbances = [
            self.whimbrel_is_killed,
            self.source_is_killed,
            self.source_restarts,
            self.source_stands_still,
            self.target_stands_still,
            self.target_is_cut_off,
            self.target_fails,
        ]
        if isinstance(work.endpoint, Dynalite):  # the other one keeps its tables in memory
            self.disturbances.append(self.target_is_killed)

    def begin(self, phase: str) -> None:
        """Go on with settings under which ``phase`` takes long."""
        self.work.source_settings = f"chunk_rows = 20\nconnections = 2\n{SLOW[phase] if phase == 'snapshot' else ''}"
        self.work.target_settings = SLOW[phase] if phase == "load" else ""
        self.work.write_project()
        self.keep_running()

    def disturb(self) -> None:
        self.keep_running()
        time.sleep(self.chance.uniform(0, 0.8))  # the random moment: there is no event to wait for
        phase, disturbance = self.work.checkpoint()["phase"], self.chance.choice(self.disturbances)
        disturbance()
        self.hit[f"{phase}: {disturbance.__name__}"] += 1

    def keep_running(self) -> None:
        """Started again when it was killed, or has said that a side is away."""
        if self.process and self.process.poll() is None:
            return
        self.end()
        self.process = self.work.start("migrate", "--json")

    def end(self) -> None:
        """Kill what runs; what had ended before must have had a reason that it may have."""
        if self.process is None:
            return
        ended_by_itself = self.process.poll()
        self.process.kill()
        out, err = self.process.communicate()
        if ended_by_itself not in (None, -signal.SIGKILL):
            assert ended_by_itself == 3, f"whimbrel ended with {ended_by_itself}\n{out}\n{err}"
            error = json.loads(out.splitlines()[-1])
            assert error["error"] in AWAY, error
            self.hit[f"ended: {error['error']}"] += 1
        self.process = None

    def moment(self) -> None:
        time.sleep(self.chance.uniform(0.05, 1.5))

    # -- the disturbances ----------------------------------------------------------------------------------------------

    def whimbrel_is_killed(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def source_is_killed(self) -> None:
        self._killed(self.work.source)

    def target_is_killed(self) -> None:
        self._killed(self.work.endpoint)

    def source_restarts(self) -> None:
        self.work.source.restart()

    def source_stands_still(self) -> None:
        self._stopped(self.work.source)

    def target_stands_still(self) -> None:
        self._stopped(self.work.endpoint)

    def target_is_cut_off(self) -> None:
        with self.proxy.unreachable():
            self.moment()

    def target_fails(self) -> None:
        self.proxy.add(self.chance.choice(FAULTS), probability=self.chance.choice([0.2, 0.9]))
        self.moment()
        self.proxy.clear()

    def _killed(self, server: Server) -> None:
        server.kill()
        self.moment()
        server.start()

    def _stopped(self, server: Server) -> None:
        os.kill(server.pid, signal.SIGSTOP)
        self.moment()
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize("number", range(math.ceil(N / EACH)))
@pytest.mark.timeout(600)
def test_nothing_is_lost_whatever_happens(make_work: MakeWork, request: pytest.FixtureRequest, number: int) -> None:
    chance = random.Random(f"{SEED} {number}")
    source: SqlServer = request.getfixturevalue(list(SOURCES)[number % len(SOURCES)])
    endpoint: DynamoServer = request.getfixturevalue(chance.choice(list(ENDPOINTS)))
    shape = chance.choice(["group", "record"])
    print(f"\nWHIMBREL_CHAOS_SEED={SEED}, number {number}: {source.name}, {endpoint.name}, {shape}")
    with FaultProxy(endpoint.endpoint, seed=number) as proxy:
        mapping = GROUP if shape == "group" else RECORD
        work = make_work(source, endpoint, mapping=mapping, endpoint_url=proxy.endpoint)
        storm = Storm(work, proxy, chance)
        with written_to(work) as writer, ended(storm):
            for phase in ("new", "snapshot", "load", "apply"):
                storm.begin(phase)
                reach(storm, phase)
                for _ in range(EACH // 4):
                    storm.disturb()
                storm.end()
        print(f"{writer.changes} changes; {dict(storm.hit)}")
        storm.begin("")
        storm.end()
        work.run("migrate", "--until-caught-up")
    work.endpoint_url = ""
    work.write_project()
    work.assert_nothing_lost()


def reach(storm: Storm, phase: str) -> None:
    """Wait for ``phase``, or a later one: the phases before it are quick now."""
    order = ["new", "snapshot", "load", "apply"]
    deadline = time.monotonic() + PATIENCE
    while order.index(storm.work.checkpoint()["phase"]) < order.index(phase):
        assert time.monotonic() < deadline, storm.work.checkpoint()
        storm.keep_running()
        time.sleep(0.02)


@contextmanager
def written_to(work: Work) -> Iterator[LiveWriter]:
    rows = fill(work.source, work.database, ROWS)
    writer = LiveWriter(work.source, work.database, orders=rows // 4, rate=60)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()


@contextmanager
def ended(storm: Storm) -> Iterator[None]:
    try:
        yield
    finally:
        if storm.process:
            storm.process.kill()
            storm.process.communicate()
