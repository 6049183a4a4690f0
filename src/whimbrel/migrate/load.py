"""Load: the exported rows become items in the target. May be repeated in whole or in part until the first change is
applied.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from whimbrel.dynamodb.write import Writer
from whimbrel.export import read_export
from whimbrel.mapping.design import TableMapping
from whimbrel.migrate.apply import rejected_fault
from whimbrel.migrate.dead import DeadLetters
from whimbrel.migrate.progress import Progress
from whimbrel.migrate.regroup import Regrouped
from whimbrel.migrate.state import Keeper, with_held
from whimbrel.records import ItemOperation, Provenance, Row

SLICE_ITEMS = 5_000  # items in one write; a stop waits for no more than these
PARTITION_ROWS = 50_000  # rows of one partition when rows are regrouped on disk


class Loader:
    """Loads one source table's export files, chunk by chunk; each chunk is in the Checkpoint when all its items are
    written.
    """

    def __init__(
        self,
        mapping: TableMapping,
        writer: Writer,
        dead: DeadLetters,
        keeper: Keeper,
        progress: Progress,
        stop: threading.Event,
        came: Provenance,
    ) -> None:
        self._mapping = mapping
        self._writer = writer
        self._dead = dead
        self._keeper = keeper
        self._counts = progress.tables[mapping.source]
        self._progress = progress
        self._stop = stop
        self._came = came

    def load(self, files: list[Path], spill_folder: Path) -> None:
        """Load all ``files`` of the table. Returns early, with what is done recorded, when ``stop`` is set."""
        if self._mapping.aligned:
            # A chunk has whole groups: its bounds are on the group's own columns, drawn by the source in its own
            # collation.
            for number, path in enumerate(files, 1):
                self._load_part(number, partial(rows_of, path))
        else:
            self._load_regrouped(files, spill_folder)

    def _load_regrouped(self, files: list[Path], spill_folder: Path) -> None:
        """The group key is no prefix of the primary key: bring each item's rows together on disk first."""
        partitions = max(1, -(-self._counts.exported_rows // PARTITION_ROWS))
        with Regrouped(self._mapping, spill_folder, partitions) as groups:
            for path in files:
                groups.add(rows_of(path))
            for number in range(partitions):
                self._load_part(number + 1, partial(groups.rows, number))

    def _load_part(self, number: int, rows_of_part: Callable[[], Iterable[Row]]) -> None:
        source = self._mapping.source
        if self._stop.is_set() or number in self._keeper.now.table(source).loaded:
            return
        rows: list[Row] = list(rows_of_part())
        puts, faults = self._mapping.put_items(rows, self._came)
        before, items_before = self._counts.loaded_rows, self._counts.loaded_items
        for part in sliced(iter(self._mapping.load_operations(puts))):
            if self._stop.is_set():
                return
            faults += [rejected_fault(source, rejected) for rejected in self._writer.write(part)]
            self._counts.loaded_items += len(part)
            self._counts.loaded_rows = before + len(rows) * (self._counts.loaded_items - items_before) // len(puts)
        self._counts.loaded_rows = before + len(rows)
        # The letters are durable, and the items acknowledged, before the chunk counts as loaded.
        self._progress.dead += self._dead.add(faults, "load")
        self._progress.held += self._writer.take_held()
        now = self._keeper.now.with_loaded(source, [number], rows=len(rows), items=len(puts))
        self._keeper.save(with_held(now, self._progress))


def sliced(operations: Iterator[ItemOperation]) -> Iterator[list[ItemOperation]]:
    while part := list(islice(operations, SLICE_ITEMS)):
        yield part


def rows_of(path: Path) -> Iterator[Row]:
    for rows in read_export(path):
        yield from rows
