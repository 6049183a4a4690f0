"""The dirty keys: of every item that may have changed since a verification began, so that a second one need look at no
others.

Whoever writes items adds their keys first: all that goes through the Writer once changes are applied, and the keys of
what could not be written. The rules, on which a quick verification rests:

1. A key is in the newest file before its write is sent, and in each file that is begun before the write has ended. So
   a verification that notes the number of the newest file, and then reads the two sides, has seen what became of all
   keys that are in older files only; what is written later is in that file or in a newer one.
2. The files are durable before the Checkpoint passes the changes whose keys they have: a mark in them says how many
   changes that were, and that nothing noted before it is being written any more. What a crash takes of them is
   replayed, and added again. Files whose last mark is behind the Checkpoint were not kept by all who applied changes,
   and count for nothing.
3. A call without an answer may still arrive. Its key is added to each new file for a quarter of an hour, and so is
   what a process had under way when it died.
4. A change that was put to a stream is written at any time until it is applied. Each file says up to which change the
   keys are in older files, so a verification counts from the file that has the keys of all that is still under way.
5. Whatever is missing, damaged, of another set or too much is "everything", never less.

Memory is bounded by the keys of one file, the disk by MOST_BYTES: older files are deleted, and with them the
verifications that began before.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from whimbrel import checkpoint
from whimbrel.checkpoint import Checkpoint
from whimbrel.durable import cut_torn_line, sealed, sync_file, sync_folder, writing
from whimbrel.errors import StateError
from whimbrel.item import key_id
from whimbrel.migration.dirty_files import (
    TEXT,
    DirtyFile,
    DirtyPlace,
    Unknown,
    applied_of,
    header,
    keys_line,
    keys_since,
    left_under_way,
    parts,
    path_of,
    place_of,
    records,
    sound,
    text_of_id,
    texts_of,
    write_index,
)
from whimbrel.migration.state import StateFolder
from whimbrel.migration.verified import Verified, read_verified
from whimbrel.records import Item, ItemOperation, Position

FILE_KEYS = 20_000  # in one file, whose keys are also in memory; a key that is in it is not written again
FILE_BYTES = 4 << 20
MOST_BYTES = 256 << 20
MOST_KEYS = 1_000_000  # that a quick verification would have to look at: more are "everything"
MOST_STRAYS = 100_000
MARK_KEYS = 5_000  # after so many, a mark says that the writes before have ended
STRAY_SECONDS = 900.0  # how long a call without an answer may still arrive


class DirtyKeys:
    """The set as the process that holds the run lock keeps it; thread-safe.

    Opened once changes are applied, for whoever writes items from then on. Raises StateError when the disk refuses.
    """

    def __init__(self, state: StateFolder, now: Checkpoint, sent: int | None = None) -> None:
        """``sent``: up to which change the log may be in a stream; None where one process applies it."""
        self._state = state
        self._folder = state.dirty
        self._lock = threading.Lock()
        self._descriptor = -1
        self._under_way: dict[str, list[TEXT]] = {}  # what is being written
        self._unmarked = 0  # keys since the last mark
        self._strays: dict[tuple[str, TEXT], float] = {}  # until when, by the monotonic clock
        self._applied = applied_of(now)
        self._sent = None if sent is None else max(sent, self._applied)
        try:
            self._open(now)
        except BaseException:
            self._close_file()
            raise

    def begin_write(self, operations: Sequence[ItemOperation]) -> None:
        """To be called before ``operations`` are sent, by who waits for their end: all earlier ones have ended."""
        self.begin_writes()
        targets = {operation.table for operation in operations}
        self.more_writes({one: texts_of([each.key for each in operations if each.table == one]) for one in targets})

    def begin_writes(self) -> None:
        """The same for worker processes, before ``more_writes`` has the keys of the items that each will send."""
        with self._lock:
            self._under_way = {}
            if self._unmarked >= MARK_KEYS:
                self._mark()
            if self._is_full():
                self._begin_file()

    def more_writes(self, keys: Mapping[str, list[TEXT]]) -> None:
        with self._lock:
            for target, texts in keys.items():
                self._under_way.setdefault(target, []).extend(texts)
                self._add(target, texts)

    def end_unknown(self) -> None:
        """What is being written is broken off: what was sent of it may still arrive."""
        with self._lock:
            self._add_strays((target, each) for target, texts in self._under_way.items() for each in texts)

    def begin_send(self, number: int, keys: Mapping[str, Iterable[bytes]]) -> None:
        """To be called before changes up to ``number`` are put to a stream, with the ``key_id`` of all items that they
        change, by target table.
        """
        assert self._sent is not None, "the set was opened without a stream"
        with self._lock:
            if self._is_full():
                self._begin_file()
            for target, ids in keys.items():
                self._add(target, [text_of_id(key) for key in ids])
            self._sent = max(self._sent, number)

    def add(self, target: str, keys: Iterable[Item]) -> None:
        """Keys of items that differ without a write: of what could not be written, say."""
        with self._lock:
            self._add(target, texts_of(list(keys)))

    def add_whole(self, target: str) -> None:
        """Any item of ``target`` may change from now on; durable when it returns."""
        with self._lock:
            self._write_whole(target)
            self._sync()

    def add_strays(self, calls: Iterable[tuple[str, Item]]) -> None:
        """The (target, key) of calls that got no answer."""
        with self._lock:
            self._add_strays((target, text) for target, key in calls for text in texts_of([key]))

    def add_sent_as_strays(self, targets: Iterable[str]) -> None:
        """Calls for some of what was sent, and was not applied when this was last saved, got no answer."""
        with self._lock:
            try:
                self._add_strays(islice(keys_since(self._folder, self._applied), MOST_STRAYS + 1))
            except Unknown:
                for target in targets:
                    self._write_whole(target)

    def save(self, applied: int) -> None:
        """Make durable what was added. Must be called before a Checkpoint is saved that has ``applied`` changes."""
        with self._lock:
            self._under_way = {}  # nothing is being written: it is the applier that saves
            if applied != self._applied:
                self._applied = applied
                self._mark()
            self._sync()

    def sync(self) -> None:
        """Make durable what was added, where no Checkpoint passes it."""
        with self._lock:
            self._sync()

    @property
    def settled(self) -> bool:
        """Whether all is applied that was sent before the newest file was begun."""
        return self._settles_at <= self._applied

    def cut(self) -> None:
        """Begin a new file: a verification that begins once it is ``settled`` has to do with fewer keys later."""
        with self._lock:
            if self._keys:
                self._begin_file()
                for target, texts in self._under_way.items():  # sent perhaps, and not acknowledged
                    self._add(target, texts)

    def close(self) -> None:
        """To be called when nothing is being written any more."""
        with self._lock:
            if self._descriptor >= 0:
                with suppress(StateError):  # what is missing is taken for under way
                    self._mark()
                self._close_file()

    def _add(self, target: str, texts: list[TEXT]) -> None:
        recent = self._recent.setdefault(target, set())
        fresh = [text for text in texts if text not in recent]
        if fresh:
            self._write(keys_line(target, fresh))
            recent.update(fresh)
            self._keys += len(fresh)
            self._unmarked += len(fresh)

    def _add_strays(self, calls: Iterable[tuple[str, TEXT]]) -> None:
        fresh = dict.fromkeys(calls, time.monotonic() + STRAY_SECONDS)
        self._strays |= fresh
        self._write_strays(fresh)

    def _is_full(self) -> bool:
        return self._keys >= FILE_KEYS or self._size >= FILE_BYTES

    def _mark(self) -> None:
        """All writes that were noted have ended."""
        self._write(sealed(b'{"applied":%d' % self._applied))
        self._unmarked = 0

    # -- files ---------------------------------------------------------------------------------------------------------

    def _open(self, now: Checkpoint) -> None:
        with writing(self._folder):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            try:
                past = sound(self._folder, now)
            except Unknown:
                self._start_over()
            else:
                self._continue(past)

    def _close_file(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _start_over(self) -> None:
        """With a new set: no verification that was before it can be continued."""
        for path in self._folder.iterdir():
            path.unlink()
        self._place, self._size = DirtyPlace(secrets.token_hex(8), 0), 0
        self._begin_file()

    def _continue(self, past: list[DirtyFile]) -> None:
        newest = past[-1]
        cut_torn_line(newest.path)
        self._place, self._size = DirtyPlace(newest.set, newest.number), newest.path.stat().st_size
        until = time.monotonic() + STRAY_SECONDS
        self._strays = dict.fromkeys(left_under_way(past), until)
        self._begin_file()

    def _begin_file(self) -> None:
        """The order matters: the old file durable, then the new one, then the index, and only then a key in it."""
        self._close_file()
        previous = self._size
        place = DirtyPlace(self._place.set, self._place.file + 1)
        path = path_of(self._folder, place.file)
        with writing(path):
            if place.file > 1:
                sync_file(path_of(self._folder, self._place.file))  # which may be one that another process left
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            self._descriptor, self._size = os.open(path, flags, 0o600), 0
            self._recent: dict[str, set[TEXT]] = {}
            self._keys = 0
            self._place = place
            self._settles_at = self._sent or 0
            self._write(header(place, previous, self._applied, self._sent))
            os.fsync(self._descriptor)
            sync_folder(self._folder)
            write_index(self._folder, place)
        self._write_strays(self._still_astray())
        self._remove_old()

    def _still_astray(self) -> dict[tuple[str, TEXT], float]:
        now = time.monotonic()
        self._strays = {call: until for call, until in self._strays.items() if until > now}
        return self._strays

    def _write_strays(self, calls: Iterable[tuple[str, TEXT]]) -> None:
        by_target: dict[str, list[TEXT]] = {}
        for target, text in calls:
            by_target.setdefault(target, []).append(text)
        for target, texts in by_target.items():
            self._write(keys_line(target, texts, b"strays"))
        if len(self._strays) > MOST_STRAYS:  # forgotten, at the price of everything
            targets, self._strays = {target for target, _ in self._strays}, {}
            for target in targets:
                self._write_whole(target)

    def _write_whole(self, target: str) -> None:
        self._write(sealed(b'{"whole":%b' % orjson.dumps(target)))

    def _write(self, line: bytes) -> None:
        with writing(path_of(self._folder, self._place.file)):
            done = 0
            while done < len(line):
                done += os.write(self._descriptor, line[done:])
            self._size += done

    def _sync(self) -> None:
        with writing(path_of(self._folder, self._place.file)):
            os.fdatasync(self._descriptor)

    def _remove_old(self) -> None:
        """What lies before the last clean verification, and what is too much."""
        verified = read_verified(self._state.root)
        first = verified.place.file if verified and verified.place.set == self._place.set else 0
        total = 0
        for number in range(self._place.file - 1, 0, -1):
            path = path_of(self._folder, number)
            if not path.exists():
                return
            total += path.stat().st_size
            if number < first or total > MOST_BYTES:
                with writing(path):
                    path.unlink()


# -- reading -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dirty:
    """What a verification has to look at: the ``key_id`` of keys by target table; ``everything``: why nobody knows.
    A verification of these items is as good as a full one that began at ``place`` (None: nothing is kept yet), with
    the changes up to ``position`` applied.
    """

    place: DirtyPlace | None
    position: Position | None
    texts: dict[str, set[bytes]]
    everything: str = ""

    def __len__(self) -> int:
        return sum(map(len, self.texts.values()))

    def keys(self, target: str) -> Iterator[Item]:
        return (orjson.loads(text) for text in self.texts.get(target, ()))


def dirty_since(root: Path, verified: Verified | None) -> Dirty:
    """The items of the state folder ``root`` that may have changed since ``verified`` began; thread-safe, and beside
    the process that adds to them.

    The order matters: the saved Position, from which a crash replays; then the place; then the keys. They are compared
    after that.
    """
    state = StateFolder(root)
    saved = checkpoint.load(state.checkpoint)
    place: DirtyPlace | None = None
    texts: dict[str, set[bytes]] = {}
    everything = ""
    try:
        found = sound(state.dirty, saved)
        place = place_of(found, applied_of(saved))
        if verified is None:
            raise Unknown("no verification of all items has found both sides equal")
        if verified.place.set != place.set or not found[0].number <= verified.place.file <= found[-1].number:
            raise Unknown("the items that were written since the last verification are not all known")
        for target, keys in verified.unsettled.items():
            texts.setdefault(target, set()).update(map(key_id, keys))
        for part in found:
            if part.number >= verified.place.file:
                _collect(part, texts, newest=part is found[-1])
    except Unknown as reason:
        texts, everything = {}, str(reason)
    return Dirty(place, saved.applied_position, texts, everything)


def newest_place(root: Path) -> DirtyPlace | None:
    """Where the keys of what is written from now on are to be found; None where that is not known."""
    state = StateFolder(root)
    applied = applied_of(checkpoint.load(state.checkpoint))
    try:
        return place_of(parts(state.dirty), applied)
    except Unknown:
        return None


def noted_since(root: Path, place: DirtyPlace | None) -> dict[str, set[bytes]]:
    """The ``key_id`` of all keys by target table that were noted since ``place``, of a moment when it was the newest.
    Raises Unknown.
    """
    found = parts(StateFolder(root).dirty)
    if place is None or place.set != found[0].set or not found[0].number <= place.file <= found[-1].number:
        raise Unknown("which items whimbrel wrote itself is not all known")
    texts: dict[str, set[bytes]] = {}
    for part in found:
        if part.number >= place.file:
            _collect(part, texts, newest=part is found[-1])
    return texts


def _collect(part: DirtyFile, texts: dict[str, set[bytes]], *, newest: bool) -> None:
    for each in records(part, newest=newest):
        if "whole" in each:
            raise Unknown(f"all items of {each['whole']} were written again since the last verification")
        if "target" in each:
            keys = [*each.get("keys", ()), *each.get("strays", ())]
            texts.setdefault(each["target"], set()).update(map(key_id, keys))
            if sum(map(len, texts.values())) > MOST_KEYS:
                raise Unknown(f"more than {MOST_KEYS:,} items were written since the last verification")
