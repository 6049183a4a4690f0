"""The files of the dirty keys: whatever is missing or damaged is everything, and they are bounded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.migration.kept import Kept
from whimbrel import checkpoint
from whimbrel.migration import dirty
from whimbrel.migration.dirty import dirty_since
from whimbrel.migration.verified import Verified, read_verified, remove_verified, write_verified


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "state")


# -- never less than everything ----------------------------------------------------------------------------------------


def several_files(kept: Kept) -> Verified:
    """Four files, all since the verification."""
    verified = kept.verified()
    for number in range(4):
        kept.write(f"{number}")
        kept.save(number + 1)
        if number < 3:
            kept.keys.cut()
    assert len(kept.files()) == 4
    assert kept.since(verified) == {"0", "1", "2", "3"}
    return verified


def test_nothing_is_known_before_a_verification(kept: Kept) -> None:
    found = kept.dirty(None)
    assert found.everything
    assert found.place is not None, "but a verification can begin here"


@pytest.mark.parametrize("number", range(4))
def test_a_missing_file_is_everything(kept: Kept, number: int) -> None:
    verified = several_files(kept)
    kept.files()[number].unlink()
    assert kept.dirty(verified).everything
    kept.open()
    assert kept.dirty(verified).everything, "and for good"
    assert kept.since(kept.verified()) == set()


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("cut", [1, 30, "line"])
def test_a_file_that_is_cut_short_is_everything(kept: Kept, number: int, cut: int | str) -> None:
    """But for half a line of the newest one, which was never sent."""
    verified = several_files(kept)
    path = kept.files()[number]
    data = path.read_bytes()
    lost = len(data.splitlines(keepends=True)[-1]) if isinstance(cut, str) else cut
    path.write_bytes(data[:-lost])
    assert kept.dirty(verified).everything
    kept.open()
    assert kept.dirty(verified).everything


@pytest.mark.parametrize("number", range(4))
def test_a_changed_byte_is_everything(kept: Kept, number: int) -> None:
    verified = several_files(kept)
    path = kept.files()[number]
    for at in range(0, path.stat().st_size, 7):
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)
        assert kept.dirty(verified).everything, at
        data[at] ^= 1
        path.write_bytes(data)
    assert kept.since(verified) == {"0", "1", "2", "3"}


def test_half_a_line_at_the_end_was_never_sent(kept: Kept) -> None:
    verified = several_files(kept)
    with kept.files()[-1].open("ab") as file:
        file.write(b'{"target":"t","keys":[{"k":{"S":"to')
    assert kept.since(verified) == {"0", "1", "2", "3"}
    kept.open()
    kept.write("5")
    assert kept.since(verified) == {"0", "1", "2", "3", "5"}


def test_without_its_index_it_is_everything(kept: Kept) -> None:
    verified = several_files(kept)
    (kept.state.dirty / "index.json").unlink()
    assert kept.dirty(verified).everything


def test_another_set_is_everything(kept: Kept, tmp_path: Path) -> None:
    verified = several_files(kept)
    other = Kept(tmp_path / "other")
    several_files(other)
    kept.files()[2].write_bytes(other.files()[2].read_bytes())
    assert kept.dirty(verified).everything
    for path in other.state.dirty.iterdir():
        (kept.state.dirty / path.name).write_bytes(path.read_bytes())
    assert kept.dirty(verified).everything


def test_a_folder_of_an_earlier_moment_is_everything(kept: Kept) -> None:
    several_files(kept)
    old = {path: path.read_bytes() for path in kept.state.dirty.iterdir()}
    verified = kept.verified()
    kept.write("4")
    kept.save(5)
    for path, data in old.items():
        path.write_bytes(data)
    assert "without a record" in kept.dirty(verified).everything
    kept.open()
    assert kept.dirty(verified).everything


def test_changes_that_an_older_version_applied_are_everything(kept: Kept) -> None:
    verified = several_files(kept)
    now = checkpoint.load(kept.state.checkpoint)
    for counters in ({"applied": 5}, {}):
        checkpoint.save(kept.state.checkpoint, replace(now, counters=counters))
        assert kept.dirty(verified).everything
    kept.open()
    kept.write("a")
    kept.save(6)
    assert kept.dirty(verified).everything
    assert kept.since(kept.verified()) == {"a"}


def test_a_state_folder_without_any_is_everything(kept: Kept, tmp_path: Path) -> None:
    verified = several_files(kept)
    found = dirty_since(tmp_path, verified)
    assert found.everything
    assert found.place is None


def test_too_many_keys_are_everything(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = kept.verified()
    kept.write("a", "b", "c")
    monkeypatch.setattr(dirty, "MOST_KEYS", 3)
    assert kept.since(verified) == {"a", "b", "c"}
    monkeypatch.setattr(dirty, "MOST_KEYS", 2)
    assert kept.dirty(verified).everything == "more than 2 items were written since the last verification"


# -- bounded -----------------------------------------------------------------------------------------------------------


def test_the_disk_is_bounded(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirty, "FILE_KEYS", 10)
    monkeypatch.setattr(dirty, "MOST_BYTES", 5000)
    first = kept.verified()
    for number in range(500):
        kept.write(f"{number}")
        if number == 480:
            last = kept.verified()
    assert sum(path.stat().st_size for path in kept.files()) < 7000
    assert kept.dirty(first).everything
    assert kept.since(last) >= {f"{number}" for number in range(481, 500)}


def test_memory_is_bounded_by_one_file(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirty, "FILE_KEYS", 10)
    for number in range(200):
        kept.write(f"{number}")
        assert sum(map(len, kept.keys._recent.values())) <= 10


def test_what_lies_before_the_last_verification_is_removed(kept: Kept) -> None:
    several_files(kept)
    verified = kept.verified()
    kept.keys.cut()
    assert [path.name for path in kept.files()] == ["00000004.jsonl", "00000005.jsonl"]
    assert kept.since(verified) == {"3"}
    remove_verified(kept.state.root)
    assert read_verified(kept.state.root) is None


def test_a_verification_that_began_earlier_does_not_replace_a_later_one(kept: Kept) -> None:
    earlier = kept.verified()
    kept.write("a")
    kept.keys.cut()
    later = kept.verified()
    write_verified(kept.state.root, earlier)
    assert read_verified(kept.state.root) == later


@pytest.mark.parametrize("lost", [1, 5, 40])
def test_a_damaged_note_of_a_verification_says_nothing(kept: Kept, lost: int) -> None:
    kept.verified()
    path = kept.state.root / "verified.json"
    path.write_bytes(path.read_bytes()[:-lost])
    assert read_verified(kept.state.root) is None
