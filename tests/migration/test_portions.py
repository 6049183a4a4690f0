"""A part of a load in portions: every row once, an item's rows together, and memory for a portion, not for the part."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.migration.loading import GROUP, RECORD, TABLE, Loading, expected_records
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.migration import portions
from whimbrel.migration.portions import Portions
from whimbrel.records import Row
from whimbrel.snapshot_files import Chunk, write_chunk

# Two rows may have one item: nothing says that names differ.
NAMED = replace(RECORD, partition_key=replace(RECORD.partition_key, value="name#${name}"), assert_unique=True)


def lines(rows: list[Row], at_once: int) -> Iterator[tuple[list[Row], int]]:
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        yield some, sum(len(str(row)) for row in some)


def in_portions(mapping: TableMapping, folder: Path, rows: list[Row]) -> list[list[Row]]:
    found = [list(portion) for portion in Portions(mapping, folder / "spill").of(lines(rows, 10))]
    assert not (folder / "spill").exists() or not any((folder / "spill").rglob("*.part"))
    return found


@pytest.mark.parametrize("rule", [RECORD, GROUP, NAMED])
def test_what_fits_is_one_portion(tmp_path: Path, rule: object) -> None:
    rows: list[Row] = [(n, n % 3, f"name {n}") for n in range(100)]
    assert in_portions(compile_mapping(rule, TABLE), tmp_path, rows) == [rows]  # type: ignore[arg-type]
    assert in_portions(compile_mapping(rule, TABLE), tmp_path, []) == []  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


def test_where_no_two_rows_have_one_item_they_come_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portions, "PORTION_BYTES", 20_000)
    rows: list[Row] = [(n, n % 3, f"name {n}") for n in range(105)]
    found = in_portions(compile_mapping(RECORD, TABLE), tmp_path, rows)
    assert [len(portion) for portion in found] == [30, 30, 30, 15]
    assert [row for portion in found for row in portion] == rows
    assert not any(tmp_path.iterdir())


@settings(max_examples=30)
@given(data=st.data())
@pytest.mark.parametrize("rule", [GROUP, NAMED], ids=["group", "record of a key that may be another row's"])
def test_the_rows_of_an_item_are_in_one_portion(
    tmp_path_factory: pytest.TempPathFactory, rule: object, data: st.DataObject
) -> None:
    owners = st.one_of(st.none(), st.integers(0, 200))
    rows: list[Row] = data.draw(
        st.lists(st.tuples(st.integers(0, 10**6), owners, st.sampled_from([None, "a", "A", "b" * 3_000])), max_size=40)
    )
    mapping = compile_mapping(rule, TABLE)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portions, "PORTION_BYTES", data.draw(st.sampled_from([2_500, 10_000, 50_000])))
        patch.setattr(portions, "PARTITIONS", 3)
        found = in_portions(mapping, tmp_path_factory.mktemp("portions"), rows)
    assert sorted(map(repr, (row for portion in found for row in portion))) == sorted(map(repr, rows))
    places: dict[bytes, int] = {}
    for number, portion in enumerate(found):
        for row in portion:
            if key := mapping.group_key(row):
                assert places.setdefault(key, number) == number


def test_rows_without_an_item_are_divided_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "PORTION_BYTES", 40_000)
    rows: list[Row] = [(n, None, f"name {n}") for n in range(1_000)]
    found = in_portions(compile_mapping(GROUP, TABLE), tmp_path, rows)
    assert max(map(len, found)) < 60
    assert sorted(row for portion in found for row in portion) == rows


@pytest.mark.parametrize("rule", [RECORD, GROUP])
def test_a_chunk_of_long_rows_takes_the_memory_of_a_portion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: object
) -> None:
    monkeypatch.setattr(portions, "PORTION_BYTES", 6 << 20)
    loading = Loading(tmp_path, rule)  # type: ignore[arg-type]

    async def answer(operation: str, body: bytes) -> bytes:
        return b'{"UnprocessedItems":{},"ConsumedCapacity":[{"TableName":"items","CapacityUnits":1}]}'

    monkeypatch.setattr(loading.wire, "ask", answer)
    text, chunk = "a text" * 30_000, Chunk(1, None, None, ("id",))
    loading.plan.add(chunk)
    writer = write_chunk(loading.plan.file(chunk), TABLE, chunk, loading.plan.export)
    for first in range(0, 400, 10):
        writer.write([(n, n, text) for n in range(first, first + 10)])
    writer.close()
    loading.plan.record({1: 400})
    tracemalloc.start()
    try:
        assert loading.load() == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert loading.loaded.rows_loaded == loading.loaded.items_loaded == 400
    assert peak < 45 << 20, f"{peak >> 20} MB for {400 * len(text) >> 20} MB of rows"


def test_a_load_in_portions_is_that_of_whole_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "PORTION_BYTES", 1)
    loading = Loading(tmp_path, RECORD)
    loading.chunk(*((n, n % 3, f"name {n}") for n in range(1, 31)), high=30)
    loading.chunk(*((n, n % 3, f"name {n}") for n in range(31, 41)), high=None)
    assert loading.load() == 0
    assert loading.held() == expected_records(loading)
    assert (loading.loaded.rows_loaded, loading.loaded.items_loaded) == (40, 40)
