"""Portions: the rows of a part of a load, so few at a time that they, their items and their requests fit in memory.

It is bytes that count, and not rows: 10,000 rows of one table take 5 MB, and of another 4 GB. Where no two rows can
have one item, a portion is what has been read when it is heavy enough. Else the rows of one item must be in one
portion. A part that fits into one is one; the rows of a heavier one are brought together on disk, in partitions, and a
partition that is too heavy itself is divided in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from whimbrel.mapping.design import TableMapping
from whimbrel.migration.regroup import Regrouped
from whimbrel.records import Row

PORTION_BYTES = 48 << 20  # of memory that the rows of a portion take, with their items and the requests for these
TEXT_TIMES = 4  # so often is a text in memory: in the row, in a request's body and on its way
VALUE_BYTES = 60  # of a row's value beside its text
ATTRIBUTE_BYTES = 230  # of one that is carried: as an AttributeValue, and its place in the item
PARTITIONS = 8  # into which a part is divided that is too heavy
DEEPEST = 8  # divisions of a division: what is still too heavy is one item's rows, which cannot be divided

Sized = tuple[list[Row], int]  # rows, and how many bytes they have as JSON


class Portions:
    """The portions of one mapping's rows, each of about ``most`` bytes of memory (0: PORTION_BYTES). ``folder`` is for
    what is brought together on disk, and this object's own.
    """

    def __init__(self, mapping: TableMapping, folder: Path, most: int = 0) -> None:
        self._mapping = mapping
        self._folder = folder
        self._most = most or PORTION_BYTES
        self._row_bytes = VALUE_BYTES * len(mapping.table.columns) + ATTRIBUTE_BYTES * len(mapping.design.carried)
        self._item_for_each_row = mapping.shape != "group" and not mapping.doubts()

    def of(self, read: Iterable[Sized]) -> Iterator[list[Row]]:
        """All rows of ``read``, once each, with all that they have of an item in one portion."""
        return self.any(read) if self._item_for_each_row else self._whole_items(iter(read), depth=1)

    def any(self, read: Iterable[Sized]) -> Iterator[list[Row]]:
        """All rows of ``read``, once each, in their order."""
        rows: list[Row] = []
        weight = 0
        for more, size in read:
            rows += more
            weight += self.weight(len(more), size)
            if weight > self._most:
                yield rows
                rows, weight = [], 0
        if rows:
            yield rows

    def _whole_items(self, read: Iterator[Sized], depth: int) -> Iterator[list[Row]]:
        rows: list[Row] = []
        weight = 0
        for more, size in read:
            rows += more
            weight += self.weight(len(more), size)
            if weight > self._most and len(rows) > 1 and depth <= DEEPEST:
                break
        else:
            if rows:
                yield rows
            return
        with Regrouped(self._mapping, self._folder / f"division-{depth}", PARTITIONS, division=depth) as groups:
            groups.add(rows)
            del rows, more
            for later, _ in read:
                groups.add(later)
            for number in range(PARTITIONS):
                yield from self._whole_items(groups.sized(number), depth + 1)

    def is_heavy(self, weight: int) -> bool:
        """Whether rows of so many bytes of memory are enough for a portion."""
        return weight > self._most

    def weight(self, rows: int, size: int) -> int:
        """Bytes of memory of so many rows with ``size`` bytes as JSON."""
        return TEXT_TIMES * size + self._row_bytes * rows
