"""Half of a first look in a worker: it reads the target while this process reads the source, and then helps with that.
So each works on a core until there is nothing left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import TracebackType
from typing import NamedTuple

from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import Stopped
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.digests import TargetSide
from whimbrel.migration.first_rows import SourceDigests, SourceRead, SourceSide, takers
from whimbrel.migration.prepare import chunk_key
from whimbrel.mysql.sessions import Sessions
from whimbrel.mysql.whole_table import read_chunks
from whimbrel.snapshot_files import Chunk
from whimbrel.spill import KeyedDigests
from whimbrel.threads import Beside
from whimbrel.workers import Do, Tell, Workers


class _ReadTarget(NamedTuple):
    """The job to read the target: told are how many items each page has, then _TargetKept."""


class _ReadChunks(NamedTuple):
    """The job to read chunks of the source of one mapping, by its place: told is how many rows they had."""

    mapping: int
    chunks: Sequence[Chunk]


class _EndReading(NamedTuple):
    """The last job: told is the SourceRead, when all digests are in files."""


class _TargetKept(NamedTuple):
    """So many items of the target were kept."""

    items: int


_Job = _ReadTarget | _ReadChunks | _EndReading
_Told = int | _TargetKept | SourceRead


class ReadingProcess:
    """Reads ``target`` from when it is made; ``found`` is told of each page how many items it has, in another thread.
    Then it is ready for chunks of ``source``. As a context, it ends the reading in any case.
    """

    def __init__(
        self, target: TargetSide, source: SourceSide, stop: threading.Event, found: Callable[[int], None]
    ) -> None:
        self._target, self._source, self._stop, self._found = target, source, stop, found
        self._over = threading.Event()
        self._workers = Workers[_Job, _Told](reading, [(target, source)], self._over, meanwhile=self._look)
        self._read: KeyedDigests | None = None
        with ExitStack() as until_begun:
            until_begun.enter_context(self._workers)
            self._reading = Beside(self._read_target, "verify")
            self._open = until_begun.pop_all()

    def target(self) -> KeyedDigests:
        """What was read. Raises what reading raised, Stopped, and WorkerLost."""
        return self._reading.result()

    def source(self) -> tuple[KeyedDigests, SourceRead]:
        """What was read of the source; nothing may be read after it. Raises as ``target``."""
        (read,) = (told for _, told in self._workers.answers([_EndReading()]))
        assert isinstance(read, SourceRead)
        kept = KeyedDigests(self._source.folder, self._source.partitions)
        kept.added = read.kept
        return kept, read

    def chunks_of(self, mapping: TableMapping) -> ChunksElsewhere:
        return ChunksElsewhere(self, self._source.mappings.index(mapping))

    @property
    def ready(self) -> bool:
        return self._read is not None

    def read(self, mapping: int, chunks: Sequence[Chunk]) -> int:
        """How many rows they had. Raises as ``target``."""
        (rows,) = (told for _, told in self._workers.answers([_ReadChunks(mapping, chunks)]))
        assert isinstance(rows, int)
        return rows

    def __enter__(self) -> ReadingProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with suppress(Exception):  # there is an error already, or it was told
            self._reading.result()
        self._open.close()

    def _read_target(self) -> KeyedDigests:
        read = KeyedDigests(self._target.folder, self._target.partitions)
        for _, told in self._workers.answers([_ReadTarget()]):
            if isinstance(told, _TargetKept):
                read.added = told.items
            elif isinstance(told, int):
                self._found(told)
        self._read = read
        return read

    def _look(self) -> None:
        if self._stop.is_set():
            self._over.set()


class ChunksElsewhere(NamedTuple):
    """Chunks of one mapping's table, read by ``process``: an ``Elsewhere``."""

    process: ReadingProcess
    mapping: int

    @property
    def ready(self) -> bool:
        return self.process.ready

    def read(self, chunks: Sequence[Chunk]) -> int:
        return self.process.read(self.mapping, chunks)


def reading(sides: tuple[TargetSide, SourceSide], stop: threading.Event) -> Do[_Job, _Told]:
    """In the worker. What it read is in the files of the two sides when the end of each is told."""
    target, source = sides
    kept, sessions = SourceDigests(source.folder, source.partitions), Sessions()
    settings = replace(source.source, connections=max(1, source.source.connections // 2))
    sessions.expect([each.table for each in source.mappings])

    def read_target(tell: Tell[_Told]) -> None:
        wire = DynamoClient(target.target, known=target.known)
        try:
            found = target.read(wire, stop, tell)
        finally:
            wire.close()
        found.flush()
        tell(_TargetKept(found.added))

    def read_source(job: _ReadChunks) -> int:
        mapping = source.mappings[job.mapping]
        begin = takers(mapping, source.digests, source.folder, lambda made: kept.add(mapping, made))
        rows = read_chunks(settings, mapping.table, chunk_key(mapping), job.chunks, begin, stop=stop, sessions=sessions)
        if stop.is_set():
            raise Stopped("asked to stop before this was done", place=mapping.source)
        return rows

    def read(job: _Job, tell: Tell[_Told]) -> None:
        if isinstance(job, _ReadTarget):
            read_target(tell)
        elif isinstance(job, _ReadChunks):
            tell(read_source(job))
        else:
            with sessions:
                kept.digests.flush()
            tell(kept.read())

    return read
