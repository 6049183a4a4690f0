"""Load from a real plan and real files into a table in memory: every row once, and a chunk counts only when its items
are acknowledged and its letters durable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.memory import Body
from tests.migration.loading import GROUP, RECORD, TABLE, Loading, expected_records, three_chunks
from whimbrel import checkpoint
from whimbrel.checkpoint import TableProgress
from whimbrel.errors import RequestRefused, StateError
from whimbrel.mapping.design import compile_mapping
from whimbrel.migration import load_part
from whimbrel.migration.dead import read_letters
from whimbrel.migration.load import fitting, is_loaded, parts_of
from whimbrel.migration.load_part import sliced
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Row, Table
from whimbrel.snapshot_files import Chunk, read_chunk, write_chunk


def made(folder: Path, rule: TableRule) -> Iterator[Loading]:
    loading = Loading(folder, rule)
    three_chunks(loading)
    yield loading


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Loading]:
    yield from made(tmp_path, RECORD)


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[Loading]:
    yield from made(tmp_path, GROUP)


def test_all_rows_are_loaded_once(records: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_part, "SLICE_ITEMS", 7)
    assert records.load() == 0
    assert records.held() == expected_records(records)
    assert (set(records.loaded.loaded), records.loaded.rows_loaded, records.loaded.items_loaded) == (
        {1, 2, 3},
        40,
        40,
    )
    counts = records.progress.tables["shop.things"]
    assert (counts.loaded_rows, counts.loaded_items) == (40, 40)
    written = len(records.wire.calls)
    assert records.load() == 0
    assert len(records.wire.calls) == written


def test_what_is_shown_meanwhile_goes_up_steadily(records: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_part, "SLICE_ITEMS", 4)
    counts, seen = records.progress.tables["shop.things"], []
    records.wire.disturb = lambda operation, body: seen.append((counts.loaded_rows, counts.loaded_items))
    records.load()
    assert seen == [(n, n) for n in (0, 4, 8, 10, 14, 18, 22, 26, 30, 34, 38)]
    assert all(type(rows) is int for rows, _ in seen)


def test_rows_of_one_item_come_together_from_all_chunks(groups: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.spill.PARTITION_ROWS", 15)
    groups.checkpoints.save(
        groups.checkpoints.now.with_table("shop.things", TableProgress(chunks_planned=3, rows_exported=40))
    )
    assert not groups.mapping.aligned
    assert groups.load() == 0
    assert groups.held() == {
        f"owner#{owner}": {"pk": {"S": f"owner#{owner}"}}
        | {str(n): {"NULL": True} if name is None else {"S": name} for n, o, name in groups.rows if o == owner}
        for owner in range(3)
    }
    assert (set(groups.loaded.loaded), groups.loaded.rows_loaded, groups.loaded.items_loaded) == (
        {1, 2, 3},
        40,
        3,
    )
    assert is_loaded(groups.mapping, groups.loaded)
    written = len(groups.wire.calls)
    assert groups.load() == 0
    assert len(groups.wire.calls) == written


def test_what_was_loaded_is_not_loaded_again(records: Loading) -> None:
    records.checkpoints.save(records.checkpoints.now.with_loaded("shop.things", [2], rows=20, items=20))
    assert records.load() == 0
    assert records.held().keys() == {f"thing#{n}" for n in range(1, 41) if not 11 <= n <= 30}
    assert records.loaded.loaded == {1, 2, 3}


def test_a_chunk_that_is_broken_off_does_not_count(records: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_part, "SLICE_ITEMS", 4)
    calls = iter(range(1000))

    def refuse(operation: str, body: Body) -> None:
        if next(calls) == 4:  # the second slice of the second chunk
            raise RequestRefused("no table", code="ResourceNotFoundException")

    records.wire.disturb = refuse
    with pytest.raises(RequestRefused):
        records.load()
    assert records.loaded.loaded == {1}
    assert records.loaded.rows_loaded == 10
    records.wire.disturb = lambda operation, body: None
    assert records.load() == 0
    assert records.held() == expected_records(records)
    assert (set(records.loaded.loaded), records.loaded.rows_loaded, records.loaded.items_loaded) == (
        {1, 2, 3},
        40,
        40,
    )


@pytest.mark.parametrize("shape", ["records", "groups"])
def test_a_stop_ends_it_between_slices(
    shape: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading: Loading = request.getfixturevalue(shape)
    monkeypatch.setattr(load_part, "SLICE_ITEMS", 1)

    def stop(operation: str, body: Body) -> None:
        loading.stop.set()

    loading.wire.disturb = stop
    assert loading.load() == 0
    assert len(loading.wire.calls) == 1
    assert loading.loaded.loaded == frozenset()
    loading.wire.disturb = lambda operation, body: None
    loading.stop.clear()
    assert loading.load() == 0
    assert loading.loaded.rows_loaded == 40
    before = len(loading.wire.calls)
    loading.stop.set()
    assert loading.load() == 0
    assert len(loading.wire.calls) == before


@pytest.mark.parametrize("rule", [RECORD, GROUP])
def test_a_chunk_whose_file_is_not_the_plans_is_named(tmp_path: Path, rule: TableRule) -> None:
    loading = Loading(tmp_path, rule)
    three_chunks(loading)
    loading.plan.file(loading.plan.chunks[1]).unlink()
    assert loading.load() == 2
    assert 2 not in loading.loaded.loaded
    if rule is RECORD:
        assert loading.loaded.loaded == {1}
    else:
        assert loading.wire.calls == []
    loading.stop.set()
    assert loading.load() == 0


def test_letters_are_durable_before_their_chunk_counts(records: Loading) -> None:
    records.wire.refuse = lambda item: "never" if item["pk"]["S"] in ("thing#5", "thing#25") else ""
    seen: list[tuple[int, int]] = []
    keep = records.checkpoints.save

    def save(fresh: checkpoint.Checkpoint) -> None:
        seen.append((len(fresh.table("shop.things").loaded), len(list(read_letters(records.folder / "dead.jsonl")))))
        keep(fresh)

    records.checkpoints.save = save  # type: ignore[method-assign]
    assert records.load() == 0
    assert seen == [(1, 1), (2, 2), (3, 2)]
    assert records.progress.dead == 2
    letters = list(read_letters(records.folder / "dead.jsonl"))
    assert [(each["table"], each["reason"], each["phase"], each["item_key"]) for each in letters] == [
        ("shop.things", "never", "load", {"pk": {"S": f"thing#{n}"}}) for n in (5, 25)
    ]
    assert records.loaded.rows_loaded == 40
    assert len(records.held()) == 38


def test_rows_that_cannot_be_mapped_are_letters(tmp_path: Path) -> None:
    loading = Loading(tmp_path, replace(RECORD, partition_key=KeyRule("pk", "thing#${name}"), assert_unique=True))
    loading.chunk((1, 1, "a"), (2, 1, None), (3, 1, "a"), high=None)
    assert loading.load() == 0
    assert list(loading.held()) == ["thing#a"]
    assert len(list(read_letters(tmp_path / "dead.jsonl"))) == loading.progress.dead == 2
    assert (loading.loaded.rows_loaded, loading.loaded.items_loaded) == (3, 1)
    counts = loading.progress.tables["shop.things"]
    assert (counts.loaded_rows, counts.loaded_items) == (3, 1)


def test_an_empty_table(tmp_path: Path) -> None:
    loading = Loading(tmp_path, RECORD)
    loading.chunk(high=None)
    assert loading.load() == 0
    assert (set(loading.loaded.loaded), loading.loaded.rows_loaded) == ({1}, 0)


def test_what_conditions_held_back_is_counted(records: Loading) -> None:
    records.writer._own["held"] = 3
    assert records.load() == 0
    assert records.progress.held == 3
    assert checkpoint.load(records.folder / "checkpoint.json").counters["held"] == 3


def test_how_rows_came_is_said_of_the_snapshot(tmp_path: Path) -> None:
    loading = Loading(tmp_path, replace(RECORD, columns={"op": "change_operation()", "at": "change_position()"}))
    loading.chunk((1, 1, "a"), high=None)
    loading.load()
    item = loading.held()["thing#1"]
    assert (item["op"], item["at"]) == ({"S": "INSERT"}, {"S": "bin.000001:4"})


# -- files and counts --------------------------------------------------------------------------------------------------


def test_a_file_fits_only_if_all_of_it_is_what_was_recorded(records: Loading) -> None:
    plan, chunk = records.plan, records.plan.chunks[0]
    assert fitting(plan, chunk) is not None
    assert [row for rows in read_chunk(plan.file(chunk)) for row in rows] == records.rows[:10]
    good = plan.file(chunk).read_bytes()

    def written(table: Table, number: int, export: str, rows: list[Row], bounds: Chunk = chunk) -> None:
        plan.file(chunk).unlink(missing_ok=True)
        writer = write_chunk(plan.file(chunk), table, bounds._replace(number=number), export)
        writer.write(rows)
        writer.close()

    rows = records.rows[:10]
    written(TABLE, 1, plan.export, rows)
    assert fitting(plan, chunk) is not None
    other = replace(TABLE, name="other")
    for damage in (
        lambda: written(other, 1, plan.export, rows),
        lambda: written(TABLE, 2, plan.export, rows),
        lambda: written(TABLE, 1, "another", rows),
        lambda: written(TABLE, 1, plan.export, rows[:-1]),
        lambda: written(TABLE, 1, plan.export, rows, chunk._replace(high=(11,))),
        lambda: plan.file(chunk).write_bytes(good[:-10]),
        lambda: plan.file(chunk).unlink(),
    ):
        damage()
        assert fitting(plan, chunk) is None


def test_the_parts_of_a_load(records: Loading) -> None:
    assert parts_of(records.mapping, TableProgress()) == 0
    assert parts_of(records.mapping, TableProgress(chunks_planned=7)) == 7


@pytest.mark.parametrize(("rows", "parts"), [(0, 1), (1, 1), (50_000, 1), (50_001, 2), (100_000, 2)])
def test_the_partitions_of_rows_that_are_regrouped(rows: int, parts: int) -> None:
    grouped = compile_mapping(GROUP, TABLE)
    assert parts_of(grouped, TableProgress(chunks_planned=9, rows_exported=rows)) == parts


def test_a_load_ends_when_all_parts_are_loaded_with_all_rows(records: Loading) -> None:
    whole = TableProgress(chunks_planned=2, rows_exported=5, loaded=frozenset({1, 2}), rows_loaded=5)
    assert is_loaded(records.mapping, whole)
    assert not is_loaded(records.mapping, replace(whole, loaded=frozenset({1})))
    assert not is_loaded(records.mapping, replace(whole, loaded=frozenset({1, 2, 3})))
    assert not is_loaded(records.mapping, replace(whole, chunks_planned=None, loaded=frozenset()))
    assert is_loaded(records.mapping, TableProgress(chunks_planned=0))
    for rows in (4, 6):
        with pytest.raises(StateError, match=f"5 rows were exported, but {rows} were loaded"):
            is_loaded(records.mapping, replace(whole, rows_loaded=rows))
    grouped = compile_mapping(GROUP, TABLE)
    assert is_loaded(grouped, replace(whole, loaded=frozenset({1})))
    assert not is_loaded(grouped, replace(whole, loaded=frozenset({1}), chunks_planned=None))
    assert not is_loaded(grouped, replace(whole, loaded=frozenset()))


def test_slices() -> None:
    operations: list[Any] = list(range(12))
    assert [len(part) for part in sliced(iter(operations))] == [12]
    assert list(sliced(iter([]))) == []
    assert [len(part) for part in sliced(iter(operations[:1] * 10_001))] == [5000, 5000, 1]
