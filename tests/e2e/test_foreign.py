"""Who else writes the target is found in its stream, as far as that goes back."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from demo.servers import Ministack
from tests.e2e.dirty import dirty, prepared_of, verified, verify_and_wait
from tests.e2e.test_dirty import put, three_items, write
from tests.e2e.work import GROUP, Work
from whimbrel.checkpoint import load
from whimbrel.dynamodb.streams import StreamRecord, read_stream
from whimbrel.migration import foreign
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.foreign import Strangers, StreamWatch
from whimbrel.migration.state import StateFolder
from whimbrel.migration.verified import Verified


def set_stream(work: Work, *, on: bool) -> None:
    view = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"} if on else {"StreamEnabled": False}
    work.endpoint.client().update_table(TableName=work.target, StreamSpecification=view)


@pytest.fixture
def watched(work: Work, ministack: Ministack, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Verified while the stream is on."""
    monkeypatch.setattr(foreign, "DOUBT", timedelta(0))
    work.mapping = GROUP + "exclude = ['id']\nassert_unique = true"
    work.write_project()
    three_items(work)
    set_stream(work, on=True)
    verify_and_wait(work)
    return work


class Looking:
    """Rounds of a watch, without the verification."""

    def __init__(self, work: Work, begun: Verified | None = None) -> None:
        begun = begun or verified(work)
        assert begun is not None
        self.work = work
        self.watch = StreamWatch(prepared_of(work).project, begun, threading.Event())

    def look(self) -> Strangers:
        state = StateFolder(self.work.state)
        noted = DirtyKeys(state, load(state.checkpoint))
        self.watch.read(noted)
        noted.close()
        (found,) = self.watch.strangers(dirty(self.work))
        return found


def keys_of(found: Strangers) -> set[tuple[str, ...]]:
    assert found.unknown == ""
    assert found.count == len(found.keys)
    keys: list[dict[str, Any]] = [json.loads(key) for key in found.keys]
    return {tuple(value["S"] for value in key.values()) for key in keys}


def test_a_key_in_the_stream_that_nobody_noted_is_a_strangers(watched: Work) -> None:
    looking = Looking(watched)
    assert keys_of(looking.look()) == set()
    write(watched, "UPDATE purchase SET quantity = 9 WHERE id = 1")
    assert keys_of(looking.look()) == set()
    put(watched, "c2", "o2", p2="not ours")
    put(watched, "c9", "o9")
    put(watched, "c1", "o1")  # dirty: it will be verified
    write(watched, "DELETE FROM purchase WHERE id = 3")
    assert keys_of(looking.look()) == {("c2", "o2"), ("c9", "o9")}
    assert keys_of(looking.look()) == {("c2", "o2"), ("c9", "o9")}, "as long as it stands"
    assert keys_of(Looking(watched).look()) == {("c2", "o2"), ("c9", "o9")}


def test_a_stream_that_is_too_long_is_unknown_until_it_is_read(watched: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    put(watched, "c9", "o9")
    looking = Looking(watched)
    with monkeypatch.context() as patch:
        patch.setattr(foreign, "READ_SECONDS", -1.0)
        assert looking.look().unknown == "its stream could not be read within -1 seconds"
    assert keys_of(looking.look()) == {("c9", "o9")}


def test_what_is_older_than_the_verification_is_read_once(watched: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    put(watched, "c2", "o2", p2="not ours")
    write(watched, "UPDATE purchase SET quantity = 9 WHERE id = 1")
    put(watched, "c2", "o2", p2="not ours either")
    known = verified(watched)
    assert known
    second = math.ceil(time.time())  # the stream's own times have no more than that
    watched.wait_for(lambda: time.time() > second)
    begun = replace(known, time=second - 0.001)  # of a later verification
    read: list[str] = []

    def counted(*args: Any) -> Iterator[StreamRecord]:
        for record in read_stream(*args):
            read.append(record.sequence)
            yield record

    monkeypatch.setattr(foreign, "read_stream", counted)
    first = Looking(watched, begun)
    assert keys_of(first.look()) == set()
    assert len(read) >= 3
    older = {*read}
    put(watched, "c9", "o9")
    read.clear()
    assert keys_of(first.look()) == {("c9", "o9")}
    assert keys_of(Looking(watched, begun).look()) == {("c9", "o9")}, "what is newer is read by every look"
    assert not older & {*read}
    assert keys_of(Looking(watched, known).look()) >= {("c2", "o2"), ("c9", "o9")}
    assert older & {*read}, "the clock was set back: no place of a later verification holds"
    (watched.state / "stream-places.json").write_bytes(b"{}")
    assert keys_of(Looking(watched, begun).look()) == {("c9", "o9")}, "a damaged file says nothing"


def test_what_was_written_around_the_beginning_is_verified(watched: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    put(watched, "c2", "o2", p2="not ours")
    monkeypatch.setattr(foreign, "DOUBT", timedelta(minutes=5))
    assert keys_of(Looking(watched).look()) == set()
    assert b'"c2"' in b"".join(dirty(watched).texts[watched.target])


def test_without_a_stream_since_then_nobody_knows(watched: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "KEPT", timedelta(0))
    assert "has not kept" in Looking(watched).look().unknown
    set_stream(watched, on=False)
    assert Looking(watched).look().unknown == "its stream is off"
    set_stream(watched, on=True)
    assert "switched on after" in Looking(watched).look().unknown
