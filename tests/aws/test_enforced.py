"""The whole flow under the policies, enforced by ministack, and with one right less each time.

ministack enforces policies on DynamoDB, S3 and SQS. Nobody here enforces those on Kinesis, or what Lambda does itself:
calls to Kinesis are compared with the policies in ``test_least_privilege``.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from demo.event_source import Event
from demo.servers import Kinesalite, MariaDB, Ministack
from demo.servers.dynamo import local_client
from tests.aws.calls import PREFIX, STREAM, Recorded
from tests.aws.test_least_privilege import AFTER_FAILURES, BY_LAMBDA
from tests.conftest import started, unique
from whimbrel.aws.policies import documents, filled, policies
from whimbrel.errors import PrivilegeError
from whimbrel.project import load_project

pytestmark = pytest.mark.slow

PATIENCE = 120.0
KEYS: dict[str, Any] = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}  # ministack's root
# Of each account, what it may do on the target tables, the table of marks, the bucket and the queue: each is taken away
# once.
_WRITES = ("BatchWriteItem", "PutItem", "UpdateItem", "DeleteItem")
RIGHTS = [
    *(("function", "Apply", f"dynamodb:{name}") for name in (*_WRITES, "GetItem")),
    *(("function", "Marks", f"dynamodb:{name}") for name in ("GetItem", "PutItem", "UpdateItem")),
    *(("migrate", "Migrate", f"dynamodb:{name}") for name in (*_WRITES, "CreateTable", "DescribeTable")),
    *(("migrate", "Migrate", f"dynamodb:{name}") for name in ("Scan", "BatchGetItem", "Query")),
    *(("migrate", "Marks", f"dynamodb:{name}") for name in ("GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem")),
    ("migrate", "MarksTable", "dynamodb:DescribeTable"),
    *(("migrate", "Snapshot", f"s3:{name}") for name in ("GetObject", "PutObject")),
    ("migrate", "SnapshotList", "s3:ListBucket"),
    *(("migrate", "Reports", f"sqs:{name}") for name in ("GetQueueUrl", "ReceiveMessage")),
]
# What a change asks for that no record takes, of whoever reads it.
OF_KEPT = [("function", "Changes", "s3:GetObject"), ("function", "ChangesList", "s3:ListBucket")]
SMALL_RECORDS = """
from whimbrel.__main__ import run
from whimbrel.migration import stream
stream.MOST_RECORD = 6_000
run()
"""
NOISE = "(SELECT GROUP_CONCAT(SHA2(seq, 512) SEPARATOR '') FROM seq_1_to_200)"
WITHOUT_RESOURCE = {f"dynamodb:{name}" for name in (*STREAM, "DescribeImport", "ImportTable")}
Right = tuple[str, str, str]


class Enforcing(Ministack):
    name = "ministack-enforcing"

    def _environment(self) -> dict[str, str]:
        more = {"AUTH": "true", "SERVICES": "dynamodb,dynamodbstreams,iam,sts,s3,sqs", "AWS_ACCESS_KEY_ID": "local"}
        return {**super()._environment(), **more}


class Denied(Exception):
    """A command, or the function, could not do something."""


class Enforced(Recorded):
    """Without proxies: what a request is signed for must arrive as it is."""

    def tables_at(self, account: str) -> str:
        return self.target.endpoint

    def streams_at(self, account: str) -> str:
        return self.kinesalite.endpoint

    def profile(self, account: str) -> str:
        return account

    def refuse_deletes(self) -> None:
        """There is no proxy that could."""

    def take_deletes(self) -> None: ...

    def command(self, *arguments: str, code: int = 0) -> None:
        """Raises Denied as soon as anybody could not do something."""
        process = self.work.start(*arguments, stderr=subprocess.STDOUT)
        try:
            out = self._output(process)
        finally:
            process.kill()
            process.communicate()
        if process.returncode != code and ("PrivilegeError" in out or "not authorized" in out):
            raise Denied(out)
        assert process.returncode == code, f"{arguments} ended with {process.returncode}\n{out}"

    def _output(self, process: subprocess.Popen[str]) -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                return process.communicate(timeout=0.1)[0]
            except subprocess.TimeoutExpired:
                if self.function.refused:
                    assert isinstance(self.function.refused[0], PrivilegeError), self.function.refused
                    raise Denied(str(self.function.refused[0])) from None
        raise AssertionError(f"{process.args!r} did not end")

    def allow(self, account: str, less: Right | None) -> dict[str, str]:
        return new_user(self.target.endpoint, self.project, account, less, {"StreamName": self.stream})


def new_user(endpoint: str, project: Path, account: str, less: Right | None, names: dict[str, str]) -> dict[str, str]:
    """One with the account's policies, but for the right ``less``; its keys. ``names`` fill the policies, too."""
    read, user = load_project(project), unique(account)
    variables = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "000000000000"}
    variables |= {"MarkTable": read.target.mark, "FunctionName": "fn", **names}
    variables["BucketName"] = read.store.bucket if read.store else ""
    with closing(boto3.client("iam", endpoint_url=endpoint, region_name="us-east-1", **KEYS)) as iam:
        iam.create_user(UserName=user)
        for number, document in enumerate(documents(account, policies(read)[account])):
            text = json.dumps(_for_ministack(_without(filled(document, variables), account, less)))
            iam.put_user_policy(UserName=user, PolicyName=f"part-{number}", PolicyDocument=text)
        made: dict[str, str] = iam.create_access_key(UserName=user)["AccessKey"]
    return made


def _without(document: dict[str, Any], account: str, less: Right | None) -> dict[str, Any]:
    if less is None or less[0] != account:
        return document
    for statement in document["Statement"]:
        if statement["Sid"].rstrip("0123456789") == less[1]:
            statement["Action"] = [each for each in statement["Action"] if each != less[2]]
    document["Statement"] = [each for each in document["Statement"] if each["Action"]]
    return document


def _for_ministack(document: dict[str, Any]) -> dict[str, Any]:
    """It knows no resource of a call that does not name its table, and wants the right on all."""
    of_any = [action for each in document["Statement"] for action in each["Action"] if action in WITHOUT_RESOURCE]
    more = [{"Sid": "Any", "Effect": "Allow", "Action": of_any, "Resource": ["*"]}] if of_any else []
    return {**document, "Statement": [*document["Statement"], *more]}


@pytest.fixture(scope="module")
def enforcing(server_folder: Path) -> Iterator[Enforcing]:
    yield from started(Enforcing, server_folder)


@pytest.fixture
def enforced(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    mariadb: MariaDB,
    enforcing: Enforcing,
    kinesalite: Kinesalite,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Enforced]:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "credentials").write_text("[function]\n[migrate]\n")
    made = Enforced(tmp_path, mariadb, enforcing, kinesalite, enforcing, getattr(request, "param", True))
    yield made
    made.close()


def run(enforced: Enforced, less: Right | None = None) -> None:
    _give_keys(enforced, less, *enforced.accounts)
    enforced.run()


def _give_keys(enforced: Enforced, less: Right | None, *accounts: str) -> None:
    keys = {account: enforced.allow(account, less) for account in accounts}
    write_keys(enforced.work.folder / "credentials", keys)


def write_keys(file: Path, keys: dict[str, dict[str, str]]) -> None:
    """As profiles."""
    lines = [
        f"[{profile}]\naws_access_key_id = {each['AccessKeyId']}\naws_secret_access_key = {each['SecretAccessKey']}\n"
        for profile, each in keys.items()
    ]
    file.write_text("\n".join(lines))


@pytest.mark.parametrize("enforced", [True, False], ids=["streamed", "in one process"], indirect=True)
def test_the_policies_are_enough(enforced: Enforced) -> None:
    run(enforced)


@pytest.mark.parametrize("less", RIGHTS, ids="-".join)
def test_none_of_the_rights_can_be_left_out(enforced: Enforced, less: Right) -> None:
    with pytest.raises(Denied) as caught:
        run(enforced, less)
    assert less[2] in str(caught.value)


@pytest.mark.parametrize("right", [None, "Scan", "BatchGetItem", "Query"])
def test_verify_beside_a_migration_can_read_and_needs_each_right(enforced: Enforced, right: str | None) -> None:
    less = ("verify", "Verify", f"dynamodb:{right}") if right else None
    _give_keys(enforced, less, *enforced.accounts, "verify")
    work = enforced.work
    enforced.execute("INSERT INTO {} VALUES (1, 1, 'a'), (2, 1, 'b')")
    with enforced.function:
        enforced.command("migrate", "--until-caught-up")
        enforced._disturb()
        with work.running("migrate") as process:
            work.wait_for(lambda: "no process" not in work.call("status").output, process)
            enforced.project.write_text(
                enforced.project.read_text().replace('profile = "migrate"', 'profile = "verify"')
            )
            if less is None:
                work.call("verify", code=5)
            else:
                assert less[2] in work.call("verify", code=2).output


@pytest.mark.parametrize("less", [None, *OF_KEPT], ids=lambda less: "-".join(less) if less else "none")
def test_a_change_in_the_bucket_and_one_that_is_gone_from_there(
    enforced: Enforced, monkeypatch: pytest.MonkeyPatch, less: Right | None
) -> None:
    """One that is gone is said to be missing, and sent again with its object; not so without the right to list."""
    missing_needs_a_right_to_list(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", enforced.target.endpoint)  # the function finds the bucket by itself
    enforced.work.program = ("-c", SMALL_RECORDS)
    _give_keys(enforced, less, *enforced.accounts)
    objects = local_client("s3", enforced.target.endpoint, "us-east-1")
    invoke, gone = enforced.function._mapping.function, list[str]()

    def losing(event: Event) -> Any:
        if not gone:
            found = objects.list_objects_v2(Bucket=enforced.bucket, Prefix=f"{PREFIX}/changes/").get("Contents", [])
            for each in found:
                objects.delete_object(Bucket=enforced.bucket, Key=each["Key"])
                gone.append(each["Key"])
        return invoke(event)

    enforced.function._mapping.function = losing
    enforced.execute("INSERT INTO {} VALUES (1, 1, 'a'), (2, 1, 'b')")
    with enforced.function:
        enforced.command("migrate", "--until-caught-up")
        enforced.source.execute(
            "SET group_concat_max_len = 100000",
            f"UPDATE records SET body = {NOISE}",
            database=enforced.database,
        )
        if less:
            with pytest.raises(Denied) as caught:
                enforced.command("migrate", "--until-caught-up")
            assert less[2] in str(caught.value)
            return
        enforced.command("migrate", "--until-caught-up")
        enforced.command("verify")
    assert gone


def missing_needs_a_right_to_list(patch: pytest.MonkeyPatch) -> None:
    """As S3 answers, and ministack does not: who may not list gets no answer that says that an object is missing."""
    asked = BaseClient._make_api_call  # type: ignore[attr-defined]

    def ask(client: Any, operation: str, request: dict[str, Any]) -> Any:
        try:
            return asked(client, operation, request)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                client.list_objects_v2(Bucket=request["Bucket"], Prefix=request["Key"])  # may be refused
            raise

    patch.setattr(BaseClient, "_make_api_call", ask)


def test_all_rights_are_tried(enforced: Enforced) -> None:
    granted = {
        (account, allowed.sid.rstrip("0123456789"), action)
        for account, statements in policies(load_project(enforced.project)).items()
        if account in enforced.accounts  # the others are in test_handover_rights
        for allowed in statements
        for action in allowed.actions
        if action.startswith(("dynamodb:", "s3:", "sqs:"))
    }
    assert {each for each in granted if each[2] not in AFTER_FAILURES | BY_LAMBDA} == {*RIGHTS, *OF_KEPT}
