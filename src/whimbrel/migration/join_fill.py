"""What look-ups read, from the export: filled before the first item is loaded, opened again by every run after that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from whimbrel.errors import StateError
from whimbrel.migration.joins import Joins
from whimbrel.migration.load import fitting
from whimbrel.migration.prepare import Prepared
from whimbrel.migration.snapshot import Snapshot
from whimbrel.migration.state import CheckpointStore
from whimbrel.mysql.plan import Plan


@contextmanager
def filled_joins(
    path: Path,
    prepared: Prepared,
    checkpoints: CheckpointStore,
    snapshot_of: Callable[[str], Snapshot],
    unfit: Callable[[str, Plan, int], None],
    stop: threading.Event,
) -> Iterator[Joins | None]:
    """For the load; None where no rule looks anything up, or on a stop. ``snapshot_of`` a table makes
    its export whole, and ``unfit`` is told of a chunk whose file is not what the plan says.

    A file that is whole is taken as it is: every chunk of the export was in it. A chunk that is read again later has
    rows that changed since, whose changes are in the log.
    """
    joins = _joins(path, prepared)
    try:
        if joins:
            origin = {source: checkpoints.now.table(source).export for source in joins.rules}
            ready = joins.open() and joins.is_from(origin)
            while not ready and not stop.is_set():
                ready = _fill(joins, origin, snapshot_of, unfit, stop) and joins.open()
        yield joins
    finally:
        if joins:
            joins.close()


def opened_joins(path: Path, prepared: Prepared, checkpoints: CheckpointStore) -> Joins | None:
    """For applying changes: as of where the Checkpoint is. None where no rule looks anything up. Raises StateError if
    it is not there, or of another place.
    """
    joins = _joins(path, prepared)
    if joins is None:
        return None
    try:
        if not joins.open():
            hint = "Restore the state folder from one copy, or begin again with a new one."
            raise StateError("what look-ups read is not there any more", place=str(path), hint=hint)
        joins.agree(checkpoints)
    except BaseException:
        joins.close()
        raise
    return joins


def _joins(path: Path, prepared: Prepared) -> Joins | None:
    looks_up = any(mapping.rule.lookups for mapping in prepared.mappings.values())
    return Joins(path, prepared.mappings, prepared.versions) if looks_up else None


def _fill(
    joins: Joins,
    origin: Mapping[str, str],
    snapshot_of: Callable[[str], Snapshot],
    unfit: Callable[[str, Plan, int], None],
    stop: threading.Event,
) -> bool:
    """Whether it is whole; else it is to be filled again, unless the run is stopped."""
    plans = {source: snapshot_of(source).whole() for source in origin}
    if stop.is_set():
        return False
    found: tuple[str, Plan, int] | None = None
    try:
        with joins.filling(origin):
            for source, plan in plans.items():
                assert plan.table is not None
                for chunk in plan.chunks:
                    if stop.is_set():
                        raise _Unfinished
                    export = fitting(plan, chunk)
                    if export is None:
                        found = source, plan, chunk.number
                        raise _Unfinished
                    for rows in export:
                        joins.fill(plan.table, rows)
    except _Unfinished:
        joins.close()
        if found:
            unfit(*found)
        return False
    return True


class _Unfinished(Exception):
    """What is filled is not whole."""
