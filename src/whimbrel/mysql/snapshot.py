"""Exports a table: its chunks become files, resumably.

A chunk's file gets its name only when it is durable, and that name is all that a resume asks for: a chunk whose file is
there and whole is done, every other one is read again. Each chunk shows the table at a moment of its own; what it did
not see is in the change log, which is applied later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from whimbrel.errors import LogCorrupt
from whimbrel.mysql.chunks import plan
from whimbrel.mysql.plan import ChunkStore, Plan
from whimbrel.mysql.points import read_rows, rows_where_equal
from whimbrel.mysql.reading import TableReading
from whimbrel.mysql.sessions import Sessions
from whimbrel.project import Source
from whimbrel.records import Table
from whimbrel.snapshot_files import PART, Chunk, ChunkWriter, ExportFile, read_chunk, write_chunk
from whimbrel.threads import in_thread

__all__ = ["Chunk", "SnapshotResult", "export_table", "plan", "read_rows", "rows_where_equal"]


class SnapshotResult(NamedTuple):
    """What is exported now, the chunks of earlier calls among them."""

    chunks: int
    rows: int


def export_table(
    source: Source,
    table: Table,
    key_columns: tuple[str, ...],
    folder: Path,
    *,
    stop: threading.Event,
    done: Container[int] = (),
    on_chunk: Callable[[ExportFile], None] | None = None,
    on_rows: Callable[[int], None] | None = None,
    sessions: Sessions | None = None,
    store: ChunkStore | None = None,
) -> SnapshotResult:
    """Export ``table`` into ``folder``, or continue it there, until all is done or ``stop`` is set. With a ``store``
    the plan alone is in the folder.

    ``on_chunk`` is called for each file that is durable and not in ``done``, those of earlier calls among them; the
    files of chunks in ``done`` are trusted unread, there or not, and their rows are not counted. ``on_rows`` is called
    with rows as they are read, and with a negative number when a chunk that broke off is read again. Both are called in
    this thread. ``sessions`` has the connections of an earlier export, and gets those of this one. Raises
    SourceUnreachable after TRIES broken connections in a row, IncompleteRead when the server counts other rows than it
    sent, SchemaDrift, PrivilegeError, UnsupportedSource (text that is not valid in its character set).
    """
    use, count = on_chunk or _ignore, on_rows or _ignore
    export = _Export(source, table, key_columns, folder, stop, done, use, count, store)
    with Sessions() if sessions is None else nullcontext(sessions) as lent:
        lent.loop.run(export.run(lent))
    return SnapshotResult(export.chunks, export.rows)


def _ignore(_: Any) -> None: ...


class _Export:
    """The chunks of a table's export: each is durable in the plan before it is read, and then becomes a file."""

    def __init__(
        self,
        source: Source,
        table: Table,
        key_columns: tuple[str, ...],
        folder: Path,
        stop: threading.Event,
        done: Container[int],
        on_chunk: Callable[[ExportFile], None],
        on_rows: Callable[[int], None],
        store: ChunkStore | None,
    ) -> None:
        self._store = store
        self._reading = TableReading[ExportFile](source, table, key_columns, self, stop, on_rows)
        self._table, self._key_columns, self._folder = table, key_columns, folder
        self._stop, self._done, self._on_chunk, self._on_rows = stop, done, on_chunk, on_rows
        self.chunks = self.rows = 0

    async def run(self, sessions: Sessions) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(f"*{PART}"):
            left.unlink()
        self._plan = Plan(self._folder, self._store)
        self._plan.begin(self._table, self._key_columns)
        await self._reading.run(await in_thread(self._unfinished) if self._plan.chunks else [], sessions)

    @property
    def last(self) -> Chunk | None:
        return self._plan.last

    @property
    def complete(self) -> bool:
        return self._plan.complete

    def add(self, chunk: Chunk) -> None:
        self._plan.add(chunk)

    def begin(self, chunk: Chunk) -> ChunkWriter:
        plan = self._plan
        return write_chunk(plan.file(chunk), self._table, chunk, plan.export, first=partial(plan.publish, chunk))

    def done(self, made: ExportFile) -> None:
        self.chunks += 1
        self.rows += made.rows
        if made.chunk.number not in self._done:
            self._on_chunk(made)

    def _unfinished(self) -> list[Chunk]:
        """The planned chunks whose file is not there whole; those that are done are announced."""
        waiting = []
        for chunk in self._plan.chunks:
            if self._stop.is_set():
                break
            if chunk.number in self._done:
                self.chunks += 1
            elif file := whole_file(self._plan, chunk):
                self._on_rows(file.rows)
                self.done(file)
            else:
                self._plan.file(chunk).unlink(missing_ok=True)
                waiting.append(chunk)
        return waiting


def whole_file(plan: Plan, chunk: Chunk) -> ExportFile | None:
    """The chunk's file if all of it can be read and it is this chunk's, of this export."""
    try:
        export = read_chunk(plan.file(chunk))
    except LogCorrupt:
        return None
    same = (export.chunk, export.table, export.export) == (chunk, plan.table, plan.export)
    return export.file if same else None
