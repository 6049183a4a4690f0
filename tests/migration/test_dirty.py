"""The dirty keys: what was added is found from its place on."""

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

from tests.closed import open_below
from tests.migration.kept import Kept, key
from whimbrel.checkpoint import Checkpoint
from whimbrel.durable import is_sound
from whimbrel.errors import StateError
from whimbrel.migration import dirty
from whimbrel.migration.dirty import DirtyKeys, dirty_since, newest_place, noted_since
from whimbrel.migration.dirty_files import DirtyPlace, Unknown, keys_line, texts_of
from whimbrel.migration.state import StateFolder
from whimbrel.migration.verified import read_verified, write_verified
from whimbrel.records import Delete, Item, Put

TRICKY = st.text(alphabet='"\\{}[],:S\né', max_size=12)
VALUES: list[st.SearchStrategy[dict[str, str]]] = [
    st.builds(dict, S=TRICKY),
    st.builds(dict, N=st.just("1")),
    st.builds(dict, B=st.just("AA==")),
]


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


def test_what_ended_in_order_is_not_under_way(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write("ended")
    kept.keys.close()
    kept.open()
    assert kept.since(kept.verified()) == set()
    monkeypatch.setattr(dirty, "MARK_KEYS", 3)
    for number in range(8):
        kept.write(f"{number}")
    kept.open()
    assert kept.since(kept.verified()) == {"6", "7"}, "since the last mark, before which all writes had ended"


def test_too_many_calls_without_an_answer_are_everything(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirty, "MOST_STRAYS", 5)
    verified = kept.verified()
    kept.keys.add_strays([("t", key(f"{number}")) for number in range(6)])
    assert kept.dirty(verified).everything
    kept.write("x")
    kept.keys.cut()
    assert kept.since(kept.verified()) == {"x"}


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


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_what_cannot_be_opened_leaves_nothing_open(tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    state = StateFolder(tmp_path / "state")
    state.make()
    with pytest.raises(StateError, match="No space left"):
        DirtyKeys(state, Checkpoint())
    assert open_below(tmp_path) == []


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


# -- what whimbrel wrote itself, since a moment ------------------------------------------------------------------------


def test_what_was_noted_since_a_moment_is_in_the_file_of_then_and_later(kept: Kept) -> None:
    root = kept.state.root
    kept.write("long before")
    kept.save(1)
    kept.keys.cut()
    kept.write("in the file of then")
    then = newest_place(root)
    assert then
    assert then == dirty_since(root, None).place
    kept.write("a")
    kept.save(2)
    kept.keys.cut()
    kept.keys.add("other", [key("o")])
    names = {
        target: {orjson.loads(text)["k"]["S"] for text in texts} for target, texts in noted_since(root, then).items()
    }
    assert names == {"t": {"in the file of then", "a"}, "other": {"o"}}
    later = newest_place(root)
    assert later
    assert later.file == then.file + 1
    assert set(noted_since(root, later)) == {"other"}


def test_a_moment_of_other_files_is_unknown(kept: Kept) -> None:
    root = kept.state.root
    kept.write("a")
    now = newest_place(root)
    assert now
    for place in (None, DirtyPlace("another", now.file), DirtyPlace(now.set, now.file + 1), DirtyPlace(now.set, -1)):
        with pytest.raises(Unknown, match="not all known"):
            noted_since(root, place)
    for file in kept.files():
        file.unlink()
    assert newest_place(root) is None
