"""The policies of ``export`` and ``restore`` with a lake on this machine, of a load by import, and of Spark's jobs,
against the calls that are made: none is missing, and none is there for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Dynalite, Kinesalite, MariaDB, Ministack
from tests.aws.calls import Call, Recorded, forbidden, noting_objects, of_dynamodb, rights, unused, without_streams
from tests.aws.local_lake import LocalLake
from tests.conftest import unique
from tests.e2e.stored import Stored, change, fill
from tests.e2e.test_import import IMPORT
from tests.e2e.work import Work
from tests.faults import FaultProxy
from tests.migration.by_spark import InThisProcess
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.migration.spark import submitted, task
from whimbrel.migration.spark.runner import Submission
from whimbrel.project import Project, load_project

# What DynamoDB does itself, in the name of whoever asks for an import.
BY_DYNAMODB = {
    f"logs:{name}"
    for name in (
        "CreateLogGroup",
        "CreateLogStream",
        "DescribeLogGroups",
        "DescribeLogStreams",
        "PutLogEvents",
        "PutRetentionPolicy",
    )
}
# What only a failure asks for: of objects in test_least_privilege; GetObject where a name was taken.
AFTER_FAILURES = {"s3:AbortMultipartUpload", "s3:GetObject"}


class Calls:
    """What is asked of DynamoDB, through a proxy, and of S3."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy, self.objects = proxy, set[Call]()

    @contextmanager
    def noted(self) -> Iterator[None]:
        del self.proxy.log[:]
        with noting_objects(self.objects):
            yield

    @property
    def made(self) -> set[Call]:
        return self.objects | {call for each in self.proxy.log for call in of_dynamodb(each)}


def granted(file: Path, account: str) -> set[Call]:
    return without_streams(rights(load_project(file), account))


@pytest.fixture
def proxy(ministack: Ministack) -> Iterator[FaultProxy]:
    with FaultProxy(ministack.endpoint) as made:
        yield made


@pytest.fixture
def lake(tmp_path: Path, ministack: Ministack, new_table_name: Callable[[str], str], proxy: FaultProxy) -> LocalLake:
    return LocalLake(tmp_path, ministack, new_table_name("rights"), proxy.endpoint)


def test_an_export_into_a_lake_on_this_machine(lake: LocalLake, proxy: FaultProxy) -> None:
    calls = Calls(proxy)
    with calls.noted():
        lake.export()
    assert calls.made == granted(lake.project, "export")
    with calls.noted():
        lake.machine.run("convert", lake.table)
        lake.machine.run("query", f'SELECT count(*) FROM "{lake.table}"')
    assert calls.made == set()


def test_a_restore_by_writes_and_by_an_import(lake: LocalLake, proxy: FaultProxy) -> None:
    lake.machine.run("export", lake.table)
    calls, allowed = Calls(proxy), granted(lake.project, "restore")
    with calls.noted():
        lake.restore()
    assert forbidden(allowed, calls.made) == set()
    unseen = BY_DYNAMODB | AFTER_FAILURES | {"dynamodb:ListImports"}
    assert {each.action for each in unused(allowed, calls.made)} <= unseen


def test_without_a_bucket_nobody_may_import(lake: LocalLake) -> None:
    text = lake.project.read_text()
    lake.project.write_text(text[: text.index("[snapshot]")] + text[text.index("[[dataset]]") :])
    actions = {each.action for each in granted(lake.project, "restore")}
    assert actions == {f"dynamodb:{name}" for name in ("BatchWriteItem", "CreateTable", "DescribeTable", "Scan")}


def test_a_load_by_import(tmp_path: Path, mariadb: MariaDB, ministack: Ministack) -> None:
    """Each right that an import has beside the others of ``migrate`` is used, and none is missing."""
    work = Work(tmp_path, mariadb, mariadb.new_database(), ministack, unique("purchase"))
    fill(work)
    with FaultProxy(ministack.endpoint) as proxy:
        work.endpoint_url = proxy.endpoint
        work.target_settings = 'mark = "off"\n'
        Stored(work, ministack, IMPORT)
        calls = Calls(proxy)
        with calls.noted():
            work.call("check")
            work.call("migrate", "--until-caught-up")
            change(work)
            work.call("migrate", "--until-caught-up")
            work.assert_nothing_lost()
        made = calls.made
    project = load_project(work.folder / "whimbrel.toml")
    allowed = rights(project, "migrate")
    assert forbidden(allowed, made) == set()
    of_import = allowed - rights(replace(project, loader="process"), "migrate")
    assert {each.action.partition(":")[2] for each in of_import} > {"ImportTable", "DescribeImport", "ListImports"}
    left = {each.action for each in unused(of_import, made)}
    assert left <= BY_DYNAMODB | {"dynamodb:ListImports"}  # as where the answer to a call is lost: test_import


class BySpark(Recorded):
    """Its load is a job, whose calls are noted apart: they go through a proxy of its own."""

    more = (
        '[load]\nengine = "spark"\n[spark]\nrunner = "emr-serverless"\nleast_rows = 0\napplication = "00f1abcdef"\n'
        'role = "arn:aws:iam::111122223333:role/load"\narchive = "s3://code/whimbrel-spark-x86_64.zip"\n'
    )


class Job(InThisProcess):
    """While it is done, what is asked of S3 is asked by its tasks."""

    def __init__(self, submission: Submission, objects: set[Call]) -> None:
        super().__init__(submission, lambda work: work(), seed=1)
        self._objects = objects

    def submit(self) -> str:
        with noting_objects(self._objects):
            return super().submit()


@pytest.mark.slow
def test_a_load_by_spark(
    tmp_path: Path,
    mariadb: MariaDB,
    dynalite: Dynalite,
    kinesalite: Kinesalite,
    ministack: Ministack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objects = set[Call]()
    with closing(BySpark(tmp_path, mariadb, dynalite, kinesalite, ministack, False)) as recorded:
        with FaultProxy(dynalite.endpoint) as proxy:

            def client(target: Any, timeout: float) -> DynamoClient:
                return DynamoClient(replace(target, endpoint=proxy.endpoint), timeout=timeout)

            def runner(project: Project, submission: Submission) -> Job:
                return Job(submission, objects)

            monkeypatch.setattr(task, "DynamoClient", client)
            monkeypatch.setattr(submitted, "runner_of", runner)
            recorded.run()
            task.forget()
            made = objects | {call for each in proxy.log for call in of_dynamodb(each)}
        allowed = recorded.allowed("spark")
    assert forbidden(allowed, made) == set()
    # Spark fetches the archive, by itself. What is not there is said to be missing only to who may list.
    left = {each for each in unused(allowed, made) if each.resource != "code/whimbrel-spark-x86_64.zip"}
    assert {each.action for each in left} <= {"s3:ListBucket"}
