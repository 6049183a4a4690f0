"""What a worker does with a chunk, and what the run makes of what it tells, in one process and without a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.migration.loading import GROUP, RECORD, START, Loading, expected_records, three_chunks
from whimbrel.checkpoint import Checkpoint
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import Stopped
from whimbrel.mapping.provenance import of_snapshot
from whimbrel.migration import load, load_part
from whimbrel.migration.dead import read_letters
from whimbrel.migration.load import Crew, chunk_file
from whimbrel.migration.load_part import ChunkFile, ChunkTold, ChunkWork, Loaded, Written, chunk_loading
from whimbrel.project import Target
from whimbrel.records import Fault

TARGET = Target(endpoint="http://127.0.0.1:1", region="us-east-1", concurrency=6)


class Here:
    """Workers without processes: one after the other, in turn."""

    used: list[Target]

    def __init__(
        self,
        begin: Callable[..., Any],
        settings: Sequence[ChunkWork],
        stop: threading.Event,
        *,
        keep: Sequence[int],
        meanwhile: Callable[[], object],
    ) -> None:
        self.used = [each.target for each in settings]
        self.kept, self.meanwhile = list(keep), meanwhile
        self.ways = [begin(each, stop) for each in settings]
        HERE.append(self)

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def answers(self, jobs: Iterable[ChunkFile]) -> Iterator[tuple[ChunkFile, Any]]:
        for number, job in enumerate(jobs):
            self.meanwhile()
            told: list[Any] = []
            self.ways[number % len(self.ways)](job, told.append)
            yield from ((job, each) for each in told)


HERE: list[Here] = []


@pytest.fixture
def loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loading:
    HERE.clear()
    made = Loading(tmp_path, RECORD)
    three_chunks(made)
    monkeypatch.setattr(load_part, "DynamoClient", lambda target, known: made.wire)
    monkeypatch.setattr(load, "Workers", Here)
    monkeypatch.setattr(load, "SECONDS_FOR_WORKERS", 0.0)
    return made


def work(loading: Loading) -> ChunkWork:
    return ChunkWork(loading.mapping, TARGET, of_snapshot(START, 0.0), loading.folder / "spill")


def test_a_worker_writes_a_chunk_and_tells_what_was_acknowledged(loading: Loading) -> None:
    do = chunk_loading(work(loading), loading.stop)
    told: list[ChunkTold] = []
    do(chunk_file(loading.plan, loading.plan.chunks[1]), told.append)
    assert sum(each.rows for each in told if isinstance(each, Written)) == 20
    assert sum(each.items for each in told if isinstance(each, Written)) == 20
    assert told[-1] == Loaded(0, "")
    assert sorted(loading.held()) == sorted(f"thing#{n}" for n in range(11, 31))
    assert not list(loading.folder.glob("spill/*")), "what fits needs no file"


def test_it_writes_nothing_of_a_file_that_is_another_ones(loading: Loading) -> None:
    do = chunk_loading(work(loading), loading.stop)
    right = chunk_file(loading.plan, loading.plan.chunks[0])
    for wrong in (right._replace(rows=11), right._replace(export="another"), right._replace(path=Path("missing"))):
        told: list[ChunkTold] = []
        do(wrong, told.append)
        assert [type(each) for each in told] == [Loaded]
        assert isinstance(told[0], Loaded)
        assert told[0].unfit
    assert loading.held() == {}


def test_it_stops(loading: Loading) -> None:
    loading.stop.set()
    do = chunk_loading(work(loading), loading.stop)
    with pytest.raises(Stopped):
        do(chunk_file(loading.plan, loading.plan.chunks[0]), lambda told: None)
    assert loading.held() == {}


def test_the_run_counts_what_workers_tell(loading: Loading) -> None:
    looks: list[int] = []
    crew = Crew(2, TARGET, 7, lambda: looks.append(1))
    assert loading.loader(crew).load(loading.plan, loading.folder / "spill") == 0
    (here,) = HERE
    assert ([each.concurrency for each in here.used], here.kept, len(looks)) == ([3, 3], [7], 2)
    assert loading.held() == expected_records(loading)
    assert loading.loaded.loaded == {1, 2, 3}
    assert (loading.loaded.rows_loaded, loading.loaded.items_loaded) == (40, 40)
    counts = loading.progress.tables["shop.things"]
    assert (counts.loaded_rows, counts.loaded_items) == (40, 40)
    assert list(read_letters(loading.folder / "dead.jsonl")) == []


def test_what_a_worker_could_not_write_is_a_letter_before_its_chunk_counts(
    loading: Loading, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading.wire.refuse = lambda item: "no good" if item["pk"]["S"] == "thing#20" else ""
    order: list[str] = []
    add, save = loading.dead.add, loading.checkpoints.save

    def added(faults: list[Fault], phase: str) -> int:
        order.append(f"letters {len(faults)}")
        return add(faults, phase)

    def saved(now: Checkpoint) -> None:
        order.append("saved")
        save(now)

    monkeypatch.setattr(loading.dead, "add", added)
    monkeypatch.setattr(loading.checkpoints, "save", saved)
    assert loading.loader(Crew(2, TARGET, 7, lambda: None)).load(loading.plan, loading.folder / "spill") == 0
    assert [letter["reason"] for letter in read_letters(loading.folder / "dead.jsonl")] == ["no good"]
    assert order.index("letters 1") < [n for n, each in enumerate(order) if each == "saved"][1]
    assert loading.loaded.loaded == {1, 2, 3}


def test_why_dynamodb_takes_nothing_from_a_worker_is_told(loading: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []

    def refusing(*given: Any, refused: Callable[[str], object], **named: Any) -> Writer:
        writer = Writer(*given, refused=refused, **named)
        write = writer.write

        def slow_write(operations: Any) -> Any:
            refused("no capacity")
            refused("")
            return write(operations)

        monkeypatch.setattr(writer, "write", slow_write)
        return writer

    monkeypatch.setattr(load_part, "Writer", refusing)
    monkeypatch.setattr(type(loading.progress), "note_refused", lambda self, reason: noted.append(reason))
    assert loading.loader(Crew(2, TARGET, 7, lambda: None)).load(loading.plan, loading.folder / "spill") == 0
    assert noted
    assert noted == ["no capacity", ""] * (len(noted) // 2)
    assert loading.held() == expected_records(loading)


def test_a_file_that_does_not_fit_ends_it_with_its_number(loading: Loading) -> None:
    loading.plan.file(loading.plan.chunks[1]).write_bytes(b"other")
    assert loading.loader(Crew(2, TARGET, 7, lambda: None)).load(loading.plan, loading.folder / "spill") == 2
    assert loading.loaded.loaded == {1}


def test_groups_that_chunks_do_not_hold_need_no_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    HERE.clear()
    made = Loading(tmp_path, GROUP)
    three_chunks(made)
    monkeypatch.setattr(load, "Workers", Here)
    monkeypatch.setattr(load, "SECONDS_FOR_WORKERS", 0.0)
    assert made.loader(Crew(2, TARGET, 7, lambda: None)).load(made.plan, tmp_path / "spill") == 0
    assert (HERE, len(made.held())) == ([], 3)
