"""Pack: changes of the log become records of the stream, each for one lane."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from whimbrel.changelog.record import table_line
from whimbrel.item import identified_by, key_id
from whimbrel.kinesis.lanes import LANES, lane_of, lane_of_id, partition_key
from whimbrel.kinesis.packed import POST, Interval, KeptLine, pack, post_event, reference
from whimbrel.kinesis.puts import LaneRecord
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import rules_by_table
from whimbrel.mapping.provenance import of_change
from whimbrel.mapping.versions import Versions
from whimbrel.records import Change, Commit, Fault, Item, Provenance, Row, Table

RECORD_BYTES = 512 << 10  # of the lines of one record, before they are compressed; a single line may be longer
LINE_BYTES = 16 << 20  # of a single line: the function has it in memory several times
KEPT_BYTES = 48 << 20  # of one that is kept elsewhere: of text the function has up to 300 MB of it
HEAD_BYTES = 4 << 10  # that a record of one change has beside its line, at most


class _Filling:
    """What one lane's next record has so far."""

    __slots__ = ("changes", "size", "tables")

    def __init__(self) -> None:
        self.changes: list[tuple[int, float, bytes]] = []  # number, time and line
        self.size = 0
        self.tables: dict[str, str] = {}


class Packer:
    """Of one sending: from ``number``, up to which the lanes have everything, in log order.

    ``put_table`` keeps a table's definition where the function finds it, and gives its digest. ``keep`` does so with
    the line of a change that no record takes; None without a bucket.
    """

    def __init__(
        self,
        versions: Mapping[str, Versions],
        put_table: Callable[[bytes], str],
        head: Interval,
        began: float,
        form: str,
        most: int,
        keep: Callable[[bytes], KeptLine] | None = None,
    ) -> None:
        """``head`` has what all records say alike, ``most`` is how many bytes one may have."""
        self._versions = versions
        self._rules = rules_by_table(versions)
        self._put_table = put_table
        self._head = head
        self._began = began
        self._form = form
        self._most = most
        self._usual = min(most - HEAD_BYTES, RECORD_BYTES // 2)  # bytes of a line that any record takes, with others
        self._keep = keep
        self._number = head.to
        self._after = [head.to] * LANES
        self._needed = [head.to] * LANES
        self._lanes = [_Filling() for _ in range(LANES)]
        self._records: list[LaneRecord] = []
        self._tables: dict[str, tuple[Table, str]] = {}  # in force now, with their digests, by their names
        self._refused: list[Fault] = []
        self._keys: dict[str, set[bytes]] = {}  # of the items that are changed, by target table
        self._noted: set[bytes]  # those of the table that is packed now
        self._table: tuple[str, str]  # its name and digest
        self._mapping: TableMapping
        self._identify: Callable[[Item], bytes]  # its items
        self._of_key: Callable[[Row], Any]
        self._others: list[TableMapping] = []  # of the same table

    @property
    def number(self) -> int:
        """Of the last change that was packed."""
        return self._number

    @property
    def needed(self) -> Sequence[int]:
        """Of each lane, the number of its last change: whoever has passed that has everything up to ``number``."""
        return self._needed

    def pack(
        self, batch: Sequence[Change | Commit], lines: Sequence[bytes], time_ahead: Callable[[], float]
    ) -> list[Fault]:
        """Take what was read from the log, with the lines of its changes. ``time_ahead`` says when the transaction that
        is cut off was committed.

        The faults are of changes that no item's key belongs to, and so no lane, and of those that no record takes.
        """
        faults: list[Fault] = []
        table: Table | None = None
        for (change, time), line in zip(_timed(batch, time_ahead), lines, strict=True):
            if change.table is not table:
                table = change.table
                self._turn_to(table)
            number = self._number = self._number + 1
            _, before, after, _ = change
            old = self._lane(before)
            new = old if before and after and self._of_key(before) == self._of_key(after) else self._lane(after)
            if after is not None and new is None:
                faults += self._without_key(self._mapping, change, number, time)
            if old is not None:
                self._add(old, change, time, line)
            if new is not None and new != old:
                self._add(new, change, time, line)
            if self._others:
                faults += self._add_for_others({old, new}, change, time, line)
        for lane in range(LANES):
            if self._lanes[lane].changes:
                self._seal(lane, self._number)
        refused, self._refused = self._refused, []
        return faults + refused

    def mark(self) -> None:
        """A marker for each lane whose last record is not up to ``number``."""
        for lane in range(LANES):
            if self._after[lane] < self._number:
                self._seal(lane, self._number)

    def probe(self, lanes: Iterable[int]) -> None:
        """A marker for each of ``lanes``, whatever it has."""
        for lane in lanes:
            self._seal(lane, self._number)

    def take(self) -> list[LaneRecord]:
        """The records made since this was called last."""
        records, self._records = self._records, []
        return records

    def take_keys(self) -> dict[str, set[bytes]]:
        """The ``key_id`` of the items, by target table, that were packed since this was called last."""
        keys, self._keys = self._keys, {}
        return keys

    def _lane(self, row: Row | None) -> int | None:
        return None if row is None else self._lane_of(self._mapping, self._identify, row, self._noted)

    def _lane_of(
        self, mapping: TableMapping, identify: Callable[[Item], bytes], row: Row, noted: set[bytes]
    ) -> int | None:
        """None for a row that has no item."""
        key = mapping.item_key(row)
        if key is None:
            return None
        try:
            identity = identify(key)
        except TypeError:  # no item can have it
            return lane_of(key)
        noted.add(identity)
        return lane_of_id(identity)

    def _add_for_others(self, lanes: set[int | None], change: Change, time: float, line: bytes) -> list[Fault]:
        """A lane has a change once, for all rules that have an item of it there; ``lanes`` have it already."""
        faults: list[Fault] = []
        for mapping in self._others:
            noted = self._keys.setdefault(mapping.target, set())
            rows = (change.before, change.after)
            old, new = (None if row is None else self._lane_of(mapping, key_id, row, noted) for row in rows)
            if change.after is not None and new is None:
                faults += self._without_key(mapping, change, self._number, time)
            for lane in {old, new} - lanes - {None}:
                assert lane is not None
                lanes.add(lane)
                self._add(lane, change, time, line)
        return faults

    def _without_key(self, mapping: TableMapping, change: Change, number: int, time: float) -> list[Fault]:
        """A row whose key cannot be made, if it is not one that the filter leaves out."""
        provenance = of_change(change, number, time, self._began)
        _, faults = mapping.fold([change], lambda _: provenance)
        metadata = bool(mapping.change_metadata)
        return [
            fault._replace(provenance=provenance) if metadata else fault for fault in faults if fault.item_key is None
        ]

    def _turn_to(self, table: Table) -> None:
        """The next changes are of ``table``."""
        name = table.full_name
        self._mapping, *self._others = [self._versions[rule].of(table) for rule in self._rules[name]]
        self._identify = identified_by(self._mapping.key_attributes)
        self._noted = self._keys.setdefault(self._mapping.target, set())
        # Of a row whose columns the mapping takes as they are, equal ones have one item. With a filter or an expression
        # all columns count.
        own = () if self._mapping.seen.changed else self._mapping.group_columns
        self._of_key = itemgetter(*(table.index(column) for column in own or table.names))
        known, digest = self._tables.get(name, (None, ""))
        if known is not table:
            for lane in range(LANES):  # a record has one version of each table
                if self._lanes[lane].changes:
                    self._seal(lane, self._number)
            digest = self._put_table(table_line(table))
            self._tables[name] = table, digest
        self._table = name, digest

    def _add(self, lane: int, change: Change, time: float, line: bytes) -> None:
        if len(line) > self._usual and self._is_large(lane, change, time, line):
            return
        self._needed[lane] = self._number
        filling, (name, digest) = self._lanes[lane], self._table
        filling.changes.append((self._number, time, line))
        filling.size += len(line)
        filling.tables[name] = digest
        if filling.size >= RECORD_BYTES or self._form == POST:
            self._seal(lane, self._number)

    def _is_large(self, lane: int, change: Change, time: float, line: bytes) -> bool:
        """Whether no record takes the change. Then it is kept elsewhere, or refused; else what is there goes first."""
        too_large = self._too_large(lane, time, line) if len(line) + HEAD_BYTES > self._most else ""
        if too_large and (self._keep is None or len(line) > KEPT_BYTES):
            self._refuse(lane, change, time, too_large if self._keep is None else _more_than(line, KEPT_BYTES))
            return True
        if self._lanes[lane].changes:  # together they may be too large
            self._seal(lane, self._needed[lane])
        if too_large:
            self._needed[lane] = self._number
            self._refer(lane, time, line)
        return bool(too_large)

    def _seal(self, lane: int, to: int) -> None:
        filling, self._lanes[lane] = self._lanes[lane], _Filling()
        after, self._after[lane] = self._after[lane], to
        self._records.append(LaneRecord(lane, self._data(lane, after, to, filling)))

    def _refer(self, lane: int, time: float, line: bytes) -> None:
        """A record of the change, which is durable elsewhere before the record is put."""
        assert self._keep, "asked before"
        after, self._after[lane] = self._after[lane], self._number
        head = self._head_of(lane, after, self._number, self._alone(time, line))
        self._records.append(LaneRecord(lane, reference(head, self._keep(line))))

    def _data(self, lane: int, after: int, to: int, filling: _Filling) -> bytes:
        head, lines = self._head_of(lane, after, to, filling), [line for _, _, line in filling.changes]
        return post_event(head, lines[0] if lines else b"") if self._form == POST else pack(head, lines)

    def _head_of(self, lane: int, after: int, to: int, filling: _Filling) -> Interval:
        numbers, times, _ = zip(*filling.changes, strict=True) if filling.changes else ((), (), ())
        return self._head._replace(lane=lane, after=after, to=to, numbers=numbers, times=times, tables=filling.tables)

    def _alone(self, time: float, line: bytes) -> _Filling:
        """What a record has that has this change alone."""
        filling = _Filling()
        filling.changes, filling.tables = [(self._number, time, line)], dict([self._table])
        return filling

    def _too_large(self, lane: int, time: float, line: bytes) -> str:
        """Why no record takes the change; "" if one does."""
        if len(line) > LINE_BYTES:
            return _more_than(line, LINE_BYTES)
        size = len(self._data(lane, self._number, self._number, self._alone(time, line))) + len(partition_key(lane))
        if size <= self._most:
            return ""
        return f"the change takes {size:,} bytes, and a record of the stream {self._most:,} at most"

    def _refuse(self, lane: int, change: Change, time: float, reason: str) -> None:
        """Its items in the lane are dead letters, without its row."""
        if self._keep is None:
            reason += ". With snapshot.store it would be kept in the bucket"
        provenance = of_change(change, self._number, time, self._began)
        self._refused += faults_of_items((self._mapping, *self._others), lane, change, reason, provenance)


def _more_than(line: bytes, most: int) -> str:
    return f"the change has {len(line):,} bytes, and the function takes {most:,} at most"


def faults_of_items(
    mappings: Iterable[TableMapping], lane: int, change: Change, reason: str, provenance: Provenance
) -> list[Fault]:
    """One for each item of ``lane`` that a change touches, without its row: a retry reads the item's rows."""
    faults: list[Fault] = []
    for mapping in mappings:
        keys = [mapping.item_key(row) for row in (change.before, change.after) if row is not None]
        faults += [
            Fault(mapping.source, reason, {}, key, None, provenance if mapping.change_metadata else None)
            for number, key in enumerate(keys)
            if key is not None and lane_of(key) == lane and key not in keys[:number]
        ]
    return faults


def _timed(batch: Sequence[Change | Commit], time_ahead: Callable[[], float]) -> Iterator[tuple[Change, float]]:
    """Each change with the time of the Commit that follows it."""
    times: list[float] = []
    time = time_ahead() if batch and isinstance(batch[-1], Change) else 0.0
    for entry in reversed(batch):
        if isinstance(entry, Commit):
            time = entry.timestamp
        else:
            times.append(time)
    changes = (entry for entry in batch if isinstance(entry, Change))
    return zip(changes, reversed(times), strict=True)
