"""What is kept of how binlog files began."""

from __future__ import annotations

from pathlib import Path

import pytest

from whimbrel.errors import StateError
from whimbrel.migration.beginnings import KEPT, Beginnings
from whimbrel.mysql.binlog.beginning import Beginning
from whimbrel.records import Position


def test_the_newest_files_are_kept_by_their_names_and_epochs(tmp_path: Path) -> None:
    path = tmp_path / "binlogs.jsonl"
    assert Beginnings(path).of(Position("bin.000001", 4)) is None
    for number in range(1, KEPT + 3):
        Beginnings(path).note(Position(f"bin.{number:06}", 4), Beginning(number, f"0-1-{number}"))
    Beginnings(path).note(Position("bin.000066", 900, epoch=1), Beginning(7, ""))
    kept = Beginnings(path)
    assert kept.of(Position("bin.000066", 555)) == Beginning(66, "0-1-66")
    assert kept.of(Position("bin.000066", 4, epoch=1)) == Beginning(7, "")
    assert len(path.read_text().splitlines()) == KEPT
    assert kept.of(Position("bin.000003", 4)) is None
    assert kept.of(Position("bin.000004", 4)) == Beginning(4, "0-1-4")


def test_a_file_that_was_begun_again_has_the_later_note(tmp_path: Path) -> None:
    kept = Beginnings(tmp_path / "binlogs.jsonl")
    for when in (1, 2):
        kept.note(Position("bin.000001", 4), Beginning(when, ""))
    assert kept.of(Position("bin.000001", 4)) == Beginning(2, "")
    assert len((tmp_path / "binlogs.jsonl").read_text().splitlines()) == 1


def test_any_damaged_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "binlogs.jsonl"
    Beginnings(path).note(Position("bin.000001", 4), Beginning(1_700_000_000, "0-1-7"))
    whole = path.read_bytes()
    for at in range(len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StateError):
            Beginnings(path).of(Position("bin.000001", 4))
