"""The rows of one chunk of a table that is read whole, handed over when they are all there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from whimbrel.project import Source
from whimbrel.records import Row

MOST_ROWS = 4_000  # of a chunk here: those of several connections are in memory


def in_small_chunks(source: Source) -> Source:
    return replace(source, chunk_rows=min(source.chunk_rows, MOST_ROWS))


class ChunkRows:
    """A RowTaker; ``use`` gets the rows, unless there are none."""

    def __init__(self, use: Callable[[list[Row]], None]) -> None:
        self._use = use
        self._rows: list[Row] = []

    def add(self, rows: list[Row]) -> None:
        self._rows += rows

    def end(self) -> None:
        if self._rows:
            self._use(self._rows)

    def drop(self) -> None:
        """Nothing of it is anywhere else."""
