"""What Lambda gives up, as the function fails on it each time: `retry-dead` takes it from the failure queue, and reads
the rows from the source.
"""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from demo.event_source import Event
from demo.servers import Dynalite, Kinesalite, MariaDB, Ministack
from tests.e2e.conftest import MakeWork
from tests.e2e.stored import Stored
from tests.e2e.work import PATIENCE, Work
from tests.function.served import Failures, Served
from whimbrel.kinesis import failures
from whimbrel.kinesis.packed import unpack
from whimbrel.migration import send, stream

pytestmark = pytest.mark.slow

RECORD = 'shape = "record"\npartition_key = { name = "id", type = "N" }\n'
GROUP = (
    'shape = "group"\npartition_key = { name = "g", type = "N" }\n'
    'entry = { name = "${id}", value = "body" }\nassert_unique = true\n'
)
# A program that ends itself by SIGKILL at the step whose number STEPS says: before or after a write to DynamoDB, to the
# queue, or to the file of dead letters.
KILLED = """
import os, signal
from botocore.client import BaseClient
from whimbrel.__main__ import run
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.kinesis import failures
from whimbrel.migration import dead, given_up, send
failures.HIDDEN_SECONDS = 1
send.PROBE_SECONDS, given_up.LEASE_SECONDS = 0.3, 1.0
left = int(os.environ["STEPS"])
WRITES = ("Put", "Update", "BatchWrite", "Delete")
def count():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
async def asked(wire, operation, body):
    counts = operation.startswith(WRITES) and b"#passed < :passed" not in body  # which tells all lanes what they know
    counts and count()
    answer = await ask(wire, operation, body)
    counts and count()
    return answer
def step(real):
    def call(*arguments):
        counts = not isinstance(arguments[1], str) or arguments[1].startswith(WRITES)
        counts and count()
        result = real(*arguments)
        counts and count()
        return result
    return call
ask, DynamoClient.ask = DynamoClient.ask, asked
BaseClient._make_api_call = step(BaseClient._make_api_call)
dead.append, dead.publish = step(dead.append), step(dead.publish)
run()
"""


class Poisoned(Served):
    """A function that dies of each record with a change that has the word in it, or that is in a bucket, until it is
    ``cured``.
    """

    cured = False

    def _invoke(self, event: Event) -> Any:
        records = [unpack(b64decode(each["kinesis"]["data"])) for each in event["Records"]]
        dies = any(each.kept or any(b"poison" in line for line in each.lines) for each in records)
        if dies and not self.cured:
            raise MemoryError
        return super()._invoke(event)


@pytest.fixture(params=["packed", "post"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def served(
    form: str, dynalite: Dynalite, kinesalite: Kinesalite, ministack: Ministack, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Poisoned]:
    monkeypatch.setattr(send, "PROBE_SECONDS", 0.3)
    monkeypatch.setattr(send, "CLOCK_SECONDS", 0.1)
    monkeypatch.setattr(failures, "HIDDEN_SECONDS", 1)
    with Poisoned(kinesalite, dynalite, form=form, failures=Failures(ministack)) as made:
        yield made


def begun(work: Work, served: Served, mapping: str = RECORD) -> None:
    """Loaded, and then changed: rows are inserted, updated, moved and deleted of which the function dies."""
    work.table, work.mapping = "notes", mapping
    work.source.execute(
        "CREATE TABLE notes (id INT PRIMARY KEY, g INT NOT NULL, body TEXT NOT NULL) CHARSET utf8mb4",
        "INSERT INTO notes VALUES " + ", ".join(f"({n}, {n // 3}, 'a{n}')" for n in range(1, 40)),
        "INSERT INTO notes VALUES (50, 20, 'poison'), (51, 21, 'poison')",
        database=work.database,
    )
    work.target_settings = f"\n{served.project_lines}"
    work.write_project()
    work.call("migrate", "--until-caught-up")
    work.source.execute(
        "UPDATE notes SET body = CONCAT(body, 'b') WHERE id % 2",
        "INSERT INTO notes VALUES (60, 30, 'poison'), (61, 30, 'c')",
        "UPDATE notes SET body = 'poison' WHERE id = 4",
        "UPDATE notes SET id = 52, g = 22 WHERE id = 51",
        "DELETE FROM notes WHERE id = 50",
        "UPDATE notes SET body = CONCAT(body, 'd') WHERE id < 10 AND id <> 4",
        database=work.database,
    )
    work.call("capture", "--until-caught-up")


def finish(work: Work, served: Poisoned, left: int = 0) -> None:
    """The rest of the way, whatever is done already; ``left`` are reports of others."""
    assert served.failures is not None
    work.call("retry-dead")
    assert work.letters() == []
    until = time.monotonic() + PATIENCE
    while served.failures.left() > left and time.monotonic() < until:  # what was sent again may be given up again
        work.call("retry-dead")
    assert served.failures.left() == left
    work.drain()
    assert work.verify()["rows"] == work.source.execute("SELECT COUNT(*) FROM notes", database=work.database)[0][0]


@pytest.mark.parametrize("mapping", [RECORD, GROUP], ids=["record", "group"])
def test_what_lambda_gave_up_is_read_from_the_source(
    make_work: MakeWork, mariadb: MariaDB, served: Poisoned, mapping: str
) -> None:
    work, queue = make_work(mariadb, served.dynamodb), served.failures
    assert queue is not None
    begun(work, served, mapping)
    said = work.call("apply", "--until-caught-up", code=3).output
    assert "retry-dead" in said
    told = json.loads(work.call("retry-dead", "--dry-run", "--json").stdout)
    assert told["given_up"]
    assert {each["why"] for each in told["given_up"]} == {"RetryAttemptsExhausted"}
    assert queue.left() == queue.taken > 0
    finish(work, served)


def test_a_change_in_the_bucket_is_given_up_and_read_as_others_are(
    make_work: MakeWork, mariadb: MariaDB, served: Poisoned, ministack: Ministack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue leads to its record, and that to its object."""
    monkeypatch.setattr(stream, "MOST_RECORD", 6_000)
    work = make_work(mariadb, served.dynamodb)
    begun(work, served)
    stored = Stored(work, ministack)
    noise = "(SELECT GROUP_CONCAT(SHA2(seq, 512) SEPARATOR '') FROM seq_1_to_200)"
    work.source.execute(
        "SET group_concat_max_len = 100000",
        f"INSERT INTO notes VALUES (70, 40, {noise})",
        f"UPDATE notes SET body = {noise} WHERE id = 12",
        f"UPDATE notes SET body = {noise}, id = 71 WHERE id = 61",
        database=work.database,
    )
    work.call("capture", "--until-caught-up")
    assert "retry-dead" in work.call("apply", "--until-caught-up", code=3).output
    finish(work, served)
    assert stored.names("changes/")


def test_what_was_sent_again_is_removed_from_the_queue_alone(
    make_work: MakeWork, mariadb: MariaDB, served: Poisoned
) -> None:
    """The function is better by now: nothing is a dead letter. What others reported stays."""
    work, queue = make_work(mariadb, served.dynamodb), served.failures
    assert queue is not None
    begun(work, served)
    work.call("apply", "--until-caught-up", code=3)
    served.cured = True
    work.call("apply", "--until-caught-up")
    assert queue.left() > 0
    queue.take({"hello": "there"})
    queue.take({"KinesisBatchInfo": {"streamArn": "arn:aws:kinesis:us-east-1:000000000000:stream/another"}})
    assert "0 dead letters" in work.call("retry-dead").output
    finish(work, served, left=2)


def test_a_queue_that_is_not_there_is_said_by_name(make_work: MakeWork, mariadb: MariaDB, served: Poisoned) -> None:
    work, queue = make_work(mariadb, served.dynamodb), served.failures
    assert queue is not None
    begun(work, served)
    work.target_settings = work.target_settings.replace(queue.name, "no-such-queue")
    work.write_project()
    said = work.call("retry-dead", code=3).output
    assert "no-such-queue" in said
    assert "apply.failures" in said


# There are some 86 steps with packed records, and 174 with events; odd ones are before a write, and even ones after it.
@pytest.mark.parametrize(
    ("steps", "form"), [*((n, "packed") for n in range(1, 90, 3)), *((n, "post") for n in range(1, 180, 7))]
)
def test_killed_at_any_step(make_work: MakeWork, mariadb: MariaDB, served: Poisoned, steps: int) -> None:
    work = make_work(mariadb, served.dynamodb)
    begun(work, served)
    killed = replace(work, program=("-c", KILLED), environment={"STEPS": str(steps)})
    process = killed.start("retry-dead")
    process.communicate(timeout=90)
    assert process.returncode in (0, -9)
    finish(work, served)
