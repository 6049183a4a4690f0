"""SIGKILL at random moments of the sender and of the function, while an application writes, shards split and merge,
records come that nobody can read, DynamoDB throttles, and a second function serves the same stream from its beginning,
late and twice: nothing lost, nothing doubled.

The kills come from a seed, which pytest shows: ``WHIMBREL_CHAOS_SEED``; ``WHIMBREL_CHAOS_N`` is how many in all.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from demo.resharding import merge, open_shards, split
from demo.servers import Dynalite, Kinesalite, MariaDB
from demo.shop import LiveWriter, fill
from tests.conftest import unique
from tests.e2e.conftest import MakeWork
from tests.e2e.work import GROUP, RECORD, Work
from tests.faults import FaultProxy

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).parents[2]
SEED = os.environ.get("WHIMBREL_CHAOS_SEED", "1")
KILLS = int(os.environ.get("WHIMBREL_CHAOS_N", "8")) // 2  # in each of two migrations
MOST_SHARDS = 12  # that there have ever been: the stand-in polls them all
POISON = (b"\\0", b"none", b"WHK1 none", b'{"type": "Insert", "row": {}}', b"\xff" * 1000)


class Site:
    """A migration through a stream, with its sender and its functions as processes, and what befalls them."""

    def __init__(self, work: Work, dynalite: Dynalite, kinesalite: Kinesalite, chance: random.Random) -> None:
        self.work, self.kinesalite, self.chance = work, kinesalite, chance
        self.stream, self.hit = unique("stream"), Counter[str]()
        kinesalite.new_stream(self.stream, 2)
        work.target_settings = (
            f'\n[log]\nengine = "kinesis"\nstream = "{self.stream}"\nendpoint = "{kinesalite.endpoint}"\n'
            '[apply]\nengine = "lambda"\n'
        )
        work.write_project()
        self.proxy = FaultProxy(dynalite.endpoint, seed=int(SEED))  # of the functions
        self.sender, self.function = work.start("migrate"), self._serve()
        self.second = self.function

    @property
    def kills(self) -> int:
        return self.hit["sender"] + self.hit["function"]

    def one(self) -> None:
        mine = (self.kill_sender, self.kill_function, self.kill_function)
        what = self.chance.choice([*mine, self.reshard, self.poison, self.throttle, self.serve_twice])
        what()

    def kill_sender(self) -> None:
        self.hit["sender"] += 1
        _end(self.sender)
        self.sender = self.work.start("migrate")

    def kill_function(self) -> None:
        self.hit["function"] += 1
        _end(self.function)
        self.function = self._serve()

    def serve_twice(self) -> None:
        """From the stream's beginning: what comes is late, and there twice."""
        self.hit["second function"] += 1
        if self.second is not self.function:
            _end(self.second)
        self.second = self._serve()

    def poison(self) -> None:
        self.hit["poison"] += 1
        for data in self.chance.sample(POISON, 3):
            key = str(self.chance.random())
            self.kinesalite.client.put_record(StreamName=self.stream, Data=data, PartitionKey=key)

    def throttle(self) -> None:
        self.hit["throttle"] += 1
        self.proxy.add("throttle", probability=0.5, count=20)

    def reshard(self) -> None:
        found = self.kinesalite.client.describe_stream(StreamName=self.stream)["StreamDescription"]["Shards"]
        if len(found) >= MOST_SHARDS:
            return
        self.hit["shards"] += 1
        if len(open_shards(self.kinesalite, self.stream)) > 1 and self.chance.random() < 0.5:
            merge(self.kinesalite, self.stream)
        else:
            split(self.kinesalite, self.stream, self.chance)

    def close(self) -> None:
        for process in (self.sender, self.function, self.second):
            _end(process)
        self.proxy.close()

    def _serve(self) -> subprocess.Popen[bytes]:
        at = self.stream, self.kinesalite.endpoint, self.proxy.endpoint
        return subprocess.Popen([sys.executable, "-m", "demo.function", *at, "5"], cwd=ROOT)


def _end(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize("mapping", [GROUP, RECORD], ids=["group", "record"])
@pytest.mark.timeout(240 + 25 * KILLS)
def test_sender_and_function_are_killed_and_continue(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, kinesalite: Kinesalite, mapping: str
) -> None:
    print(f"\nWHIMBREL_CHAOS_SEED={SEED}")
    chance = random.Random(f"{SEED} {mapping}")
    work = make_work(mariadb, dynalite, mapping=mapping)
    rows = fill(mariadb, work.database, 400)
    writer = LiveWriter(mariadb, work.database, orders=rows // 4, rate=80)
    writer.start()
    site = Site(work, dynalite, kinesalite, chance)
    try:
        while site.kills < KILLS:
            time.sleep(chance.uniform(0.2, 2.5))
            site.one()
        writer.stop()
        _end(site.sender)
        work.run("migrate", "--until-caught-up")
        work.assert_nothing_lost()
    finally:
        site.close()
    print(f"{dict(site.hit)}, {writer.changes} changes")
