"""Apply by worker processes: what they write is what one process writes, whoever is killed in the middle of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Dynalite
from tests.conftest import unique
from tests.migration.crewed import RULES, Site, some_changes, write_log
from whimbrel import checkpoint
from whimbrel.changelog import reader as reading
from whimbrel.checkpoint import RunLock
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import Stopped, TargetTaken, WorkerLost
from whimbrel.migration import apply, apply_crew, load
from whimbrel.migration.apply_part import ApplyJob, WriteItems
from whimbrel.workers import Workers

WORKERS: list[Workers[Any, Any]] = []
Make = Callable[..., Site]


@pytest.fixture
def make(tmp_path: Path, dynalite: Dynalite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A site with real workers, whose first changes are applied without them."""
    made: list[Site] = []

    def make(rules: str = "record", count: int = 400) -> Site:
        client, table, chance = dynalite.client(), unique("items"), random.Random(5)
        client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
        write_log(tmp_path / "log", some_changes(chance, count, count // 2), chance)
        own = [replace(rule, target=table) for rule in RULES[rules]]
        site = Site(tmp_path / "crew", tmp_path / "log", own, 2, dynalite.target(concurrency=4))
        site.wire, site.lock = DynamoClient(site.target), RunLock(tmp_path).descriptor
        site.found = lambda: {  # type: ignore[attr-defined]
            (each["pk"]["S"], each["sk"]["S"]): each
            for each in client.scan(TableName=table, ConsistentRead=True)["Items"]
        }
        made.append(site)
        return site

    def kept(*arguments: Any, **more: Any) -> Workers[Any, Any]:
        WORKERS.append(Workers(*arguments, **more))
        return WORKERS[-1]

    WORKERS.clear()
    monkeypatch.setattr(apply, "FIRST_BATCH", 10)
    monkeypatch.setattr(apply, "LARGEST_BATCH", 10)
    monkeypatch.setattr(apply, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(apply_crew, "LEFT_FOR_ONE", 0)
    monkeypatch.setattr(apply_crew, "Workers", kept)
    monkeypatch.setattr(load, "SECONDS_FOR_WORKERS", 0.0)
    monkeypatch.setattr(reading, "BLOCK", 2000)
    yield make
    for site in made:
        site.wire.close()


def alone(site: Site) -> Site:
    """The same, by one process into memory."""
    names = {each.rule.source: each.rule for each in site.family.versions.values()}
    made = Site(site.folder.with_name("alone"), site.log, list(names.values()))
    made.apply()
    return made


def same(site: Site) -> bool:
    other = alone(site)
    (table,) = other.wire.items
    expected = {(each["pk"]["S"], each["sk"]["S"]): each for each in other.wire.items[table].values()}
    return bool(
        site.found() == expected  # type: ignore[attr-defined]
        and site.letters() == other.letters()
        and site.applied == other.applied
    )


def is_writing(job: ApplyJob) -> bool:
    return isinstance(job, WriteItems)


def applied(site: Site) -> int:
    """How many changes are applied for good."""
    return checkpoint.load(site.folder / "checkpoint.json").counters.get("applied", 0)


@pytest.mark.slow
@pytest.mark.parametrize("rules", RULES)
def test_they_write_the_same(make: Make, rules: str) -> None:
    site = make(rules, 150)
    site.apply()
    assert len(WORKERS) == 1
    assert same(site)


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_worker_that_is_killed_ends_the_run_and_its_stretch_is_applied_again(make: Make, victim: int) -> None:
    def kill() -> None:
        busy = [each for workers in WORKERS for each in workers._all if each.jobs and is_writing(each.jobs[0])]
        if len(WORKERS) == 1 and len(busy) == 2 and applied(site) > 50:
            busy[victim].process.kill()

    site = make()
    site.meanwhile = kill
    with pytest.raises(WorkerLost, match="SIGKILL"):
        site.apply()
    assert 50 < applied(site) < 400
    assert all(b"strays" in path.read_bytes() for path in [max((site.folder / "dirty").glob("*.jsonl"))])
    site.apply()
    assert len(WORKERS) == 2
    assert same(site)


@pytest.mark.slow
def test_a_run_whose_target_is_taken_over_writes_nothing_more(make: Make) -> None:
    def taken() -> None:
        if WORKERS:
            raise TargetTaken("another state folder works on this target")

    site = make()
    site.meanwhile = taken
    with pytest.raises(TargetTaken):
        site.apply()
    assert applied(site) < 100


@pytest.mark.slow
def test_a_stop_leaves_what_is_done_again(make: Make) -> None:
    def stop() -> None:
        if any(each.jobs for workers in WORKERS for each in workers._all):
            site.stop.set()

    site = make()
    site.meanwhile = stop
    with pytest.raises(Stopped):
        site.apply()
    site.stop.clear()
    site.meanwhile = lambda: None
    site.apply()
    assert same(site)
