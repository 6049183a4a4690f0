"""Writes to the target by somebody else since the last verification, as far as the target's stream shows them.

No log has them. Everything that whimbrel writes is among the dirty keys before it is sent; so a key that the stream
shows, and that is not, was written by another. Of what was written within a few seconds of the verification's beginning
the times do not say enough: such items are made dirty, and verified.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from whimbrel.dynamodb.session import Session
from whimbrel.dynamodb.streams import StreamRecord, open_streams, read_stream
from whimbrel.item import key_id
from whimbrel.migration.dirty import Dirty, DirtyKeys
from whimbrel.migration.stream_places import Places, StreamPlace, read_places, write_places
from whimbrel.migration.verified import Verified
from whimbrel.project import Project

DOUBT = timedelta(seconds=5)  # by which the clocks of the target and of this machine may differ
KEPT = timedelta(hours=23)  # a stream has the changes of 24 hours
LISTED = 1_000  # items that are named
READ_SECONDS = 30.0  # that a round may read; what was read is kept, so the next one gets further


@dataclass(frozen=True, slots=True)
class Strangers:
    """``keys`` has the ``key_id`` of items that somebody else wrote, LISTED at most, ``count`` how many there are.
    ``unknown``: why the stream does not show everything since the verification, "" if it does.
    """

    target: str
    keys: list[bytes]
    count: int
    unknown: str


class StreamWatch:
    """Of the streams of all target tables, from the beginning of ``verified`` on. Of each round of a verification:
    first ``read``, then ``dirty_items``, then ``strangers``, as what is ours was noted before it was sent.

    ``ours`` says which records are whimbrel's own though no key was noted (markers).
    """

    def __init__(
        self,
        project: Project,
        verified: Verified,
        stop: threading.Event,
        ours: Callable[[StreamRecord], bool] = lambda record: False,
    ) -> None:
        self._project = project
        self._began = datetime.fromtimestamp(verified.time, UTC)
        self._stop = stop
        self._ours = ours
        self._unknown = dict.fromkeys(verified.tables.values(), "its stream was not read")
        self._older: Places = read_places(project.state, self._began, datetime.now(UTC) - KEPT)
        self._after = {  # by stream and shard, what was read
            stream: {shard: place.sequence for shard, place in shards.items()} for stream, shards in self._older.items()
        }
        self._newer: set[tuple[str, str]] = set()  # streams and shards that were read up to what is not older
        self._seen: dict[str, set[bytes]] = {target: set() for target in self._unknown}
        self._known: dict[str, set[bytes]] = {target: set() for target in self._unknown}

    def read(self, noted: DirtyKeys) -> None:
        """What came since the last time. Takes half a second a shard, and READ_SECONDS at most: what is not read by
        then is unknown until a later round has come to the end.

        Raises Stopped, LogGone, and what reading raises.
        """
        client, streams = Session(self._project.target).client(), open_streams(self._project.target)
        for target in self._unknown:
            described: Any = client.describe_table(TableName=target)["Table"]
            self._unknown[target] = self._why_unknown(described)
            if not self._unknown[target]:
                whole = self._read(streams, described["LatestStreamArn"], target, noted)
                self._unknown[target] = "" if whole else f"its stream could not be read within {READ_SECONDS:g} seconds"
        write_places(self._project.state, self._began, self._older)

    def strangers(self, dirty: Dirty) -> list[Strangers]:
        """By target table, as of the last ``read``."""
        found = []
        for target, unknown in self._unknown.items():
            self._known[target] |= dirty.texts.get(target, set())  # later rounds no longer have them
            theirs = self._seen[target] - self._known[target]
            found.append(Strangers(target, sorted(theirs)[:LISTED], len(theirs), unknown or dirty.everything))
        return found

    def _read(self, streams: Any, stream: str, target: str, noted: DirtyKeys) -> bool:
        """Whether it came to the end."""
        give_up, after = time.monotonic() + READ_SECONDS, self._after.setdefault(stream, {})
        for record in read_stream(streams, stream, dict(after), self._stop):
            if time.monotonic() > give_up:
                return False
            after[record.shard] = record.sequence
            self._note_place(stream, record)
            if record.created < self._began - DOUBT or self._ours(record):
                continue
            if record.created <= self._began + DOUBT:
                noted.add(target, [record.keys])  # ours, or to be verified
            else:
                self._seen[target].add(key_id(record.keys))
        return True

    def _note_place(self, stream: str, record: StreamRecord) -> None:
        if record.created >= self._began - DOUBT:
            self._newer.add((stream, record.shard))
        elif (stream, record.shard) not in self._newer:
            place = StreamPlace(record.sequence, record.created.timestamp())
            self._older.setdefault(stream, {})[record.shard] = place

    def _why_unknown(self, described: dict[str, Any]) -> str:
        if not described.get("StreamSpecification", {}).get("StreamEnabled"):
            return "its stream is off"
        since = _switched_on(described.get("LatestStreamLabel", ""))
        if since is None or since > self._began:
            return "its stream was switched on after the last verification began"
        if datetime.now(UTC) - self._began > KEPT:
            return "its stream has not kept what was written when the last verification began"
        return ""


def _switched_on(label: str) -> datetime | None:
    """A stream's label is the moment when it was switched on: 2015-05-11T21:21:33.291."""
    try:
        return datetime.fromisoformat(label.rstrip("Z")).replace(tzinfo=UTC)
    except ValueError:
        return None
