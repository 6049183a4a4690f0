"""Load: the exported rows become items in the target. May be repeated in whole or in part until the first change is
applied.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from whimbrel.checkpoint import TableProgress
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import LogCorrupt, StateError
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.apply import rejected_fault
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.portions import Portions, Sized
from whimbrel.migration.progress import Progress
from whimbrel.migration.regroup import Regrouped
from whimbrel.migration.state import CheckpointStore, with_held
from whimbrel.mysql.plan import Plan
from whimbrel.records import ItemOperation, Provenance, Row
from whimbrel.snapshot_files import Chunk, ChunkReader, read_chunk

SLICE_ITEMS = 5_000  # items in one write; a stop waits for no more than these
PARTITION_ROWS = 50_000  # rows of one partition when rows are regrouped on disk

log = logging.getLogger(__name__)


class Loader:
    """Loads one source table's export in parts, which are its chunks, or partitions of all its rows where these must be
    brought together first; each part is in the Checkpoint when all its items are written.
    """

    def __init__(
        self,
        mapping: TableMapping,
        writer: Writer,
        dead: DeadLetters,
        checkpoints: CheckpointStore,
        progress: Progress,
        stop: threading.Event,
        provenance: Provenance,
    ) -> None:
        self._mapping = mapping
        self._writer = writer
        self._dead = dead
        self._checkpoints = checkpoints
        self._counts = progress.tables[mapping.source]
        self._progress = progress
        self._stop = stop
        self._provenance = provenance

    def load(self, plan: Plan, spill_folder: Path) -> int:
        """Load what is not loaded yet. Returns the number of a chunk whose file is not what ``plan`` says, or 0.

        Returns early, with what is done recorded, when ``stop`` is set or such a chunk is met.
        """
        shutil.rmtree(spill_folder, ignore_errors=True)  # what a crash left
        self._portions = Portions(self._mapping, spill_folder)
        if not self._mapping.aligned:
            return self._load_regrouped(plan, spill_folder)
        # A chunk has whole groups: its bounds are on the group's own columns, drawn by the source in its own collation.
        for chunk in plan.chunks:
            if self._is_due(chunk.number):
                if (export := fitting(plan, chunk)) is None:
                    return chunk.number
                self._load_part(chunk.number, export.sized())
        return 0

    def _load_regrouped(self, plan: Plan, spill_folder: Path) -> int:
        """The group key is not a prefix of the primary key: bring each item's rows together on disk first."""
        partitions = parts_of(self._mapping, self._checkpoints.now.table(self._mapping.source))
        with Regrouped(self._mapping, spill_folder, partitions) as groups:
            for chunk in plan.chunks:
                if self._stop.is_set():
                    return 0
                if (export := fitting(plan, chunk)) is None:
                    return chunk.number
                for rows in export:
                    groups.add(rows)
            for number in range(partitions):
                if self._is_due(number + 1):
                    self._load_part(number + 1, groups.sized(number))
        return 0

    def _is_due(self, number: int) -> bool:
        return not self._stop.is_set() and number not in self._checkpoints.now.table(self._mapping.source).loaded

    def _load_part(self, number: int, rows_of_part: Iterable[Sized]) -> None:
        rows = items = 0
        for portion in self._portions.of(rows_of_part):
            written = self._write(portion)
            if written is None:
                return
            rows += len(portion)
            items += written
            del portion  # before the next one is read
        self._progress.held += self._writer.take_held()
        now = self._checkpoints.now.with_loaded(self._mapping.source, [number], rows=rows, items=items)
        self._checkpoints.save(with_held(now, self._progress))

    def _write(self, rows: list[Row]) -> int | None:
        """How many items ``rows`` made; None if it was stopped before all of them were written.

        The letters are durable, and the items acknowledged, on return: then the chunk may count as loaded.
        """
        source, counts = self._mapping.source, self._counts
        puts, faults = self._mapping.put_items(rows, self._provenance)
        before, written = counts.loaded_rows, 0
        for part in sliced(iter(self._mapping.load_operations(puts))):
            if self._stop.is_set():
                return None
            faults += [rejected_fault(source, rejected) for rejected in self._writer.write(part)]
            written += len(part)
            counts.loaded_items += len(part)
            counts.loaded_rows = before + len(rows) * written // len(puts)
        counts.loaded_rows = before + len(rows)
        self._progress.dead += self._dead.add(faults, "load")
        return len(puts)


def sliced(operations: Iterator[ItemOperation]) -> Iterator[list[ItemOperation]]:
    while part := list(islice(operations, SLICE_ITEMS)):
        yield part


def parts_of(mapping: TableMapping, progress: TableProgress) -> int:
    """Into how many parts the load of a table is divided; they are numbered from 1."""
    if mapping.aligned:
        return progress.chunks_planned or 0
    return max(1, -(-progress.rows_exported // PARTITION_ROWS))


def is_loaded(mapping: TableMapping, progress: TableProgress) -> bool:
    """Whether all parts are. Raises StateError if they had other rows in all than were exported."""
    every = frozenset(range(1, parts_of(mapping, progress) + 1))
    if progress.chunks_planned is None or progress.loaded != every:
        return False
    if progress.rows_loaded != progress.rows_exported:
        raise StateError(
            f"{progress.rows_exported:,} rows were exported, but {progress.rows_loaded:,} were loaded",
            place=mapping.source,
            hint="Begin again with a new state folder and target table, and please report this.",
        )
    return True


def fitting(plan: Plan, chunk: Chunk) -> ChunkReader | None:
    """The chunk's file, if it is whole, is that of this chunk of this export, and has the rows that were recorded."""
    try:
        export = read_chunk(plan.file(chunk))
    except LogCorrupt as error:
        log.warning("chunk file", extra={"reason": str(error)})
        return None
    found = (export.export, export.table, export.chunk, export.rows)
    if found != (plan.export, plan.table, chunk, plan.rows[chunk.number]):
        log.warning("chunk file", extra={"reason": f"{export.path}: is not chunk {chunk.number} of this export"})
        return None
    return export
