"""Before the source is opened again: the rows of all items that the reverse stream touched are made, and then proved,
what the items say.

DynamoDB is closed, and the stream was read to its end: so the items stand still. The lanes of two items are not
ordered, so a row that moved between them may have ended as the slower lane had it. Therefore first every row that an
item has is put as it is there, and only then a row is deleted that no touched item has, though it bears the key of one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from itertools import islice
from typing import NamedTuple

from whimbrel.dynamodb.read import get_items, scan
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import MappingError, Stopped
from whimbrel.handover.reverse import Settings, inverses_of, settings_of
from whimbrel.handover.writing import EXPIRED, PHASE, ItemLetters
from whimbrel.item import key_id
from whimbrel.mapping.back_values import same_value
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.items_back import ItemInverse
from whimbrel.migration.dead import DeadLetters, Letter, read_letters
from whimbrel.migration.differences import Difference, TableReport
from whimbrel.migration.prepare import Prepared
from whimbrel.migration.waivers import NONE, Waivers
from whimbrel.mysql.connect import Mysql, connect
from whimbrel.mysql.points import rows_where_equal
from whimbrel.mysql.reverse_tables import Lane, read_items, short
from whimbrel.mysql.row_statements import Destination
from whimbrel.mysql.write_rows import ItemChange, Refusal, RowWriter
from whimbrel.records import Fault, Item, Row, RowChange, Value

AT_ONCE = 200  # items
LETTERS = "reverse-dead.jsonl"
_LANE = Lane("reconciled", "", 0)

Found = list[tuple[Item, Item | None]]  # (key, the item, if there is one)


class Reconciled(NamedTuple):
    """``letters`` are items that still cannot be written back, ``aside`` rows that stand in another's way: with any of
    them the source is not what DynamoDB has.
    """

    written: int
    deleted: int
    letters: int
    aside: int


class Look(NamedTuple):
    """Some items beside their rows. ``different``: rows that are not as the item says, or missing; ``extra``: rows that
    bear the key of an item which does not have them; ``unreadable``: items that cannot be read back, and why.
    """

    different: list[tuple[Item, RowChange, Row | None]]
    extra: list[tuple[Item, RowChange]]
    unreadable: list[tuple[Item, str]]
    wanted: list[bytes]  # all rows that the items have, each as a short text of its own
    rows: int


def reconcile(
    prepared: Prepared, epoch: int, wire: DynamoClient, stop: threading.Event, settings: Settings | None = None
) -> Reconciled:
    """With DynamoDB closed and the stream at its end. May be repeated. Raises Stopped and what the servers raise."""
    site = _Site(prepared, epoch, wire, stop, settings or settings_of(prepared))
    letters = DeadLetters(prepared.project.state / LETTERS)
    with closing(connect(site.settings.account)) as connection, closing(site.writer()) as writer:
        work = _Work(site, connection, writer)
        for target in site.inverses:
            work.put_all(target)
        for target in site.inverses:
            work.delete_rest(target)
        writer.let_go_aside(work.is_gone)
        aside = writer.settle_aside()
    letters.settle(_is_ours, work.faults, PHASE)
    return Reconciled(work.written, work.deleted, len(ItemLetters(letters)), aside)


def verify_back(
    prepared: Prepared,
    epoch: int,
    wire: DynamoClient,
    stop: threading.Event,
    settings: Settings | None = None,
    *,
    waivers: Waivers = NONE,
) -> list[TableReport]:
    """Whether the rows of every touched item are what the item says; a report a target. DynamoDB must be closed."""
    site = _Site(prepared, epoch, wire, stop, settings or settings_of(prepared))
    reports = []
    with closing(connect(site.settings.account)) as connection:
        for target, inverse in site.inverses.items():
            sources = ", ".join(each.mapping.source for each in inverse.inverses)
            report = TableReport(sources, target)

            def note(items: Found, target: str = target, report: TableReport = report, sources: str = sources) -> None:
                _note(site.look(connection, target, items), report, sources, waivers)
                report.items += len(items)
                report.found += sum(item is not None for _, item in items)

            site.each(connection, target, note)
            reports.append(report)
    return reports


def _note(look: Look, report: TableReport, sources: str, waivers: Waivers) -> None:
    report.rows += look.rows
    for key, put, row in look.different:
        reason = f"row {put.key} of {put.table.full_name} is {'missing' if row is None else 'not as the item says'}"
        report.note(Difference(sources, "missing" if row is None else "changed", key, None, None, reason))
    for key, change in look.extra:
        reason = f"row {change.key} of {change.table.full_name} is not part of its item"
        report.note(Difference(sources, "extra", key, None, None, reason))
    for key, reason in look.unreadable:
        waived = waivers.has_item([report.target], key)
        report.note(Difference(sources, "unmappable", key, None, None, reason), waived=waived)


class _Work:
    """One reconciliation. ``had`` has every row that a touched item has."""

    def __init__(self, site: _Site, connection: Mysql, writer: RowWriter) -> None:
        self._site, self._connection, self._writer = site, connection, writer
        self._had: set[bytes] = set()
        self._looked_at: set[bytes] = set()  # items
        self.written = self.deleted = 0
        self.faults: list[Fault] = []

    def put_all(self, target: str) -> None:
        def put(items: Found) -> None:
            look = self._site.look(self._connection, target, items)
            self._had.update(look.wanted)
            self._looked_at.update(short(key_id(key)) for key, _ in items)
            self.faults += [Fault(target, reason, {}, key, None) for key, reason in look.unreadable]
            self.written += self._write(target, [(key, put) for key, put, _ in look.different])

        self._site.each(self._connection, target, put)

    def delete_rest(self, target: str) -> None:
        """Only after everything was put: a row that has moved bears its new item's key by now."""

        def delete(items: Found) -> None:
            extra = self._site.look(self._connection, target, items).extra
            gone = [
                (key, change) for key, change in extra if _row_id(change.table.full_name, change.key) not in self._had
            ]
            self.deleted += self._write(target, gone)

        self._site.each(self._connection, target, delete)

    def is_gone(self, source: str, row: Mapping[str, Value]) -> bool:
        """Whether a row that is aside has an item that was looked at, and that does not have it."""
        mapping = self._site.mapping_of(source)
        whole = mapping.unjoined(tuple(row[name] for name in mapping.table.stored.names))
        key = mapping.item_key(whole)
        looked_at = key is not None and short(key_id(key)) in self._looked_at
        return looked_at and _row_id(source, _key(mapping, whole)) not in self._had

    def _write(self, target: str, changes: list[tuple[Item, RowChange]]) -> int:
        refused: list[Refusal] = []
        items = [ItemChange(_LANE, n, target, key_id(key), (change,)) for n, (key, change) in enumerate(changes)]
        if items:
            self._writer.write(items, {}, refused.extend)
        keys = {item.sequence: key for item, (key, _) in zip(items, changes, strict=True)}
        self.faults += [Fault(target, reason, {}, keys[item.sequence], None) for item, reason in refused]
        return len(changes) - len(refused)


class _Site:
    """The two sides, closed and still."""

    def __init__(
        self, prepared: Prepared, epoch: int, wire: DynamoClient, stop: threading.Event, settings: Settings
    ) -> None:
        self.prepared, self.epoch, self.settings = prepared, epoch, settings
        self._wire, self._stop = wire, stop
        self._letters = [each for each in read_letters(prepared.project.state / LETTERS) if _is_ours(each)]
        self._expired = {(each["table"], key_id(each["item_key"])) for each in self._letters if _is_expired(each)}
        self.inverses: dict[str, ItemInverse] = {}
        self._destinations: dict[str, Destination] = {}
        with closing(connect(settings.account)) as connection:
            self.inverses, self._destinations = inverses_of(prepared, connection, settings.rules, None)

    def mapping_of(self, source: str) -> TableMapping:
        """That from whose items the rows of the table come back."""
        every = (each for several in self.inverses.values() for each in several.inverses)
        return next(each.mapping for each in every if each.table.full_name == source)

    def writer(self) -> RowWriter:
        return RowWriter(self.settings.account, self.epoch, self._destinations, threading.Event(), self._stop.wait)

    def each(self, connection: Mysql, target: str, use: Callable[[Found], None]) -> None:
        """The touched items as they are now, some at a time; all that there are, if too many were touched. None where
        all are copies of what other targets have.
        """
        if not self.inverses[target].inverses:
            return
        touched = read_items(connection, self.settings.account.database, self.epoch, target)
        if touched is None:
            self._each_of_all(target, use)
            # An item that is gone is not seen there, and its letter stands for it.
            touched = [each["item_key"] for each in self._letters if each["table"] == target]
        left = iter(touched)
        while keys := list(islice(left, AT_ONCE)):
            if self._stop.is_set():
                raise Stopped("asked to stop before the rows were reconciled")
            found = get_items(self._wire, target, keys, stop=self._stop)
            use([(key, found.get(key_id(key))) for key in keys])

    def _each_of_all(self, target: str, use: Callable[[Found], None]) -> None:
        """An item that is gone is not seen: its rows were deleted by its own change."""
        [first, *_] = self.inverses[target].inverses
        names = [name for name, _ in first.mapping.key_attributes]

        def on_page(page: list[Item]) -> None:
            use([({name: item[name] for name in names}, item) for item in page])

        scan(self._wire, target, 1, on_page, consistent=True, page_items=AT_ONCE, stop=self._stop)

    def look(self, connection: Mysql, target: str, items: Found) -> Look:
        look = Look([], [], [], [], 0)
        inverse = self.inverses[target]
        puts: dict[str, dict[Row, tuple[Item, RowChange]]] = {}
        for key, item in items:
            rows, reasons = inverse.rows(item)
            if reasons:
                look.unreadable.append((key, "; ".join(reasons[:5])))
                continue
            for put in rows.values():
                puts.setdefault(put.table.full_name, {})[put.key] = (key, put)
                look.wanted.append(_row_id(put.table.full_name, put.key))
        unreadable = {key_id(key) for key, _ in look.unreadable}
        # An item that time to live took may have left its rows, by rule: they are nobody else's to delete.
        keeps = self.settings.rules.ttl == "skip"
        readable = [key for key, item in items if key_id(key) not in unreadable and (item or not keeps)]
        for number, each in enumerate(inverse.inverses):
            mine = puts.get(each.table.full_name, {})
            self._compare(connection, each.mapping, each.lossy, mine, look)
            self._find_extra(connection, inverse, number, readable, mine, look)
        self._keep_expired(target, look)
        return look

    def _keep_expired(self, target: str, look: Look) -> None:
        """By the rule ``stop`` the rows of an item that time to live took are not deleted until somebody decides."""
        if self.settings.rules.ttl != "stop":
            return
        kept = {key_id(key): key for key, _ in look.extra if (target, key_id(key)) in self._expired}
        look.extra[:] = [(key, change) for key, change in look.extra if key_id(key) not in kept]
        look.unreadable.extend((key, EXPIRED) for key in kept.values())

    def _compare(
        self,
        connection: Mysql,
        mapping: TableMapping,
        lossy: frozenset[str],
        puts: dict[Row, tuple[Item, RowChange]],
        look: Look,
    ) -> None:
        table = mapping.table
        rows = {_key(mapping, row): row for row in rows_where_equal(connection, table, table.primary_key, list(puts))}
        for key, (item_key, put) in puts.items():
            row = rows.get(key)
            if row is None:
                look.different.append((item_key, put, None))
                continue
            same = partial(same_value, row=row, table=table, lossy=lossy)
            unlike = [n for n, v in zip(put.columns, put.values or (), strict=True) if not same(n, v)]
            if unlike:
                look.different.append((item_key, put._replace(kept=lossy - set(unlike)), row))

    def _find_extra(
        self,
        connection: Mysql,
        inverse: ItemInverse,
        number: int,
        keys: list[Item],
        puts: dict[Row, tuple[Item, RowChange]],
        look: Look,
    ) -> None:
        """Where an expression makes the key, a row cannot be found by it: the guarded deletions were all."""
        one = inverse.inverses[number]
        mapping, guard, found_by = one.mapping, one.mapping.group_columns, one.mapping.lookup_columns
        if not mapping.invertible:
            return
        mine = {key_id(key): key for key in keys if number in inverse.owners(key)}
        places = dict.fromkeys(
            place for key in mine.values() for place in _places(mapping, key)
        )  # of several items each
        for row in rows_where_equal(connection, mapping.table, found_by, list(places)):
            found = mapping.item_key(mapping.unjoined(row))  # also of one that is left out as an orphan
            key = mine.get(key_id(found)) if found is not None else None
            if key is None or _key(mapping, row) in puts:
                continue
            guarded = tuple((name, row[mapping.table.index(name)]) for name in guard)
            look.extra.append((key, RowChange(mapping.table, _key(mapping, row), guarded, one.columns, None)))


def _places(mapping: TableMapping, key: Item) -> list[Row]:
    try:
        return mapping.source_keys(key)
    except MappingError:
        return []  # a key that could be too many rows': such an item is among those that cannot be read back


def _key(mapping: TableMapping, row: Row) -> Row:
    return tuple(row[mapping.table.index(name)] for name in mapping.table.primary_key)


def _row_id(source: str, key: Row) -> bytes:
    return short(repr((source, key)).encode("utf-8", "surrogatepass"))


def _is_expired(letter: Letter) -> bool:
    return bool(letter["reason"] == EXPIRED)


def _is_ours(letter: Letter) -> bool:
    return bool(letter["phase"] == PHASE)
