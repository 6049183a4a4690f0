"""The reverse stream: what the application changes at DynamoDB is written into the source, as long as the way back is
open.

The order that makes it right (spec/reverse.pml):

1. Reading begins after the start markers, which were put after the forward migration's last acknowledgement and before
   the decision: nothing that whimbrel wrote forwards comes back.
2. An item's changes stay in one lane, in their order. A lane's place is committed with its rows, so each change counts
   once, whatever is read again.
3. A child shard begins when all lanes have written their parent's end, durably.
4. The stream is at its end when a list of shards, made after the end markers were acknowledged, has no open shard whose
   lanes have not all passed their marker.

Until a rollback has reconciled the items that were touched, the source follows and is not equal: the lanes of two
items that one row moves between are not ordered (see ``handover.reconcile``).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from whimbrel.dynamodb.session import open_client
from whimbrel.dynamodb.shards import (
    GONE,
    ShardReader,
    leaves,
    refuse_other_stream,
    stream_now,
    to_read,
    without_children,
)
from whimbrel.dynamodb.streams import Shard, clock, open_streams, shards, view_type
from whimbrel.errors import LogGone, MappingError, ProjectError, StateError, Stopped, TargetUnreachable, Throttled
from whimbrel.handover.reading import FollowedShard, Reading
from whimbrel.handover.state import own_schema
from whimbrel.handover.writing import LETTERS, WRITERS, ItemLetters, WriteRules, Writing
from whimbrel.item import key_id
from whimbrel.mapping.bearers import parted
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import by_target
from whimbrel.mapping.inverse import inverse_of
from whimbrel.mapping.items_back import ItemInverse
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.live import write_status
from whimbrel.migration.prepare import Prepared
from whimbrel.mysql.connect import Mysql, connect
from whimbrel.mysql.reverse_tables import (
    LANES,
    NOWHERE,
    Lane,
    Place,
    make_tables,
    open_gate,
    place_at,
    read_places,
)
from whimbrel.mysql.row_statements import Destination
from whimbrel.mysql.schema import filled_by_server, other_unique_keys
from whimbrel.mysql.write_rows import RowWriter
from whimbrel.notes import note
from whimbrel.project import Source
from whimbrel.records import Row, Value

Starts = Mapping[str, Mapping[str, str]]  # by target table, by shard: the sequence number of its start marker

STATUS = "reverse.json"  # in the state folder
ALARM = 20 * 3600.0  # seconds of lag: records are kept for 24 hours
_REFRESH = 5.0  # seconds between lists of a stream's shards; an end of one is looked at, at once
_LOOK = 0.1
_SETTLE = 2.0  # seconds between tries to bring back rows that were put aside


class Settings(NamedTuple):
    """``account`` is the source, as the one account that the fence lets write."""

    account: Source
    rules: WriteRules = WriteRules()


class StreamEnd(NamedTuple):
    """``read``: everything up to the end markers is in the rows. ``unmarked``: open shards that have no marker, and
    closed ones whose children are not listed yet, so that new markers are needed.
    """

    read: bool
    unmarked: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.read


class Reverse:
    """One process's reverse stream. ``follow`` runs it; the rest may be asked from any thread."""

    def __init__(
        self,
        prepared: Prepared,
        epoch: int,
        starts: Starts,
        stop: threading.Event,
        progress: Callable[[str], object] = note,
        settings: Settings | None = None,
    ) -> None:
        """``epoch`` is the number of the cutover, the same in every process that continues it. ``progress`` is told
        of alarms. ``settings`` are the project's where none are given.

        Raises MappingError where a table of ``starts`` has an obstacle, StateError where the stream has been closed,
        and what the servers raise.
        """
        self._prepared, self._starts, self._stop, self._progress = prepared, starts, stop, progress
        settings = settings or settings_of(prepared)
        self.account = settings.account
        self.epoch, rules = epoch, settings.rules
        with closing(connect(self.account)) as connection:
            make_tables(connection, self.account.database)
            open_gate(connection, self.account.database, self.epoch)
            self.inverses, self._destinations = inverses_of(prepared, connection, rules, starts)
            self._refuse_obstacles()
            self._durable: dict[Lane, Place] = read_places(connection, self.account.database, self.epoch)
        self.letters = ItemLetters(DeadLetters(prepared.project.state / LETTERS))
        self._client, self._tables = open_streams(prepared.project.target), open_client(prepared.project.target)
        self.streams = {target: self._stream_of(target) for target in starts}
        self._over, self._changed = threading.Event(), threading.Event()
        self._errors: list[BaseException] = []
        self._followed: dict[tuple[str, str], FollowedShard] = {}
        some_kept = threading.Event()
        writers = [
            RowWriter(self.account, self.epoch, self._destinations, some_kept, self._over.wait) for _ in range(WRITERS)
        ]
        self._settler = RowWriter(self.account, self.epoch, self._destinations, some_kept, self._over.wait)
        self._writing = Writing(writers, self.inverses, rules, self.letters, self._durable, self._fail, self._over)
        self._clock = clock(self._client, next(iter(self.streams.values())))
        self._reading = Reading(self._writing.hand, self._ended, self._fail, self._over, lambda: self._clock())
        self.aside = 0  # rows that stand in another's way
        self._alarmed = -ALARM

    @property
    def written(self) -> int:
        """Records written by this process."""
        return self._writing.written

    @property
    def lag_seconds(self) -> float:
        """How old what is not written yet may be, at most; infinite as long as that is not known."""
        open_ones = [shard for shard in list(self._followed.values()) if not shard.ended]
        if not open_ones or not all(shard.through for shard in open_ones):
            return math.inf
        return max(0.0, self._clock() - min(shard.through for shard in open_ones))

    def follow(self, done: Callable[[], bool] = lambda: False) -> None:
        """Until ``done``, or asked to stop; both leave the places durable. Raises LogGone when the way back is gone,
        StateError, and what the servers raise.
        """
        self._reading.start()
        self._writing.start()
        refreshed = settled = -ALARM
        try:
            while not self._stop.is_set() and not done():
                now = time.monotonic()
                if self._errors:
                    raise self._errors[0]
                if self._changed.is_set() or now - refreshed > _REFRESH:
                    self._changed.clear()
                    self._refresh()
                    refreshed = now
                if now - settled > _SETTLE:
                    self.aside = self._settler.settle_some_patiently()
                    self._say()
                    settled = now
                self._stop.wait(_LOOK)
        finally:
            self._over.set()
            self._reading.join()
            self._writing.join()
            self._settler.close()
        if self._errors:
            raise self._errors[0]

    def at_end(self, markers: Starts) -> StreamEnd:
        """Whether everything before ``markers``, which were acknowledged before this call, is in the rows."""
        if not self._may_be_at_end(markers):
            return StreamEnd(read=False, unmarked=())
        unmarked: list[str] = []
        read = True
        for target, stream in self.streams.items():
            listed = shards(self._client, stream)  # after the acknowledgements: the order is the proof
            open_now = {shard.id for shard in leaves(listed)}
            marked = markers.get(target, {})
            unmarked += sorted(open_now - marked.keys()) + without_children(listed)
            before = to_read(listed, self._starts[target], self._ended_shards(stream), self._begun(stream), stream)
            waiting = {shard.id for shard in before}
            read = read and waiting == open_now and all(self._passed(stream, id_, marked) for id_ in open_now)
        return StreamEnd(read and not unmarked, tuple(unmarked))

    # -- shards ------------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        with suppress(Throttled, TargetUnreachable):
            self._clock = clock(self._client, next(iter(self.streams.values())))
        for target, stream in self.streams.items():
            try:
                refuse_other_stream(self._tables, target, stream)
                listed = shards(self._client, stream)
            except (Throttled, TargetUnreachable):
                continue  # later; the lag grows meanwhile
            ready = to_read(listed, self._starts[target], self._ended_shards(stream), self._begun(stream), stream)
            for shard in ready:
                if (stream, shard.id) not in self._followed:
                    self._begin(target, stream, shard)

    def _begin(self, target: str, stream: str, shard: Shard) -> None:
        start = place_at(self._starts[target].get(shard.id, NOWHERE.text))
        places = [self._durable.get(Lane(stream, shard.id, lane), NOWHERE) for lane in range(LANES)]
        after = max(start, min(places))
        parent = self._followed.get((stream, shard.parent))
        through = parent.through if parent else 0.0  # a child has nothing older than its parent's end
        text = after.text if after > NOWHERE else ""
        followed = FollowedShard(target, stream, ShardReader(self._client, stream, shard, text), through, last=after)
        self._followed[stream, shard.id] = followed
        self._reading.add(followed)

    def _ended(self, shard: FollowedShard) -> None:
        """All lanes have written the shard's end, durably: now its children may begin."""
        self._changed.set()

    def _ended_shards(self, stream: str) -> set[str]:
        lanes: dict[str, int] = {}
        for lane, place in list(self._durable.items()):
            if lane.stream == stream and place.ended:
                lanes[lane.shard] = lanes.get(lane.shard, 0) + 1
        return {shard for shard, count in lanes.items() if count == LANES}

    def _begun(self, stream: str) -> set[str]:
        return {lane.shard for lane in list(self._durable) if lane.stream == stream}

    def _may_be_at_end(self, markers: Starts) -> bool:
        """To list shards is a call that DynamoDB allows ten times a second: only when it can say yes."""
        streams = [(self.streams[target], shard, marked) for target, marked in markers.items() for shard in marked]
        return all(self._passed(stream, shard, marked) for stream, shard, marked in streams)

    def _say(self) -> None:
        """What `status` shows; and an alarm, once an hour, before the stream forgets what was not read."""
        lag, now = self.lag_seconds, time.monotonic()
        known = None if lag == math.inf else round(lag, 1)
        state = {
            "lag_seconds": known,
            "written": self.written,
            "letters": len(self.letters),
            "aside": self.aside,
        }
        write_status(self._prepared.project.state / STATUS, state)
        if ALARM < lag < math.inf and now - self._alarmed > 3600:
            self._alarmed = now
            self._progress(f"The reverse stream is {lag / 3600:.1f} hours behind; after 24 the way back is gone.")

    def _passed(self, stream: str, shard: str, marked: Mapping[str, str]) -> bool:
        sequence = marked.get(shard)
        places = (self._durable.get(Lane(stream, shard, lane), NOWHERE) for lane in range(LANES))
        return sequence is not None and all(place.sequence >= int(sequence) for place in places)

    def _fail(self, error: BaseException) -> None:
        if not (isinstance(error, Stopped) and self._over.is_set()):  # who waits when it is over was only asked to stop
            self._errors.append(error)
        self._over.set()

    # -- at the beginning --------------------------------------------------------------------------------------------

    def _refuse_obstacles(self) -> None:
        for inverse in (each for several in self.inverses.values() for each in several.inverses):
            for obstacle in inverse.obstacles:
                place = f"{obstacle.table}.{obstacle.column}".rstrip(".")
                raise MappingError(obstacle.reason, place=place, hint="The table cannot be read back from its items.")

    def _stream_of(self, target: str) -> str:
        if not (stream := stream_now(self._tables, target)):
            raise LogGone("the table's stream is off", place=target, hint=GONE)
        if (view := view_type(self._client, stream)) != "NEW_AND_OLD_IMAGES":
            hint = "It had both when the cutover was made. Without them the way back is gone."
            raise StateError(f"the table's stream has {view}, and not NEW_AND_OLD_IMAGES", place=target, hint=hint)
        return stream


def note_ended(root: Path, error: BaseException) -> None:
    """For ``status``: why nobody follows any more. It stays until somebody does again."""
    said: dict[str, Any] = {}
    with suppress(OSError, orjson.JSONDecodeError):
        said = orjson.loads((root / STATUS).read_bytes())
    write_status(root / STATUS, said | {"ended": str(error), "gone": isinstance(error, LogGone)})


def settings_of(prepared: Prepared) -> Settings:
    """Those of [cutover]; our tables are in the project's database, or the first table's."""
    project, cutover = prepared.project, prepared.project.cutover
    if not cutover.reverse_user:
        hint = "Set reverse_user in [cutover], an account that nobody else uses, before the cutover."
        raise ProjectError("no account is configured to write back", place=str(project.path), hint=hint)
    database = own_schema(project, prepared.tables)
    account = replace(project.source, user=cutover.reverse_user, password=cutover.reverse_password, database=database)
    return Settings(account, WriteRules(cutover.new_attributes, cutover.ttl))


def inverses_of(
    prepared: Prepared, connection: Mysql, rules: WriteRules, targets: Collection[str] | None
) -> tuple[dict[str, ItemInverse], dict[str, Destination]]:
    """The way back of each of ``targets`` (None: all), and, by source table, where its rows go."""
    row_alias = prepared.server.flavor == "mysql" and prepared.server.version >= (8, 0, 19)
    destinations = {
        table.full_name: Destination(
            table, filled_by_server(connection, table), other_unique_keys(connection, table), row_alias
        )
        for table in prepared.tables.values()
    }
    every = [
        inverse_of(mapping, destinations[mapping.table.full_name].filled, rules.new_attributes)
        for mapping in prepared.mappings.values()
    ]
    bearers, copies = parted(every)
    for mapping in (each.mapping for each in bearers):
        name, key = mapping.table.full_name, set(mapping.table.primary_key)
        destinations[name] = replace(
            destinations[name],
            item_of=partial(_item_of, mapping),
            moves=not key.issuperset(mapping.group_columns),
            filtered=bool(mapping.seen.filtered_by),
        )
    inverses = {}
    for target in by_target([each.mapping for each in every]):
        if targets is None or target in targets:
            mine, theirs = ([each for each in some if each.mapping.target == target] for some in (bearers, copies))
            inverses[target] = ItemInverse(mine, rules.new_attributes, theirs)
    return inverses, destinations


def whole_row(mapping: TableMapping, values: Mapping[str, Value]) -> Row:
    """A row of the table by itself, from its columns by name."""
    return mapping.unjoined(tuple(values[name] for name in mapping.table.stored.names))


def _item_of(mapping: TableMapping, values: Mapping[str, Value]) -> tuple[str, bytes] | None:
    key = mapping.item_key(whole_row(mapping, values))
    return None if key is None else (mapping.target, key_id(key))
