"""The rows of one part of a load become items: in the run's own process, or a chunk at a time in a worker."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from whimbrel.bucket import BucketFile
from whimbrel.dynamodb.calls import Spent
from whimbrel.dynamodb.session import KnownTarget
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import LogCorrupt, Stopped
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.portions import PORTION_BYTES, Portions, Sized
from whimbrel.project import Target
from whimbrel.records import Fault, ItemOperation, Provenance, Put, Row, Table
from whimbrel.snapshot_files import Chunk, ChunkReader, FilePath, read_chunk
from whimbrel.workers import Do, Tell

SLICE_ITEMS = 5_000  # items in one write; a stop waits for no more than these


class Written(NamedTuple):
    """What was acknowledged since this was said last, and what that cost; ``faults`` are rows and items that were not
    written.
    """

    rows: int
    items: int
    faults: list[Fault]
    spent: Spent = Spent()


class PartLoader:
    """Writes the items that the rows of a part make. Whoever uses it says what is durable."""

    def __init__(
        self, mapping: TableMapping, writer: Writer, portions: Portions, provenance: Provenance, stop: threading.Event
    ) -> None:
        self._mapping = mapping
        self._writer = writer
        self._portions = portions
        self._provenance = provenance
        self._stop = stop

    def written(self, part: Iterable[Sized]) -> Iterator[Written]:
        """Write it all; each Written comes when DynamoDB has acknowledged what it counts. Raises Stopped."""
        yield from self.written_portions(self._portions.of(part))

    def written_portions(self, portions: Iterable[list[Row]]) -> Iterator[Written]:
        """The same of rows that are portions already."""
        for rows in portions:
            yield from self._put(rows)
            del rows  # before the next ones are read

    def _put(self, rows: list[Row]) -> Iterator[Written]:
        puts, faults = self._mapping.put_items(rows, self._provenance)
        if self._mapping.spread:
            puts.sort(key=_anywhere)
        told = items = 0
        for some in sliced(iter(self._mapping.load_operations(puts))):
            if self._stop.is_set():
                raise Stopped("asked to stop before this was done", place=self._mapping.source)
            faults += [rejected.fault(self._mapping.source) for rejected in self._writer.write(some)]
            items += len(some)
            reached = len(rows) * items // len(puts)
            yield Written(reached - told, len(some), [], self._writer.take_spent())
            told = reached
        yield Written(len(rows) - told, 0, faults)


def _anywhere(put: Put) -> int:
    """An order that has nothing to do with the items' keys."""
    return crc32(repr(put.key).encode("utf-8", "surrogatepass"))


def sliced(operations: Iterator[ItemOperation]) -> Iterator[list[ItemOperation]]:
    while part := list(islice(operations, SLICE_ITEMS)):
        yield part


class ChunkFile(NamedTuple):
    """The file that a chunk of an export must have."""

    path: FilePath
    export: str
    table: Table
    chunk: Chunk
    rows: int

    def read(self) -> ChunkReader:
        """Raises LogCorrupt if it is damaged, or not the one that it must be."""
        found = read_chunk(self.path)
        if (found.export, found.table, found.chunk, found.rows) != self[1:]:
            raise LogCorrupt(f"is not chunk {self.chunk.number} of this export", place=str(self.path))
        return found


class Loaded(NamedTuple):
    """A worker's last word on a chunk: how many writes its condition skipped, or why its file does not fit."""

    held: int = 0
    unfit: str = ""


class Refused(NamedTuple):
    """DynamoDB has taken nothing from a worker for a while, for this reason; "": it does again."""

    reason: str


ChunkTold = Written | Loaded | Refused


class ChunkWork(NamedTuple):
    """What a worker loads by. ``target`` has its share of what may be written; ``known`` is how to reach it."""

    mapping: TableMapping
    target: Target
    provenance: Provenance
    spill: Path
    known: KnownTarget | None = None


def chunk_loading(work: ChunkWork, stop: threading.Event) -> Do[ChunkFile, ChunkTold]:
    """In a worker. It keeps nothing: what is told is durable when the run has made it so."""
    tells: list[Tell[ChunkTold]] = []  # of the chunk that is loaded

    def refused(reason: str) -> None:
        tells[-1](Refused(reason))

    writer = Writer(DynamoClient(work.target, known=work.known), work.target, stop=stop, refused=refused)
    # Half as much memory as where there is one process: there are several.
    portions = Portions(work.mapping, work.spill / f"worker-{os.getpid()}", PORTION_BYTES // 2)
    loader = PartLoader(work.mapping, writer, portions, work.provenance, stop)

    def load(file: ChunkFile, tell: Tell[ChunkTold]) -> None:
        tells[:] = [tell]
        if isinstance(file.path, BucketFile):
            file.path.bucket.attend(stop)
        try:
            export = file.read()
        except LogCorrupt as error:
            tell(Loaded(unfit=str(error)))
            return
        for written in loader.written(export.sized()):
            tell(written)
        tell(Loaded(writer.take_held()))

    return load
