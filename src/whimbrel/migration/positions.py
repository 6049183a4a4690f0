"""Where the two sides stand, and whether one has reached the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from whimbrel.mysql.connect import connect
from whimbrel.records import Position

if TYPE_CHECKING:
    from whimbrel.migration.run import Run


def drained(run: Run, target: Position) -> Callable[[], bool]:
    """Whether the target has everything up to ``target``."""
    return lambda: reached(run.progress.applied_position, target)


def reached(position: Position | None, target: Position) -> bool:
    """Whether somebody who stands at ``position`` (None: nowhere yet) has everything up to ``target``."""
    return position is not None and position.at_or_after(target)


def source_end(run: Run) -> Position:
    """The source's Position at this moment."""
    with closing(connect(run.prepared.project.source)) as connection:
        return run.lineage.end_of(connection)
