"""The verb verify, of a project's silos: with the writer of this process, or that of a converge that runs elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from whimbrel import checkpoint
from whimbrel.errors import Locked, StateError, Stopped
from whimbrel.migration.live import Asked, Live
from whimbrel.migration.prepare import followable, lineage_of
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import StateFolder
from whimbrel.project import Project, Warehouse
from whimbrel.records import Position
from whimbrel.threads import Beside
from whimbrel.warehouse.converge import warehouse_of
from whimbrel.warehouse.engine import Engine
from whimbrel.warehouse.ledger import FOLLOWING, Ledger, same_migration
from whimbrel.warehouse.opened import open_engine
from whimbrel.warehouse.prepared import PreparedSilo, of_silo, prepare_silo
from whimbrel.warehouse.run import SiloRun
from whimbrel.warehouse.verify import RowReport, TableVerify


@dataclass(frozen=True, slots=True)
class WarehouseVerification:
    """What comparing each source with its schema found."""

    tables: tuple[RowReport, ...]

    @property
    def equal(self) -> bool:
        return all(table.equal for table in self.tables)

    def to_dict(self) -> dict[str, Any]:
        return {"equal": self.equal, "tables": [table.to_dict() for table in self.tables]}


def verify(project: Project, asked: Asked) -> WarehouseVerification:
    """Raises StateError before a silo is loaded, and Stopped."""
    warehouse, stop = warehouse_of(project), asked.stop
    folder = StateFolder(project.state)
    folder.make()
    engine = open_engine(project, warehouse, stop.is_set)
    progress, reports = Progress(phase="verify"), list[RowReport]()
    with Live(progress, folder, stop, asked.tell):
        for silo in project.silos:
            found = prepare_silo(project, silo, warehouse.engine)
            with of_silo(silo.name):
                reports += _silo(found, engine, warehouse, progress, stop)
        for items in project.item_silos:
            from whimbrel.warehouse.verify_items import verify_items  # with the lake, which no other silo needs

            with of_silo(items.name):
                reports += [verify_items(project, engine, items, table, stop) for table in items.tables]
    if stop.is_set():
        raise Stopped("the verification was stopped before its end", hint="Run it again: it begins from scratch.")
    return WarehouseVerification(tuple(reports))


def _silo(
    found: PreparedSilo, engine: Engine, warehouse: Warehouse, progress: Progress, stop: threading.Event
) -> list[RowReport]:
    own = Progress()
    try:
        with SiloRun(found, engine, warehouse.batch_seconds, own, stop) as run:
            if run.phase != "apply":
                raise _not_loaded(found)
            run.begin()
            run.start_capture()
            reports = _beside(run, lambda: _tables(found, engine, lambda: own.applied_position, progress, stop))
        run.check()
    except Locked:
        reports = _tables(found, engine, _applied_elsewhere(found), progress, stop)
    return reports


def _beside(run: SiloRun, compare: Callable[[], list[RowReport]]) -> list[RowReport]:
    """``compare``, while changes are written as soon as they come."""
    ended = threading.Event()

    def follow() -> None:
        try:
            run.follow_until(ended.is_set)
        except BaseException:
            run.stop.set()
            raise

    follower = Beside(follow, f"silo {run.found.silo.name}")
    try:
        reports = compare()
    finally:
        ended.set()
        follower.join()
    follower.result()
    return reports


def _tables(
    found: PreparedSilo,
    engine: Engine,
    applied: Callable[[], Position | None],
    progress: Progress,
    stop: threading.Event,
) -> list[RowReport]:
    lineage = lineage_of(found.prepared)
    with engine.session() as session:
        ledger = Ledger(found.silo.name)
        entry = ledger.read(session)
        if entry is None or entry.phase != FOLLOWING:
            raise _not_loaded(found)
        same_migration(entry, _folder_of(found).migration, found.silo.name)
        tables = ledger.tables(session)
    reports = []
    for kept in tables.values():
        name = ".".join(kept.table.source)
        folder = StateFolder(found.prepared.project.state).verify
        one = TableVerify(found.silo, engine, lineage, kept, folder, applied, progress, stop)
        reports.append(one.run(found.prepared.estimates[name]))
    return reports


def _applied_elsewhere(found: PreparedSilo) -> Callable[[], Position | None]:
    """The Position as the process that holds the run lock saves it."""
    followable(found.prepared, _folder_of(found))
    return lambda: _folder_of(found).applied_position


def _folder_of(found: PreparedSilo) -> checkpoint.Checkpoint:
    return checkpoint.load(StateFolder(found.prepared.project.state).checkpoint)


def _not_loaded(found: PreparedSilo) -> StateError:
    return StateError("it is not loaded yet", place=found.silo.name, hint="Run `whimbrel converge` first.")
