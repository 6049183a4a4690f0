"""The first look at all items of one target table: both sides are read once, straight into keys and digests.

These are kept in partitions by key, on disk where they are many, and compared partition by partition, so memory is
bounded whatever the table's size. What differs is a candidate for the second look: rows change while they are read.
"""

from __future__ import annotations

import itertools
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import IncompleteRead, StateError
from whimbrel.item import key_id
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.owned import owned_by
from whimbrel.migration.differences import LISTED, TableReport
from whimbrel.migration.digests import DELETED, UNEQUAL, TargetSide
from whimbrel.migration.lookup import read_directly
from whimbrel.migration.portions import PORTION_BYTES, Portions
from whimbrel.migration.progress import Progress
from whimbrel.migration.regroup import Regrouped
from whimbrel.migration.second_look import SecondLook
from whimbrel.migration.target_process import TargetProcess
from whimbrel.mysql.connect import Mysql, current_position
from whimbrel.mysql.points import count_rows
from whimbrel.mysql.sessions import Sessions
from whimbrel.mysql.whole_table import RowTaker
from whimbrel.nested import together
from whimbrel.records import Fault, Item, Row, Value
from whimbrel.snapshot_files import Chunk, ChunkWriter, read_chunk, write_chunk
from whimbrel.spill import KeyedDigests, PartitionFiles

PAGE_ITEMS = 200
JOINED_ITEMS = 50_000  # of one partition, in memory at once
HELD_BYTES = PORTION_BYTES // 4  # of one chunk's rows; several chunks are read at once
LINE_ROWS = 500  # of a file
SEGMENT_ROWS = 2_000  # of a small table that is read in few segments, since each is a request at least
ROWS_FOR_A_WORKER = 300_000  # from which on a second process, which takes half a second to start, is worth it


class FirstLook:
    """Compares one target table with its source, or with all of its sources: the items that they share are made of
    the rows of each. What differs is left to ``look``, the second one. What is found is in ``report``.
    """

    def __init__(
        self,
        look: SecondLook,
        connection: Mysql,
        mappings: list[TableMapping],
        wire: DynamoClient,
        folder: Path,
        stop: threading.Event,
        progress: Progress,
        report: TableReport,
        sessions: Sessions | None = None,
    ) -> None:
        """``sessions`` as for ``export_table``."""
        self._look = look
        self._sessions = sessions
        self._connection = connection
        self._mappings = mappings
        self._wire = wire
        self._folder = folder
        self._stop = stop
        self._progress = progress
        self._report = report
        self._keyless: dict[str, list[tuple[Value, ...]]] = {}  # by source, primary keys of rows without an item's key

    def run(self, estimated_rows: int) -> TableReport:
        """Read both sides, compare, recheck. Raises StateError when the applier does not get on."""
        began = time.monotonic()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        try:
            apart = estimated_rows >= ROWS_FOR_A_WORKER and self._look.processes > 1
            self._segments = min(self._look.readers, 1 + estimated_rows // SEGMENT_ROWS)
            self._compare(max(1, -(-estimated_rows // JOINED_ITEMS)), apart=apart)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        for mapping in self._mappings:
            self._look.recheck_keyless(mapping, self._keyless.get(mapping.source, []))
        self._report.seconds = time.monotonic() - began
        return self._report

    def _compare(self, partitions: int, *, apart: bool) -> None:
        """``apart``: the target is read by a worker, while the source is read."""
        self._expected = KeyedDigests(self._folder / "source", partitions)
        with PartitionFiles(self._folder / "shared", partitions) as self._parts:
            if apart:
                with TargetProcess(self._target_side(partitions), self._stop, self._count_found) as process:
                    self._digest_source(partitions)
                    self._found = process.result()
            else:
                self._digest_source(partitions)
                self._digest_target(partitions)
            for number in range(partitions):
                self._look.recheck(self._candidates(number))
        self._all_compared()

    # -- first sight ---------------------------------------------------------------------------------------------------

    def _digest_source(self, partitions: int) -> None:
        for mapping in self._mappings:
            self._digest_rows(mapping, partitions)

    def _digest_rows(self, mapping: TableMapping, partitions: int) -> None:
        if mapping.shared:
            self._read_counted(mapping, partial(self._look.read_source, mapping, partial(self._add_parts, mapping)))
        elif mapping.shape != "group":  # a row is an item: nothing of a row is kept but its digest
            begin = partial(_ChunkItems, partial(self._made, mapping), partial(self._add, mapping))
            self._read_counted(mapping, partial(self._read_directly, mapping, begin))
        elif mapping.aligned:
            use = partial(self._add_items, mapping)
            chunks = (_ChunkGroups(mapping, self._folder / f"chunk-{number}", use) for number in itertools.count())
            self._read_counted(mapping, partial(self._read_directly, mapping, partial(next, chunks)))
        else:
            portions = Portions(mapping, self._folder / "portions")
            with Regrouped(mapping, self._folder / "groups", partitions) as groups:
                self._read_counted(mapping, partial(self._look.read_source, mapping, groups.add))
                for number in range(partitions):
                    for rows in portions.of(groups.sized(number)):
                        self._add_items(mapping, rows)

    def _read_directly(self, mapping: TableMapping, begin: Callable[[], RowTaker], count: Callable[[int], None]) -> int:
        return read_directly(self._look.source, mapping, begin, count, self._stop, self._sessions)

    def _read_counted(self, mapping: TableMapping, read_with: Callable[[Callable[[int], None]], int]) -> None:
        """Read the table, and count it by a query that shares nothing with those that read it. Where the two differ,
        something must have been written meanwhile. Each chunk was counted as it was read, whatever is written.
        """

        def count(rows: int) -> None:
            self._report.rows += rows
            self._say("reading the source")

        began, before = current_position(self._connection), count_rows(self._connection, mapping.table)
        read = read_with(count)
        if read == before or self._stop.is_set():
            return
        after, ended = count_rows(self._connection, mapping.table), current_position(self._connection)
        if began == ended and before == after:
            raise IncompleteRead(
                f"{read:,} rows were read, and the source counts {after:,}",
                place=mapping.source,
                hint="Verify again; if it happens again, something between the server and whimbrel truncates results.",
            )

    def _add_items(self, mapping: TableMapping, rows: list[Row]) -> None:
        self._add(mapping, self._made(mapping, rows))

    def _made(self, mapping: TableMapping, rows: list[Row]) -> _Made:
        puts, faults = mapping.put_items(rows)
        return _Made(*self._look.digests.of([put.item for put in puts]), faults)

    def _add(self, mapping: TableMapping, made: _Made) -> None:
        self._report.items += len(made.keys)
        self._expected.add(made.keys, made.digests)
        self._add_faults(mapping, made.faults)

    def _add_parts(self, mapping: TableMapping, rows: list[Row]) -> None:
        """Of shared items: they come together, from all their tables, when their partition is compared."""
        puts, faults = mapping.put_items(rows)
        number = bytes([self._mappings.index(mapping)])
        for put in puts:
            self._parts.add(key_id(put.key), number + orjson.dumps(put.item))
        self._add_faults(mapping, faults)

    def _add_faults(self, mapping: TableMapping, faults: list[Fault]) -> None:
        """A row that cannot be mapped is missing in the target, also when nothing there differs: beside the item's own
        digest, one that equals none.
        """
        for fault in faults:
            keyless = self._keyless.setdefault(mapping.source, [])
            if fault.item_key is not None:
                self._expected.add([key_id(fault.item_key)], [UNEQUAL])
            elif len(keyless) < LISTED:
                keyless.append(tuple(fault.source_key[name] for name in mapping.table.primary_key))
            else:
                self._report.count("unmappable")

    def _digest_target(self, partitions: int) -> None:
        self._found = self._target_side(partitions).read(self._wire, self._stop, self._count_found)

    def _target_side(self, partitions: int) -> TargetSide:
        return TargetSide(
            self._look.target_settings,
            self._report.target,
            self._look.digests,
            self._folder / f"target-{secrets.token_hex(4)}",  # no process of an earlier verification writes into it
            partitions,
            self._segments,
            page_items(self._mappings),
            owned_by(self._mappings) if self._report.target in self._look.target_settings.shared else None,
        )

    def _count_found(self, items: int) -> None:
        self._report.found += items
        self._say("reading the target")

    # -- what differs --------------------------------------------------------------------------------------------------

    def _candidates(self, partition: int) -> Iterator[Item]:
        """Keys whose two digests differ, or that only one side has; and those that one table gave twice.

        A key that comes twice is a row that moved while it was read, or two rows that overwrite each other: the second
        look reads all of the key's rows together, and tells.
        """
        expected = _once(*self._expected.partition(partition))
        for key, digest in self._shared_items(partition).items():
            expected.setdefault(key, digest)
        found = dict(zip(*self._found.partition(partition), strict=True))
        if any(each.change_metadata.mark for each in self._mappings):
            deleted = {key for key, digest in found.items() if digest == DELETED}
            self._report.softly_deleted += len(deleted - expected.keys())
            for key in deleted:
                del found[key]
        if expected != found:
            differing = {key for key, _ in expected.items() ^ found.items()}
            yield from map(orjson.loads, sorted(differing))

    def _shared_items(self, partition: int) -> dict[bytes, bytes]:
        """The digests of the items that several tables' rows make together."""
        items: dict[bytes, Item] = {}
        seen: set[tuple[bytes, bytes]] = set()
        twice: set[bytes] = set()
        for key, record in self._parts.partition(partition):
            table, part = record[:1], record[1:]
            if (key, table) in seen:
                twice.add(key)
            seen.add((key, table))
            together(items.setdefault(key, {}), orjson.loads(part))
        self._report.items += len(items)
        return {key: UNEQUAL if key in twice else self._look.digests.digest(item) for key, item in items.items()}

    def _all_compared(self) -> None:
        """Whatever was added to either side was there when it was compared."""
        for side, digests in (("source", self._expected), ("target", self._found)):
            if digests.added != digests.given:
                raise StateError(
                    f"{digests.added:,} digests of the {side} were kept, and {digests.given:,} compared",
                    place=str(digests.folder),
                    hint="Verify again, and check the disk.",
                )

    def _say(self, what: str) -> None:
        report = self._report
        self._progress.note = f"{what}: {report.rows:,} rows, {report.found:,} items"


class _Made(NamedTuple):
    """What rows make: items, as keys and digests, and rows that cannot be mapped."""

    keys: list[bytes]
    digests: list[bytes]
    faults: list[Fault]


class _ChunkItems:
    """The items of one chunk's rows, as they are read, for ``use`` when they are all there."""

    def __init__(self, make: Callable[[list[Row]], _Made], use: Callable[[_Made], None]) -> None:
        self._make, self._use = make, use
        self._made: list[_Made] = []

    def add(self, rows: list[Row]) -> None:
        self._made.append(self._make(rows))

    def end(self) -> None:
        for made in self._made:
            self._use(made)

    def drop(self) -> None:
        """Nothing of it is anywhere else."""


class _ChunkGroups:
    """The rows of one chunk, for ``use`` when they are all there: whole items, in memory as long as they are few, else
    through a file that is ``path``, and in portions.
    """

    def __init__(self, mapping: TableMapping, path: Path, use: Callable[[list[Row]], None]) -> None:
        self._mapping, self._path, self._use = mapping, path, use
        self._portions = Portions(mapping, path.with_suffix(".portions"))
        self._rows: list[Row] = []
        self._weight = 0
        self._file: ChunkWriter | None = None

    def add(self, rows: list[Row]) -> None:
        self._rows += rows
        self._weight += self._portions.weight(len(rows), len(orjson.dumps(rows, default=len)))
        if self._weight > HELD_BYTES or self._file:
            self._file = self._file or write_chunk(self._path, self._mapping.table, Chunk(1, None, None, ()))
            for start in range(0, len(self._rows), LINE_ROWS):
                self._file.write(self._rows[start : start + LINE_ROWS])
            self._rows = []

    def end(self) -> None:
        if self._file is None:
            self._use(self._rows)
            return
        path = self._file.close().path
        for rows in self._portions.of(read_chunk(path).sized()):
            self._use(rows)
        path.unlink()

    def drop(self) -> None:
        if self._file:
            self._file.abandon()


def _once(keys: list[bytes], digests: list[bytes]) -> dict[bytes, bytes]:
    """The digests by key; UNEQUAL of a key that occurs twice."""
    found = dict(zip(keys, digests, strict=True))
    if len(found) < len(keys):
        found |= {key: UNEQUAL for key, times in Counter(keys).items() if times > 1}
    return found


def page_items(mappings: list[TableMapping]) -> int:
    """How many items a page of a scan may have: a row makes a small item; many, or many of other tables, a large one.

    1 MB of items with a hundred attributes each becomes 40 MB in Python, twice for each segment.
    """
    attributes = max(len(each.table.columns) if each.shape != "group" and not each.shared else 50 for each in mappings)
    return max(PAGE_ITEMS, min(1_000, PAGE_ITEMS * 20 // attributes))
