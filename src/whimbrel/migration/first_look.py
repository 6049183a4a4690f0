"""The first look at all items of one target table: both sides are read once, straight into keys and digests.

These are kept in partitions by key, on disk where they are many, and compared partition by partition, so memory is
bounded whatever the table's size. What differs is a candidate for the second look: rows change while they are read.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import orjson

from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import IncompleteRead, StateError
from whimbrel.item import key_id
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.owned import owned_by
from whimbrel.migration.differences import TableReport
from whimbrel.migration.digests import DELETED, UNEQUAL, TargetSide
from whimbrel.migration.first_rows import SourceDigests, SourceRead, SourceSide, made_of, takers
from whimbrel.migration.lookup import read_directly
from whimbrel.migration.portions import Portions
from whimbrel.migration.progress import Progress
from whimbrel.migration.reading_process import ReadingProcess
from whimbrel.migration.regroup import Regrouped
from whimbrel.migration.second_look import SecondLook
from whimbrel.mysql.connect import Mysql, current_position
from whimbrel.mysql.points import count_rows
from whimbrel.mysql.sessions import Sessions
from whimbrel.mysql.whole_table import RowTaker
from whimbrel.nested import together
from whimbrel.records import Item, Row
from whimbrel.spill import PartitionFiles

PAGE_ITEMS = 200
JOINED_ITEMS = 50_000  # of one partition, in memory at once
SEGMENT_ROWS = 2_000  # of a small table that is read in few segments, since each is a request at least
ROWS_FOR_A_WORKER = 300_000  # from which on a second process, which takes a sixth of a second to start, is worth it


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
        self._process: ReadingProcess | None = None
        self._reads: list[SourceRead] = []
        self._progress = progress
        self._report = report

    def run(self, estimated_rows: int) -> TableReport:
        """Read both sides, compare, recheck. Raises StateError when the applier does not get on."""
        began = time.monotonic()
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            apart = estimated_rows >= ROWS_FOR_A_WORKER and self._look.processes > 1
            self._segments = min(self._look.readers, 1 + estimated_rows // SEGMENT_ROWS)
            self._compare(max(1, -(-estimated_rows // JOINED_ITEMS)), apart=apart)
        finally:
            if self._folder.exists():  # of a small table nothing was put on disk
                shutil.rmtree(self._folder, ignore_errors=True)
        for read in self._reads:
            self._report.count("unmappable", read.unmappable)
            for mapping in self._mappings:
                self._look.recheck_keyless(mapping, read.keyless.get(mapping.source, []))
        self._report.seconds = time.monotonic() - began
        return self._report

    def _compare(self, partitions: int, *, apart: bool) -> None:
        """``apart``: the target is read by a worker, while the source is read, and what is left of that after it."""
        self._source = SourceDigests(self._folder / "source", partitions)
        self._expected, self._process = [self._source.digests], None
        with PartitionFiles(self._folder / "shared", partitions) as self._parts:
            if apart:
                self._digest_apart(partitions)
            else:
                self._digest_source(partitions)
                self._digest_target(partitions)
            self._reads.append(self._source.read())
            self._report.items += sum(read.items for read in self._reads)
            for number in range(partitions):
                self._look.recheck(self._candidates(number))
        self._all_compared()

    # -- first sight ---------------------------------------------------------------------------------------------------

    def _digest_apart(self, partitions: int) -> None:
        target = self._target_side(partitions)._replace(known=self._wire.known())
        folder = self._folder / f"source-{secrets.token_hex(4)}"
        source = SourceSide(self._look.source, self._mappings, self._look.digests, folder, partitions)
        with ReadingProcess(target, source, self._stop, self._count_found) as self._process:
            self._digest_source(partitions)
            self._found = self._process.target()
            digests, read = self._process.source()
        self._expected.append(digests)
        self._reads.append(read)

    def _digest_source(self, partitions: int) -> None:
        for mapping in self._mappings:
            self._digest_rows(mapping, partitions)

    def _digest_rows(self, mapping: TableMapping, partitions: int) -> None:
        if mapping.shared:
            self._read_counted(mapping, partial(self._look.read_source, mapping, partial(self._add_parts, mapping)))
        elif mapping.shape != "group" or mapping.aligned:
            begin = takers(mapping, self._look.digests, self._folder, partial(self._source.add, mapping))
            self._read_counted(mapping, partial(self._read_directly, mapping, begin))
        else:
            portions = Portions(mapping, self._folder / "portions")
            with Regrouped(mapping, self._folder / "groups", partitions) as groups:
                self._read_counted(mapping, partial(self._look.read_source, mapping, groups.add))
                for number in range(partitions):
                    for rows in portions.of(groups.sized(number)):
                        self._add_items(mapping, rows)

    def _read_directly(self, mapping: TableMapping, begin: Callable[[], RowTaker], count: Callable[[int], None]) -> int:
        elsewhere = self._process.chunks_of(mapping) if self._process else None
        return read_directly(self._look.source, mapping, begin, count, self._stop, self._sessions, elsewhere)

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
        self._source.add(mapping, made_of(mapping, self._look.digests, rows))

    def _add_parts(self, mapping: TableMapping, rows: list[Row]) -> None:
        """Of shared items: they come together, from all their tables, when their partition is compared."""
        puts, faults = mapping.put_items(rows)
        number = bytes([self._mappings.index(mapping)])
        for put in puts:
            self._parts.add(key_id(put.key), number + orjson.dumps(put.item))
        self._source.add_faults(mapping, faults)

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
        keys, digests = list[bytes](), list[bytes]()
        for side in self._expected:
            more_keys, more_digests = side.partition(partition)
            keys += more_keys
            digests += more_digests
        expected = _once(keys, digests)
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
        for side, digests in (*(("source", each) for each in self._expected), ("target", self._found)):
            if digests.added != digests.given:
                raise StateError(
                    f"{digests.added:,} digests of the {side} were kept, and {digests.given:,} compared",
                    place=str(digests.folder),
                    hint="Verify again, and check the disk.",
                )

    def _say(self, what: str) -> None:
        report = self._report
        self._progress.note = f"{what}: {report.rows:,} rows, {report.found:,} items"


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
