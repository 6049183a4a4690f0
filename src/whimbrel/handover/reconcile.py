"""Before the source is opened again: the rows of all items that the reverse stream touched are made, and then proved,
what the items say.

DynamoDB is closed, and the stream was read to its end: so the items stand still. The lanes of two items are not
ordered, so a row that moved between them may have ended as the slower lane had it. Therefore first every row that an
item has is put as it is there, and only then a row is deleted that no touched item has, though it bears the key of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from contextlib import closing
from functools import partial
from typing import NamedTuple

import orjson

from whimbrel.handover.look import AT_ONCE, Found, Look, Site, primary_key, row_id
from whimbrel.handover.reverse import whole_row
from whimbrel.handover.writing import LETTERS, PHASE, ItemLetters
from whimbrel.item import key_id
from whimbrel.migration.dead import DeadLetters, Letter, read_letters
from whimbrel.migration.differences import Difference, TableReport
from whimbrel.migration.waivers import NONE, Waivers
from whimbrel.mysql.connect import Mysql, connect, connect_to_write
from whimbrel.mysql.reverse_tables import Lane, short
from whimbrel.mysql.touched_items import put_all_back
from whimbrel.mysql.write_rows import ItemChange, Refusal, RowWriter
from whimbrel.records import Fault, Item, RowChange, Value

_LANE = Lane("reconciled", "", 0)


class Reconciled(NamedTuple):
    """``letters`` are items that still cannot be written back, ``aside`` rows that stand in another's way: with any of
    them the source is not what DynamoDB has.
    """

    written: int
    deleted: int
    letters: int
    aside: int


def reconcile(site: Site) -> Reconciled:
    """With DynamoDB closed and the stream at its end. May be repeated. Raises Stopped and what the servers raise."""
    letters = DeadLetters(site.prepared.project.state / LETTERS)
    with closing(connect_to_write(site.settings.account)) as connection:
        put_all_back(connection, site.schema, site.epoch)
    with closing(connect(site.settings.account)) as connection, closing(site.writer()) as writer:
        work = _Work(site, connection, writer)
        site.each(connection, work.put)
        work.delete_rest()
        writer.let_go_aside(work.is_gone)
        aside = writer.settle_aside()
    letters.settle(_is_ours, work.faults, PHASE)
    return Reconciled(work.written, work.deleted, len(ItemLetters(letters)), aside)


def verify_back(site: Site, *, waivers: Waivers = NONE) -> list[TableReport]:
    """Whether the rows of every touched item are what the item says; a report a target. DynamoDB must be closed."""
    reports = {
        target: TableReport(", ".join(each.mapping.source for each in inverse.inverses), target)
        for target, inverse in site.inverses.items()
    }
    unwritten = {target: site.unwritten(target) for target in site.inverses}
    waived = {
        (letter["table"], key_id(letter["item_key"]))
        for letter in waivers.of(read_letters(site.prepared.project.state / LETTERS))
        if _is_ours(letter)
    }
    with closing(connect(site.settings.account)) as connection:

        def note(target: str, items: Found) -> None:
            report = reports[target]
            is_waived = partial(_is_waived, waived, target)
            _note(site.look(connection, target, items, unwritten[target]), report, is_waived)
            report.items += len(items)
            report.found += sum(item is not None for _, item in items)

        site.each(connection, note)
    return list(reports.values())


def _is_waived(waived: Set[tuple[str, bytes]], target: str, key: Item) -> bool:
    return (target, key_id(key)) in waived


def _note(look: Look, report: TableReport, is_waived: Callable[[Item], bool]) -> None:
    """An item that could not be written back, and is waived, may differ in any way."""
    sources = report.source
    for key, put, row in look.different:
        reason = f"row {put.key} of {put.table.full_name} is {'missing' if row is None else 'not as the item says'}"
        kind = "missing" if row is None else "changed"
        report.note(Difference(sources, kind, key, None, None, reason), waived=is_waived(key))
    for key, change in look.extra:
        reason = f"row {change.key} of {change.table.full_name} is not part of its item"
        report.note(Difference(sources, "extra", key, None, None, reason), waived=is_waived(key))
    for key, reason in look.unreadable:
        report.note(Difference(sources, "unmappable", key, None, None, reason), waived=is_waived(key))


class _Work:
    """One reconciliation. ``had`` has every row that a touched item has, and the item: see ``Site.look``."""

    def __init__(self, site: Site, connection: Mysql, writer: RowWriter) -> None:
        self._site, self._connection, self._writer = site, connection, writer
        self._unwritten = {target: site.unwritten(target) for target in site.inverses}
        self._had: dict[bytes, bytes] = {}
        self._looked_at: set[bytes] = set()  # items
        self._with_extra: dict[str, dict[bytes, Item]] = {target: {} for target in site.inverses}
        self.written = self.deleted = 0
        self.faults: list[Fault] = []

    def put(self, target: str, items: Found) -> None:
        look = self._look(target, items)
        self._looked_at.update(short(key_id(key)) for key, _ in items)
        self.faults += [Fault(target, reason, {}, key, None) for key, reason in look.unreadable]
        written, refused = self._write(target, [(key, put) for key, put, _ in look.different])
        self.written += written
        # The rows of an item stay as they were, all of them, if one cannot be as it says.
        self._with_extra[target].update((key_id(key), key) for key, _ in look.extra if key_id(key) not in refused)

    def delete_rest(self) -> None:
        """Only after everything was put: a row that has moved bears its new item's key by now. A put gives a row no key
        but that of an item which has it, so no other item can have one too many since.
        """
        for target, several in self._with_extra.items():
            keys = list(several.values())
            for start in range(0, len(keys), AT_ONCE):
                extra = self._look(target, self._site.items(target, keys[start : start + AT_ONCE])).extra
                self.deleted += self._write(target, [each for each in extra if not self._is_had(*each)])[0]

    def _is_had(self, _: Item, change: RowChange) -> bool:
        return row_id(change.table.full_name, change.key) in self._had

    def _look(self, target: str, items: Found) -> Look:
        return self._site.look(self._connection, target, items, self._unwritten[target], self._had)

    def is_gone(self, source: str, row: Mapping[str, Value]) -> bool:
        """Whether a row that is aside has an item that was looked at, and that does not have it. Where rows may be left
        out for what they look up, such an item says nothing of a row, unless it was refused: see ``Site.look``.
        """
        mapping = self._site.mapping_of(source)
        whole = whole_row(mapping, row)
        key = mapping.item_key(whole)
        if key is None or short(key_id(key)) not in self._looked_at:
            return False
        if mapping.seen.leaves_out_orphans and key_id(key) not in self._unwritten[mapping.target].every:
            return False
        return row_id(source, primary_key(mapping, whole)) not in self._had

    def _write(self, target: str, changes: list[tuple[Item, RowChange]]) -> tuple[int, Set[bytes]]:
        """How many rows were written, and the items, by ``key_id``, that were refused as a whole."""
        several: dict[bytes, list[RowChange]] = {}
        for key, change in changes:
            several.setdefault(key_id(key), []).append(change)
        refused: list[Refusal] = []
        items = [ItemChange(_LANE, n, target, each, mine) for n, (each, mine) in enumerate(several.items())]
        if items:
            self._writer.write(items, {}, refused.extend)
        self.faults += [Fault(target, reason, {}, orjson.loads(item.key), None) for item, reason in refused]
        left = {item.key for item, _ in refused}
        return sum(len(mine) for each, mine in several.items() if each not in left), left


def _is_ours(letter: Letter) -> bool:
    return bool(letter["phase"] == PHASE)
