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

import pytest

from demo.resharding import merge, open_shards, split
from demo.servers import Dynalite, Kinesalite, MariaDB
from demo.shop import LiveWriter, fill
from tests.conftest import unique
from tests.e2e.conftest import MakeWork
from tests.e2e.work import GROUP, RECORD
from tests.faults import FaultProxy

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).parents[2]
SEED = os.environ.get("WHIMBREL_CHAOS_SEED", "1")
KILLS = int(os.environ.get("WHIMBREL_CHAOS_N", "8")) // 2  # in each of two migrations
MOST_SHARDS = 12  # that there have ever been: the stand-in polls them all
POISON = (b"", b"none", b"WHK1 none", b'{"type": "Insert", "row": {}}', b"\xff" * 1000)


@pytest.mark.parametrize("mapping", [GROUP, RECORD], ids=["group", "record"])
@pytest.mark.timeout(120 + 15 * KILLS)
def test_sender_and_function_are_killed_and_continue(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, kinesalite: Kinesalite, mapping: str
) -> None:
    print(f"\nWHIMBREL_CHAOS_SEED={SEED}")
    chance = random.Random(f"{SEED} {mapping}")
    work = make_work(mariadb, dynalite, mapping=mapping)
    stream = unique("stream")
    kinesalite.new_stream(stream, 2)
    work.target_settings = (
        f'\n[log]\nengine = "kinesis"\nstream = "{stream}"\nendpoint = "{kinesalite.endpoint}"\n'
        '[apply]\nengine = "lambda"\n'
    )
    work.write_project()
    rows = fill(mariadb, work.database, 400)
    writer = LiveWriter(mariadb, work.database, orders=rows // 4, rate=80)
    writer.start()
    proxy = FaultProxy(dynalite.endpoint, seed=int(SEED))
    serve = [sys.executable, "-m", "demo.function", stream, kinesalite.endpoint, proxy.endpoint, "5"]
    sender, function = work.start("migrate"), subprocess.Popen(serve, cwd=ROOT)
    second = function
    hit: Counter[str] = Counter()
    try:
        while hit["sender"] + hit["function"] < KILLS:
            time.sleep(chance.uniform(0.2, 2.5))
            what = chance.choice(["sender", "function", "function", "shards", "poison", "throttle", "second"])
            hit[what] += 1
            if what == "sender":
                sender.kill()
                sender.communicate()
                sender = work.start("migrate")
            elif what == "function":
                function.kill()
                function.wait()
                function = subprocess.Popen(serve, cwd=ROOT)
            elif what == "poison":
                for data in chance.sample(POISON, 3):
                    kinesalite.client.put_record(
                        StreamName=stream, Data=data or b"\0", PartitionKey=str(chance.random())
                    )
            elif what == "throttle":
                proxy.add("throttle", probability=0.5, count=20)
            elif what == "second":
                if second is not function:
                    second.kill()
                    second.wait()
                second = subprocess.Popen(serve, cwd=ROOT)
            elif len(kinesalite.client.describe_stream(StreamName=stream)["StreamDescription"]["Shards"]) < MOST_SHARDS:
                if len(open_shards(kinesalite, stream)) > 1 and chance.random() < 0.5:
                    merge(kinesalite, stream)
                else:
                    split(kinesalite, stream, chance)
        writer.stop()
        sender.kill()
        sender.communicate()
        work.run("migrate", "--until-caught-up")
        work.assert_nothing_lost()
    finally:
        for process in (sender, function, second):
            process.kill()
            process.communicate()
        proxy.close()
    print(f"{dict(hit)}, {writer.changes} changes")
