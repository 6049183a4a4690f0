"""Export and restore with a lake on this machine, a load by import, and Spark's jobs under their policies, enforced by
ministack, and with one right less each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Kinesalite, MariaDB
from tests.aws.local_lake import LocalLake
from tests.aws.test_enforced import Enforced, Enforcing, Right, new_user, write_keys
from tests.aws.test_other_rights import BySpark
from tests.conftest import started, unique
from tests.e2e.stored import Stored, change, fill
from tests.e2e.test_import import IMPORT
from tests.e2e.work import Work
from tests.migration.by_spark import InThisProcess
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.migration.spark import places, submitted, task
from whimbrel.migration.spark.places import Place, Where
from whimbrel.migration.spark.runner import Submission
from whimbrel.project import Project

pytestmark = pytest.mark.slow

EXPORT = [
    *(("export", "Scan", f"dynamodb:{name}") for name in ("DescribeTable", "Scan")),
    *(("export", "Stream", f"dynamodb:{name}") for name in ("DescribeStream", "GetRecords", "GetShardIterator")),
]
RESTORE = [
    *(("restore", "Restore", f"dynamodb:{name}") for name in ("BatchWriteItem", "CreateTable", "DescribeTable")),
    *(("restore", "Restore", f"dynamodb:{name}") for name in ("Scan", "ImportTable")),
    ("restore", "FollowImport", "dynamodb:DescribeImport"),
    *(("restore", "Files", f"s3:{name}") for name in ("PutObject", "DeleteObject")),
    ("restore", "FilesList", "s3:ListBucket"),
]
IMPORTS = [
    ("migrate", "Migrate", "dynamodb:ImportTable"),
    ("migrate", "FollowImport", "dynamodb:DescribeImport"),
]
JOBS = [
    *(("spark", "Load", f"dynamodb:{name}") for name in ("BatchWriteItem", "PutItem", "UpdateItem")),
    ("spark", "Chunks", "s3:GetObject"),
    *(("spark", "Told", f"s3:{name}") for name in ("PutObject", "DeleteObject")),
]


@pytest.fixture(scope="module")
def enforcing(server_folder: Path) -> Iterator[Enforcing]:
    yield from started(Enforcing, server_folder)


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    file.write_text("[export]\n[restore]\n[migrate]\n[spark]\n")
    return file


@pytest.mark.parametrize("less", [("export", "", ""), ("restore", "", ""), *EXPORT, *RESTORE], ids="-".join)
def test_an_export_and_a_restore(tmp_path: Path, enforcing: Enforcing, credentials: Path, less: Right) -> None:
    account, sid, action = less
    lake = LocalLake(tmp_path, enforcing, unique("rights"), enforcing.endpoint, account)
    if account == "restore":  # of an export that somebody else made
        text = lake.project.read_text()
        lake.project.write_text(text.replace(f'profile = "{account}"', 'profile = "root"'))
        write_keys(credentials, {"root": {"AccessKeyId": "local", "SecretAccessKey": "local"}})
        lake.machine.run("export", lake.table)
        lake.project.write_text(text)
    write_keys(credentials, {account: new_user(enforcing.endpoint, lake.project, account, less, {})})
    flow = lake.export if account == "export" else lake.restore
    if not sid:
        flow()
        return
    with pytest.raises(AssertionError, match="PrivilegeError") as caught:
        flow()
    assert action in str(caught.value)


@pytest.mark.parametrize("less", [("migrate", "", ""), *IMPORTS], ids="-".join)
def test_a_load_by_import(
    tmp_path: Path, mariadb: MariaDB, enforcing: Enforcing, credentials: Path, less: Right
) -> None:
    work = Work(tmp_path, mariadb, mariadb.new_database(), enforcing, unique("purchase"))
    fill(work)
    work.target_settings = 'profile = "migrate"\nmark = "off"\n'
    Stored(work, enforcing, IMPORT)
    project = work.folder / "whimbrel.toml"
    write_keys(credentials, {"migrate": new_user(enforcing.endpoint, project, "migrate", less, {})})
    if less[1]:
        said = work.call("migrate", "--until-caught-up", code=2).output
        assert "PrivilegeError" in said
        assert less[2] in said
        return
    work.call("migrate", "--until-caught-up")
    change(work)
    work.call("migrate", "--until-caught-up")
    work.assert_nothing_lost()


class EnforcedJobs(Enforced):
    more = BySpark.more


@pytest.mark.parametrize("less", [("spark", "", ""), *JOBS], ids="-".join)
def test_a_load_by_spark(
    tmp_path: Path,
    mariadb: MariaDB,
    enforcing: Enforcing,
    kinesalite: Kinesalite,
    credentials: Path,
    monkeypatch: pytest.MonkeyPatch,
    less: Right,
) -> None:
    def client(target: Any, timeout: float) -> DynamoClient:
        return DynamoClient(replace(target, profile="spark"), timeout=timeout)

    def place_at(where: Where) -> Place:
        return places.place_at(where._replace(profile="spark"))

    def runner(project: Project, submission: Submission) -> InThisProcess:
        return InThisProcess(submission, lambda work: work(), seed=1)

    monkeypatch.setattr(task, "DynamoClient", client)
    monkeypatch.setattr(task, "place_at", place_at)
    monkeypatch.setattr(submitted, "runner_of", runner)
    with closing(EnforcedJobs(tmp_path, mariadb, enforcing, kinesalite, enforcing, False)) as enforced:
        names = {"SparkApplication": "x", "SparkRole.Arn": "arn:aws:iam::000000000000:role/load"}
        accounts = ("migrate", "spark")
        keys = {each: new_user(enforcing.endpoint, enforced.project, each, less, names) for each in accounts}
        write_keys(credentials, keys)
        enforced.execute("INSERT INTO {} VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 1, 'c')")
        try:
            if less[1]:
                code = 3 if less[2] == "s3:PutObject" else 2  # then a task cannot even say what it may not
                said = enforced.work.call("migrate", "--until-caught-up", code=code).output
                assert less[2] in said
            else:
                enforced.work.call("migrate", "--until-caught-up")
        finally:
            task.forget()
