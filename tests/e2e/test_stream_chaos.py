"""SIGKILL at random moments of everything that has a part in a migration by Spark and through a stream, while an
application writes (``stream_site``): nothing lost, nothing doubled.

The kills come from a seed, which pytest shows: ``WHIMBREL_CHAOS_SEED``; ``WHIMBREL_CHAOS_N`` is how many in all.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from demo.servers import Dynalite, Kinesalite, MariaDB, Ministack, MySQL, ServerUnavailable, SqlServer
from demo.shop import LiveWriter, fill
from tests.e2e.conftest import MakeWork
from tests.e2e.kept_in_a_bucket import NOTE, KeptInABucket, NoteWriter
from tests.e2e.spark import by_spark, spark_folder
from tests.e2e.stream_site import StreamSite
from tests.e2e.work import GROUP, RECORD, Work

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


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize(
    ("kind", "mapping", "form"), CASES, ids=["MariaDB-group", "MySQL-record", "MariaDB-record", "MySQL-group"]
)
@pytest.mark.timeout(1800 + 60 * KILLS)
def test_whoever_is_killed_nothing_is_lost(
    make_work: MakeWork, tmp_path: Path, kind: type[SqlServer], mapping: str, form: str, large: bool
) -> None:
    """``large``: also with changes that no record of the stream takes, which are kept in a bucket."""
    print(f"\nWHIMBREL_CHAOS_SEED={SEED}")
    spark = spark_folder()
    if isinstance(spark, str):
        pytest.skip(spark)
    chance = random.Random(f"{SEED} {kind.name} {mapping}")
    with ExitStack() as stack:
        source, stream = kind(tmp_path / "sql"), Kinesalite(tmp_path / "kinesis")
        dynalite = Dynalite(tmp_path / "target")
        kept = None
        try:
            for server in (source, dynalite, stream):
                stack.enter_context(server.start())
            if large:
                kept = stack.enter_context(closing(KeptInABucket(stack.enter_context(Ministack().start()))))
        except ServerUnavailable as reason:
            pytest.skip(str(reason))
        work = make_work(source, dynalite, mapping=mapping, source_settings="chunk_rows = 20")
        by_spark(work, spark)
        rows = fill(source, work.database, ROWS[mapping])
        if kept:
            with_notes(work)
        writers: list[LiveWriter | NoteWriter] = [LiveWriter(source, work.database, orders=rows // 4, rate=80)]
        writers += [NoteWriter(source, work.database, chance.randrange(1 << 30))] if kept else []
        for writer in writers:
            writer.start()
        site = StreamSite(work, dynalite, stream, chance, form, kept)
        try:
            site.load(kills=KILLS // 5)
            while site.kills < KILLS:
                time.sleep(chance.uniform(0.2, 2.5))  # the random moment: there is no event to wait for
                site.one()
            for writer in writers:
                writer.stop()
            site.stop_sender()
            work.run("migrate", "--until-caught-up")
            work.assert_nothing_lost()
        finally:
            site.close()
            for writer in writers:
                writer.stop()
        changes = sum(writer.changes for writer in writers)
        in_bucket = kept.changes() if kept else 0
    print(f"{kind.name} seed {SEED}: {site.kills} kills, {dict(sorted(site.hit.items()))}, {changes} changes")
    print(f"{in_bucket} of them in the bucket")
    assert in_bucket or not large


def with_notes(work: Work) -> None:
    """The same table with a column that no item has."""
    work.source.execute(NOTE, database=work.database)
    without_it = (
        GROUP + 'exclude = ["note"]\n',
        RECORD.replace('"orderid"]', '"orderid", "note"]'),
    )
    for before, after in zip((GROUP, RECORD), without_it, strict=True):
        work.mapping = work.mapping.replace(before, after)
    work.write_project()
