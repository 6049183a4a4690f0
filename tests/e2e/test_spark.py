"""A load by Spark: the same target, counts and letters as by the process, whatever ends in the middle of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.servers import Dynalite, MariaDB
from demo.shop import fill
from tests.e2e.conftest import MakeWork
from tests.e2e.spark import by_spark, spark_folder
from tests.e2e.work import GROUP, UNALIGNED


@pytest.fixture(scope="session")
def spark() -> Path:
    found = spark_folder()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.mark.parametrize("mapping", [GROUP, UNALIGNED], ids=["chunks", "shuffle"])
def test_a_table_is_loaded_by_spark(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, spark: Path, mapping: str
) -> None:
    work = make_work(mariadb, dynalite, mapping=mapping, source_settings="chunk_rows = 100")
    fill(work.source, work.database, 300)
    by_spark(work, spark)
    print(work.call("migrate", "--until-caught-up").output)
    work.assert_equal()
    work.verify()
    assert not (work.state / "spark.json").exists()
