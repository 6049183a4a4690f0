"""The policies against the calls that are made: none is missing, and none is there for nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.servers import Dynalite, Kinesalite, MariaDB, Ministack
from tests.aws.calls import PREFIX, Call, Recorded, forbidden, noting_objects, tables_of, unused
from tests.faults import FaultProxy
from whimbrel.bucket import PART_BYTES, Bucket, NewObject
from whimbrel.kinesis.failures import FailureQueue
from whimbrel.kinesis.kept import KeptChanges
from whimbrel.kinesis.packed import Interval, Packed
from whimbrel.project import Store, Target

# Of the function's role, what no stand-in asks for: Lambda does it by itself, on AWS.
BY_LAMBDA = {
    "kinesis:DescribeStreamSummary",
    "kinesis:ListShards",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:SendMessage",
}


# Of migrate, what only a failure asks for: ``test_what_a_failure_asks_for``, and what Lambda gave up.
HEAD = Interval("m", "s", 1, 0, 0, 1, [1], [1.0])
OF_GIVEN_UP = {"kinesis:GetRecords", "kinesis:GetShardIterator", "sqs:DeleteMessage"}
# Of the function, what only a change asks for that no record takes: ``test_what_a_change_in_the_bucket_asks_for``.
OF_KEPT = {"s3:GetObject", "s3:ListBucket"}
AFTER_FAILURES = {"s3:AbortMultipartUpload", "s3:DeleteObject", *OF_GIVEN_UP}


@pytest.fixture
def recorded(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    mariadb: MariaDB,
    dynalite: Dynalite,
    kinesalite: Kinesalite,
    ministack: Ministack,
) -> Iterator[Recorded]:
    made = Recorded(tmp_path, mariadb, dynalite, kinesalite, ministack, getattr(request, "param", True))
    yield made
    made.close()


@pytest.mark.parametrize("recorded", [True, False], ids=["streamed", "in one process"], indirect=True)
def test_every_call_is_allowed_and_every_right_is_used(recorded: Recorded) -> None:
    recorded.run()
    for account in recorded.accounts:
        rights, made = recorded.allowed(account), recorded.calls(account)
        unseen = BY_LAMBDA | OF_KEPT if account == "function" else AFTER_FAILURES
        assert forbidden(rights, made) == set(), f"{account}: calls that no policy allows"
        idle = unused(rights, made)
        left = {each[:2] for each in idle} - {each[:2] for each in rights - idle}
        if not recorded.streamed:  # given back where another of the target tables turns out to be taken
            left.discard(("dynamodb:DeleteItem", recorded.marks))
        assert {each for each in left if each[0] not in unseen} == set(), f"{account}: rights that nobody uses"


def test_a_project_writes_no_other_projects_marks(recorded: Recorded) -> None:
    """Their table is shared: each right on its items is for the project's own tables and stream, or for lanes, whose
    names nobody else knows.
    """
    for account, own in (("function", set()), ("migrate", set(recorded.targets.values()))):
        keys = {each.key for each in recorded.allowed(account) if each.resource == recorded.marks}
        assert keys - {""} == own | {f"whimbrel stream {recorded.stream}", "whimbrel lanes *"}
        about_all = {
            each.action for each in recorded.allowed(account) if (each.resource, each.key) == (recorded.marks, "")
        }
        assert about_all <= {"dynamodb:DescribeTable"}


def test_what_a_failure_asks_for(recorded: Recorded) -> None:
    bucket = Bucket(Store(recorded.bucket, PREFIX, recorded.s3.endpoint), recorded.s3.target())
    with noting_objects(recorded.objects):
        bucket.remove(["x"])
        begun = NewObject(bucket, "y")
        begun.write(b"x" * PART_BYTES)
        begun.abandon()
    assert {each.action for each in recorded.objects} == {*(AFTER_FAILURES - OF_GIVEN_UP), "s3:PutObject"}
    assert forbidden(recorded.allowed("migrate"), recorded.objects) == set()


def test_what_a_change_in_the_bucket_asks_for(recorded: Recorded) -> None:
    """The sender's account may put it, and the function read it, and nothing else of the bucket. S3 asks for a right to
    list, too, of whoever wants to hear that an object is missing.
    """
    kept, made = KeptChanges(Bucket(Store(recorded.bucket, PREFIX, recorded.s3.endpoint), recorded.s3.target())), []
    for work in (lambda: kept.put(b"line"), lambda: kept.whole(Packed(HEAD, [], kept.put(b"line")))):
        recorded.objects.clear()
        with noting_objects(recorded.objects):
            work()
        made.append({*recorded.objects})
    sent, read = made[0], made[1] - {each for each in made[1] if each.action == "s3:PutObject"}
    assert {each.action for each in sent} == {"s3:PutObject"}
    assert {each.action for each in read} == {"s3:GetObject"}
    assert forbidden(recorded.allowed("migrate"), sent | read) == set()
    rights = {each for each in recorded.allowed("function") if each.action.startswith("s3:")}
    assert forbidden(rights, read) == set()
    assert {each.action for each in rights} == OF_KEPT
    changes = f"{recorded.bucket}/{PREFIX}/changes/*"
    assert {each.key or each.resource for each in rights} == {changes, changes.partition("/")[2]}


def test_what_the_failure_queue_asks_for(recorded: Recorded) -> None:
    kinesis, at = recorded.kinesalite.client, Target(recorded.streams_at("migrate"), "us-east-1")
    put = kinesis.put_record(StreamName=recorded.stream, Data=b"x", PartitionKey="x")
    number = put["SequenceNumber"]
    info = {"shardId": put["ShardId"], "startSequenceNumber": number, "endSequenceNumber": number, "batchSize": 1}
    info["streamArn"] = f"arn:aws:kinesis:us-east-1:000000000000:stream/{recorded.stream}"
    recorded.failures.take({"requestContext": {"condition": "x"}, "timestamp": "x", "KinesisBatchInfo": info})
    with noting_objects(recorded.objects):
        queue = FailureQueue(recorded.s3.target(), recorded.failures.name, at, recorded.stream, threading.Event())
        [batch] = queue.batches()
        assert list(queue.records(batch)) == [b"x"]
        queue.remove(batch)
    assert recorded.failures.left() == 0
    made = recorded.calls("migrate")
    assert {each.action for each in made} == {*OF_GIVEN_UP, "sqs:GetQueueUrl", "sqs:ReceiveMessage"}
    assert forbidden(recorded.allowed("migrate"), made) == set()


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["DescribeStreamSummary", "PutRecords"])
def test_a_right_on_the_stream_that_is_missing_ends_the_run(recorded: Recorded, operation: str) -> None:
    with recorded.function:
        recorded.command("migrate", "--until-caught-up")
        recorded.execute("INSERT INTO {} VALUES (1, 1, 'a')")
        recorded.streams["migrate"].add("refuse", operation=operation, code="AccessDeniedException")
        said = recorded.work.call("migrate", "--until-caught-up", code=2).output
    assert "PrivilegeError" in said
    assert operation in said or recorded.stream in said


def test_verify_beside_a_migration_only_reads(recorded: Recorded) -> None:
    """All that it asks is in its own policy, of which nothing is left over; and none of that writes."""
    work = recorded.work
    recorded.execute("INSERT INTO {} VALUES (1, 1, 'a'), (2, 1, 'b')")
    with recorded.function, FaultProxy(recorded.target.endpoint) as proxy:
        work.call("migrate", "--until-caught-up")
        recorded._disturb()
        del recorded.streams["migrate"].log[:]
        with work.running("migrate") as process:
            work.wait_for(lambda: recorded.streams["migrate"].log, process)  # it has the lock, and the stream
            text = recorded.project.read_text()
            recorded.project.write_text(text.replace(recorded.tables_at("migrate"), proxy.endpoint))
            work.call("verify", code=5)
            work.call("status")
            made = {Call(f"dynamodb:{each.operation}", table) for each in proxy.log for table in tables_of(each.body)}
    rights = recorded.allowed("verify")
    assert made == rights
    assert {each.action for each in rights} == {f"dynamodb:{name}" for name in ("Scan", "BatchGetItem", "Query")}
