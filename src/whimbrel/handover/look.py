"""Items that the reverse stream touched, beside their rows: what a row lacks of its item, or has beyond it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence, Set
from contextlib import closing
from functools import partial
from typing import NamedTuple

from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.read import get_items
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import MappingError, Stopped
from whimbrel.handover.reverse import Settings, inverses_of, settings_of
from whimbrel.handover.writing import EXPIRED, LEFT_OVER, LETTERS, PHASE
from whimbrel.item import key_id
from whimbrel.mapping.back_values import same_value
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.items_back import ItemInverse
from whimbrel.migration.dead import read_letters
from whimbrel.migration.prepare import Prepared
from whimbrel.mysql.connect import Mysql, connect
from whimbrel.mysql.points import rows_where_equal
from whimbrel.mysql.reverse_tables import short
from whimbrel.mysql.touched_items import Touched, listed_items
from whimbrel.mysql.write_rows import RowWriter
from whimbrel.records import Item, Row, RowChange

AT_ONCE = 200  # items
NOT_FOUND = "it could not be written back before, and rows left of that cannot be found: an expression makes its key"

Found = list[tuple[Item, Item | None]]  # (key, the item, if there is one)


class Look(NamedTuple):
    """Some items beside their rows. ``different``: rows that are not as the item says, or missing; ``extra``: rows that
    bear the key of an item which does not have them; ``unreadable``: items that cannot be read back, and why.
    """

    different: list[tuple[Item, RowChange, Row | None]]
    extra: list[tuple[Item, RowChange]]
    unreadable: list[tuple[Item, str]]

    @property
    def unlike(self) -> Iterator[Item]:
        """The keys of the items that are not as their rows say; one may come several times."""
        yield from (key for key, _, _ in self.different)
        yield from (key for key, _ in (*self.extra, *self.unreadable))


class Unwritten(NamedTuple):
    """Items that could not be written back, by ``key_id``; ``expired`` are those of them that time to live took, whose
    rows stay until somebody decides.
    """

    every: Set[bytes]
    expired: Set[bytes]


NOTHING = Unwritten(frozenset(), frozenset())


class Site:
    """Both sides of a cutover's way back. Made while applications write, as it asks the source for its tables."""

    def __init__(
        self,
        prepared: Prepared,
        epoch: int,
        wire: DynamoClient,
        stop: threading.Event,
        settings: Settings | None = None,
    ) -> None:
        """``settings`` are the project's where none are given."""
        self.prepared, self.epoch, self.stop = prepared, epoch, stop
        self.settings = settings or settings_of(prepared)
        self._wire = wire
        with closing(connect(self.settings.account)) as connection:
            self.inverses, self._destinations = inverses_of(prepared, connection, self.settings.rules, None)

    @property
    def moves(self) -> bool:
        """Whether a row may move from one item to another."""
        return any(each.moves for each in self._destinations.values())

    @property
    def schema(self) -> str:
        """Where the reverse stream's own tables are."""
        return self.settings.account.database

    def mapping_of(self, source: str) -> TableMapping:
        """That from whose items the rows of the table come back."""
        every = (each for several in self.inverses.values() for each in several.inverses)
        return next(each.mapping for each in every if each.table.full_name == source)

    def writer(self) -> RowWriter:
        return RowWriter(self.settings.account, self.epoch, self._destinations, threading.Event(), self.stop.wait)

    def each(self, connection: Mysql, use: Callable[[str, Found], None]) -> None:
        """With a target, and some of its touched items as they are now."""
        for target in self.inverses:
            for listed in self.listed(connection, target):
                use(target, self.items(target, [each.key for each in listed]))

    def listed(self, connection: Mysql, target: str) -> Iterator[list[Touched]]:
        """The touched items, some at a time. None where all are copies of what other targets have."""
        if self.inverses[target].inverses:
            yield from listed_items(connection, self.schema, self.epoch, target, AT_ONCE)

    def items(self, target: str, keys: Sequence[Item], pace: RateLimiter | None = None) -> Found:
        """Raises Stopped, and what DynamoDB raises."""
        if self.stop.is_set():
            raise Stopped("asked to stop before the rows were compared with the items")
        found = get_items(self._wire, target, keys, pace=pace, stop=self.stop)
        return [(key, found.get(key_id(key))) for key in keys]

    def unwritten(self, target: str) -> Unwritten:
        """The items of the target that could not be written back at some time."""
        reasons: dict[bytes, set[str]] = {}
        for each in read_letters(self.prepared.project.state / LETTERS):
            if each["phase"] == PHASE and each["table"] == target:
                reasons.setdefault(key_id(each["item_key"]), set()).add(each["reason"])
        ttl = self.settings.rules.ttl
        every = {key for key, why in reasons.items() if ttl != "skip" or why != {EXPIRED}}
        expired = {key for key in every if ttl != "apply" and reasons[key] & {EXPIRED, LEFT_OVER}}
        return Unwritten(every, expired)

    def look(
        self,
        connection: Mysql,
        target: str,
        items: Found,
        unwritten: Unwritten = NOTHING,
        claimed: dict[bytes, bytes] | None = None,
    ) -> Look:
        """``claimed`` has, by ``row_id``, the ``key_id`` of the item that has the row, and is told those of ``items``.
        A row can be one item's only: it is the first one's, and the other item cannot be read back.
        """
        look, claimed = Look([], [], []), {} if claimed is None else claimed
        inverse = self.inverses[target]
        puts: dict[str, dict[Row, tuple[Item, RowChange]]] = {}
        for key, item in items:
            rows, reasons = inverse.rows(item)
            if reasons := reasons or _claim(claimed, key_id(key), rows.values()):
                look.unreadable.append((key, "; ".join(reasons[:5])))
                continue
            if key_id(key) in unwritten.every and not inverse.is_found(key):
                look.unreadable.append((key, NOT_FOUND))
            for put in rows.values():
                puts.setdefault(put.table.full_name, {})[put.key] = (key, put)
        unreadable = {key_id(key) for key, _ in look.unreadable}
        # An item that time to live took may have left its rows, by rule: they are nobody else's to delete.
        keeps = self.settings.rules.ttl == "skip"
        readable = [
            key
            for key, item in items
            if key_id(key) not in unreadable and (item or not keeps or key_id(key) in unwritten.every)
        ]
        for number, each in enumerate(inverse.inverses):
            mine = puts.get(each.table.full_name, {})
            self._compare(connection, each.mapping, each.lossy, mine, look)
            self._find_extra(connection, inverse, number, readable, mine, unwritten.every, look)
        self._keep_expired(look, unwritten.expired)
        return look

    def _keep_expired(self, look: Look, expired: Set[bytes]) -> None:
        """The rows of an item that time to live took are not deleted until somebody decides."""
        kept = {key_id(key): key for key, _ in look.extra if key_id(key) in expired}
        look.extra[:] = [(key, change) for key, change in look.extra if key_id(key) not in kept]
        reason = LEFT_OVER if self.settings.rules.ttl == "skip" else EXPIRED
        look.unreadable.extend((key, reason) for key in kept.values())

    def _compare(
        self,
        connection: Mysql,
        mapping: TableMapping,
        lossy: frozenset[str],
        puts: dict[Row, tuple[Item, RowChange]],
        look: Look,
    ) -> None:
        table = mapping.table
        rows = {
            primary_key(mapping, row): row for row in rows_where_equal(connection, table, table.primary_key, list(puts))
        }
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
        unwritten: Set[bytes],
        look: Look,
    ) -> None:
        """Where an expression makes the key, a row cannot be found by it: the guarded deletions were all."""
        one = inverse.inverses[number]
        mapping, guard, found_by = one.mapping, one.mapping.group_columns, one.mapping.lookup_columns
        if not mapping.invertible:
            return
        mine = {key_id(key): key for key in keys if number in inverse.owners(key)}
        if mapping.seen.leaves_out_orphans:
            # What an item gave up was deleted with that change, unless it was refused. Any other row that an item does
            # not have found nothing when it was migrated: it was never in the item, whatever it would find now.
            mine = {key: mine[key] for key in mine.keys() & unwritten}
        # A place may be of several items.
        places = dict.fromkeys(place for key in mine.values() for place in _places(mapping, key))
        for row in rows_where_equal(connection, mapping.table, found_by, list(places)):
            found = mapping.item_key(row)
            key = mine.get(key_id(found)) if found is not None else None
            if key is None or primary_key(mapping, row) in puts:
                continue
            if not mapping.put_items([row])[0]:
                continue  # a row that no item can have, as a dead letter said, or that finds nothing
            guarded = tuple((name, row[mapping.table.index(name)]) for name in guard)
            look.extra.append((key, RowChange(mapping.table, primary_key(mapping, row), guarded, one.columns, None)))


def _claim(claimed: dict[bytes, bytes], item: bytes, puts: Collection[RowChange]) -> list[str]:
    """Nothing if the rows of ``puts`` are the item's from now on; else which of them are another's, and whose."""
    by_id = {row_id(put.table.full_name, put.key): put for put in puts}
    taken = {each: other for each in by_id if (other := claimed.get(each, item)) != item}
    if not taken:
        claimed.update(dict.fromkeys(by_id, item))
    return [
        f"row {by_id[each].key} of {by_id[each].table.full_name} is part of item {other.decode()} too"
        for each, other in taken.items()
    ]


def _places(mapping: TableMapping, key: Item) -> list[Row]:
    try:
        return mapping.source_keys(key)
    except MappingError:
        return []  # a key that could be too many rows': such an item is among those that cannot be read back


def primary_key(mapping: TableMapping, row: Row) -> Row:
    return tuple(row[mapping.table.index(name)] for name in mapping.table.primary_key)


def row_id(source: str, key: Row) -> bytes:
    return short(repr((source, key)).encode("utf-8", "surrogatepass"))
