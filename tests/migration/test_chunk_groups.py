"""The rows of a chunk that verification reads: whole items are handed over, from memory or through a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.migration.loading import GROUP, RECORD, TABLE
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.migration import first_look, first_rows
from whimbrel.records import Column, Row

MAPPING = compile_mapping(GROUP, TABLE)
ROWS: list[Row] = [(n, n // 12, f"name {n:04}") for n in range(1_300)]


def added(folder: Path) -> tuple[first_rows._ChunkGroups, list[list[Row]]]:
    """All ROWS, a hundred at a time, and what will be used of them."""
    used: list[list[Row]] = []
    groups = first_rows._ChunkGroups(MAPPING, folder / "chunk", used.append)
    for start in range(0, len(ROWS), 100):
        groups.add(ROWS[start : start + 100])
    return groups, used


def test_few_rows_stay_in_memory(tmp_path: Path) -> None:
    groups, used = added(tmp_path)
    assert used == []
    groups.end()
    assert used == [ROWS]
    assert list(tmp_path.iterdir()) == []
    groups.drop()  # of one that has no file


@pytest.mark.parametrize("held", [0, 1, 20_000])
def test_many_go_through_a_file_that_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(first_rows, "HELD_BYTES", held)
    groups, used = added(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert len(groups._rows) < 500, "they are in the file"
    groups.end()
    assert [row for rows in used for row in rows] == ROWS
    assert list(tmp_path.iterdir()) == []


def test_its_folder_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker has a folder of its own, into which nothing may have been put yet."""
    monkeypatch.setattr(first_rows, "HELD_BYTES", 0)
    groups, used = added(tmp_path / "new")
    groups.end()
    assert [row for rows in used for row in rows] == ROWS


def test_they_come_in_portions_of_whole_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_rows, "HELD_BYTES", 0)
    monkeypatch.setattr("whimbrel.migration.portions.PORTION_BYTES", 10_000)
    groups, used = added(tmp_path)
    groups.end()
    assert len(used) > 3
    items = [{row[1] for row in rows} for rows in used]
    assert sum(map(len, items)) == len({row[1] for row in ROWS}), "each item is in one of them"
    assert sorted(row for rows in used for row in rows) == ROWS


def test_what_is_given_up_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_rows, "HELD_BYTES", 0)
    groups, used = added(tmp_path)
    groups.drop()
    assert used == []
    assert list(tmp_path.iterdir()) == []


def test_a_page_has_the_fewer_items_the_wider_they_are() -> None:
    def wide(columns: int) -> TableMapping:
        more = tuple(Column(f"c{number}", "int") for number in range(columns - 1))
        return compile_mapping(RECORD, replace(TABLE, columns=(*TABLE.columns[:1], *more)))

    assert first_look.page_items([wide(3)]) == 1_000
    assert first_look.page_items([wide(10)]) == 400
    assert first_look.page_items([wide(200)]) == 200
    assert first_look.page_items([wide(3), wide(16)]) == 250
    assert first_look.page_items([MAPPING]) == 200, "as of fifty columns"
