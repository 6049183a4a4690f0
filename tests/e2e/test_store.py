"""The snapshot's files in a bucket: whole or not there, continued by another machine, and written by one at a time."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from demo.servers import Ministack
from tests.e2e.stored import Stored, change, fill
from tests.e2e.work import GROUP, RECORD, UNALIGNED, Work
from whimbrel import checkpoint
from whimbrel.bucket import Bucket, NewObject
from whimbrel.migration import kept_state


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
