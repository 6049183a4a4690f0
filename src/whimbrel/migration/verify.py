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

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import orjson

from whimbrel.dynamodb.read import scan
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import IncompleteRead
from whimbrel.item import key_id
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import by_target
from whimbrel.migration.differences import LISTED, TableReport
from whimbrel.migration.dirty import Dirty, dirty_since
from whimbrel.migration.prepare import Prepared, lineage_of
from whimbrel.migration.progress import Progress
from whimbrel.migration.regroup import Regrouped
from whimbrel.migration.second_look import PARTITION_ITEMS, Applied, SecondLook
from whimbrel.migration.state import StateFolder
from whimbrel.migration.verified import Verified, read_verified, remove_verified, rules_now, targets_of, write_verified
from whimbrel.migration.waivers import NONE, Waivers
from whimbrel.mysql.connect import Mysql, connect, current_position
from whimbrel.mysql.points import count_rows
from whimbrel.records import Item, Position, Row, Value
from whimbrel.spill import PartitionFiles

PAGE_ITEMS = 200  # 1 MB of items with a hundred attributes each becomes 40 MB in Python, twice for each segment
_NO_DIGEST = b""  # equals none


def verify_all(
    prepared: Prepared,
    wire: DynamoClient,
    applied: Callable[[], Position | None],
    stop: threading.Event,
    progress: Progress,
    waivers: Waivers = NONE,
) -> list[TableReport]:
    """Verify every target table of the project, one after the other, and note whether all were equal but for what is
    waived: what else was applied when this began need not be looked at by ``verify_keys``.

    ``applied`` tells the applier's Position at the moment; it must move while a verification waits for it.
    """
    state = StateFolder(prepared.project.state)
    began = _beginning(prepared)  # before either side is read
    reports = []
    with closing(connect(prepared.project.source)) as connection:
        for mappings in by_target(list(prepared.mappings.values())).values():
            report = new_report(mappings)
            look = _second_look(prepared, connection, mappings, wire, Applied(applied), stop, report, waivers)
            verifier = Verifier(look, connection, mappings, wire, state.verify, stop, progress, report)
            reports.append(verifier.run(sum(prepared.estimates[each.source] for each in mappings)))
    if stop.is_set():
        return reports
    if not all(report.equal for report in reports):
        remove_verified(state.root)
    elif began and began.rules == rules_now(prepared):
        write_verified(state.root, replace(began, unsettled=_left(reports)))
    return reports


def dirty_items(prepared: Prepared) -> Dirty:
    """The items that ``verify_keys`` must look at so that all are verified; see ``Dirty.everything``."""
    root = prepared.project.state
    verified = read_verified(root)
    if verified and verified.rules != rules_now(prepared):
        reason = "a table was altered, or the project file edited, since the last verification"
        return replace(dirty_since(root, None), everything=reason)
    return dirty_since(root, verified)


def not_quick(prepared: Prepared) -> list[str]:
    """The source tables whose items can only be looked up by reading the whole table: an expression makes their key."""
    return [source for source, mapping in prepared.mappings.items() if not mapping.invertible]


def verify_keys(
    prepared: Prepared,
    dirty: Dirty,
    wire: DynamoClient,
    applied: Callable[[], Position | None],
    stop: threading.Event,
    progress: Progress,
    waivers: Waivers = NONE,
    *,
    still: Position | None = None,
) -> list[TableReport]:
    """Verify the items of ``dirty``, which ``dirty_items`` gave and which is not everything, from both sides.

    Where they are equal, all items are verified as of when ``dirty`` was read; items that did not stand still are left
    to the next call. ``still``: the tables cannot be written after this Position, and one look is enough.
    """
    assert not dirty.everything, dirty.everything
    root = prepared.project.state
    verified = read_verified(root)
    began = time.time()
    reports = []
    with closing(connect(prepared.project.source)) as connection:
        for target, mappings in by_target(list(prepared.mappings.values())).items():
            report = new_report(mappings)
            if target in dirty.texts:
                progress.note = f"{len(dirty.texts[target]):,} items of {target}"
                look = _second_look(
                    prepared, connection, mappings, wire, Applied(applied, still), stop, report, waivers
                )
                look.recheck(dirty.keys(target))
                report.seconds = time.time() - began
            reports.append(report)
    settled = all(report.counts.keys() <= {"unsettled"} for report in reports)
    listed = all(sum(report.counts.values()) == len(report.differences) for report in reports)
    if verified and dirty.place and settled and listed and not stop.is_set():
        unsettled = _left(reports)
        write_verified(
            root, replace(verified, position=dirty.position, time=began, place=dirty.place, unsettled=unsettled)
        )
    return reports


def _beginning(prepared: Prepared) -> Verified | None:
    """What to note of a verification that begins now; None where nobody keeps account of what is written meanwhile."""
    now, at = time.time(), dirty_since(prepared.project.state, None)
    if at.place is None:
        return None
    return Verified(at.position, now, targets_of(prepared), rules_now(prepared), at.place, full=now)


def _left(reports: list[TableReport]) -> dict[str, list[Item]]:
    """The items to be looked at again, by target table."""
    left = {report.target: [*report.differences, *report.waived] for report in reports}
    return {target: [each.key for each in several if each.key] for target, several in left.items() if several}


def new_report(mappings: list[TableMapping]) -> TableReport:
    names = sorted({name for each in mappings for name in each.change_metadata.names})
    sources = ", ".join(each.source for each in mappings)
    return TableReport(sources, mappings[0].target, not_compared=names)


def _second_look(
    prepared: Prepared,
    connection: Mysql,
    mappings: list[TableMapping],
    wire: DynamoClient,
    applied: Applied,
    stop: threading.Event,
    report: TableReport,
    waivers: Waivers,
) -> SecondLook:
    folder = StateFolder(prepared.project.state).verify
    lineage = lineage_of(prepared)
    return SecondLook(prepared.project, connection, mappings, wire, applied, lineage, folder, stop, report, waivers)


class Verifier:
    """Compares one target table with its source, or with all of its sources: the items that they share are made of
    the rows of each. What it finds is in ``report``.
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
    ) -> None:
        self._look = look
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
        partitions = max(1, -(-estimated_rows // PARTITION_ITEMS))
        with PartitionFiles(self._folder / "join", partitions) as join:
            for mapping in self._mappings:
                self._digest_source(join, mapping, partitions)
            self._digest_target(join)
            for number in range(partitions):
                self._look.recheck(self._candidates(join, number))
        for mapping in self._mappings:
            self._look.recheck_keyless(mapping, self._keyless.get(mapping.source, []))
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
        read = self._look.read_source(mapping, use, count)
        after, ended = count_rows(self._connection, mapping.table), current_position(self._connection)
        if began == ended and before == after != read and not self._stop.is_set():
            raise IncompleteRead(
                f"{read:,} rows were read, and the source counts {after:,}",
                place=mapping.source,
                hint="Verify again; if it happens again, something between the server and whimbrel truncates results.",
            )

    def _add_expected(self, join: PartitionFiles, mapping: TableMapping, rows: list[Row]) -> None:
        puts, faults = mapping.put_items(rows)
        if mapping.shared:  # the items come together, from all their tables, when their partition is read
            number = bytes([self._mappings.index(mapping)])
            for put in puts:
                join.add(key_id(put.key), b"p" + number + orjson.dumps(put.item))
        else:
            self._report.items += len(puts)
            for put in puts:
                join.add(key_id(put.key), b"s" + self._look.digest(put.item))
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
                mark = b"d" if self._look.is_deleted(item) else b"t"
                join.add(key_id(self._look.key_of(item)), mark + self._look.digest(item))
            self._say("reading the target")

        scan(
            self._wire,
            self._report.target,
            self._look.readers,
            page,
            pace=self._look.pace,
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
            expected.setdefault(key, self._look.digest(item))
        self._report.softly_deleted += len(deleted - expected.keys())
        for key, digest in expected.items():
            if found.pop(key, None) != digest:
                yield orjson.loads(key)
        for key in found:
            yield orjson.loads(key)

    def _say(self, what: str) -> None:
        report = self._report
        self._progress.note = f"{what}: {report.rows:,} rows, {report.found:,} items"
