"""Rows lie in groups by their bytes: wide ones can be read again in little memory, and small groups are merged."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.records import Column, Row
from whimbrel.warehouse import duckdb_file
from whimbrel.warehouse.duckdb_file import DuckDBFile
from whimbrel.warehouse.duckdb_groups import FEW, MOST_BYTES, MOST_ROWS, Group, to_merge
from whimbrel.warehouse.stored import StoredColumn, StoredTable

COLUMNS = (
    StoredColumn("id", Column("id", "int", type_name="int"), "int", "INTEGER"),
    StoredColumn("words", Column("words", "text", type_name="longtext"), "text", "VARCHAR"),
)
STORED = StoredTable("s", "t", ("db", "t"), COLUMNS, ("id",))


def warehouse(folder: Path, memory: int = 192 << 20) -> DuckDBFile:
    file = DuckDBFile(folder / "w.duckdb", folder / "spill", memory)
    with file.session() as session:
        session.execute('CREATE SCHEMA "s"')
        session.create(STORED)
    return file


def write(file: DuckDBFile, rows: list[Row]) -> None:
    with file.session() as session, session.transaction():
        assert session.insert(STORED, rows) == len(rows)


def read(file: DuckDBFile) -> list[Row]:
    with file.session() as session:
        return sorted(row for rows in session.read(STORED) for row in rows)


def groups(folder: Path) -> int:
    with duckdb.connect(str(folder / "w.duckdb"), read_only=True) as connection:
        found = connection.execute("SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('s.t')").fetchone()
    assert found
    return int(found[0])


def test_rows_that_take_more_than_the_memory_all_together_are_written_changed_and_read(tmp_path: Path) -> None:
    """100 MB of them, in a memory of 64 MB: 2,048 of them in one group could be neither merged nor read."""
    file = warehouse(tmp_path, 64 << 20)
    for first in range(0, 500, 25):
        write(file, [(number, f"{number:06}" * 33_000) for number in range(first, first + 25)])
    with file.session() as session, session.transaction():
        assert session.delete(STORED, [(number,) for number in range(0, 500, 2)]) == 250
    for first in range(0, 500, 50):
        write(file, [(number, f"{number + 1:06}" * 33_000) for number in range(first, first + 50, 2)])
    counted = 0
    with file.session() as session:
        for rows in session.read(STORED):
            counted += len(rows)
            assert all(words == f"{number + (number % 2 == 0):06}" * 33_000 for number, words in rows)
    assert counted == 500


def test_small_groups_become_one_and_their_rows_stay(tmp_path: Path) -> None:
    file = warehouse(tmp_path)
    for number in range(40):
        write(file, [(number, "some words"), (100 + number, "")])
    assert groups(tmp_path) <= 2 * FEW
    assert read(file) == [(n, "some words") for n in range(40)] + [(100 + n, "") for n in range(40)]


def test_what_was_deleted_does_not_stay_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of one large group are changed three times, some at a time: 80,000 were written."""
    monkeypatch.setattr(duckdb_file, "TIDY_AFTER", 4)
    file = warehouse(tmp_path)
    write(file, [(number, "at first") for number in range(20_000)])
    for first in range(0, 60_000, 4_000):
        keys = [(first + number) % 20_000 for number in range(4_000)]
        with file.session() as session, session.transaction():
            assert session.delete(STORED, [(key,) for key in keys]) == 4_000
            session.insert(STORED, [(key, f"from {first}") for key in keys])
    assert read(file) == [(key, f"from {40_000 + key // 4_000 * 4_000}") for key in range(20_000)]
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as connection:
        held = connection.execute(
            "SELECT sum(count) FROM pragma_storage_info('s.t') WHERE column_id = 0 AND segment_type <> 'VALIDITY'"
        ).fetchone()
    assert held
    assert held[0] < 60_000


@given(
    st.lists(st.builds(Group, st.integers(1, 2 * MOST_ROWS), st.integers(0, 2 * MOST_BYTES)), max_size=30)
    | st.lists(st.builds(Group, st.integers(1, 2_000), st.integers(0, 2_000)), max_size=30),
    st.floats(0, 1),
)
def test_what_is_merged_is_bounded_and_worth_it(found: list[Group], part: float) -> None:
    rows = sum(group.rows for group in found)
    first, end = to_merge(found, int(part * rows))
    some = found[first:end]
    if end - first > 1:
        assert end - first > FEW
        assert sum(group.size for group in some) <= MOST_BYTES
        assert sum(group.rows for group in some) <= MOST_ROWS
    elif some:
        assert 2 * int(part * rows) < rows
    if len(found) > FEW and rows <= MOST_ROWS and sum(group.size for group in found) <= MOST_BYTES:
        assert (first, end) == (0, len(found))
