"""A conversion that several threads share makes the same data set as one, and one that is killed leaves nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lake.helper import compact, full, write_lines
from whimbrel.lake import datasets, parquet_parts
from whimbrel.lake.convert import ConvertRules, from_files
from whimbrel.lake.parquet_parts import groups_of
from whimbrel.lake.sources import SourceFile, find

RULES = ConvertRules("test", "test", ("pk",))
FILES, ITEMS = 8, 50
# Converts the files of a folder until the parts are made, says so, and never comes to its end.
HALF = """
import sys, time
from pathlib import Path
from whimbrel.lake import convert, parquet_parts
from whimbrel.lake.sources import find
def made(*arguments):
    Path(sys.argv[3]).touch()
    time.sleep(600)
convert._data_files, parquet_parts.FEWEST_BYTES = made, 1
convert.from_files(Path(sys.argv[2]), convert.ConvertRules("test", "test", ("pk",)), find(Path(sys.argv[1])).files)
"""


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """Files of items; each has an attribute of its own, and the last one's numbers need a wider type."""
    folder = tmp_path / "items"
    folder.mkdir()
    for file in range(FILES):
        lines = [
            full(pk={"S": f"{file}-{each}"}, n={"N": f"{each}.5" if file == FILES - 1 else str(each)})
            | ({"Item": {"pk": {"S": f"{file}-{each}"}, f"a{file}": {"BOOL": True}}} if each == ITEMS - 1 else {})
            for each in range(ITEMS)
        ]
        write_lines(folder / f"{file}.json", map(compact, lines))
    return folder


def rows(lake: Path) -> list[tuple[str, ...]]:
    found = datasets.arrow(lake, datasets.current(lake, "test")).to_pylist()
    return sorted(tuple(f"{name}={row[name]}" for name in sorted(row) if row[name] is not None) for row in found)


def test_several_threads_make_the_same_as_one(items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_parts, "FEWEST_BYTES", 1)
    made = {workers: tmp_path / str(workers) for workers in (1, 3)}
    for workers, lake in made.items():
        done = from_files(lake, replace(RULES, workers=workers), find(items).files)
        assert (done.new_rows, done.refusals) == (FILES * ITEMS, 0)
    assert rows(made[1]) == rows(made[3])
    kinds = [{each.name: each.type for each in datasets.current(lake, "test").schema} for lake in made.values()]
    assert kinds[0] == kinds[1]
    assert kinds[0]["n"] == "decimal(18,1)"


def test_a_conversion_that_was_killed_is_made_from_scratch(items: Path, tmp_path: Path) -> None:
    lake, ready = tmp_path / "lake", tmp_path / "ready"
    process = subprocess.Popen([sys.executable, "-c", HALF, str(items), str(lake), str(ready)])
    try:
        until = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert list(lake.glob("datasets/test/*/part-*.parquet"))
    assert datasets.names(lake) == []
    done = from_files(lake, RULES, find(items).files)
    assert len(rows(lake)) == done.new_rows == FILES * ITEMS
    assert [each.name for each in lake.glob("datasets/test/[0-9]*")] == [done.manifest.id]


def test_groups_are_large_where_there_is_much_and_enough_for_all_where_there_is_little(tmp_path: Path) -> None:
    def groups(size: int, count: int, workers: int) -> list[int]:
        file = tmp_path / "file"
        with file.open("wb") as sparse:
            sparse.truncate(size)
        return [len(each) for each in groups_of([SourceFile(file, "full")] * count, workers)]

    mega = 1 << 20
    assert groups(40 * mega, 5, 16) == [1] * 5
    assert groups(mega, 400, 2) == [32] * 12 + [16]
    assert groups(mega, 16, 2) == [2] * 8
    assert groups(mega, 16, 16) == [1] * 16
    assert groups(10_000, 16, 16) == [16]
    assert groups(0, 0, 2) == [0]
