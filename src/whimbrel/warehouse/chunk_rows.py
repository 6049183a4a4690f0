"""The rows of one chunk of a table that is read whole, handed over when they are all there."""

from __future__ import annotations

from collections.abc import Callable

from whimbrel.records import Row


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
