"""From an item's old and new image to changes of rows, over all tables that its target is made of. Pure.

An item belongs to the tables whose key templates could have made its key. Where a table is in several rules, its rows
come back from the items of one of them (see ``mapping.bearers``); those of the others are copies, which nobody reads.
Attributes that are nobody's column, or that are not what the item's rows would give, are new ones, and so is an item
that belongs to no table. The rule for them:

- ``stop``: the item cannot be read back;
- ``ignore``: they stay in DynamoDB alone;
- ``json:COLUMN``: they go into a column of the row, in DynamoDB's JSON form; NULL if there are none. An attribute of an
  item that no single row stands for (in a group) cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson

from whimbrel.mapping.inverse import Inverse, ItemReading, Returned
from whimbrel.records import Item, Row, RowChange, Value

_Place = tuple[int, Row]  # which of the inverses, and the row's primary key


class ItemRows(NamedTuple):
    """The rows of an item, as ``put`` would write them; ``reasons``, if any, say why some of it has none."""

    rows: dict[_Place, RowChange]
    reasons: list[str]


class ItemInverse:
    """The way back of one target's items. Safe in threads."""

    def __init__(
        self, inverses: Sequence[Inverse], new_attributes: str = "stop", copies: Sequence[Inverse] = ()
    ) -> None:
        """``copies``: of rules whose rows come back from another rule's items."""
        self.inverses, self.copies = list(inverses), list(copies)
        self._rule = new_attributes
        self._column = new_attributes.removeprefix("json:") if new_attributes.startswith("json:") else ""

    def changes(self, old: Item | None, new: Item | None, *, whole: bool = False) -> tuple[list[RowChange], list[str]]:
        """What brings the rows of ``old`` to those of ``new``, deletions first; and why ``new`` cannot be read back,
        in which case there are no changes.

        ``whole``: the rows need not be as ``old`` says; then all rows of ``new`` are put.
        """
        before = self.rows(old)
        after = self.rows(new)
        if after.reasons:
            return [], after.reasons
        whole = whole or bool(before.reasons)
        gone = [put._replace(values=None) for place, put in before.rows.items() if place not in after.rows]
        puts = []
        for place, put in after.rows.items():
            earlier = before.rows.get(place)
            if whole or earlier is None:
                puts.append(put)
            elif earlier.values != put.values:
                puts.append(put._replace(kept=self._same(place[0], earlier, put)))
        return gone + puts, []

    def rows(self, item: Item | None) -> ItemRows:
        if not item:
            return ItemRows({}, [])
        owners = self.owners(item)
        if not owners:
            if any(copy.belongs(item) for copy in self.copies):
                return ItemRows({}, [])
            reasons = [] if self._rule == "ignore" else ["its key is that of no table: no row could be this item"]
            return ItemRows({}, reasons)
        readings = [(number, self.inverses[number].read(item)) for number in owners]
        reasons = [reason for _, reading in readings for reason in reading.reasons]
        extra = _new_attributes(reading for _, reading in readings)
        rows: dict[_Place, RowChange] = {}
        for number, reading in readings:
            for key, row in reading.rows.items():
                rows[number, key] = self._put(number, key, row, extra, reasons)
        if self._rule == "stop":
            reasons += [
                f"attribute {name!r} does not belong to a column: see new_attributes in [cutover]" for name in extra
            ]
        elif self._column and extra:
            reasons.append(f"attribute {next(iter(extra))!r} belongs to the whole item, which is not one row")
        return ItemRows(rows, reasons)

    def owners(self, item: Item) -> list[int]:
        """The tables that the item may have rows of."""
        if len(self.inverses) == 1 and not self.copies:
            return [0]
        return [number for number, inverse in enumerate(self.inverses) if inverse.belongs(item)]

    def is_found(self, item: Item) -> bool:
        """Whether all rows that the item may have can be found by its key."""
        return all(self.inverses[number].mapping.invertible for number in self.owners(item))

    def _put(self, number: int, key: Row, row: Returned, extra: Item, reasons: list[str]) -> RowChange:
        inverse = self.inverses[number]
        design = inverse.mapping.design
        own: Item = row.extra
        if own and self._rule == "stop":
            name = f"{design.document or design.into}.{next(iter(own))}".lstrip(".")
            reasons.append(f"attribute {name!r} does not belong to a column: see new_attributes in [cutover]")
        columns, values = inverse.columns, row.values
        if self._column:
            if own and design.document:
                own = {design.document: {"M": own}}
            if design.shape != "group":
                own = {**own, **extra}
                extra.clear()  # they have gone to the one row that stands for the item
            columns, values = (*columns, self._column), (*values, _text(own))
        return RowChange(inverse.table, key, row.guard, columns, values)

    def _same(self, number: int, earlier: RowChange, put: RowChange) -> frozenset[str]:
        """The columns of ``lossy`` attributes that did not change."""
        lossy = self.inverses[number].lossy
        if not lossy or earlier.values is None or put.values is None:
            return frozenset()
        values = zip(put.columns, earlier.values, put.values, strict=True)
        return frozenset(name for name, one, other in values if name in lossy and one == other)


def _new_attributes(readings: Iterable[ItemReading]) -> Item:
    """What none of the tables knows, and what one of them would have made otherwise."""
    several = list(readings)
    unknown = {
        name: value for name, value in several[0].unknown.items() if all(name in other.unknown for other in several[1:])
    }
    for reading in several:
        unknown |= reading.differing
    return unknown


def _text(extra: Item) -> Value:
    return orjson.dumps(extra, option=orjson.OPT_SORT_KEYS).decode() if extra else None
