"""A load by Spark: the same target, counts and letters as by the process, whatever ends in the middle of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from demo.servers import Dynalite, MariaDB, Ministack
from demo.shop import fill
from tests.conftest import unique
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.spark import STARTS_WITHIN, by_spark, descendants, python_workers, spark_folder
from tests.e2e.work import GROUP, RECORD, UNALIGNED, Work
from whimbrel.dynamodb.session import open_service

KEYS = {GROUP: ("customerid", "orderid"), RECORD: ("customer_orderid", "productid"), UNALIGNED: ("orderid",)}


@pytest.fixture(scope="session")
def spark() -> Path:
    found = spark_folder()
    if isinstance(found, str):
        pytest.skip(found)
    return found


def equal(work: Work, mapping: str) -> None:
    """Source and target hold the same, says the judge where it knows the shape; and so does verify."""
    if mapping is not UNALIGNED:
        work.assert_equal(judge.lines if mapping is RECORD else judge.orders, KEYS[mapping])
    work.verify()
    assert work.letters() == []
    assert list((work.state / "spark").iterdir()) == []


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "mapping",
    [
        GROUP,
        pytest.param(UNALIGNED, marks=[pytest.mark.slow, pytest.mark.spark]),
        pytest.param(RECORD, marks=[pytest.mark.slow, pytest.mark.spark]),
    ],
    ids=["group", "shuffle", "record"],
)
def test_a_table_is_loaded_by_spark(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, spark: Path, mapping: str
) -> None:
    work = make_work(mariadb, dynalite, mapping=mapping, source_settings="chunk_rows = 100")
    fill(work.source, work.database, 300)
    by_spark(work, spark)
    work.call("migrate", "--until-caught-up")
    equal(work, mapping)


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", ["task", "run"])
def test_what_is_killed_in_the_middle_loses_nothing(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, spark: Path, how: str
) -> None:
    """A task's process, which Spark starts again; or the run itself, and with it its job."""
    work = make_work(mariadb, dynalite, mapping=GROUP)
    work.source_settings, work.target_settings = "chunk_rows = 20", "max_write_units = 40"
    fill(work.source, work.database, 400)
    by_spark(work, spark)
    process = work.start("migrate", "--until-caught-up")
    jobs = work.state / "spark"
    work.wait_for(lambda: any(jobs.glob("*/writing/*")) and work.checkpoint()["tables"], process, STARTS_WITHIN)
    if how == "run":
        below = descendants(process.pid)
        process.kill()
        process.communicate()
        work.wait_for(lambda: not [each for each in below if Path(f"/proc/{each}").exists()])
        assert any(jobs.iterdir())
    else:
        for worker in python_workers(process.pid):
            os.kill(worker, signal.SIGKILL)
        said = process.communicate()[1]
        assert process.returncode == 0, said
        assert "Python worker exited unexpectedly" in (work.state / "spark.log").read_text()
    work.target_settings = ""
    work.write_project()
    work.call("migrate", "--until-caught-up")
    equal(work, GROUP)


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.timeout(1200)
def test_files_and_jobs_may_be_in_a_bucket(
    make_work: MakeWork, mariadb: MariaDB, ministack: Ministack, spark: Path
) -> None:
    work = make_work(mariadb, ministack, mapping=GROUP, source_settings="chunk_rows = 100")
    bucket, s3 = unique("bucket").replace("_", "-"), open_service(ministack.target(), "s3")
    s3.create_bucket(Bucket=bucket)
    fill(work.source, work.database, 300)
    work.mapping += f'\n[snapshot]\nstore = "s3://{bucket}/shop"\nendpoint = "{ministack.endpoint}"\n'
    by_spark(work, spark)
    work.call("migrate", "--until-caught-up")
    work.assert_equal()
    work.verify()
    assert work.letters() == []
    names = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix="shop/").get("Contents", ())]
    assert [each for each in names if "chunk-" in each]
    assert [each for each in names if each.startswith("shop/spark/")] == []
    s3.close()
