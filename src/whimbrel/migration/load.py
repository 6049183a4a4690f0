"""Load: the exported rows become items in the target. May be repeated in whole or in part until the first change is
applied.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import thread_time
from typing import NamedTuple, Protocol

from whimbrel.checkpoint import TableProgress
from whimbrel.dynamodb.session import KnownTarget
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import LogCorrupt, StateError, Stopped
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.joins import Joins
from whimbrel.migration.load_part import ChunkFile, ChunkWork, PartLoader, Refused, Written, chunk_loading
from whimbrel.migration.oversize import refuse_oversize
from whimbrel.migration.portions import Portions, Sized
from whimbrel.migration.progress import Progress
from whimbrel.migration.regroup import Regrouped
from whimbrel.migration.state import CheckpointStore, with_held
from whimbrel.mysql.plan import Plan
from whimbrel.project import Target
from whimbrel.records import Provenance
from whimbrel.snapshot_files import Chunk, ChunkReader
from whimbrel.spill import partitions_for
from whimbrel.workers import Workers

# Seconds. After a crash, a part that is not in the Checkpoint yet is loaded again. To make each one durable by itself
# takes as long as to load some thousand rows.
SAVED_WITHIN = 0.05
# Of CPU time that this process would still need. To start, a worker takes a sixth of a second of it.
SECONDS_FOR_WORKERS = 3.0
# Units a second that a process can write in any case. Where fewer may be written, workers would only wait; and where
# more may, a worker that has its share of them alone is soon done with the last chunk.
UNITS_OF_A_WORKER = 5_000

log = logging.getLogger(__name__)


class Crew(NamedTuple):
    """Worker processes that may load chunks: ``most`` of them. They keep ``lock`` for as long as they live, and
    ``meanwhile`` is called while they are waited for. ``known`` tells how to reach the target.
    """

    most: int
    target: Target
    lock: int
    meanwhile: Callable[[], object]
    known: Callable[[], KnownTarget | None] = lambda: None

    def targets(self, chunks: int, seconds: float) -> list[Target]:
        """One for each worker that is worth it where so many ``chunks`` would take one process so many ``seconds``."""
        return shares(self.target, min(self.most, chunks)) if seconds >= SECONDS_FOR_WORKERS else []


class ChunkLoader(Protocol):
    """Brings the chunks of an export to where they are to be: see ``Loader.load``."""

    def load(self, plan: Plan, spill_folder: Path) -> int: ...


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
        crew: Crew | None = None,
        joins: Joins | None = None,
    ) -> None:
        """``joins``, of a table that looks columns up, has what it looks up."""
        self._mapping = mapping
        self._writer = writer
        self._dead = dead
        self._checkpoints = checkpoints
        self._counts = progress.tables[mapping.source]
        self._progress = progress
        self._stop = stop
        self._provenance = provenance
        self._crew = crew
        self._joins = joins

    def load(self, plan: Plan, spill_folder: Path) -> int:
        """Load what is not loaded yet. Returns the number of a chunk whose file is not what ``plan`` says, or 0.

        Returns early, with what is done recorded, when ``stop`` is set or such a chunk is met.
        """
        shutil.rmtree(spill_folder, ignore_errors=True)  # what a crash left
        self._part = PartLoader(
            self._mapping, self._writer, Portions(self._mapping, spill_folder), self._provenance, self._stop
        )
        with suppress(Stopped), self._checkpoints.seldom(SAVED_WITHIN):
            if self._mapping.regrouped:
                return self._load_regrouped(plan, spill_folder)
            # A chunk has whole groups: its bounds are on the group's own columns, drawn by the source in its own
            # collation. Chunks may be loaded at once: only a row that changed while they were read can have given two
            # of them the same item, and its change is in the log, which decides.
            return self._load_chunks(plan, [chunk for chunk in plan.chunks if self._is_due(chunk.number)], spill_folder)
        return 0

    def _load_chunks(self, plan: Plan, due: list[Chunk], spill_folder: Path) -> int:
        """One after the other, until these show that the others are worth workers."""
        began, rows, left = thread_time(), 0, sum(plan.rows[chunk.number] for chunk in due)
        for number, chunk in enumerate(due):
            if self._stop.is_set():
                return 0
            if rows and self._crew:
                seconds = (thread_time() - began) / rows * left
                if targets := self._crew.targets(len(due) - number, seconds):
                    return self._load_by_workers(plan, due[number:], self._crew, targets, spill_folder)
            if (export := fitting(plan, chunk)) is None:
                return chunk.number
            self._load_part(chunk.number, self._rows(export))
            rows += export.rows
            left -= export.rows
        return 0

    def _load_by_workers(
        self, plan: Plan, due: list[Chunk], crew: Crew, targets: list[Target], spill_folder: Path
    ) -> int:
        """A chunk counts in this order: its items are acknowledged, to the worker that has it; that is told; what of it
        became a letter is durable; the chunk is in the Checkpoint. A worker or a run that ends before that leaves a
        chunk that is loaded again. Only this process writes letters and the Checkpoint.
        """
        unfit = 0

        def files() -> Iterator[ChunkFile]:
            for chunk in due:
                if unfit:
                    return
                yield chunk_file(plan, chunk)

        def meanwhile() -> None:
            crew.meanwhile()
            self._checkpoints.save_due()

        known = crew.known()
        work = [ChunkWork(self._mapping, target, self._provenance, spill_folder, known) for target in targets]
        parts: dict[int, _Part] = {}
        with Workers(chunk_loading, work, self._stop, keep=[crew.lock], meanwhile=meanwhile) as workers:
            for file, told in workers.answers(files()):
                part = parts.setdefault(file.chunk.number, _Part())
                if isinstance(told, Written):
                    self._count(told, part)
                elif isinstance(told, Refused):
                    self._progress.note_refused(told.reason)
                elif told.unfit:
                    log.warning("chunk file", extra={"reason": told.unfit})
                    unfit = file.chunk.number
                else:
                    self._record(file.chunk.number, parts.pop(file.chunk.number), told.held)
        return unfit

    def _load_regrouped(self, plan: Plan, spill_folder: Path) -> int:
        """The group key is not a prefix of the primary key, or the items are to be spread: bring each item's rows
        together on disk first, in partitions that each have some of the rows of all chunks.
        """
        partitions = parts_of(self._mapping, self._checkpoints.now.table(self._mapping.source))
        with Regrouped(self._mapping, spill_folder, partitions) as groups:
            for chunk in plan.chunks:
                if self._stop.is_set():
                    return 0
                if (export := fitting(plan, chunk)) is None:
                    return chunk.number
                for rows, _ in self._rows(export):
                    groups.add(rows)
            for number in range(partitions):
                if self._is_due(number + 1):
                    self._load_part(number + 1, groups.sized(number))
        return 0

    def _rows(self, export: ChunkReader) -> Iterable[Sized]:
        return self._joins.joined_parts(export.table, export.sized()) if self._joins else export.sized()

    def _is_due(self, number: int) -> bool:
        return not self._stop.is_set() and number not in self._checkpoints.now.table(self._mapping.source).loaded

    def _load_part(self, number: int, rows_of_part: Iterable[Sized]) -> None:
        part = _Part()
        for written in self._part.written(rows_of_part):
            self._count(written, part)
        self._record(number, part, self._writer.take_held())

    def _count(self, written: Written, part: _Part) -> None:
        """Letters are durable on return, and the items are acknowledged: then the part may count as loaded."""
        self._checkpoints.save_due()
        part.rows += written.rows
        part.items += written.items
        self._counts.loaded_rows += written.rows
        self._counts.loaded_items += written.items
        self._counts.sent_bytes += written.spent.bytes
        self._progress.spend(written.spent.units, written.spent.throttles)
        refuse_oversize(self._mapping.rule, written.faults)
        self._progress.dead += self._dead.add(written.faults, "load")

    def _record(self, number: int, part: _Part, held: int) -> None:
        self._progress.held += held
        now = self._checkpoints.now.with_loaded(self._mapping.source, [number], rows=part.rows, items=part.items)
        self._checkpoints.save(with_held(now, self._progress))


@dataclass
class _Part:
    """What is written of a part."""

    rows: int = 0
    items: int = 0


def shares(whole: Target, most: int) -> list[Target]:
    """The target for each of ``most`` workers or fewer: with its share of what may be written and be under way, which
    together are all of it. None where one process is as good.
    """
    workers = min(most, whole.concurrency)
    if whole.max_write_units:
        workers = min(workers, int(whole.max_write_units / UNITS_OF_A_WORKER))
    if workers < 2:
        return []
    least, more = divmod(whole.concurrency, workers)
    units = whole.max_write_units / workers
    return [replace(whole, max_write_units=units, concurrency=least + (number < more)) for number in range(workers)]


def parts_of(mapping: TableMapping, progress: TableProgress) -> int:
    """Into how many parts the load of a table is divided; they are numbered from 1."""
    if not mapping.regrouped:
        return progress.chunks_planned or 0
    return partitions_for(progress.rows_exported)


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
        return chunk_file(plan, chunk).read()
    except LogCorrupt as error:
        log.warning("chunk file", extra={"reason": str(error)})
        return None


def chunk_file(plan: Plan, chunk: Chunk) -> ChunkFile:
    """What the plan says of the chunk's file."""
    assert plan.table is not None
    return ChunkFile(plan.file(chunk), plan.export, plan.table, chunk, plan.rows[chunk.number])
