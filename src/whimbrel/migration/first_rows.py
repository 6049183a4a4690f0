"""The rows of a source at a first look: of each chunk, what its items are known by, once all of its rows are there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.item import key_id
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.differences import LISTED
from whimbrel.migration.digests import UNEQUAL, ItemDigests
from whimbrel.migration.portions import PORTION_BYTES, Portions
from whimbrel.mysql.whole_table import RowTaker
from whimbrel.project import Source
from whimbrel.records import Fault, Row, Value
from whimbrel.snapshot_files import Chunk, ChunkWriter, read_chunk, write_chunk
from whimbrel.spill import KeyedDigests

HELD_BYTES = PORTION_BYTES // 4  # of one chunk's rows; several chunks are read at once
LINE_ROWS = 500  # of a file


class Made(NamedTuple):
    """What rows make: items, as keys and digests, and rows that cannot be mapped."""

    keys: list[bytes]
    digests: list[bytes]
    faults: list[Fault]


class SourceSide(NamedTuple):
    """The source tables of one target table, for a worker that reads chunks of them; its keys and digests go to
    ``folder``.
    """

    source: Source
    mappings: list[TableMapping]
    digests: ItemDigests
    folder: Path
    partitions: int


class SourceRead(NamedTuple):
    """What one process has read: ``items``, of which ``kept`` digests were kept; ``keyless`` are the primary keys of
    rows without an item's key, by source, a few at least, and ``unmappable`` is how many more of them there are.
    """

    items: int
    kept: int
    keyless: dict[str, list[tuple[Value, ...]]]
    unmappable: int


class SourceDigests:
    """What the rows of a source make: the digests of items, and rows that cannot be mapped."""

    def __init__(self, folder: Path, partitions: int) -> None:
        self.digests = KeyedDigests(folder, partitions)
        self._items = self._unmappable = 0
        self._keyless: dict[str, list[tuple[Value, ...]]] = {}

    def read(self) -> SourceRead:
        return SourceRead(self._items, self.digests.added, self._keyless, self._unmappable)

    def add(self, mapping: TableMapping, made: Made) -> None:
        self._items += len(made.keys)
        self.digests.add(made.keys, made.digests)
        self.add_faults(mapping, made.faults)

    def add_faults(self, mapping: TableMapping, faults: list[Fault]) -> None:
        """A row that cannot be mapped is missing in the target, also when nothing there differs: beside the item's own
        digest, one that equals none.
        """
        for fault in faults:
            keyless = self._keyless.setdefault(mapping.source, [])
            if fault.item_key is not None:
                self.digests.add([key_id(fault.item_key)], [UNEQUAL])
            elif len(keyless) < LISTED:
                keyless.append(tuple(fault.source_key[name] for name in mapping.table.primary_key))
            else:
                self._unmappable += 1


def made_of(mapping: TableMapping, digests: ItemDigests, rows: list[Row]) -> Made:
    puts, faults = mapping.put_items(rows)
    return Made(*digests.of([put.item for put in puts]), faults)


def takers(
    mapping: TableMapping, digests: ItemDigests, folder: Path, use: Callable[[Made], None]
) -> Callable[[], RowTaker]:
    """What gives a RowTaker for each chunk of rows that need not be brought together: those of an item are in one
    chunk. ``use`` is called when the chunk is whole, several times for one. ``folder`` is for heavy chunks.
    """
    made = partial(made_of, mapping, digests)
    if mapping.shape != "group":  # a row is an item: nothing of a row is kept but its digest
        return partial(_ChunkItems, made, use)

    def use_rows(rows: list[Row]) -> None:
        use(made(rows))

    chunks = (_ChunkGroups(mapping, folder / f"chunk-{number}", use_rows) for number in itertools.count())
    return partial(next, chunks)


class _ChunkItems:
    """The items of one chunk's rows, as they are read, for ``use`` when they are all there."""

    def __init__(self, make: Callable[[list[Row]], Made], use: Callable[[Made], None]) -> None:
        self._make, self._use = make, use
        self._made: list[Made] = []

    def add(self, rows: list[Row]) -> None:
        self._made.append(self._make(rows))

    def end(self) -> None:
        for made in self._made:
            self._use(made)

    def drop(self) -> None:
        """Nothing of it is anywhere else."""


class _ChunkGroups:
    """The rows of one chunk, for ``use`` when they are all there: whole items, in memory as long as they are few, else
    through a file that is ``path``, and in portions.
    """

    def __init__(self, mapping: TableMapping, path: Path, use: Callable[[list[Row]], None]) -> None:
        self._mapping, self._path, self._use = mapping, path, use
        self._portions = Portions(mapping, path.with_suffix(".portions"))
        self._rows: list[Row] = []
        self._weight = 0
        self._file: ChunkWriter | None = None

    def add(self, rows: list[Row]) -> None:
        self._rows += rows
        self._weight += self._portions.weight(len(rows), len(orjson.dumps(rows, default=len)))
        if self._weight > HELD_BYTES or self._file:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = write_chunk(self._path, self._mapping.table, Chunk(1, None, None, ()))
            for start in range(0, len(self._rows), LINE_ROWS):
                self._file.write(self._rows[start : start + LINE_ROWS])
            self._rows = []

    def end(self) -> None:
        if self._file is None:
            self._use(self._rows)
            return
        path = self._file.close().path
        for rows in self._portions.of(read_chunk(path).sized()):
            self._use(rows)
        path.unlink()

    def drop(self) -> None:
        if self._file:
            self._file.abandon()
