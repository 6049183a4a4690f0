"""The recent writes: how many there are, and to which partition keys, read from the binlog or from our change log."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from whimbrel.changelog.reader import ChangeLogReader
from whimbrel.changelog.record import change_encoder
from whimbrel.changelog.segments import segments
from whimbrel.checks.findings import Finding, finding
from whimbrel.checks.following import ItemWrites
from whimbrel.checks.groups import partition_of, spread_advice
from whimbrel.errors import PartialImage, SchemaDrift, StatementChange, WhimbrelError
from whimbrel.mapping.design import TableMapping
from whimbrel.mysql.binlog.stream import BinlogStream
from whimbrel.mysql.connect import connect, rows_as_dicts
from whimbrel.mysql.schema import hidden_columns
from whimbrel.project import Source
from whimbrel.records import Change, Commit, Idle, Position, Row
from whimbrel.threads import Timer

READ_BYTES = 256 << 20  # of binlog, from the start of a file
RESTARTS = 20
HOT_SHARE, HOT_RATE = 0.2, 10.0
LINES, LINE_BYTES = 1_000, 8 << 20  # changes that are kept, to weigh them, and how many bytes they may have
PARTITIONS = 50_000  # partition keys that are counted at a time: those with the fewest changes are forgotten


@dataclass
class Writes:
    """Changes by table and by partition key, from ``since`` to ``until`` (seconds since the epoch, 0: none seen)."""

    origin: str = ""
    changes: Counter[str] = field(default_factory=Counter)
    partitions: dict[str, Counter[str]] = field(default_factory=dict)
    items: dict[str, ItemWrites] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)  # the first changes, as the change log has them
    transactions: int = 0
    rows: int = 0  # that were changed: a table's changes count for each of its rules
    bytes: int = 0
    since: float = 0.0
    until: float = 0.0
    refused: str = ""  # what the capture would have stopped at
    ended: str = ""  # why else it was read no further, if there was a reason
    _line_bytes: int = field(default=0, repr=False)

    @property
    def seconds(self) -> float:
        return max(self.until - self.since, 1.0) if self.since else 0.0

    @property
    def per_second(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.seconds if self.seconds else 0.0

    def add(self, output: Iterable[Change] | Commit, mappings: Mapping[str, TableMapping]) -> None:
        if isinstance(output, Commit):
            self.transactions += 1
            for written in self.items.values():
                written.commit()
            self.since = self.since or output.timestamp
            self.until = max(self.until, output.timestamp)
            return
        for change in output:
            row = change.after or change.before
            self.rows += 1
            name = change.table.full_name
            for mapping in [each for each in mappings.values() if each.table.full_name == name]:
                if row and change.table.names == mapping.table.stored.names:
                    self._count(mapping, change, row)

    def _count(self, mapping: TableMapping, change: Change, row: Row) -> None:
        source = mapping.source
        self.changes[source] += 1
        if len(self.lines) < LINES and self._line_bytes < LINE_BYTES:
            self.lines.append(change_encoder(change.table)(change))
            self._line_bytes += len(self.lines[-1])
        if mapping.placed_by_others:
            return  # where its items are depends on rows that are not read here
        if source not in self.items:
            self.items[source], self.partitions[source] = ItemWrites(mapping), Counter()
        before, after = (image and mapping.unjoined(image) for image in (change.before, change.after))
        self.items[source].add(change._replace(before=before, after=after))
        partitions = self.partitions[source]
        partitions[partition_of(mapping, mapping.unjoined(row))] += 1
        if len(partitions) > 2 * PARTITIONS:
            self.partitions[source] = Counter(dict(partitions.most_common(PARTITIONS)))


def recent_writes(source: Source, mappings: Mapping[str, TableMapping], log: Path, seconds: float) -> Writes:
    """From the change log of a migration that has begun, else from the binlog; ``seconds`` of reading at most.

    Never raises: what cannot be read is said in ``ended``.
    """
    writes = Writes()
    try:
        if log.exists() and segments(log):
            writes.origin = "the change log"
            _from_log(writes, mappings, log, time.monotonic() + seconds)
        else:
            _from_binlog(writes, source, mappings, seconds)
    except (StatementChange, PartialImage) as error:
        writes.refused = str(error)
    except WhimbrelError as error:
        writes.ended = str(error)
    return writes


def _from_log(writes: Writes, mappings: Mapping[str, TableMapping], log: Path, until: float) -> None:
    with ChangeLogReader(log, None) as reader:
        while time.monotonic() < until and (entries := reader.read(1000)):
            for entry in entries:
                writes.add(entry if isinstance(entry, Commit) else [entry], mappings)


def _from_binlog(writes: Writes, source: Source, mappings: Mapping[str, TableMapping], seconds: float) -> None:
    with closing(connect(source)) as connection:
        logs = rows_as_dicts(connection, "SHOW BINARY LOGS")
        now = float(rows_as_dicts(connection, "SELECT UNIX_TIMESTAMP() AS now")[0]["now"])
    files = _last_files([(file["Log_name"], int(file["File_size"])) for file in logs])
    start, end = Position(files[0][0], 4), Position(*files[-1])
    writes.origin = f"the binlog since {start.file}"
    until = time.monotonic() + seconds
    for _ in range(RESTARTS):
        try:
            for output in _changes(source, start, mappings, until):
                if not isinstance(output, Idle):
                    writes.add(output, mappings)
                if isinstance(output, Idle) or (isinstance(output, Commit) and output.position.at_or_after(end)):
                    writes.bytes = _bytes_between(files, output.position)
                    writes.until = max(writes.until, now)
                    return
        except SchemaDrift as altered:
            # The table was made or altered here: its rows are counted from here on. Of ours, a statement's place is its
            # end, and a DDL statement is a transaction of its own.
            after = _position_in(altered.place)
            if after is None or after == start:
                raise
            start = after
            continue
        writes.ended = f"it was read for {seconds:.0f} seconds"
        return


def _last_files(files: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """The last files that have READ_BYTES together; the last one at least."""
    taken = files[-1:]
    for file in reversed(files[:-1]):
        if sum(size for _, size in taken) + file[1] > READ_BYTES:
            break
        taken.insert(0, file)
    return taken


def _bytes_between(files: list[tuple[str, int]], end: Position) -> int:
    return sum(size for name, size in files if name != end.file) + end.offset


def _changes(
    source: Source, start: Position, mappings: Mapping[str, TableMapping], until: float
) -> Iterator[list[Change] | Commit | Idle]:
    tables = {(each.table.schema, each.table.name): each.table.stored for each in mappings.values()}
    with closing(connect(source)) as connection:
        hidden = partial(hidden_columns, source)
        stream = BinlogStream(connection, start, tables, server_id=0, use_gtid=False, heartbeat=0.2, hidden=hidden)
        with _ended_after(max(0.0, until - time.monotonic()), stream.close):
            yield from stream


@contextmanager
def _ended_after(seconds: float, end: Callable[[], None]) -> Iterator[None]:
    """Calls ``end`` in so many seconds, unless the block is left before."""
    timer = Timer(seconds, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _position_in(place: str) -> Position | None:
    found = re.match(r"(\S+\.\d+):(\d+)", place)
    return Position(found[1], int(found[2])) if found else None


def write_findings(writes: Writes, mappings: Mapping[str, TableMapping]) -> Iterator[Finding]:
    """``mappings`` by the names of their rules."""
    if writes.refused:
        yield finding("statement-changes", writes.origin, writes.refused)
    if not writes.seconds:
        return  # reading ended within the first transaction: nothing says how long the changes took
    for source, partitions in writes.partitions.items():
        total = writes.changes[source]
        for key, count in partitions.most_common(3):
            rate = count / writes.seconds
            if len(partitions) > 1 and count / total >= HOT_SHARE and rate >= HOT_RATE:
                share = f"{key} had {count:,} of {total:,} recent changes ({count / total:.0%}), {rate:,.0f} a second"
                yield finding("hot-writes", source, share, spread_advice(mappings[source]))
