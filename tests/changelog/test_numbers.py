"""A change's number in the log and its transaction's time: the same in whatever batches they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.changelog.histories import append, entries, transactions
from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter, LogPoint
from whimbrel.migration.provenance import Provenances
from whimbrel.records import Change, Provenance

HISTORY = transactions([1, 4, 5, 3, 9, 12, 2])
BEGAN = 1_700_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with ChangeLogWriter(tmp_path, segment_bytes=2_000) as writer:
        append(writer, HISTORY)
    return tmp_path


def provenance(folder: Path, limit: int, start: LogPoint | None = None) -> list[Provenance]:
    found: list[Provenance] = []
    with ChangeLogReader(folder, start) as reader:
        while True:
            before = reader.handed_out
            batch = reader.read(limit)
            if not batch:
                return found
            known = Provenances(reader, batch, before, BEGAN)
            found += [known.of(entry) for entry in batch if isinstance(entry, Change)]


def wanted() -> list[Provenance]:
    numbered = [(change, commit) for changes, commit in HISTORY for change in changes]
    operations = {(True, False): "INSERT", (False, False): "UPDATE", (False, True): "DELETE"}
    return [
        Provenance(
            operations[change.before is None, change.after is None],
            f"bin.000001:{change.position.offset}",
            f"2023111422132000{number:019}",
            f"2023-11-14T22:13:{20 + commit.timestamp - BEGAN:09.6f}Z",
        )
        for number, (change, commit) in enumerate(numbered, 1)
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 1_000])
def test_batches_make_no_difference(folder: Path, limit: int) -> None:
    assert provenance(folder, limit) == wanted()


def test_nor_does_a_start_after_any_commit(folder: Path) -> None:
    points: list[tuple[LogPoint, int]] = []
    with ChangeLogReader(folder, None) as reader:
        for _ in entries(HISTORY):
            reader.read(1)
            if reader.point is not None:
                points.append((reader.point, reader.total))
    assert len({point for point, _ in points}) == len(HISTORY)
    for point, total in points:
        assert provenance(folder, 2, point) == wanted()[total:]
