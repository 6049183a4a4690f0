"""Threads that read a stream's shards and hand their records to lanes.

A page's records are divided by their items' keys among the shard's LANES; an item's changes are in one lane, in their
order. At most PAGES pages, of a megabyte each, are between the shards and the source.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.shards import ShardReader
from whimbrel.dynamodb.streams import StreamRecord, is_marker
from whimbrel.errors import TargetUnreachable, Throttled
from whimbrel.item import key_id
from whimbrel.mysql.reverse_tables import LANES, NOWHERE, Lane, Place, place_at
from whimbrel.threads import Thread

READERS = 4  # threads: each waits for one shard at a time
PAGES = 16
_QUIET = 0.25  # seconds between looks at an open shard that has nothing new: five a second are allowed
_LOOK = 0.1  # seconds between looks at the stop during a wait


@dataclass
class FollowedShard:
    """``through``: all that was written before this time, by DynamoDB's clock, is in the rows; 0 if
    that is not known yet. ``ended``: all of it is.
    """

    target: str
    stream: str
    reader: ShardReader
    through: float = 0.0
    under_way: int = 0
    ended: bool = False
    last: Place = NOWHERE
    backoff: Backoff = field(default_factory=Backoff)


class StreamedChange(NamedTuple):
    key: bytes
    change: StreamRecord


class Portion(NamedTuple):
    """What one page has for one lane; it may be empty, as the lane's place moves all the same."""

    lane: Lane
    target: str
    records: list[StreamedChange]
    last: Place
    page: PageUnderWay


class PageUnderWay:
    """Counts the lanes that have not written their portion yet."""

    def __init__(self, shard: FollowedShard, through: float, done: Callable[[PageUnderWay], None], ended: bool) -> None:
        self.shard, self.through, self.ended = shard, through, ended
        self._left, self._lock, self._done = LANES, threading.Lock(), done

    def written(self) -> None:
        with self._lock:
            self._left -= 1
            last = not self._left
        if last:
            self._done(self)


class Reading:
    """``hand`` takes a Portion, and blocks where its lane has too much already."""

    def __init__(
        self,
        hand: Callable[[Portion], None],
        on_end: Callable[[FollowedShard], None],
        on_error: Callable[[BaseException], None],
        over: threading.Event,
        clock: Callable[[], float],
    ) -> None:
        """``on_end`` is told of a shard whose end all lanes have written; ``clock`` is DynamoDB's."""
        self._hand, self._on_end, self._on_error, self._over = hand, on_end, on_error, over
        self._clock = clock
        self._due: queue.PriorityQueue[tuple[float, int, FollowedShard]] = queue.PriorityQueue()
        self._room = threading.Semaphore(PAGES)
        self._count = 0
        self._lock = threading.Lock()
        self._threads = [Thread(self._run, f"reverse-read-{number}") for number in range(READERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def add(self, shard: FollowedShard, after: float = 0.0) -> None:
        """Read the shard's next page in ``after`` seconds."""
        with self._lock:
            self._count += 1
            self._due.put((time.monotonic() + after, self._count, shard))

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                try:
                    due, number, shard = self._due.get(timeout=_LOOK)
                except queue.Empty:
                    continue
                wait = due - time.monotonic()
                if wait > 0:
                    self._due.put((due, number, shard))  # another one may be due before it
                    self._over.wait(min(wait, _LOOK))
                    continue
                self._read(shard)
        except BaseException as error:  # the thread that follows raises it
            self._on_error(error)

    def _read(self, shard: FollowedShard) -> None:
        began = self._clock()
        try:
            records, ended = shard.reader.page()
        except (Throttled, TargetUnreachable):  # forever: the lag says so
            self.add(shard, shard.backoff.next())
            return
        shard.backoff.reset()
        if records or ended:
            self._divide(shard, records, ended, began)
        elif not shard.under_way:
            shard.through = began  # what comes later is in a later page
        if not ended:
            self.add(shard, 0.0 if records else _QUIET)

    def _divide(self, shard: FollowedShard, records: list[StreamRecord], ended: bool, began: float) -> None:
        while not self._room.acquire(timeout=_LOOK):
            if self._over.is_set():
                return
        lanes: list[list[StreamedChange]] = [[] for _ in range(LANES)]
        for record in records:
            if not is_marker(record):
                key = key_id(record.keys)
                lanes[crc32(key) % LANES].append(StreamedChange(key, record))
        if records:
            shard.last = max(shard.last, place_at(records[-1].sequence))
        if records and not shard.through:
            shard.through = records[0].created.timestamp()
        through = records[-1].created.timestamp() if records else began
        with self._lock:
            shard.under_way += 1
        page = PageUnderWay(shard, through, self._written, ended)
        for number, mine in enumerate(lanes):
            lane = Lane(shard.stream, shard.reader.shard.id, number)
            self._hand(Portion(lane, shard.target, mine, shard.last._replace(ended=ended), page))

    def _written(self, page: PageUnderWay) -> None:
        with self._lock:
            page.shard.under_way -= 1
            page.shard.through = max(page.shard.through, page.through)
        self._room.release()
        if page.ended:
            page.shard.ended = True
            self._on_end(page.shard)
