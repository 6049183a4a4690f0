"""What look-ups read: filled from the export before the first item is loaded, opened again by every run after that, and
made again from the source where it is missing by then, as after a return to the source.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from whimbrel.checkpoint import REWRITING
from whimbrel.errors import StateError, Stopped
from whimbrel.migration.join_store import AsOf, remove_store
from whimbrel.migration.joins import Joins
from whimbrel.migration.load import fitting
from whimbrel.migration.prepare import Prepared, chunk_key, not_altered
from whimbrel.migration.snapshot import Snapshot
from whimbrel.migration.state import CheckpointStore
from whimbrel.mysql.connect import connect
from whimbrel.mysql.plan import Plan
from whimbrel.mysql.visible import until_visible
from whimbrel.mysql.whole_table import read_table
from whimbrel.notes import note
from whimbrel.records import Row, Table


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


def opened_joins(path: Path, prepared: Prepared, checkpoints: CheckpointStore, stop: threading.Event) -> Joins | None:
    """For applying changes: as of where the Checkpoint is. None where no rule looks anything up. One that is missing is
    made again. Raises StateError if it cannot be, or is of another place; Stopped.
    """
    joins = _joins(path, prepared)
    if joins is None:
        return None
    try:
        if not joins.open():
            _make_again(joins, path, prepared, checkpoints, stop)
            joins.open()
        joins.agree(checkpoints)
        if REWRITING in checkpoints.now.counters and not joins.waiting:
            checkpoints.save(checkpoints.now.without_counter(REWRITING))  # a crash came before this save
    except BaseException:
        joins.close()
        raise
    return joins


def give_up_joins(path: Path, prepared: Prepared) -> bool:
    """Of what was as of the end of the source, and is of no use when the source is given back. Durable on return;
    whether it will be made again.
    """
    remove_store(path)
    return _looks_up(prepared)


def _looks_up(prepared: Prepared) -> bool:
    return any(mapping.looks_up for mapping in prepared.mappings.values())


def _joins(path: Path, prepared: Prepared) -> Joins | None:
    return Joins(path, prepared.mappings, prepared.versions) if _looks_up(prepared) else None


def _make_again(
    joins: Joins, path: Path, prepared: Prepared, checkpoints: CheckpointStore, stop: threading.Event
) -> None:
    """Each row as the source has it by now. The order matters: nobody takes the applied Position for one that the
    target has, before anything else; the source shows all that was applied, before it is read; its tables are what the
    rows are read with, after.
    """
    for mapping in prepared.mappings.values():
        if placed := mapping.placed_by_others:
            raise StateError(
                f"is missing, and where the items of {mapping.source} are depends on what is looked up "
                f"({placed[0] or 'its filter'})",
                place=str(path),
                hint="Restore the state folder from one copy, or begin again with a new one and a new target table.",
            )
    now, source, tables = checkpoints.now, prepared.project.source, list(prepared.tables.values())
    checkpoints.save(replace(now, counters={**now.counters, REWRITING: 1}))
    note("What look-ups read is made again from the source; then all items with something looked up are written again.")
    point = (now.applied.segment, now.applied.offset) if now.applied else None
    as_of = AsOf(point, now.counters.get("applied", 0))
    if now.applied_position:
        with closing(connect(source)) as connection:
            until_visible(source, tables, now.applied_position, stop.wait)
            not_altered(connection, tables)
        as_of = as_of._replace(position=now.applied_position.as_fields(), time=now.applied_timestamp or 0.0)
    with joins.filling_again(as_of):
        for name in joins.rules:
            mapping = prepared.mappings[name]
            table = mapping.table.stored
            into = _Rows(joins, table)
            read_table(source, table, chunk_key(mapping), lambda: into, stop=stop, on_rows=lambda _: None)  # noqa: B023
            if stop.is_set():
                raise Stopped("asked to stop before what look-ups read was made again")
        with closing(connect(source)) as connection:
            not_altered(connection, tables)


class _Rows:
    """Rows as they are read. What is read again, of a chunk that broke off, is put over what was there: a row that went
    meanwhile has its change in the log, like any that goes after it was read.
    """

    def __init__(self, joins: Joins, table: Table) -> None:
        self._joins, self._table = joins, table

    def add(self, rows: list[Row]) -> None:
        self._joins.fill(self._table, rows)

    def end(self) -> None: ...
    def drop(self) -> None: ...


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
