"""What it costs to follow the source, as it was written to recently: each write pays for its whole item, so one row of
a large group costs as much as all of it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from whimbrel.checks.ask import TimedQueries
from whimbrel.checks.findings import Finding, finding
from whimbrel.checks.sample import GROUPS_WITHOUT_INDEX, ItemSizes, group_condition, is_indexed
from whimbrel.checks.scope import whole_table
from whimbrel.checks.sql import frame_size, row_size, template_text
from whimbrel.item import MAX_ITEM_BYTES, write_units
from whimbrel.mapping.design import TableMapping
from whimbrel.records import Change, Row, Value

SAMPLED = 50  # writes of a table whose items are weighed
AT_ONCE = 10_000  # items that one transaction is remembered to have written: the applier folds no more either
MANY_ENTRIES = 1_000  # of an item
OFTEN = 1.0  # writes a second to such items
MONTH = 730 * 3600.0  # seconds

Place = tuple[Value, ...]  # the columns that tell an item


class ItemWrites:
    """Writes of items of one table: the changes that a transaction makes to one item are one, as the applier folds
    them. ``sample`` has the places of SAMPLED of them, each write as likely as any other.
    """

    def __init__(self, mapping: TableMapping) -> None:
        self.count = 0
        self.sample: list[Place] = []
        self._places = [mapping.table.index(name) for name in mapping.lookup_columns]
        self._written: set[Place] = set()  # by the present transaction
        self._chance = random.Random(0)

    def add(self, change: Change) -> None:
        for row in (change.before, change.after):
            if row is not None and (place := self._place(row)) not in self._written:
                self._written.add(place)
                self._note(place)
        if len(self._written) > AT_ONCE:
            self.commit()

    def commit(self) -> None:
        self._written.clear()

    def _place(self, row: Row) -> Place:
        return tuple(row[index] for index in self._places)

    def _note(self, place: Place) -> None:
        self.count += 1
        if len(self.sample) < SAMPLED:
            self.sample.append(place)
        elif (number := self._chance.randrange(self.count)) < SAMPLED:
            self.sample[number] = place


@dataclass(frozen=True, slots=True)
class ChangedItems:
    """Items that were written recently, each as often as it was: ``write_units`` is what a write costs on average.
    ``large`` is the share of the writes that went to items of MANY_ENTRIES or more, ``large_units`` what these cost.
    """

    writes: int
    write_units: float
    large: float = 0.0
    large_units: float = 0.0


@dataclass(frozen=True, slots=True)
class Following:
    """A second: ``changes`` of rows, ``writes`` of items, and their ``write_units``. ``dollars`` are of a month on
    demand, None without a price.
    """

    changes: float
    writes: float
    write_units: float
    dollars: float | None


class FollowedTable(NamedTuple):
    """One table's part; ``seconds``: the time that was looked at."""

    changes: int
    changed: ChangedItems
    seconds: float


def changed_items(queries: TimedQueries, mapping: TableMapping, writes: ItemWrites, sizes: ItemSizes) -> ChangedItems:
    """Raises OutOfTime."""
    if mapping.shape != "group":
        return ChangedItems(writes.count, sizes.write_units)
    most = SAMPLED if is_indexed(queries, mapping) else GROUPS_WITHOUT_INDEX
    weighed = [
        (entries, float(write_units(min(size, MAX_ITEM_BYTES))) if entries else sizes.write_units, times)
        for place, times in Counter(writes.sample[:most]).items()
        for entries, size in [_weighed(queries, mapping, place)]
    ]
    total = sum(times for *_, times in weighed)
    large = [(units, times) for entries, units, times in weighed if entries >= MANY_ENTRIES]
    of_large = sum(times for _, times in large)
    return ChangedItems(
        writes.count,
        sum(units * times for _, units, times in weighed) / total,
        of_large / total,
        sum(units * times for units, times in large) / of_large if of_large else 0.0,
    )


def _weighed(queries: TimedQueries, mapping: TableMapping, place: Place) -> tuple[int, int]:
    """How many rows the item has now, and about how many bytes, by the server's count; of a split group on average."""
    weight = f"COALESCE(SUM({row_size(mapping)}), 0) + {frame_size(mapping)}"
    table = whole_table(mapping.table).sql
    statement = f"SELECT COUNT(*), {weight} FROM {table} AND {group_condition(mapping, place)}"
    if not mapping.split:
        rows, size = queries.row(statement, mapping.source)
        return int(rows), int(size)
    texts = ", ".join(template_text(key.template, mapping.design) for key in mapping.design.keys)
    parts = queries.rows(f"{statement} GROUP BY {texts}", mapping.source) or [(0, 0)]
    return sum(int(rows) for rows, _ in parts) // len(parts), sum(int(size) for _, size in parts) // len(parts)


def following(tables: list[FollowedTable], million: float | None) -> Following | None:
    """``million`` is the price of so many write units, None if it is not known. None where nothing was written."""
    if not tables:
        return None
    units = sum(each.changed.writes * each.changed.write_units / each.seconds for each in tables)
    return Following(
        sum(each.changes / each.seconds for each in tables),
        sum(each.changed.writes / each.seconds for each in tables),
        units,
        None if million is None else units * MONTH / 1e6 * million,
    )


def large_group_findings(source: str, changed: ChangedItems, seconds: float) -> Iterator[Finding]:
    rate = changed.writes / seconds
    if rate * changed.large >= OFTEN:
        yield finding(
            "large-groups-change",
            source,
            f"about {rate * changed.large:,.1f} of {rate:,.1f} writes a second go to items of {MANY_ENTRIES:,} entries "
            f"or more, and cost {changed.large_units:,.0f} write units each",
        )
