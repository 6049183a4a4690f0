"""Verify: prove that the target holds exactly what the mapping makes of the source, while both are live.

Both sides are read once. Of each item only its key and a digest go to disk, in partitions by key, and are joined
partition by partition, so memory is bounded whatever the table's size. What differs there is only a candidate: rows
change while they are read. A candidate is read again by key from both sides, the target only after the applier has
passed the Position at which the source was read, and it counts when the two still differ while the source stood
still.

Change metadata (``mapping.provenance``) is left out of the comparison, and named in the report.
An item that says that its row went must have no row.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import orjson

from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.read import get_items, meets, scan
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import IncompleteRead, MappingError, StateError
from whimbrel.item import key_id, normal_item
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import by_target
from whimbrel.migration.differences import LISTED, Difference, TableReport
from whimbrel.migration.lineage import Lineage
from whimbrel.migration.lookup import read_whole_table, rows_of_items, rows_within
from whimbrel.migration.positions import reached
from whimbrel.migration.prepare import Prepared, lineage_of
from whimbrel.migration.progress import Progress
from whimbrel.migration.regroup import Regrouped
from whimbrel.migration.state import StateFolder
from whimbrel.mysql.connect import Mysql, connect, current_position
from whimbrel.mysql.points import count_rows
from whimbrel.mysql.snapshot import rows_where_equal
from whimbrel.project import Project
from whimbrel.records import Item, Position, Row
from whimbrel.spill import PartitionFiles

PARTITION_ITEMS = 100_000
PAGE_ITEMS = 200  # 1 MB of items with a hundred attributes each becomes 40 MB in Python, twice for each segment
RECHECKED_AT_ONCE = 1_000
CONFIRMATIONS = 3  # times a difference must be seen with the source standing still
ATTEMPTS = 40
_NO_DIGEST = b""  # equals none
APPLIER_PATIENCE = 60.0  # seconds without any movement of the applied Position

log = logging.getLogger(__name__)


def verify_all(
    prepared: Prepared,
    wire: DynamoClient,
    applied: Callable[[], Position | None],
    stop: threading.Event,
    progress: Progress,
) -> list[TableReport]:
    """Verify every target table of the project, one after the other."""
    folder, lineage = StateFolder(prepared.project.state).verify, lineage_of(prepared)
    reports = []
    with closing(connect(prepared.project.source)) as connection:
        for mappings in by_target(list(prepared.mappings.values())).values():
            verifier = Verifier(prepared.project, connection, mappings, wire, applied, lineage, folder, stop, progress)
            reports.append(verifier.run(sum(prepared.estimates[each.source] for each in mappings)))
    return reports


class Verifier:
    """Compares one target table with its source, or with all of its sources: the items that they share are made of
    the rows of each.

    ``applied`` tells the applier's Position at the moment; it must move while a verification waits for it.
    """

    def __init__(
        self,
        project: Project,
        connection: Mysql,
        mappings: list[TableMapping],
        wire: DynamoClient,
        applied: Callable[[], Position | None],
        lineage: Lineage,
        folder: Path,
        stop: threading.Event,
        progress: Progress,
    ) -> None:
        self._source = project.source
        self._pace = RateLimiter(project.target.max_read_units)
        self._segments = min(8, project.target.concurrency)
        self._connection = connection
        self._mappings = mappings
        self._target = mappings[0].target
        self._sources = ", ".join(each.source for each in mappings)
        self._wire = wire
        self._applied = applied
        self._lineage = lineage
        self._folder = folder
        self._stop = stop
        self._progress = progress
        names = sorted({name for each in mappings for name in each.change_metadata.names})
        self._report = TableReport(self._sources, self._target, not_compared=names)
        self._keyless: dict[str, list[Row]] = {}  # by source, primary keys of rows that cannot have an item's key
        self._reads = 0

    def run(self, estimated_rows: int) -> TableReport:
        """Read both sides, compare, recheck. Raises StateError when the applier does not get on."""
        began = time.monotonic()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        partitions = max(1, -(-estimated_rows // PARTITION_ITEMS))
        with PartitionFiles(self._folder / "join", partitions) as join:
            for mapping in self._mappings:
                self._digest_source(join, mapping, partitions)
            self._digest_target(join)
            for number in range(partitions):
                self._recheck(self._candidates(join, number))
        for mapping in self._mappings:
            self._recheck_keyless(mapping)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._report.seconds = time.monotonic() - began
        return self._report

    # -- first sight ---------------------------------------------------------------------------------------------------

    def _digest_source(self, join: PartitionFiles, mapping: TableMapping, partitions: int) -> None:
        def count(rows: int) -> None:
            self._report.rows += rows
            self._say("reading the source")

        if mapping.aligned:
            self._read_counted(mapping, lambda rows: self._add_expected(join, mapping, rows), count)
            return
        with Regrouped(mapping, self._folder / "groups", partitions) as groups:
            self._read_counted(mapping, groups.add, count)
            for number in range(partitions):
                self._add_expected(join, mapping, groups.rows(number))

    def _read_counted(
        self, mapping: TableMapping, use: Callable[[list[Row]], None], count: Callable[[int], None]
    ) -> None:
        """Read the table, and count it by a query that shares nothing with those that read it. The two must agree
        where nothing was written meanwhile; each chunk was counted as it was read, whatever is written.
        """
        began, before = current_position(self._connection), count_rows(self._connection, mapping.table)
        read = self._read_source(mapping, use, count)
        after, ended = count_rows(self._connection, mapping.table), current_position(self._connection)
        if began == ended and before == after != read and not self._stop.is_set():
            raise IncompleteRead(
                f"{read:,} rows were read, and the source counts {after:,}",
                place=mapping.source,
                hint="Verify again; if it happens again, something between the server and whimbrel truncates results.",
            )

    def _read_source(
        self, mapping: TableMapping, use: Callable[[list[Row]], None], count: Callable[[int], None]
    ) -> int:
        folder = self._folder / f"export-{self._reads}"
        self._reads += 1
        return read_whole_table(self._source, mapping, folder, use, count, self._stop)

    def _add_expected(self, join: PartitionFiles, mapping: TableMapping, rows: list[Row]) -> None:
        puts, faults = mapping.put_items(rows)
        if mapping.shared:  # the items come together, from all their tables, when their partition is read
            number = bytes([self._mappings.index(mapping)])
            for put in puts:
                join.add(key_id(put.key), b"p" + number + orjson.dumps(put.item))
        else:
            self._report.items += len(puts)
            for put in puts:
                join.add(key_id(put.key), b"s" + self._digest(put.item))
        # A row that cannot be mapped is missing in the target, also when nothing there differs: after the item's own
        # digest, a mark that equals none.
        for fault in faults:
            keyless = self._keyless.setdefault(mapping.source, [])
            if fault.item_key is not None:
                join.add(key_id(fault.item_key), b"s" + _NO_DIGEST)
            elif len(keyless) < LISTED:
                keyless.append(tuple(fault.source_key[name] for name in mapping.table.primary_key))
            else:
                self._report.count("unmappable")

    def _digest_target(self, join: PartitionFiles) -> None:
        def page(items: list[Item]) -> None:
            self._report.found += len(items)
            for item in items:
                mark = b"d" if self._is_deleted(item) else b"t"
                join.add(key_id(self._key_of(item)), mark + self._digest(item))
            self._say("reading the target")

        scan(
            self._wire,
            self._target,
            self._segments,
            page,
            pace=self._pace,
            page_items=PAGE_ITEMS,
            stop=self._stop,
        )

    def _candidates(self, join: PartitionFiles, partition: int) -> Iterator[Item]:
        """Keys whose two digests differ, or that only one side has; and those that one table gave twice.

        A key that comes twice is a row that moved while it was read, or two rows that overwrite each other: the second
        look reads all of the key's rows together, and tells.
        """
        expected: dict[bytes, bytes] = {}
        found: dict[bytes, bytes] = {}
        shared: dict[bytes, Item] = {}
        deleted: set[bytes] = set()
        parts: set[tuple[bytes, bytes]] = set()
        for key, record in join.partition(partition):
            kind, rest = record[:1], record[1:]
            if kind == b"t":
                found[key] = rest
            elif kind == b"d":
                deleted.add(key)
            elif kind == b"s":
                expected[key] = _NO_DIGEST if key in expected else rest
            else:
                if (key, rest[:1]) in parts:
                    expected[key] = _NO_DIGEST
                parts.add((key, rest[:1]))
                shared.setdefault(key, {}).update(orjson.loads(rest[1:]))
        self._report.items += len(shared)
        for key, item in shared.items():
            expected.setdefault(key, self._digest(item))
        self._report.softly_deleted += len(deleted - expected.keys())
        for key, digest in expected.items():
            if found.pop(key, None) != digest:
                yield orjson.loads(key)
        for key in found:
            yield orjson.loads(key)

    # -- second sight --------------------------------------------------------------------------------------------------

    def _recheck(self, candidates: Iterable[Item]) -> None:
        # Where an expression makes the key, each look at the source reads the whole table: let it be worth it.
        at_once = RECHECKED_AT_ONCE if all(each.invertible for each in self._mappings) else PARTITION_ITEMS
        group: list[Item] = []
        for key in candidates:
            self._report.candidates += 1
            group.append(key)
            if len(group) == at_once:
                self._settle(group)
                group = []
        self._settle(group)

    def _settle(self, keys: list[Item]) -> None:
        """Read ``keys`` again on both sides until each is equal, or different while its source stood still."""
        seen: dict[bytes, int] = {}
        keys = [key for key in keys if self._has_way_back(key)]
        for attempt in range(ATTEMPTS):
            if not keys or self._stop.is_set():
                return
            if attempt:
                self._stop.wait(min(0.05 * attempt, 1.0))
            expected, unmappable = self._source_items(keys)
            self._await_applied(self._lineage.end_of(self._connection))
            found = self._target_items(keys)
            again, _ = self._source_items(keys)
            open_keys = []
            for key in keys:
                text = key_id(key)
                if self._same(expected.get(text), found.get(text)) and text not in unmappable:
                    continue
                if self._same(expected.get(text), again.get(text)):
                    seen[text] = seen.get(text, 0) + 1
                    if seen[text] >= CONFIRMATIONS:
                        self._report_difference(key, expected.get(text), found.get(text), text in unmappable)
                        continue
                open_keys.append(key)
            keys = open_keys
        for key in keys:
            self._report.note(Difference(self._sources, "unsettled", key, None, None))

    def _recheck_keyless(self, mapping: TableMapping) -> None:
        """Rows without an item's key have no place in the target to compare: they count if they still have none."""
        table = mapping.table
        rows = rows_where_equal(self._connection, table, table.primary_key, self._keyless.get(mapping.source, []))
        self._connection.commit()
        for fault in mapping.put_items(rows)[1]:
            if fault.item_key is None:
                reason = f"{fault.reason} (row {fault.source_key})"
                self._report.note(Difference(mapping.source, "unmappable", {}, None, None, reason))

    def _has_way_back(self, key: Item) -> bool:
        """Whether the rows of ``key`` can be looked up; a key that could come from too many rows cannot be settled."""
        try:
            for mapping in self._mappings:
                if mapping.invertible:
                    mapping.source_keys(key)
        except MappingError:
            self._report.note(Difference(self._sources, "unsettled", key, None, None))
            return False
        return True

    def _source_items(self, keys: list[Item]) -> tuple[dict[bytes, Item], set[bytes]]:
        """The items that the source's rows of these keys make now, and the keys of those that cannot be mapped."""
        items: dict[bytes, Item] = {}
        unmappable: set[bytes] = set()
        for mapping in self._mappings:
            puts, faults = mapping.put_items(self._rows_of(mapping, keys))
            unmappable |= {key_id(fault.item_key) for fault in faults if fault.item_key is not None}
            for put in puts:
                items.setdefault(key_id(put.key), {}).update(put.item)
        return items, unmappable

    def _rows_of(self, mapping: TableMapping, keys: list[Item]) -> list[Row]:
        """All rows, as they are now, of the items of ``keys``."""
        if mapping.invertible:
            return rows_of_items(self._connection, mapping, keys)
        found: list[Row] = []
        wanted = {key_id(key) for key in keys}
        self._read_source(mapping, lambda rows: found.extend(rows_within(mapping, rows, wanted)), lambda rows: None)
        return found

    def _target_items(self, keys: list[Item]) -> dict[bytes, Item]:
        return get_items(self._wire, self._target, keys, pace=self._pace, stop=self._stop)

    def _await_applied(self, position: Position) -> None:
        last, moved = self._applied(), time.monotonic()
        while not reached(last, position):
            if self._stop.wait(0.02):
                return
            now = self._applied()
            if now != last:
                last, moved = now, time.monotonic()
            elif time.monotonic() - moved > APPLIER_PATIENCE:
                raise StateError(
                    f"the applier is at {last} and does not reach {position}",
                    place=self._sources,
                    hint="See whether `whimbrel migrate` is running and what it says, then verify again.",
                )

    def _say(self, what: str) -> None:
        report = self._report
        self._progress.note = f"{what}: {report.rows:,} rows, {report.found:,} items"

    # -- the two sides made comparable ---------------------------------------------------------------------------------

    def _same(self, one: Item | None, other: Item | None) -> bool:
        """Whether the target has ``other`` where the source's rows make ``one``."""
        if one is None or other is None or self._is_deleted(other):
            return one is None and (other is None or self._is_deleted(other))
        return normal_item(self._rest(one)) == normal_item(self._rest(other))

    def _is_deleted(self, item: Item) -> bool:
        return any(each.change_metadata.is_deleted(item) for each in self._mappings)

    def _rest(self, item: Item) -> Item:
        """What of an item the source can say."""
        for mapping in self._mappings:
            if mapping.change_metadata:
                item = mapping.change_metadata.rest(item)
        return item

    def _key_of(self, item: Item) -> Item:
        return {name: item[name] for name, _type in self._mappings[0].key_attributes}

    def _digest(self, item: Item) -> bytes:
        text = orjson.dumps(normal_item(self._rest(item)), option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(text, digest_size=16).digest()

    def _report_difference(self, key: Item, expected: Item | None, found: Item | None, unmappable: bool) -> None:
        if found is not None and not unmappable and self._is_protected(key):
            self._report.held += 1
            return
        kind = (
            "unmappable" if unmappable else "missing" if found is None else "extra" if expected is None else "changed"
        )
        self._report.note(Difference(self._sources, kind, key, expected, found))

    def _is_protected(self, key: Item) -> bool:
        """Whether the condition of its tables, which have the same, holds every write of the item back."""
        condition = self._mappings[0].condition
        return condition is not None and not meets(self._wire, self._target, key, condition, stop=self._stop)
