"""Reads a whole table and keeps nothing of it: the rows are handed over as they are read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Protocol

from whimbrel.mysql.elsewhere import Elsewhere
from whimbrel.mysql.reading import TableReading
from whimbrel.mysql.sessions import Sessions
from whimbrel.project import Source
from whimbrel.records import Row, Table
from whimbrel.snapshot_files import Chunk


class RowTaker(Protocol):
    """Takes the rows of one chunk as they are read; then comes ``end`` if they are all there, and ``drop`` if not."""

    def add(self, rows: list[Row]) -> None: ...
    def end(self) -> None: ...
    def drop(self) -> None: ...


def read_table(
    source: Source,
    table: Table,
    key_columns: tuple[str, ...],
    begin: Callable[[], RowTaker],
    *,
    stop: threading.Event,
    on_rows: Callable[[int], None],
    sessions: Sessions | None = None,
    elsewhere: Elsewhere | None = None,
) -> int:
    """Read all of ``table``, or what is read when ``stop`` is set; how many rows the chunks had whose rows ended.
    Of those that are read ``elsewhere``, only that is known here.

    ``begin`` is called for each chunk, again for one that broke off. ``on_rows`` is called as by ``export_table``, and
    all is called in this thread; ``sessions`` as there. Raises what ``export_table`` does.
    """
    chunks = _HandedOver(begin)
    reading = TableReading[_RowsOfChunk](source, table, key_columns, chunks, stop, on_rows, elsewhere)
    with Sessions() if sessions is None else nullcontext(sessions) as lent:
        lent.loop.run(reading.run([], lent))
    return chunks.rows + reading.rows_elsewhere


def read_chunks(
    source: Source,
    table: Table,
    key_columns: tuple[str, ...],
    chunks: Sequence[Chunk],
    begin: Callable[[], RowTaker],
    *,
    stop: threading.Event,
    sessions: Sessions,
) -> int:
    """The same of ``chunks`` alone, which ``read_table`` has planned, in another process."""
    given = _HandedOver(begin, planned=True)
    reading = TableReading[_RowsOfChunk](source, table, key_columns, given, stop, lambda rows: None)
    sessions.loop.run(reading.run(list(chunks), sessions))
    assert stop.is_set() or given.whole == len(chunks)
    return given.rows


class _HandedOver:
    """The chunks of a table of which nothing is kept."""

    def __init__(self, begin: Callable[[], RowTaker], *, planned: bool = False) -> None:
        """``planned``: there are no more than those that wait."""
        self.last: Chunk | None = None
        self.whole = self.rows = 0
        self._begin, self._planned = begin, planned

    @property
    def complete(self) -> bool:
        return self._planned or (self.last is not None and self.last.high is None)

    def add(self, chunk: Chunk) -> None:
        self.last = chunk

    def begin(self, chunk: Chunk) -> _RowsOfChunk:
        return _RowsOfChunk(self._begin())

    def done(self, made: _RowsOfChunk) -> None:
        self.rows += made.rows
        self.whole += 1
        made.into.end()


class _RowsOfChunk:
    def __init__(self, into: RowTaker) -> None:
        self.into, self.rows = into, 0
        self._whole = False

    def write(self, rows: list[Row]) -> None:
        self.rows += len(rows)
        self.into.add(rows)

    def close(self) -> _RowsOfChunk:
        self._whole = True
        return self

    def abandon(self) -> None:
        if not self._whole:
            self.into.drop()
