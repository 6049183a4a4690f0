"""The snapshot's files in a bucket: whole or not there, continued by another machine, and written by one at a time."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ConnectionClosedError

from demo.servers import Ministack
from demo.servers.process import free_port
from tests.e2e.door import Door
from tests.e2e.stored import Stored, change, fill
from tests.e2e.work import GROUP, RECORD, UNALIGNED, Work
from whimbrel import checkpoint
from whimbrel.bucket import Bucket, NewObject
from whimbrel.errors import PrivilegeError, Stopped, TargetUnreachable
from whimbrel.migration import kept_state
from whimbrel.patience import Patience


@pytest.fixture
def stored(work: Work, ministack: Ministack) -> Stored:
    fill(work)
    return Stored(work, ministack)


def finish(work: Work) -> None:
    work.call("migrate", "--until-caught-up")
    for progress in checkpoint.load(work.state / "checkpoint.json").tables.values():
        assert progress.rows_loaded == progress.rows_exported > 0
    if work.mapping == UNALIGNED:
        assert work.verify()["rows"] > 0
    else:
        work.assert_nothing_lost()


@pytest.mark.parametrize("mapping", [GROUP, RECORD, UNALIGNED], ids=["group", "record", "regrouped"])
def test_a_migration_through_a_bucket(stored: Stored, mapping: str) -> None:
    work = stored.work
    work.mapping = mapping
    work.write_project()
    work.call("capture", "--until-caught-up")
    change(work)
    finish(work)
    assert stored.names("/chunk-")
    assert not list(work.state.rglob("chunk-*"))
    [manifest] = [name for name in stored.names() if "/manifest-" in name]
    lines = stored.s3.get_object(Bucket=stored.bucket, Key=manifest)["Body"].read().splitlines()
    rows = dict(pair for line in map(json.loads, lines) for pair in line.get("rows", []))
    assert len(rows) == len(stored.names("/chunk-"))


def test_a_chunk_that_is_gone_or_damaged_is_read_again(stored: Stored) -> None:
    work = stored.work
    work.call("capture", "--until-caught-up")
    work.call("snapshot")
    first, second, *_ = stored.names("/chunk-")
    stored.s3.delete_object(Bucket=stored.bucket, Key=first)
    whole = stored.s3.get_object(Bucket=stored.bucket, Key=second)["Body"].read()
    stored.s3.put_object(Bucket=stored.bucket, Key=second, Body=whole[:-9])
    change(work)
    finish(work)


@pytest.mark.parametrize("phase", ["snapshot", "load"])
def test_another_machine_continues_with_the_project_file_alone(stored: Stored, phase: str) -> None:
    work = stored.work
    work.call("capture", "--until-caught-up")
    work.call("snapshot")
    if phase == "load":
        work.call("load")
        checkpoint_of(stored, phase)
    before = stored.names("/chunk-")
    other = stored.elsewhere("other")
    change(work)
    finish(other.work)
    assert stored.names("/chunk-") == before, "nothing was read again"
    told = work.call("migrate", "--until-caught-up", code=3).output
    assert "has continued this migration" in told


def checkpoint_of(stored: Stored, phase: str) -> None:
    """As if the first machine had died before it applied anything: its last state in the bucket is of the load."""
    names = sorted(name for name in stored.names() if "/state/" in name)
    newest = json.loads(stored.s3.get_object(Bucket=stored.bucket, Key=names[-1])["Body"].read())
    if json.loads(newest["files"]["checkpoint.json"])["phase"] == "apply":
        stored.s3.delete_object(Bucket=stored.bucket, Key=names[-1])


def test_a_migration_of_which_changes_were_applied_is_not_taken_up(stored: Stored) -> None:
    stored.work.call("migrate", "--until-caught-up")
    other = stored.elsewhere("other")
    told = other.work.call("migrate", "--until-caught-up", code=3).output
    assert "changes were applied" in told
    assert not (other.work.state / "checkpoint.json").exists()


def test_a_state_folder_of_another_migration_is_refused(stored: Stored) -> None:
    stored.work.call("capture", "--until-caught-up")
    other = stored.elsewhere("other")
    other.work.target_settings = ""
    other.work.write_project()
    other.work.call("capture", "--until-caught-up")
    other.work.target_settings = stored.work.target_settings
    other.work.write_project()
    told = other.work.call("snapshot", code=3).output
    assert "not in this state folder" in told


def test_of_two_machines_the_second_to_come_continues(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one meets it at its next step, wherever that is."""
    work, real = stored.work, NewObject.close
    work.call("capture", "--until-caught-up")
    other, done = stored.elsewhere("other"), itertools.count()

    def close(file: NewObject) -> int:
        if next(done) == 2:
            monkeypatch.setattr(NewObject, "close", real)
            other.work.run("migrate", "--until-caught-up")
        return real(file)

    monkeypatch.setattr(NewObject, "close", close)
    monkeypatch.setattr(kept_state, "SURE_SECONDS", 0.0)
    told = work.call("snapshot", code=3).output
    assert "error[Locked]" in told
    other.work.assert_nothing_lost()


def test_a_chunk_of_many_parts(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none of it is there before the last."""
    monkeypatch.setattr("whimbrel.bucket.PART_BYTES", 5 << 20)
    bucket = Bucket(*stored_at(stored))
    file, data = bucket.file("many/parts").create(), bytes(range(256)) * 4096
    for _ in range(12):
        file.write(data)
    assert not bucket.file("many/parts").exists()
    second = bucket.file("many/parts").create()
    for _ in range(6):
        second.write(data)
    assert file.close() == 12 * len(data)
    with pytest.raises(FileExistsError):
        second.close()
    second.abandon()
    with bucket.file("many/parts").open() as found:
        assert found.read() == data * 12
    uploads = stored.s3.list_multipart_uploads(Bucket=stored.bucket).get("Uploads", [])
    assert uploads == []


def stored_at(stored: Stored) -> Any:
    from whimbrel.project import load_project

    project = load_project(stored.work.folder / "whimbrel.toml")
    return project.store, project.target


class Outage:
    """S3 goes away when so many objects are written, and comes back when somebody has waited for it so often."""

    def __init__(self, stored: Stored, ministack: Ministack, monkeypatch: pytest.MonkeyPatch, *, objects: int) -> None:
        self.waits, self.stays = 0, False
        self._server, self._nowhere = ministack, SimpleNamespace(host="127.0.0.1", port=free_port())
        self.door = Door(cast(Any, ministack))
        there, through = ministack.endpoint, f"http://127.0.0.1:{self.door.port}"
        stored.work.target_settings = stored.work.target_settings.replace(there, through)
        stored.work.write_project()
        real, wait, done = NewObject.close, Patience._wait, itertools.count(1)

        def close(file: NewObject) -> int:
            if next(done) == objects:
                self.door.point(cast(Any, self._nowhere))
                self.door.cut()
            return real(file)

        def waited(patience: Patience, error: Any, seconds: float) -> None:
            self.waits += 1
            if self.waits == 9 and not self.stays:
                self.come_back()
            wait(patience, error, min(seconds, 0.05))

        monkeypatch.setattr(NewObject, "close", close)
        monkeypatch.setattr(Patience, "_wait", waited)

    def come_back(self) -> None:
        self.door.point(cast(Any, self._server))


@pytest.fixture
def outage(stored: Stored, ministack: Ministack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    made = Outage(stored, ministack, monkeypatch, objects=3)
    with made.door:
        yield made


@pytest.mark.slow
def test_an_outage_of_s3_is_waited_for(stored: Stored, outage: Outage) -> None:
    said = stored.work.call("migrate", "--until-caught-up").output
    assert outage.waits >= 9
    assert said.count("S3 does not answer") == 1
    assert "It is tried again for 60 minutes" in " ".join(said.split())
    finish(stored.work)


@pytest.mark.slow
def test_an_outage_that_does_not_end_is_named_and_the_same_command_continues(
    stored: Stored, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage.stays = True
    monkeypatch.setattr("whimbrel.patience.PATIENCE", 1.0)
    said = stored.work.call("migrate", "--until-caught-up", code=3).output
    assert "error[TargetUnreachable]" in said
    assert f"s3://{stored.bucket}/shop" in said
    outage.come_back()
    before = stored.names("/chunk-")
    finish(stored.work)
    assert set(before) <= set(stored.names("/chunk-")), "what was there was read again"


def test_whoever_waits_for_s3_ends_when_asked_to(stored: Stored, outage: Outage) -> None:
    stop, bucket = threading.Event(), Bucket(*stored_at(stored))
    bucket.attend(stop)
    assert bucket.put_new("a", b"1")
    outage.door.point(cast(Any, outage._nowhere))
    outage.door.cut()
    stop.set()
    with pytest.raises(Stopped, match="while S3 did not answer"):
        bucket.get("a")


@pytest.mark.slow
def test_an_endpoint_that_never_answered_is_said_soon(stored: Stored, outage: Outage) -> None:
    outage.stays = True
    outage.door.point(cast(Any, outage._nowhere))
    with pytest.raises(TargetUnreachable):
        Bucket(*stored_at(stored)).get("a")
    assert outage.waits == 5


@pytest.mark.parametrize("parts", [1, 2])
def test_an_answer_that_is_lost_does_not_make_our_own_object_somebody_elses(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    monkeypatch.setattr("whimbrel.bucket.PART_BYTES", 5 << 20)
    bucket, ended = Bucket(*stored_at(stored)), itertools.count()
    asked = BaseClient._make_api_call  # type: ignore[attr-defined]

    def lost(client: Any, operation: str, request: Any) -> Any:
        answer = asked(client, operation, request)
        if operation in ("PutObject", "CompleteMultipartUpload") and next(ended) == 0:
            raise ConnectionClosedError(endpoint_url="http://s3")
        return answer

    monkeypatch.setattr(BaseClient, "_make_api_call", lost)
    file, data = bucket.file("lost").create(), bytes(1 << 20)
    size = len(data) * (1 if parts == 1 else 6)
    for _ in range(size // len(data)):
        file.write(data)
    assert file.close() == size
    second = bucket.file("lost").create()
    for _ in range(size // len(data)):
        second.write(b"x" * len(data))
    with pytest.raises(FileExistsError):
        second.close()
    second.abandon()


def test_an_object_that_may_not_be_removed_is_no_outage(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(*stored_at(stored))
    for code, kind in (("AccessDenied", PrivilegeError), ("SlowDown", TargetUnreachable)):
        refused = {"Errors": [{"Key": "shop/a", "Code": code, "Message": "no"}]}
        monkeypatch.setattr(bucket.client, "delete_objects", lambda refused=refused, **_: refused)
        with pytest.raises(kind, match="an object could not be removed"):
            bucket.remove(["a"])


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
@pytest.mark.parametrize(
    "steps", [pytest.param(n, marks=() if n in (9, 16) else pytest.mark.slow) for n in range(3, 60)]
)
def test_killed_at_any_step(stored: Stored, steps: int, elsewhere: bool) -> None:
    work = stored.work
    work.call("capture", "--until-caught-up")
    stored.killed("snapshot", steps)
    change(work)
    finish(stored.elsewhere("other").work if elsewhere else work)
