"""Writes at DynamoDB after a rollback gave the source back: by an application that did not hear of it, say.

Nobody brings them into the source, and the forward migration may write over them. So the streams are read on from where
the rollback found their end, by the rollback itself and by ``migrate``, and each such write is noted with its item, in
``late-writes.jsonl`` of the state folder. It stays there until a person has seen to it.

What whimbrel writes meanwhile is told apart by its keys, which are among the dirty keys before they are sent
(``migration/dirty.py``). Where that cannot be told, the time is listed as not known.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from whimbrel.durable import append, cut_torn_line, writing
from whimbrel.dynamodb.session import open_client
from whimbrel.dynamodb.shards import refuse_other_stream
from whimbrel.dynamodb.streams import StreamRecord, is_marker, open_streams, read_stream
from whimbrel.errors import LogGone, Retryable, StateError, Stopped, WhimbrelError
from whimbrel.handed_over import FOLLOWING, load
from whimbrel.item import key_id
from whimbrel.migration.dirty import newest_place, noted_since
from whimbrel.migration.dirty_files import Unknown
from whimbrel.migration.late_writes import LIST, LateState, read_state, save_state
from whimbrel.migration.run import Run
from whimbrel.threads import Thread

LOOK_EVERY = 5.0  # seconds
KEPT = 23 * 3600.0  # seconds: a stream has the changes of 24 hours
LISTED = 100_000  # writes
Streams = Mapping[str, Mapping[str, str]]  # by target table, by shard: the sequence number up to which it was read

log = logging.getLogger(__name__)


def begin(root: Path, streams: Mapping[str, str], places: Streams) -> None:
    """To be called before the decision to give the source back. Durable when it returns. Raises StateError."""
    now = time.time()
    shards = {target: dict(ends) for target, ends in places.items()}
    save_state(root, LateState(now, now, dict(streams), shards, newest_place(root), []))


class Late:
    """Of one process that holds the run lock, while the source is open. ``look`` reads on; entered, a thread does."""

    def __init__(self, run: Run, say: Callable[[str], object]) -> None:
        self._root, self._stop, self._say = run.folder.root, run.stop, say
        self._target, self._skips_expired = run.prepared.project.target, run.prepared.project.cutover.ttl == "skip"
        self._now = read_state(self._root) if load(self._root).step == FOLLOWING else None
        self._newest = self._now.noted if self._now else None
        self._known = _listed(self._root / LIST) if self._now else set()
        self._clients: tuple[Any, Any] | None = None  # to make them takes longer than most looks
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = Thread(self._follow, "late")
        self.count = 0  # that this process found

    @property
    def reads(self) -> bool:
        """Whether there is anything to read on."""
        return self._now is not None and not self._now.ended

    def __enter__(self) -> Late:
        if self.reads:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()  # a look under way reads up to its own beginning, or ends with the run
        if self._failure and (error is None or isinstance(error, Stopped)):
            raise self._failure

    def look(self) -> None:
        """Note what was written up to now. Raises Stopped, StateError; what cannot be read is tried again later, or is
        listed as not known.
        """
        if self._now is None or self._now.ended:
            return
        try:
            self._look(self._now)
        except WhimbrelError as error:
            if isinstance(error, Stopped | StateError) and not isinstance(error, LogGone):
                raise
            if isinstance(error, Retryable):
                log.warning("late writes cannot be read now", extra={"reason": str(error)})
                return
            self._end(self._now, str(error))

    def _follow(self) -> None:
        try:
            while self.reads:
                self.look()
                if self._over.wait(LOOK_EVERY):
                    return
        except Stopped:
            pass
        except BaseException as error:  # raised when this is left: nobody would look any more
            self._failure = error
            self._stop.set()

    def _look(self, now: LateState) -> None:
        """The order matters: what is ours in the stream was noted before it was sent; the list before the places."""
        began, newest, behind = time.time(), newest_place(self._root), self._newest
        if began - now.opened > KEPT:
            self._end(now, "a stream keeps the changes of 24 hours")
            return
        found, places = self._read(now)
        unknown = list(now.unknown)
        try:
            ours = noted_since(self._root, now.noted) if found else {}
        except Unknown as reason:
            unknown.append((now.until, began, str(reason)))
            behind = None
        else:
            self._note([(target, each) for target, each in found if key_id(each.keys) not in ours.get(target, ())])
        # One look behind: the stream may show a write a moment after it was acknowledged.
        self._now = replace(now, until=began, places=places, noted=behind or newest, unknown=unknown)
        self._newest = newest
        save_state(self._root, self._now)

    def _read(self, now: LateState) -> tuple[list[tuple[str, StreamRecord]], dict[str, dict[str, str]]]:
        if self._clients is None:
            self._clients = open_streams(self._target), open_client(self._target)
        (client, tables), found = self._clients, list[tuple[str, StreamRecord]]()
        places = {target: dict(shards) for target, shards in now.places.items()}
        for target, stream in now.streams.items():
            after = places.setdefault(target, {})
            refuse_other_stream(tables, target, stream)
            for record in read_stream(client, stream, dict(after), self._stop, begun=True):
                after[record.shard] = record.sequence
                if not is_marker(record) and not (record.expired and self._skips_expired):
                    found.append((target, record))
        return found, places

    def _note(self, writes: list[tuple[str, StreamRecord]]) -> None:
        """Each once, though it may be read again after a crash; durable on return."""
        fresh = [(target, each) for target, each in writes if (each.shard, each.sequence) not in self._known]
        if not fresh:
            return
        if len(self._known) + len(fresh) > LISTED:
            raise StateError(
                f"more than {LISTED:,} writes at DynamoDB after the source was opened",
                place=str(self._root / LIST),
                hint="Stop the application that still writes there; then move the file away.",
            )
        _append(self._root / LIST, fresh)
        self._known |= {(each.shard, each.sequence) for _, each in fresh}
        self.count += len(fresh)
        target, first = fresh[0]
        self._say(
            f"{len(fresh):,} writes at DynamoDB after the source was opened, such as {key_id(first.keys).decode()} of "
            f"{target}: see {LIST}."
        )

    def _end(self, now: LateState, why: str) -> None:
        self._now = replace(now, ended=why)
        save_state(self._root, self._now)
        self._say(f"Late writes at DynamoDB are not looked for any more: {why}")


def _append(path: Path, writes: list[tuple[str, StreamRecord]]) -> None:
    with writing(path):
        append(path, b"".join(orjson.dumps(_as_fields(target, each)) + b"\n" for target, each in writes))


def _as_fields(target: str, write: StreamRecord) -> dict[str, Any]:
    return {
        "table": target,
        "key": write.keys,
        "time": write.created.isoformat(),
        "expired": write.expired,
        "old": write.old,
        "new": write.new,
        "shard": write.shard,
        "sequence": write.sequence,
    }


def _listed(path: Path) -> set[tuple[str, str]]:
    """Raises StateError if the file is not of late writes."""
    try:
        with writing(path):
            cut_torn_line(path)
        found = map(orjson.loads, path.read_bytes().splitlines()) if path.exists() else ()
        return {(each["shard"], each["sequence"]) for each in found}
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "Move the file away: what was written late is listed in a new one from here on."
        raise StateError(f"is not a list of late writes: {error!r}", place=str(path), hint=hint) from error
