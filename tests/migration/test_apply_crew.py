"""Apply by several workers: the same items and letters as by one process, whoever is first and wherever it is broken
off. Here the workers of a round are in this process and at work in any order; ``test_apply_workers`` has real ones.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.migration.crewed import (
    RECORD,
    RULES,
    Crash,
    InAnyOrder,
    Site,
    crash_after,
    dirty,
    some_changes,
    write_log,
)
from whimbrel.changelog import reader as reading
from whimbrel.changelog import stretch
from whimbrel.changelog.files import ChangeLogWriter, LogPoint
from whimbrel.errors import SchemaDrift, StateError
from whimbrel.mapping.fold import by_table
from whimbrel.migration import apply, apply_crew, apply_part, load
from whimbrel.migration.apply_crew import in_turns
from whimbrel.migration.apply_part import ItemId, WriteItems
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Column, Commit, Position, Table


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def make_small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(apply, "SAVE_SECONDS", 0.0)
    patch.setattr(apply, "FIRST_BATCH", 3)
    patch.setattr(apply, "LARGEST_BATCH", 3)
    patch.setattr(apply_crew, "LEFT_FOR_ONE", 0)
    patch.setattr(apply_crew, "Workers", InAnyOrder)
    patch.setattr(load, "SECONDS_FOR_WORKERS", 0.0)
    patch.setattr(reading, "BLOCK", 600)
    patch.setattr(stretch, "_LAST_LINES", 300)


def compared(
    folder: Path, patch: pytest.MonkeyPatch, rules: str, seed: int, workers: int, crashes: Iterable[int]
) -> None:
    """A history applied by one process, and by workers that crash so often after so many calls."""
    chance = InAnyOrder.chance = random.Random(seed)
    count = chance.randrange(1, 150)
    write_log(folder / "log", some_changes(chance, count, chance.randrange(2 * count)), chance)
    alone = Site(folder / "alone", folder / "log", RULES[rules])
    alone.apply()
    site = Site(folder / "crew", folder / "log", RULES[rules], workers)
    patch.setattr(apply_part, "DynamoClient", lambda target, known: site.wire)
    patch.setattr(apply_part, "ChangeLogReader", site.reader)
    for calls in crashes:
        site.wire.disturb = crash_after(calls)
        with suppress(Crash):
            site.apply()
    site.wire.disturb = lambda operation, body: None
    site.apply()
    assert site.wire.items == alone.wire.items
    assert site.letters() == alone.letters()
    assert site.applied == alone.applied
    assert dirty(site.folder) >= dirty(alone.folder)


@settings(max_examples=3, deadline=None)
@given(
    rules=st.sampled_from(sorted(RULES)),
    seed=st.integers(0, 1 << 30),
    workers=st.integers(2, 4),
    crashes=st.lists(st.integers(0, 60), max_size=4),
)
def test_they_write_what_one_process_does(rules: str, seed: int, workers: int, crashes: list[int]) -> None:
    """Also where the run ends before a call, as often as you like, and is begun again."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        compared(Path(name), patch, rules, seed, workers, crashes)


@pytest.mark.slow
@pytest.mark.parametrize("rules", sorted(RULES))
def test_they_do_so_in_a_thousand_histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: str) -> None:
    chance = random.Random(rules)
    for seed in range(1000):
        folder = tmp_path / str(seed)
        folder.mkdir()
        crashes = [chance.randrange(60) for _ in range(chance.randrange(5))]
        compared(folder, monkeypatch, rules, seed, chance.randrange(2, 5), crashes)
        shutil.rmtree(folder)


def without_turns(keys: Sequence[Mapping[str, list[bytes]]]) -> list[dict[ItemId, int]]:
    return [{} for _ in keys]


def with_one_turn_too_few(keys: Sequence[Mapping[str, list[bytes]]]) -> list[dict[ItemId, int]]:
    return [{key: min(turn, 1) for key, turn in of_one.items()} for of_one in in_turns(keys)]


@pytest.mark.slow
@pytest.mark.parametrize("mistake", [without_turns, with_one_turn_too_few])
def test_a_mistake_in_the_order_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Any) -> None:
    monkeypatch.setattr(apply_crew, "in_turns", mistake)
    for seed in range(20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            compared(folder, monkeypatch, "record", seed, 4, ())
        except AssertionError:
            return
    raise AssertionError("it was not found")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    chance = InAnyOrder.chance = random.Random(1)
    write_log(tmp_path / "log", some_changes(chance, 100, 60), chance)
    made = Site(tmp_path / "crew", tmp_path / "log", RECORD, 3)
    monkeypatch.setattr(apply_part, "DynamoClient", lambda target, known: made.wire)
    monkeypatch.setattr(apply_part, "ChangeLogReader", made.reader)
    return made


def test_a_worker_that_folds_other_changes_than_were_counted_ends_the_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fewer(changes: list[Change]) -> Iterable[list[Change]]:
        return list(by_table(changes))[1:]

    monkeypatch.setattr(apply_part, "by_table", fewer)
    with pytest.raises(StateError, match="changes of a stretch were folded"):
        site.apply()


def test_an_operation_that_no_worker_writes_ends_the_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    whose_turn = apply_part._whose_turn
    monkeypatch.setattr(apply_part, "_whose_turn", lambda *arguments: whose_turn(*arguments)[1:])
    with pytest.raises(StateError, match="operations were written"):
        site.apply()


def test_a_worker_writes_only_the_stretch_that_it_was_asked_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def another(end: LogPoint, *more: Any) -> WriteItems:
        return WriteItems(end._replace(offset=end.offset + 1), *more)

    monkeypatch.setattr(apply_crew, "WriteItems", another)
    with pytest.raises(AssertionError, match="another stretch"):
        site.apply()


def test_tables_that_are_altered_apart_are_compared_by_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No item has a row of both, as their ENUMs say. Each gets a member, and then an item could. Each worker sees only
    one of the ALTERs, with which alone it would go on.
    """

    def table(name: str, *members: str) -> Table:
        kind = Column("kind", "enum", nullable=False, members=members, type_name=f"enum{members!r}")
        return Table("shop", name, (kind,), ("kind",))

    rules = [
        TableRule(f"shop.{name}", "items", "record", KeyRule("pk", key), KeyRule("sk", "x"))
        for name, key in (("one", "${kind}"), ("two", "X${kind}"))
    ]
    tables = table("one", "a"), table("two", "b")
    altered = [(table("one", "a", "Xnew"), "Xnew"), (table("two", "b", "new"), "new")]
    altered.append((table("one", "a", "Xnew", "long" * 99), "a"))  # so the others are each a stretch, by the mean
    with ChangeLogWriter(tmp_path / "log", segment_bytes=6000) as log:
        for number, (each, kind) in enumerate(altered):
            log.append([Change(each, None, (kind,), Position("bin.000001", number))])
            log.commit(Commit(Position("bin.000001", number), 1.0))
    for workers in (0, 2):
        made = Site(tmp_path / f"by_{workers}", tmp_path / "log", rules, workers, tables=tables)
        monkeypatch.setattr(apply_part, "DynamoClient", lambda target, known, made=made: made.wire)
        monkeypatch.setattr(apply, "FIRST_BATCH", 1)
        monkeypatch.setattr(apply, "LARGEST_BATCH", 1)
        with pytest.raises(SchemaDrift, match="could have the same key"):
            made.apply()
        assert len(made.wire.items.get("items", ())) == (0 if workers else 1)


def test_all_of_them_are_at_work_and_there_are_none_where_it_is_not_far_behind(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    InAnyOrder.largest = 0
    monkeypatch.setattr(apply_crew, "LEFT_FOR_ONE", 30)
    site.apply()
    assert InAnyOrder.largest == 3
    InAnyOrder.largest = 0
    with ChangeLogWriter(site.log, segment_bytes=6000) as log:
        log.append(list(some_changes(random.Random(2), 5, 99)))
        log.commit(Commit(Position("bin.000002", 4), 2.0))
    site.apply()
    assert InAnyOrder.largest == 0


def test_keys_are_dirty_before_they_are_written(site: Site) -> None:
    def look(operation: str, body: Any) -> None:
        text = json.dumps(body)
        noted = dirty(site.folder)
        for place in range(1, 5):
            for table in ("one", "two"):
                key = f'{{"pk": {{"S": "place#{place}"}}, "sk": {{"S": "{table}"}}'
                assert key not in text or f'{{"pk":{{"S":"place#{place}"}},"sk":{{"S":"{table}"}}}}'.encode() in noted

    site.wire.disturb = look
    site.apply()
    assert len(site.wire.calls) > 10
