"""The dirty keys: what was added is found from its place on, and whatever is missing or damaged is everything."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel import checkpoint
from whimbrel.changelog.record import LogPoint
from whimbrel.checkpoint import Checkpoint
from whimbrel.durable import is_sound
from whimbrel.errors import StateError
from whimbrel.migration import dirty
from whimbrel.migration.dirty import Dirty, DirtyKeys, dirty_since
from whimbrel.migration.dirty_files import keys_line, texts_of
from whimbrel.migration.state import StateFolder
from whimbrel.migration.verified import Verified, read_verified, remove_verified, write_verified
from whimbrel.records import Delete, Item, Position, Put

AT = Position("bin.000001", 100)
TRICKY = st.text(alphabet='"\\{}[],:S\né', max_size=12)
VALUES: list[st.SearchStrategy[dict[str, str]]] = [
    st.builds(dict, S=TRICKY),
    st.builds(dict, N=st.just("1")),
    st.builds(dict, B=st.just("AA==")),
]


class Kept:
    """A state folder and the set in it. ``everything`` that a verification read is ``verified``."""

    def __init__(self, root: Path) -> None:
        self.state = StateFolder(root)
        self.state.make()
        self.passed(0)
        self.open()

    def open(self) -> None:
        """As a new process does."""
        self.keys = DirtyKeys(self.state, checkpoint.load(self.state.checkpoint))

    def passed(self, applied: int) -> None:
        """The Checkpoint passes so many changes."""
        now = Checkpoint(phase="apply", applied=LogPoint(1, applied), applied_position=AT)
        checkpoint.save(self.state.checkpoint, replace(now, counters={"applied": applied}))

    def write(self, *names: str, table: str = "t") -> None:
        self.keys.begin_write([Put(table, key(name), key(name)) for name in names])

    def save(self, applied: int) -> None:
        self.keys.save(applied)
        self.passed(applied)

    def verified(self) -> Verified:
        """All items, as of now."""
        at = dirty_since(self.state.root, None)
        assert at.place is not None
        found = Verified(at.position, 1.0, {"s.t": "t"}, "rules", at.place)
        write_verified(self.state.root, found)
        return found

    def since(self, verified: Verified | None) -> set[str]:
        found = self.dirty(verified)
        assert not found.everything, found.everything
        return {each["k"]["S"] for each in found.keys("t")}

    def dirty(self, verified: Verified | None) -> Dirty:
        return dirty_since(self.state.root, verified)

    def files(self) -> list[Path]:
        return sorted(self.state.dirty.glob("0*.jsonl"))


def key(name: str) -> Item:
    return {"k": {"S": name}}


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "state")


# -- from where on -----------------------------------------------------------------------------------------------------


def test_what_is_written_after_a_verification_is_dirty(kept: Kept) -> None:
    kept.write("before")
    kept.save(1)
    kept.keys.cut()
    verified = kept.verified()
    assert kept.since(verified) == set()
    kept.write("a", "b")
    kept.keys.begin_write([Delete("t", key("c")), Put("other", key("o"), key("o"))])
    kept.keys.add("t", [key("d")])
    assert kept.since(verified) == {"a", "b", "c", "d"}
    assert {target: len(texts) for target, texts in kept.dirty(verified).texts.items()} == {"t": 4, "other": 1}
    assert len(kept.dirty(verified)) == 5
    kept.open()
    assert kept.since(verified) == {"a", "b", "c", "d"}


def test_one_number_is_one_key(kept: Kept) -> None:
    verified = kept.verified()
    kept.keys.add("t", [{"k": {"N": "1.0"}}, {"k": {"N": "1"}}])
    assert kept.dirty(verified).texts == {"t": {b'{"k":{"N":"1"}}'}}


def test_a_hot_item_is_written_once_in_a_file(kept: Kept) -> None:
    kept.write("hot")
    size = kept.files()[-1].stat().st_size
    for _ in range(10):
        kept.write("hot")
    assert kept.files()[-1].stat().st_size == size
    kept.save(1)
    kept.keys.cut()
    verified = kept.verified()
    kept.write("hot")
    assert kept.since(verified) == {"hot"}


def test_a_write_that_has_not_ended_is_in_the_file_that_is_begun_meanwhile(kept: Kept) -> None:
    kept.write("ended")
    kept.write("under way")
    kept.keys.cut()
    verified = kept.verified()
    assert kept.since(verified) == {"under way"}
    kept.save(2)  # between two writes
    kept.keys.cut()
    assert kept.since(kept.verified()) == set()


def test_a_file_is_full_and_the_next_is_begun(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirty, "FILE_KEYS", 3)
    verified = kept.verified()
    for number in range(10):
        kept.write(f"{number}")
    assert len(kept.files()) > 3
    assert kept.since(verified) == {f"{number}" for number in range(10)}


def test_what_a_verification_left_unsettled_stays_dirty(kept: Kept) -> None:
    verified = replace(kept.verified(), unsettled={"t": [key("hot")]})
    write_verified(kept.state.root, verified)
    assert read_verified(kept.state.root) == verified
    assert kept.since(read_verified(kept.state.root)) == {"hot"}


def test_a_whole_table_is_everything(kept: Kept) -> None:
    verified = kept.verified()
    kept.keys.add_whole("t")
    assert "all items of t were written again" in kept.dirty(verified).everything
    kept.keys.cut()
    kept.write("a")
    kept.keys.cut()
    assert kept.since(kept.verified()) == {"a"}


@given(st.lists(st.fixed_dictionaries({"p": st.one_of(VALUES), "s": st.one_of(VALUES)}), max_size=5))
def test_any_keys_come_back(keys: list[Item]) -> None:
    line = keys_line("t", texts_of(keys))
    assert is_sound(line[:-1])
    assert orjson.loads(line)["keys"] == keys if keys else texts_of(keys) == []


def test_a_key_that_is_no_text_is_no_items(kept: Kept) -> None:
    verified = kept.verified()
    kept.write("a", "\ud800", "b")
    assert kept.since(verified) == {"a", "b"}


# -- calls without an answer -------------------------------------------------------------------------------------------


def test_a_call_without_an_answer_stays_dirty_for_a_while(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(dirty.time, "monotonic", lambda: now)  # type: ignore[attr-defined]
    kept.keys.add_strays([("t", key("lost"))])
    kept.write("x")
    kept.save(1)
    kept.keys.cut()
    assert kept.since(kept.verified()) == {"lost"}
    kept.keys.close()
    kept.open()  # another process knows of it too
    assert kept.since(kept.verified()) == {"lost"}
    now += dirty.STRAY_SECONDS + 1
    kept.write("y")
    kept.save(2)
    kept.keys.cut()
    assert kept.since(kept.verified()) == set()


def test_what_a_killed_process_had_under_way_stays_dirty(kept: Kept) -> None:
    kept.write("saved")
    kept.save(1)
    kept.write("sent")
    kept.keys.cut()
    kept.write("sent later")
    kept.open()
    assert kept.since(kept.verified()) == {"sent", "sent later"}
    kept.save(3)
    kept.open()
    kept.save(3)
    assert kept.since(kept.verified()) == {"sent", "sent later"}, "may still arrive"


def test_too_many_calls_without_an_answer_are_everything(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirty, "MOST_STRAYS", 5)
    verified = kept.verified()
    kept.keys.add_strays([("t", key(f"{number}")) for number in range(6)])
    assert kept.dirty(verified).everything
    kept.write("x")
    kept.keys.cut()
    assert kept.since(kept.verified()) == {"x"}


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


# -- the disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
def test_what_the_disk_refuses_ends_the_run(kept: Kept, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def written() -> None:
        kept.write("a")
        kept.keys.save(1)
        kept.keys.cut()

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StateError, match=r"dirty/0000000\d.jsonl: cannot be written: No space left"):
        written()


def test_a_key_is_written_before_it_counts_and_durable_before_the_checkpoint(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: dict[int, int] = {}
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: durable.update({1: os.fstat(file).st_size}) or sync(file))
    kept.write("a")
    size = kept.files()[-1].stat().st_size
    assert durable == {}
    kept.keys.save(1)
    assert durable[1] >= size
    assert durable[1] == kept.files()[-1].stat().st_size
