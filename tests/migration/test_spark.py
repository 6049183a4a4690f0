"""What the tasks of a Spark job do, and what the run makes of what they tell, without Spark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mapping.tables import Case, cases, histories
from tests.migration.by_spark import BySpark
from tests.migration.loading import GROUP, RECORD, Loading, expected_records, three_chunks
from whimbrel import checkpoint
from whimbrel.durable import sealed
from whimbrel.errors import LogCorrupt, RequestRefused, Stopped, TargetTaken, WorkerLost
from whimbrel.migration import portions
from whimbrel.migration.dead import read_letters
from whimbrel.migration.spark import lease, submitted, task
from whimbrel.migration.spark.job import job_from_json
from whimbrel.migration.spark.places import Folder
from whimbrel.migration.spark.told import OPEN, WRITING, Done, done_from_json, done_to_json
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Row

Work = Callable[[], None]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for on purpose is waited for a moment only."""
    monkeypatch.setattr(lease, "LATE_SECONDS", 0.3)
    monkeypatch.setattr(lease, "PAUSE", 0.01)


def made(folder: Path, rule: TableRule) -> BySpark:
    loading = BySpark(folder, rule)
    three_chunks(loading)
    planned(loading)
    return loading


@pytest.fixture
def records(tmp_path: Path) -> Iterator[BySpark]:
    with made(tmp_path, RECORD) as loading:
        yield loading


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[BySpark]:
    with made(tmp_path, GROUP) as loading:
        yield loading


def test_all_rows_are_loaded_once_and_nothing_of_the_job_is_left(records: BySpark) -> None:
    assert records.load() == 0
    assert records.held() == expected_records(records)
    loaded = records.loaded
    assert (set(loaded.loaded), loaded.rows_loaded, loaded.items_loaded) == ({1, 2, 3}, 40, 40)
    counts = records.progress.tables["shop.things"]
    assert (counts.loaded_rows, counts.loaded_items) == (40, 40)
    assert list((records.folder / "spark").iterdir()) == []
    written = len(records.wire.calls)
    assert records.load() == 0  # nothing is due
    assert len(records.wire.calls) == written


def test_rows_of_one_item_come_together_from_all_chunks(groups: BySpark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.spill.PARTITION_ROWS", 9)
    assert groups.load() == 0
    assert {key: len(item) - 1 for key, item in groups.held().items()} == {"owner#0": 13, "owner#1": 14, "owner#2": 13}
    assert (set(groups.loaded.loaded), groups.loaded.rows_loaded) == ({1, 2, 3, 4, 5}, 40)  # some have no rows


def test_parts_of_one_engine_are_those_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that began by the process is continued by Spark: of each partition once."""
    monkeypatch.setattr("whimbrel.spill.PARTITION_ROWS", 9)
    with made(tmp_path, GROUP) as loading:
        by_process, seen = Loading.load, loading.checkpoints.save

        def save(fresh: checkpoint.Checkpoint) -> None:
            seen(fresh)
            if len(fresh.table("shop.things").loaded) == 2:
                loading.stop.set()

        loading.checkpoints.save = save  # type: ignore[method-assign]
        by_process(loading)
        assert len(loading.loaded.loaded) == 2
        loading.stop.clear()
        assert loading.load() == 0
        assert (len(loading.loaded.loaded), loading.loaded.rows_loaded) == (5, 40)
        assert sum(len(item) - 1 for item in loading.held().values()) == 40


def test_a_heavy_part_is_divided_only_between_items(groups: BySpark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "PORTION_BYTES", 2)  # each row is too much
    groups.load()
    assert sorted(len(item) - 1 for item in groups.held().values()) == [13, 13, 14]


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 1_000))
def test_any_table_is_loaded_as_by_the_process(data: st.DataObject, seed: int) -> None:
    case = data.draw(cases())
    rows = list(data.draw(histories(case)).states[-1].values())
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        alone = Loading(Path(first), case.rule, case.table)
        cut = chunks_of(alone, rows, data)
        alone.load()
        with BySpark(Path(second), case.rule, case.table, seed) as loading:
            loading.do = twice if seed % 2 else once
            chunks_into(loading, cut)
            loading.load()
            assert loading.wire.items == alone.wire.items
            assert progress_of(loading, case) == progress_of(alone, case)
            assert letters(loading) == letters(alone)


def progress_of(loading: Loading, case: Case) -> Any:
    found = checkpoint.load(loading.folder / "checkpoint.json").table(case.table.full_name)
    return (found.loaded, found.rows_loaded, found.items_loaded)


def letters(loading: Loading) -> list[dict[str, Any]]:
    found = [{**each, "time": ""} for each in read_letters(loading.folder / "dead.jsonl")]
    return sorted(found, key=repr)


def chunks_of(loading: Loading, rows: list[Row], data: st.DataObject) -> list[list[Row]]:
    """As the source cuts them: an item's rows are in one chunk where the primary key allows it."""
    together = [
        list(some) for _, some in groupby(sorted(rows, key=loading.mapping.group_key), loading.mapping.group_key)
    ]
    wholes = together if loading.mapping.aligned else [[row] for row in data.draw(st.permutations(rows))]
    cut: list[list[Row]] = [[]]
    for some in wholes:
        cut[-1].extend(some)
        if data.draw(st.booleans()):
            cut.append([])
    chunks_into(loading, cut)
    return cut


def chunks_into(loading: Loading, cut: list[list[Row]]) -> None:
    for number, rows in enumerate(cut, 1):
        loading.chunk(*rows, high=number if number < len(cut) else None)
    planned(loading)


def planned(loading: Loading) -> None:
    """As the snapshot ends."""
    now, source = loading.checkpoints.now, loading.mapping.source
    chunks, rows = len(loading.plan.chunks), len(loading.rows)
    loading.checkpoints.save(
        now.with_table(source, replace(now.table(source), chunks_planned=chunks, rows_exported=rows))
    )


# what goes wrong


def once(work: Work) -> None:
    work()


def twice(work: Work) -> None:
    work()
    work()


def test_a_task_that_is_done_twice_counts_once(tmp_path: Path) -> None:
    with made(tmp_path, replace(RECORD, partition_key=KeyRule("pk", "thing#${name}"), assert_unique=True)) as loading:
        loading.do = twice
        loading.load()
        assert (loading.loaded.rows_loaded, loading.loaded.items_loaded, loading.progress.dead) == (40, 39, 1)
        assert len(letters(loading)) == 1


def test_letters_are_durable_before_their_chunk_counts(tmp_path: Path) -> None:
    with made(tmp_path, replace(RECORD, partition_key=KeyRule("pk", "thing#${name}"), assert_unique=True)) as loading:
        keep = loading.checkpoints.save

        def save(fresh: checkpoint.Checkpoint) -> None:
            if 3 in fresh.table("shop.things").loaded:  # the chunk of the row without a name
                assert [each["source_key"] for each in read_letters(tmp_path / "dead.jsonl")] == [{"id": 40}]
            keep(fresh)

        loading.checkpoints.save = save  # type: ignore[method-assign]
        loading.load()
        assert loading.loaded.loaded == {1, 2, 3}


def test_a_task_that_is_lost_before_it_tells_is_done_again(records: BySpark, monkeypatch: pytest.MonkeyPatch) -> None:
    put, lost = Folder.put_new, list[str]()

    def put_new(self: Folder, name: str, data: bytes) -> bool:
        if name.startswith("done/") and name not in lost:
            lost.append(name)
            raise OSError("the machine is gone")
        return put(self, name, data)

    def as_spark(work: Work) -> None:
        with pytest.raises(OSError, match="gone"):
            work()
        work()

    monkeypatch.setattr(Folder, "put_new", put_new)
    records.do = as_spark
    assert records.load() == 0
    assert len(lost) == 3
    assert (records.loaded.rows_loaded, records.loaded.items_loaded) == (40, 40)
    assert records.held() == expected_records(records)


def test_a_job_that_fails_is_named_and_what_it_told_counts(records: BySpark) -> None:
    done: list[Work] = []

    def two_of_three(work: Work) -> None:
        if len(done) == 2:
            raise ValueError("executor lost")
        done.append(work)
        work()

    records.do = two_of_three
    with pytest.raises(WorkerLost, match="with 1 of 3 parts not loaded: a task failed: executor lost") as caught:
        records.load()
    assert "the log" in str(caught.value)
    assert len(records.loaded.loaded) == 2
    records.do = lambda work: work()
    assert records.load() == 0
    assert records.loaded.rows_loaded == 40


def test_what_dynamodb_refuses_is_said_by_name(records: BySpark) -> None:
    def refuse(operation: str, body: object) -> None:
        raise RequestRefused("no such table", code="ResourceNotFoundException", place="items", hint="Make it.")

    records.wire.disturb = refuse
    with pytest.raises(RequestRefused, match=r"items: no such table\. Make it") as caught:
        records.load()
    assert caught.value.code == "ResourceNotFoundException"
    assert records.loaded.loaded == set()
    assert list((records.folder / "spark").iterdir()) == []


@pytest.mark.parametrize("rule", [RECORD, GROUP], ids=["chunks", "shuffle"])
def test_a_chunk_whose_file_is_not_the_plans_is_named(tmp_path: Path, rule: TableRule) -> None:
    with made(tmp_path, rule) as loading:
        loading.plan.file(loading.plan.chunks[1]).write_bytes(b"damaged")
        assert loading.load() == 2
        assert 2 not in loading.loaded.loaded
        assert rule is RECORD or loading.wire.items == {}  # no group that is only a part of one


def test_a_run_whose_target_is_taken_over_ends_its_job(records: BySpark) -> None:
    def taken() -> None:
        raise TargetTaken("another state folder works on this target")

    records.meanwhile = taken
    with pytest.raises(TargetTaken):
        records.load()
    job = records.job
    assert not (job / OPEN).exists()
    submitted.end_jobs_of_before(records.project)  # as the next run does
    assert not job.exists()


def test_a_job_that_an_earlier_run_left_is_ended_before_anything_is_loaded(records: BySpark) -> None:
    job = records.folder / "spark" / "whimbrel-1"
    place = Folder(job)
    place.put_new(OPEN, b"\n")
    place.put_new(f"{WRITING}7-0", b"\n")
    began = time.monotonic()
    submitted.end_jobs_of_before(records.project)
    assert time.monotonic() - began >= 0.3  # nobody said that this one is done
    assert not job.exists()
    submitted.end_jobs_of_before(records.project)  # there is none


def test_who_begins_after_the_job_was_closed_writes_nothing(records: BySpark) -> None:
    records.do = late = Late(records)
    with pytest.raises(WorkerLost, match="the job was ended by the run"):
        records.load()
    assert late.began
    assert records.wire.calls == []


class Late:
    """A task that begins when the job is closed already."""

    def __init__(self, loading: BySpark) -> None:
        self._loading = loading
        self.began = False

    def __call__(self, work: Work) -> None:
        (self._loading.job / OPEN).unlink(missing_ok=True)
        self.began = True
        work()


def test_a_task_whose_call_has_no_answer_does_not_say_that_it_is_done(records: BySpark) -> None:
    """Its write may still arrive: the run has to wait for as long as it may."""
    left: list[str] = []

    def lost(work: Work) -> None:
        with pytest.raises(Stopped):
            work()
        job = records.job
        left.extend(name for name, _ in Folder(job).list(WRITING))
        raise ValueError("ended")

    def lose(operation: str, body: object) -> bool:
        task._kept[0].lease.end()
        return True

    records.wire.lose_answer = lose
    records.do = lost
    began = time.monotonic()
    with pytest.raises(WorkerLost):
        records.load()
    assert len(left) == 1
    assert time.monotonic() - began >= 0.3


# what is written down


def test_what_a_task_tells_is_read_again_and_a_damaged_one_is_refused() -> None:
    done = Done(7, 10, 3, 1, 4.5, 2, 1.0, 2.0, ({"reason": "ä"},))
    data = done_to_json(done)
    assert done_from_json(data, "here") == done
    with pytest.raises(LogCorrupt, match="here"):
        done_from_json(data.replace(b"10", b"11"), "here")


def test_a_job_of_another_version_is_refused(records: BySpark) -> None:
    jobs: list[bytes] = []

    def see(work: Work) -> None:
        job = records.job
        jobs.append((job / "job.json").read_bytes())
        work()

    records.do = see
    records.load()
    found = job_from_json(jobs[0], "job.json")
    assert (found.parts, found.table, found.tasks) == ((1, 2, 3), records.mapping.table, 2)
    with pytest.raises(LogCorrupt, match="checksum"):
        job_from_json(jobs[0].replace(b"shop.things", b"shop.thongs"), "job.json")
    fields = orjson.loads(jobs[0])
    del fields["crc"]
    other = sealed(orjson.dumps({**fields, "format": "whimbrel-spark/2"})[:-1])
    with pytest.raises(LogCorrupt, match="another version"):
        job_from_json(other, "job.json")
