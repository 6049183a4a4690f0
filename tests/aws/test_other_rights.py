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
from demo.servers.dynamo import local_client
from tests.aws.calls import Call, Recorded, forbidden, noting_objects, of_dynamodb, rights, unused, without_streams
from tests.conftest import unique
from tests.e2e.stored import Stored, change, fill
from tests.e2e.test_import import IMPORT
from tests.e2e.work import Work
from tests.faults import FaultProxy
from tests.lake.machines import Machine
from tests.lake.test_export import key, new_table
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


class Shop:
    """A table with a stream, and a project with a lake on this machine."""

    def __init__(self, folder: Path, ministack: Ministack, table: str, proxy: FaultProxy) -> None:
        self.table, self.bucket, self.proxy = table, unique("bucket"), proxy
        self.client = new_table(ministack, table, 20, stream="NEW_AND_OLD_IMAGES")
        local_client("s3", ministack.endpoint, ministack.region).create_bucket(Bucket=self.bucket)
        self.machine = Machine(folder)
        self.machine.project.write_text(
            f'[target]\nendpoint = "{proxy.endpoint}"\nregion = "us-east-1"\n[lake]\nsegments = 3\n'
            f'[snapshot]\nstore = "s3://{self.bucket}/shop"\nendpoint = "{ministack.endpoint}"\n'
            f'[[dataset]]\ntable = "{table}"\nkey = ["pk", "sk"]\n'
        )

    def put(self, number: int, n: int) -> None:
        self.client.put_item(TableName=self.table, Item=key(number) | {"n": {"N": str(n)}})

    def calls(self, *commands: tuple[str, ...]) -> set[Call]:
        calls = Calls(self.proxy)
        with calls.noted():
            for command in commands:
                self.machine.run(*command)
        return calls.made

    def remove(self) -> None:
        self.client.delete_table(TableName=self.table)
        self.client.get_waiter("table_not_exists").wait(TableName=self.table, WaiterConfig={"Delay": 1})

    def empty(self) -> None:
        for item in self.client.scan(TableName=self.table)["Items"]:
            self.client.delete_item(TableName=self.table, Key={name: item[name] for name in ("pk", "sk")})


@pytest.fixture
def shop(tmp_path: Path, ministack: Ministack, new_table_name: Callable[[str], str]) -> Iterator[Shop]:
    with FaultProxy(ministack.endpoint) as proxy:
        yield Shop(tmp_path, ministack, new_table_name("rights"), proxy)


def test_an_export_into_a_lake_on_this_machine(shop: Shop) -> None:
    table = shop.table
    made = shop.calls(("export", table))
    shop.put(1, -1)
    made |= shop.calls(("export", table, "--stream"))
    shop.put(2, -2)
    made |= shop.calls(("export", table, "--compare"), ("export", table, "--full"))
    assert made == granted(shop.machine.project, "export")
    assert shop.calls(("convert", table), ("query", f'SELECT count(*) FROM "{table}"')) == set()


def test_a_restore_by_writes_and_by_an_import(shop: Shop) -> None:
    table = shop.table
    shop.machine.run("export", table)
    shop.remove()
    made = shop.calls(("restore", table))
    shop.empty()
    made |= shop.calls(("restore", table))
    shop.remove()
    shop.proxy.add("reset_after", operation="ImportTable", count=1)
    made |= shop.calls(("restore", table, "--import"))
    allowed = granted(shop.machine.project, "restore")
    assert forbidden(allowed, made) == set()
    assert {each.action for each in unused(allowed, made)} <= BY_DYNAMODB | AFTER_FAILURES | {"dynamodb:ListImports"}


def test_without_a_bucket_nobody_may_import(shop: Shop) -> None:
    text = shop.machine.project.read_text()
    shop.machine.project.write_text(text[: text.index("[snapshot]")] + text[text.index("[[dataset]]") :])
    actions = {each.action for each in granted(shop.machine.project, "restore")}
    assert actions == {f"dynamodb:{name}" for name in ("BatchWriteItem", "CreateTable", "DescribeTable", "Scan")}


def test_a_load_by_import(work: Work, ministack: Ministack) -> None:
    """Each right that an import has beside the others of ``migrate`` is used, and none is missing."""
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
