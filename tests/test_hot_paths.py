"""What the hot paths cost, counted and not timed: calls of functions, Python's and C's, for one more row or change.

A wall clock says more about the machine's neighbours; a count is the same everywhere, and a call that is added for each
row shows. ``LIMITS`` has what was counted; a tenth more fails, and who saves something writes the new figure down. The
comprehensions that Python 3.12 no longer calls make its counts a little lower.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from benchmarks import apply, regroup
from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter
from whimbrel.checkpoint import Checkpoint
from whimbrel.mapping.design import compile_mapping
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.state import StateFolder
from whimbrel.records import Change, Commit, Position
from whimbrel.snapshot_files import Chunk, read_chunk, write_chunk

FEW, MANY = 500, 2500
LIMITS = {
    "export": 0.014,
    "read_and_map": 2.0,
    "log": 26.5,
    "fold_a_group": 21.3,
    "fold_a_record": 10.2,
    "note_keys": 0.1,
}


def calls(work: Callable[[], object]) -> int:
    count = 0

    def counted(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def export(folder: Path, rows: int) -> Callable[[], object]:
    purchases = regroup.purchases(rows)

    def work() -> None:
        file = write_chunk(folder / f"{rows}", regroup.PURCHASE, Chunk(1, None, None, ()))
        for start in range(0, rows, regroup.LINE_ROWS):
            file.write(purchases[start : start + regroup.LINE_ROWS])
        file.close()

    return work


def read_and_map(folder: Path, rows: int) -> Callable[[], object]:
    export(folder, rows)()
    mapping = compile_mapping(regroup.RULE, regroup.PURCHASE)
    return lambda: mapping.put_items([row for part in read_chunk(folder / f"{rows}") for row in part])


def log(folder: Path, changes: int) -> Callable[[], object]:
    """Written and read, in transactions of a hundred."""
    made = list(apply.changes(changes))

    def work() -> None:
        with ChangeLogWriter(folder / f"{changes}") as writer:
            for start in range(0, changes, 100):
                writer.append(made[start : start + 100])
                writer.commit(Commit(Position("bin.000001", 1000 + start), 1.0))
        reader = ChangeLogReader(folder / f"{changes}", None)
        read = 0
        while read < changes:
            read += sum(isinstance(each, Change) for each in reader.read(1000))

    return work


def fold_a_group(folder: Path, changes: int) -> Callable[[], object]:
    mapping, made = compile_mapping(apply.GROUP, apply.TABLE), list(apply.changes(changes))
    return lambda: mapping.fold(made)


def fold_a_record(folder: Path, changes: int) -> Callable[[], object]:
    mapping, made = compile_mapping(apply.RECORD, apply.TABLE), list(apply.changes(changes))
    return lambda: mapping.fold(made)


def note_keys(folder: Path, operations: int) -> Callable[[], object]:
    """Of what is about to be written, a batch at a time."""
    made, _ = compile_mapping(apply.RECORD, apply.TABLE).fold(list(apply.changes(operations)))
    dirty = DirtyKeys(StateFolder(folder), Checkpoint())

    def work() -> None:
        for start in range(0, len(made), 500):
            dirty.begin_write(made[start : start + 500])

    return work


@pytest.mark.parametrize("work", [export, read_and_map, log, fold_a_group, fold_a_record, note_keys])
def test_one_more_costs_no_more_than_it_did(work: Callable[[Path, int], Callable[[], object]], tmp_path: Path) -> None:
    for name in ("warm", "few", "many"):
        (tmp_path / name).mkdir()
    warm, few, many = (work(tmp_path / name, size) for name, size in (("warm", FEW), ("few", FEW), ("many", MANY)))
    warm()
    each = (calls(many) - calls(few)) / (MANY - FEW)
    assert each <= LIMITS[work.__name__] * 1.1, f"{each:.3f} calls"
