"""Load by workers: the same items, counts and letters as without, whoever is killed in the middle of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Dynalite
from tests.conftest import unique
from tests.migration.loading import RECORD, Loading, three_chunks
from whimbrel import checkpoint
from whimbrel.checkpoint import RunLock
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import TargetTaken, WorkerLost
from whimbrel.migration import load
from whimbrel.migration.dead import read_letters
from whimbrel.migration.load import Crew, shares
from whimbrel.project import KeyRule, Target
from whimbrel.workers import Workers


def nothing() -> None: ...


class ByWorkers(Loading):
    """The first chunk is loaded into a table of its own, the two others by workers. ``workers`` are the last ones."""

    workers: Workers[Any, Any] | None = None

    def __init__(self, folder: Path, server: Dynalite, meanwhile: Callable[[], object] = nothing, **rule: Any) -> None:
        self.client, self.table = server.client(), unique("items")
        super().__init__(folder, replace(RECORD, target=self.table, **rule))
        self.client.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.client.get_waiter("table_exists").wait(TableName=self.table, WaiterConfig={"Delay": 1})
        self.real_wire = DynamoClient(server.target())  # for a chunk that is alone
        self.writer = Writer(self.real_wire, server.target())
        self.lock = RunLock(folder)
        self.crew = Crew(2, server.target(concurrency=3), self.lock.descriptor, meanwhile)
        three_chunks(self)

    def load(self) -> int:
        return self.loader(self.crew).load(self.plan, self.folder / "spill")

    def found(self) -> dict[str, dict[str, Any]]:
        return {each["pk"]["S"]: each for each in self.client.scan(TableName=self.table, ConsistentRead=True)["Items"]}


@pytest.fixture
def make(tmp_path: Path, dynalite: Dynalite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ByWorkers]]:
    made: list[ByWorkers] = []

    def make(**settings: Any) -> ByWorkers:
        made.append(ByWorkers(tmp_path, dynalite, **settings))
        return made[-1]

    def kept(*arguments: Any, **more: Any) -> Workers[Any, Any]:
        made[-1].workers = Workers(*arguments, **more)
        return made[-1].workers

    monkeypatch.setattr(load, "SECONDS_FOR_WORKERS", 0.0)
    monkeypatch.setattr(load, "Workers", kept)
    yield make
    for each in made:
        each.real_wire.close()
        each.lock.release()


def test_they_write_the_same_and_letters_are_durable_before_their_chunk_counts(
    make: Callable[..., ByWorkers], tmp_path: Path
) -> None:
    loading = make(partition_key=KeyRule("pk", "thing#${name}"), assert_unique=True)
    seen: list[int] = []
    keep = loading.checkpoints.save

    def save(fresh: checkpoint.Checkpoint) -> None:
        seen.append(len(fresh.table("shop.things").loaded))
        if 3 in fresh.table("shop.things").loaded:  # the chunk of the row without a name
            assert [each["source_key"] for each in read_letters(tmp_path / "dead.jsonl")] == [{"id": 40}]
        keep(fresh)

    loading.checkpoints.save = save  # type: ignore[method-assign]
    assert loading.load() == 0
    assert seen == [1, 2, 3]
    (tmp_path / "alone").mkdir()
    alone = Loading(tmp_path / "alone", loading.mapping.rule)
    three_chunks(alone)
    alone.load()
    assert loading.found() == {item["pk"]["S"]: item for item in alone.wire.table(loading.table).values()}
    assert len(loading.found()) == 39
    assert loading.loaded == replace(alone.loaded)
    assert loading.progress.tables == alone.progress.tables
    assert loading.progress.dead == 1
    assert loading.load() == 0  # nothing is due


def test_a_chunk_whose_file_is_not_the_plans_is_named(make: Callable[..., ByWorkers]) -> None:
    loading = make()
    loading.plan.file(loading.plan.chunks[1]).write_bytes(b"damaged")
    assert loading.load() == 2
    assert loading.loaded.loaded == {1, 3}  # which was under way beside it


def test_a_worker_that_is_killed_ends_the_load_and_its_chunk_is_loaded_again(make: Callable[..., ByWorkers]) -> None:
    killed: list[int] = []

    def kill() -> None:
        if loading.workers and not killed:  # both have a chunk
            killed.append(loading.workers._all[0].jobs[0].chunk.number)
            loading.workers._all[0].process.kill()

    loading = make(meanwhile=kill)
    with pytest.raises(WorkerLost, match="SIGKILL"):
        loading.load()
    assert loading.loaded.loaded >= {1}
    assert killed[0] not in loading.loaded.loaded
    assert loading.load() == 0
    assert (loading.loaded.rows_loaded, len(loading.found())) == (40, 40)


def test_a_run_whose_target_is_taken_over_ends_its_workers(make: Callable[..., ByWorkers]) -> None:
    def taken() -> None:
        raise TargetTaken("another state folder works on this target")

    loading = make(meanwhile=taken)
    with pytest.raises(TargetTaken):
        loading.load()
    assert loading.loaded.loaded == {1}


def test_workers_have_all_of_what_may_be_written_and_not_more() -> None:
    for concurrency, units in ((32, 0.0), (7, 100_000.0), (3, 15_001.0)):
        target = Target(concurrency=concurrency, max_write_units=units)
        for most in range(2, 20):
            found = shares(target, most)
            assert sum(each.concurrency for each in found) == concurrency
            assert sum(each.max_write_units for each in found) == pytest.approx(units)
            assert len(found) <= min(most, concurrency)
            assert min(each.concurrency for each in found) >= 1
            assert {each.max_write_units for each in found} == {units / len(found)}


def test_workers_are_only_for_what_is_worth_it() -> None:
    target = Target(concurrency=32)
    assert shares(target, 1) == []
    assert shares(replace(target, concurrency=1), 8) == []
    assert shares(replace(target, max_write_units=9_999), 8) == []
    assert len(shares(replace(target, max_write_units=10_000), 8)) == 2
    crew = Crew(8, target, 0, nothing)
    assert crew.targets(100, 2.9) == crew.targets(1, 1e6) == Crew(1, target, 0, nothing).targets(100, 1e6) == []
    assert (len(crew.targets(100, 3.0)), len(crew.targets(3, 3.0))) == (8, 3)
