"""The keys of changes that are in a stream: dirty for a verification that begins before they are applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.kept import Kept, key
from whimbrel.item import key_id
from whimbrel.migration import dirty
from whimbrel.migration.dirty import newest_place


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path, sent=0)


def send(kept: Kept, number: int, *names: str) -> None:
    kept.keys.begin_send(number, {"t": [key_id(key(name)) for name in names]})


def test_what_is_under_way_when_a_verification_begins_is_dirty_for_the_next(kept: Kept) -> None:
    send(kept, 1, "a")
    kept.keys.cut()
    verified = kept.verified()
    send(kept, 2, "b")
    kept.save(2)
    assert kept.since(verified) == {"a", "b"}


def test_what_was_applied_before_a_verification_began_is_not(kept: Kept) -> None:
    send(kept, 1, "a")
    kept.keys.cut()
    assert not kept.keys.settled
    kept.save(1)
    assert kept.keys.settled
    verified = kept.verified()
    send(kept, 2, "b")
    assert kept.since(verified) == {"b"}


def test_each_file_goes_back_as_far_as_what_is_under_way(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirty, "FILE_KEYS", 1)
    for number, name in enumerate("abcdef", 1):
        send(kept, number, name)
    kept.save(3)
    verified = kept.verified()
    assert kept.since(verified) == {"d", "e", "f"}


def test_also_after_a_restart_that_does_not_send_it_again(kept: Kept) -> None:
    send(kept, 2, "a", "b")
    kept.save(1)
    kept.keys.sync()
    for _ in range(2):
        kept.keys._close_file()
        kept.open(sent=2)
        verified = kept.verified()
        assert kept.since(verified) == {"a", "b"}
    kept.save(2)
    assert kept.since(kept.verified()) == set()


def test_a_set_that_was_lost_is_of_use_once_all_is_applied_that_it_does_not_have(kept: Kept) -> None:
    send(kept, 2, "a")
    kept.save(1)
    kept.keys.close()
    for path in kept.files():
        path.unlink()
    kept.open(sent=2)
    assert newest_place(kept.state.root) is None
    assert "were not all noted" in kept.dirty(None).everything
    kept.save(2)
    send(kept, 3, "c")
    assert kept.since(kept.verified()) == {"c"}


def test_what_got_no_answer_stays_dirty_in_later_files(kept: Kept) -> None:
    send(kept, 1, "a")
    kept.save(1)
    kept.keys.cut()
    send(kept, 2, "b")
    kept.keys.cut()
    send(kept, 3, "c")
    kept.keys.add_sent_as_strays(["t"])
    kept.save(3)
    kept.keys.cut()
    assert kept.since(kept.verified()) == {"b", "c"}


def test_where_what_was_sent_is_not_known_any_item_may_be_astray(tmp_path: Path) -> None:
    kept = Kept(tmp_path, sent=5)
    kept.keys.add_sent_as_strays(["t"])
    kept.save(5)
    verified = kept.verified()
    assert "all items of t" in kept.dirty(verified).everything


def test_strays_that_are_too_many_are_everything_of_each_table(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirty, "MOST_STRAYS", 2)
    kept.keys.add_strays([("other", key("a"))])
    kept.keys.add_strays([("t", key("b")), ("t", key("c"))])
    kept.keys.cut()
    text = b"".join(path.read_bytes() for path in kept.files())
    assert text.count(b'{"whole":"other"') == text.count(b'{"whole":"t"') == 1
