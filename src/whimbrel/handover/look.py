"""Items that the reverse stream touched, beside their rows: what a row lacks of its item, or has beyond it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing
from functools import partial
from typing import NamedTuple

from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.read import get_items
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import MappingError, Stopped
from whimbrel.handover.reverse import Settings, inverses_of, settings_of
from whimbrel.handover.writing import EXPIRED, PHASE
from whimbrel.item import key_id
from whimbrel.mapping.back_values import same_value
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.items_back import ItemInverse
from whimbrel.migration.dead import Letter, read_letters
from whimbrel.migration.prepare import Prepared
from whimbrel.mysql.connect import Mysql, connect
from whimbrel.mysql.points import rows_where_equal
from whimbrel.mysql.reverse_tables import short
from whimbrel.mysql.touched_items import Touched, listed_items
from whimbrel.mysql.write_rows import RowWriter
from whimbrel.records import Item, Row, RowChange

AT_ONCE = 200  # items
LETTERS = "reverse-dead.jsonl"

Found = list[tuple[Item, Item | None]]  # (key, the item, if there is one)


class Look(NamedTuple):
    """Some items beside their rows. ``different``: rows that are not as the item says, or missing; ``extra``: rows that
    bear the key of an item which does not have them; ``unreadable``: items that cannot be read back, and why.
    """

    different: list[tuple[Item, RowChange, Row | None]]
    extra: list[tuple[Item, RowChange]]
    unreadable: list[tuple[Item, str]]
    wanted: list[bytes]  # all rows that the items have, each as a short text of its own
    rows: int

    @property
    def unlike(self) -> Iterator[Item]:
        """The keys of the items that are not as their rows say; one may come several times."""
        yield from (key for key, _, _ in self.different)
        yield from (key for key, _ in (*self.extra, *self.unreadable))


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

    def expired(self, target: str) -> Set[bytes]:
        """By ``key_id``, the items that time to live took, and whose rows stay by the rule ``stop``."""
        if self.settings.rules.ttl != "stop":
            return frozenset()
        letters = read_letters(self.prepared.project.state / LETTERS)
        return {key_id(each["item_key"]) for each in letters if each["table"] == target and _is_expired(each)}

    def look(self, connection: Mysql, target: str, items: Found, expired: Set[bytes] = frozenset()) -> Look:
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
                look.wanted.append(row_id(put.table.full_name, put.key))
        unreadable = {key_id(key) for key, _ in look.unreadable}
        # An item that time to live took may have left its rows, by rule: they are nobody else's to delete.
        keeps = self.settings.rules.ttl == "skip"
        readable = [key for key, item in items if key_id(key) not in unreadable and (item or not keeps)]
        for number, each in enumerate(inverse.inverses):
            mine = puts.get(each.table.full_name, {})
            self._compare(connection, each.mapping, each.lossy, mine, look)
            self._find_extra(connection, inverse, number, readable, mine, look)
        self._keep_expired(look, expired)
        return look

    def _keep_expired(self, look: Look, expired: Set[bytes]) -> None:
        """By the rule ``stop`` the rows of an item that time to live took are not deleted until somebody decides."""
        kept = {key_id(key): key for key, _ in look.extra if key_id(key) in expired}
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
        look: Look,
    ) -> None:
        """Where an expression makes the key, a row cannot be found by it: the guarded deletions were all."""
        one = inverse.inverses[number]
        mapping, guard, found_by = one.mapping, one.mapping.group_columns, one.mapping.lookup_columns
        if not mapping.invertible:
            return
        mine = {key_id(key): key for key in keys if number in inverse.owners(key)}
        # A place may be of several items.
        places = dict.fromkeys(place for key in mine.values() for place in _places(mapping, key))
        for row in rows_where_equal(connection, mapping.table, found_by, list(places)):
            found = mapping.item_key(mapping.unjoined(row))  # also of one that is left out as an orphan
            key = mine.get(key_id(found)) if found is not None else None
            if key is None or primary_key(mapping, row) in puts:
                continue
            guarded = tuple((name, row[mapping.table.index(name)]) for name in guard)
            look.extra.append((key, RowChange(mapping.table, primary_key(mapping, row), guarded, one.columns, None)))


def _places(mapping: TableMapping, key: Item) -> list[Row]:
    try:
        return mapping.source_keys(key)
    except MappingError:
        return []  # a key that could be too many rows': such an item is among those that cannot be read back


def primary_key(mapping: TableMapping, row: Row) -> Row:
    return tuple(row[mapping.table.index(name)] for name in mapping.table.primary_key)


def row_id(source: str, key: Row) -> bytes:
    return short(repr((source, key)).encode("utf-8", "surrogatepass"))


def _is_expired(letter: Letter) -> bool:
    return bool(letter["phase"] == PHASE and letter["reason"] == EXPIRED)
