"""The second look at items, by their keys: what differed at first sight, or may have changed since an earlier
verification, is read again from both sides until it is equal, or different while the source stood still.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.read import get_items, meets
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import MappingError, StateError
from whimbrel.item import key_id, normal_item
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.differences import Difference, TableReport
from whimbrel.migration.digests import ItemDigests, as_written
from whimbrel.migration.lineage import Lineage
from whimbrel.migration.lookup import read_whole_table, rows_of_items, rows_within
from whimbrel.migration.portions import ATTRIBUTE_BYTES
from whimbrel.migration.positions import reached
from whimbrel.migration.waivers import NONE, Waivers
from whimbrel.mysql.chunks import rows_at_worst
from whimbrel.mysql.connect import Mysql
from whimbrel.mysql.points import rows_where_equal
from whimbrel.mysql.schema import average_row_bytes
from whimbrel.nested import together
from whimbrel.project import Project
from whimbrel.records import Item, Position, Row, Value
from whimbrel.threads import Beside
from whimbrel.workers import processes

PARTITION_ITEMS = 100_000
RECHECKED_AT_ONCE = 1_000
BYTES_AT_ONCE = 8 << 20  # of memory that the items which are looked at together take on one side
FIRST_UNSURE = 20  # items: they have BYTES_AT_ONCE if each is as large as DynamoDB allows
FIRST_GROUPS = 50  # items of several rows, of which nobody knows yet how many
CONFIRMATIONS = 3  # times a difference must be seen with the source standing still
ATTEMPTS = 40
PLAIN_ATTEMPTS = 5  # of these: whatever changes less often than they take is settled by them
HOT_ITEMS = 50  # that are watched together
WATCH_SECONDS = 0.005  # between looks at them
HOT_BYTES = 8 << 20  # of what they were meanwhile; what they are beyond it is not noted
APPLIER_PATIENCE = 60.0  # seconds without any movement of the applied Position
READERS = 8  # of the target, at most
_VALUE = b'":{"'  # where one begins, in an item or in a map, as JSON


class Applied(NamedTuple):
    """``now`` tells the applier's Position at the moment; it must move while a verification waits for it. ``still``:
    nobody may write the source's tables after that Position; None: the source is asked where it stands.
    """

    now: Callable[[], Position | None]
    still: Position | None = None


class _States:
    """What else the rows of some items made, by ``key_id``, as far as there is room."""

    def __init__(self) -> None:
        self._of: dict[bytes, list[Item | None]] = {}
        self._bytes = 0

    def of(self, text: bytes) -> list[Item | None]:
        return self._of.get(text, [])

    def note(self, text: bytes, state: Item | None, first: Item | None) -> None:
        """If it is another than when it was noted last; ``first`` is what it was before that."""
        states = self._of.setdefault(text, [])
        if state != (states[-1] if states else first) and self._bytes < HOT_BYTES:
            states.append(state)
            self._bytes += len(orjson.dumps(state))


class _Sides(NamedTuple):
    """Of some keys, by ``key_id``: what the source's rows made when they were read, which of them cannot be mapped,
    what the target had later, and what else the rows made in between, as far as it was seen.
    """

    expected: dict[bytes, Item]
    unmappable: set[bytes]
    found: dict[bytes, Item]
    meanwhile: _States


class Looked(NamedTuple):
    """One item as both sides have it at the moment; ``rows`` by the rules' names, ``faults`` why it cannot be made."""

    rows: dict[str, list[Row]]
    expected: Item | None
    found: Item | None
    agree: bool
    faults: tuple[str, ...]


class SecondLook:
    """Of the items of one target table, which all of ``mappings`` have. What differs is noted in ``report``."""

    def __init__(
        self,
        project: Project,
        connection: Mysql,
        mappings: list[TableMapping],
        wire: DynamoClient,
        applied: Applied,
        lineage: Lineage,
        folder: Path,
        stop: threading.Event,
        report: TableReport,
        waivers: Waivers = NONE,
    ) -> None:
        self.source = project.source
        self.target_settings = project.target
        self.pace = RateLimiter(project.target.max_read_units)
        self.readers = min(READERS, project.target.concurrency)
        self.processes = processes(project.workers)  # for the first look
        self._connection = connection
        self._mappings = mappings
        self._target = mappings[0].target
        self._sources = report.source
        self._wire = wire
        self._applied = applied
        self._lineage = lineage
        self._folder = folder
        self._reads = count()
        self._found_bytes = 0
        self._stop = stop
        self._report = report
        self._waivers = waivers
        self.digests = ItemDigests(
            mappings[0].key_attributes,
            [each.change_metadata for each in mappings],
            as_written=all(as_written(each.design) for each in mappings),
        )

    def recheck(self, candidates: Iterable[Item]) -> None:
        """As many at a time as have BYTES_AT_ONCE: their rows and items are in memory together, several times."""
        # Where an expression makes the key, each look at the source reads the whole table: let it be worth it.
        most = RECHECKED_AT_ONCE if all(each.invertible for each in self._mappings) else PARTITION_ITEMS
        at_once, left = 0, iter(candidates)
        for first in left:
            at_once = at_once or self._few(most)
            group = [first, *islice(left, at_once - 1)]
            self._report.candidates += len(group)
            self._settle(group)
            if size := self._found_bytes:  # else nothing is known of them yet
                at_once = min(most, 4 * at_once, max(1, BYTES_AT_ONCE * len(group) // size))

    def _few(self, most: int) -> int:
        """How many items have BYTES_AT_ONCE, before the first are seen: by what the server estimates of a row. That may
        be from before the table was filled, so they are few where the columns could hold more.
        """
        surely = min(rows_at_worst(each.table, BYTES_AT_ONCE) for each in self._mappings)
        most = min(most, max(FIRST_UNSURE, surely))
        row = max(
            average_row_bytes(self._connection, each.table) + ATTRIBUTE_BYTES * len(each.table.columns)
            for each in self._mappings
        )
        of_one = all(each.shape != "group" and not each.shared for each in self._mappings)
        return max(1, min(most if of_one else FIRST_GROUPS, BYTES_AT_ONCE // max(1, row)))

    def at(self, key: Item) -> Looked:
        """Look at one item once: a change may be on its way to the target. Raises MappingError for a key that could
        come from too many rows.
        """
        rows = {each.source: self._rows_of(each, [key]) for each in self._mappings}
        faults = [fault for each in self._mappings for fault in each.put_items(rows[each.source])[1]]
        expected, _ = self._source_items([key])
        found, text = self._target_items([key]), key_id(key)
        agree = not faults and self.same(expected.get(text), found.get(text))
        return Looked(rows, expected.get(text), found.get(text), agree, tuple(each.reason for each in faults))

    def _settle(self, keys: list[Item]) -> None:
        """Read ``keys`` again on both sides until each is equal, or different while its source stood still.

        An item that always changes is watched: the target must have what the source had since the look at it began.
        """
        seen: dict[bytes, int] = {}
        keys = self._tried(keys, seen, PLAIN_ATTEMPTS, watch=False)
        watch = all(each.invertible for each in self._mappings)  # else each look reads the whole table
        at_once = HOT_ITEMS if watch else max(1, len(keys))
        for start in range(0, len(keys), at_once):
            some = keys[start : start + at_once]
            for key in self._tried(some, seen, ATTEMPTS - PLAIN_ATTEMPTS, watch=watch):
                if not self._stop.is_set():
                    self._report.note(Difference(self._sources, "unsettled", key, None, None))

    def _tried(self, keys: list[Item], seen: dict[bytes, int], attempts: int, *, watch: bool) -> list[Item]:
        """Those of ``keys`` that are still open. ``seen`` counts how often each differed while it stood still."""
        for attempt in range(attempts):
            if not keys or self._stop.is_set():
                break
            if attempt:
                self._stop.wait(min(0.05 * attempt, 1.0))
            try:
                sides = self._both_sides(keys, watch=watch)
            except MappingError:  # rare: the rest at the next attempt
                keys = [key for key in keys if self._has_way_back(key)]
                continue
            keys = self._still_open([key for key in keys if not self._are_equal(key_id(key), sides)], sides, seen)
        return keys

    def _are_equal(self, text: bytes, sides: _Sides) -> bool:
        states = [sides.expected.get(text), *sides.meanwhile.of(text)]
        return text not in sides.unmappable and any(self.same(state, sides.found.get(text)) for state in states)

    def _still_open(self, keys: list[Item], sides: _Sides, seen: dict[bytes, int]) -> list[Item]:
        """Of keys that differ: but for those that have done so often enough, with the source standing still."""
        if not keys:
            return []
        again, _ = self._source_items(keys)
        left = []
        for key in keys:
            text = key_id(key)
            if self.same(sides.expected.get(text), again.get(text)) and not sides.meanwhile.of(text):
                seen[text] = seen.get(text, 0) + 1
                if seen[text] >= CONFIRMATIONS:
                    found = sides.found.get(text)
                    self._report_difference(key, sides.expected.get(text), found, text in sides.unmappable)
                    continue
            left.append(key)
        return left

    def _both_sides(self, keys: list[Item], *, watch: bool) -> _Sides:
        """What the source's rows make, and what the target has once everything up to then is applied. With ``watch``,
        also what the rows make until the target is read. Raises MappingError as ``_has_way_back`` tells.
        """
        meanwhile = _States()
        if self._applied.still is None:
            expected = self._source_items(keys)
            look = partial(self._note_states, keys, expected[0], meanwhile) if watch else None
            self._await_applied(self._lineage.end_of(self._connection), look)
            return _Sides(*expected, self._target_items(keys), meanwhile)
        self._await_applied(self._applied.still)
        reading = Beside(partial(self._target_items, keys), "verify")
        try:
            expected = self._source_items(keys)
        finally:
            found = reading.result()  # what it reads with is not left in use
        return _Sides(*expected, found, meanwhile)

    def _note_states(self, keys: list[Item], expected: dict[bytes, Item], meanwhile: _States) -> None:
        """What they are now; one that cannot be mapped is nothing that the target could have."""
        items, unmappable = self._source_items(keys)
        for text in map(key_id, keys):
            if text not in unmappable:
                meanwhile.note(text, items.get(text), expected.get(text))

    def recheck_keyless(self, mapping: TableMapping, keys: list[tuple[Value, ...]]) -> None:
        """Rows without an item's key have no place in the target to compare: they count if they still have none."""
        table = mapping.table
        rows = rows_where_equal(self._connection, table, table.primary_key, keys)
        self._connection.commit()
        for fault in mapping.put_items(rows)[1]:
            if fault.item_key is None:
                reason = f"{fault.reason} (row {fault.source_key})"
                difference = Difference(mapping.source, "unmappable", {}, None, None, reason)
                self._report.note(difference, waived=self._waivers.has_row(mapping.source, fault.source_key))

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
                together(items.setdefault(key_id(put.key), {}), put.item)
        return items, unmappable

    def _rows_of(self, mapping: TableMapping, keys: list[Item]) -> list[Row]:
        """All rows, as they are now, of the items of ``keys``."""
        if mapping.invertible:
            return rows_of_items(self._connection, mapping, keys)
        found: list[Row] = []
        wanted = {key_id(key) for key in keys}
        self.read_source(mapping, lambda rows: found.extend(rows_within(mapping, rows, wanted)), lambda rows: None)
        return found

    def read_source(self, mapping: TableMapping, use: Callable[[list[Row]], None], count: Callable[[int], None]) -> int:
        folder = self._folder / f"export-{next(self._reads)}"
        return read_whole_table(self.source, mapping, folder, use, count, self._stop)

    def _target_items(self, keys: list[Item]) -> dict[bytes, Item]:
        found = get_items(self._wire, self._target, keys, pace=self.pace, readers=self.readers, stop=self._stop)
        texts = map(orjson.dumps, found.values())
        self._found_bytes = sum(len(text) + ATTRIBUTE_BYTES * text.count(_VALUE) for text in texts)
        return found

    def _await_applied(self, position: Position, look: Callable[[], None] | None = None) -> None:
        """``look`` is called meanwhile, and once at least."""
        last, moved = self._applied.now(), time.monotonic()
        while True:
            if look:
                look()
            if reached(last, position) or self._stop.wait(WATCH_SECONDS if look else 0.02):
                return
            now = self._applied.now()
            if now != last:
                last, moved = now, time.monotonic()
            elif time.monotonic() - moved > APPLIER_PATIENCE:
                raise StateError(
                    f"the applier is at {last} and does not reach {position}",
                    place=self._sources,
                    hint="See whether `whimbrel migrate` is running and what it says, then verify again.",
                )

    # -- the two sides made comparable ---------------------------------------------------------------------------------

    def same(self, one: Item | None, other: Item | None) -> bool:
        """Whether the target has ``other`` where the source's rows make ``one``."""
        if one is None or other is None or self.is_deleted(other):
            return one is None and (other is None or self.is_deleted(other))
        return normal_item(self._rest(one)) == normal_item(self._rest(other))

    def is_deleted(self, item: Item) -> bool:
        return any(each.change_metadata.is_deleted(item) for each in self._mappings)

    def _rest(self, item: Item) -> Item:
        """What of an item the source can say."""
        for mapping in self._mappings:
            if mapping.change_metadata:
                item = mapping.change_metadata.rest(item)
        return item

    def _report_difference(self, key: Item, expected: Item | None, found: Item | None, unmappable: bool) -> None:
        if found is not None and not unmappable and self._is_protected(key):
            self._report.held += 1
            return
        kind = (
            "unmappable" if unmappable else "missing" if found is None else "extra" if expected is None else "changed"
        )
        waived = self._waivers.has_item([each.source for each in self._mappings], key)
        self._report.note(Difference(self._sources, kind, key, expected, found), waived=waived)

    def _is_protected(self, key: Item) -> bool:
        """Whether the condition of its tables, which have the same, holds every write of the item back."""
        condition = self._mappings[0].condition
        return condition is not None and not meets(self._wire, self._target, key, condition, stop=self._stop)
