"""SIGKILL at random moments of everything that has a part in a migration by Spark and through a stream, while an
application writes (``stream_site``): nothing lost, nothing doubled.

The kills come from a seed, which pytest shows: ``WHIMBREL_CHAOS_SEED``; ``WHIMBREL_CHAOS_N`` is how many in all.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from demo.servers import Dynalite, Kinesalite, MariaDB, MySQL, ServerUnavailable, SqlServer
from demo.shop import LiveWriter, fill
from tests.e2e.conftest import MakeWork
from tests.e2e.spark import by_spark, spark_folder
from tests.e2e.stream_site import StreamSite
from tests.e2e.work import GROUP, RECORD

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

SEED = os.environ.get("WHIMBREL_CHAOS_SEED", "1")
CASES = [
    (MariaDB, GROUP, "packed"),
    (MySQL, RECORD, "post"),
    (MariaDB, RECORD, "post"),
    (MySQL, GROUP, "packed"),
]
KILLS = -(-int(os.environ.get("WHIMBREL_CHAOS_N", "8")) // len(CASES))  # in each of them
ROWS = {GROUP: 3_000, RECORD: 800}  # about as many items


@pytest.mark.parametrize(
    ("kind", "mapping", "form"), CASES, ids=["MariaDB-group", "MySQL-record", "MariaDB-record", "MySQL-group"]
)
@pytest.mark.timeout(1800 + 60 * KILLS)
def test_whoever_is_killed_nothing_is_lost(
    make_work: MakeWork, tmp_path: Path, kind: type[SqlServer], mapping: str, form: str
) -> None:
    print(f"\nWHIMBREL_CHAOS_SEED={SEED}")
    spark = spark_folder()
    if isinstance(spark, str):
        pytest.skip(spark)
    chance = random.Random(f"{SEED} {kind.name} {mapping}")
    try:
        source = kind(tmp_path / "sql").start()
    except ServerUnavailable as reason:
        pytest.skip(str(reason))
    with source, Dynalite(tmp_path / "target").start() as dynalite, Kinesalite(tmp_path / "kinesis").start() as stream:
        work = make_work(source, dynalite, mapping=mapping, source_settings="chunk_rows = 20")
        by_spark(work, spark)
        rows = fill(source, work.database, ROWS[mapping])
        writer = LiveWriter(source, work.database, orders=rows // 4, rate=80)
        writer.start()
        site = StreamSite(work, dynalite, stream, chance, form)
        try:
            site.load(kills=KILLS // 5)
            while site.kills < KILLS:
                time.sleep(chance.uniform(0.2, 2.5))  # the random moment: there is no event to wait for
                site.one()
            writer.stop()
            site.stop_sender()
            work.run("migrate", "--until-caught-up")
            work.assert_nothing_lost()
        finally:
            site.close()
    print(f"{kind.name} seed {SEED}: {site.kills} kills, {dict(sorted(site.hit.items()))}, {writer.changes} changes")
