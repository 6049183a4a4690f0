"""All silos at once: each has a thread of its own, and the first that fails ends all, with everything saved."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from whimbrel.errors import ProjectError, Stopped, WarehouseError, WarehouseUnreachable
from whimbrel.migration.live import Asked, Live
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import StateFolder
from whimbrel.notes import note
from whimbrel.project import ItemSilo, Project, Warehouse
from whimbrel.threads import Beside
from whimbrel.warehouse.claim import note_left
from whimbrel.warehouse.engine import Engine
from whimbrel.warehouse.ledger import make_ledger
from whimbrel.warehouse.opened import open_engine
from whimbrel.warehouse.prepared import PreparedSilo, of_silo, prepare_silo
from whimbrel.warehouse.reports import Reports
from whimbrel.warehouse.run import SiloRun

LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class SiloResult:
    """``figures`` are all counters."""

    name: str
    phase: str
    rows_loaded: int
    changes_applied: int
    figures: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, **self.figures}


@dataclass(frozen=True, slots=True)
class ConvergeResult:
    """What was done, with what earlier runs did. ``stopped``: before its end; the same call continues from there."""

    stopped: bool
    silos: tuple[SiloResult, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"stopped": self.stopped, "silos": [silo.to_dict() for silo in self.silos]}


def warehouse_of(project: Project) -> Warehouse:
    """Raises ProjectError where the project has none."""
    if project.warehouse is None:
        hint = "Write a [warehouse] and a [[silo]] for each source: see docs/warehouse.md."
        raise ProjectError("there is no [warehouse]", place=str(project.path), hint=hint)
    return project.warehouse


def prove(engine: Engine, warehouse: Warehouse) -> None:
    """Raises WarehouseError, PrivilegeError where nothing could be written there, or the page could not be."""
    engine.prove()
    if warehouse.page and not warehouse.page.parent.is_dir():
        place = str(warehouse.page.parent)
        raise WarehouseError("the folder of warehouse.page is not there", place=place, hint="Make it.")


def converge(project: Project, asked: Asked, *, until_caught_up: bool) -> ConvergeResult:
    warehouse = warehouse_of(project)
    folder = StateFolder(project.state)
    folder.make()
    engine = open_engine(project, warehouse, asked.stop.is_set)
    prove(engine, warehouse)
    found = [prepare_silo(project, silo, warehouse.engine) for silo in project.silos]
    if asked.stop.is_set():
        raise Stopped("asked to stop before anything was done")
    with engine.session() as session, session.transaction():
        make_ledger(session)
    note_left(project, engine)
    names = [*(silo.name for silo in project.silos), *(silo.name for silo in project.item_silos)]
    progress = {name: Progress() for name in names}
    together = Progress()
    with Live(together, folder, asked.stop, asked.tell) as live:
        settings = _Work(project, engine, warehouse, progress, asked.stop, live, until_caught_up)
        work: dict[str, Callable[[], None]] = {each.silo.name: partial(_silo, settings, each) for each in found}
        work |= {silo.name: partial(_item_silo, settings, silo) for silo in project.item_silos}
        reports = Refreshed(Reports(engine, warehouse.reports, warehouse.page), progress, warehouse.batch_seconds)
        _all_of(work, progress, together, asked.stop, reports)
    results = tuple(_result(name, each) for name, each in progress.items())
    return ConvergeResult(asked.stop.is_set(), results)


def _all_of(
    work: dict[str, Callable[[], None]],
    progress: dict[str, Progress],
    together: Progress,
    stop: threading.Event,
    reports: Refreshed,
) -> None:
    """Raises what the first silo that failed raised, when all have ended."""
    failures: list[BaseException] = []
    ended: list[str] = []

    def one(name: str) -> None:
        try:
            with of_silo(name):
                work[name]()
        except BaseException as error:
            failures.append(error)
            stop.set()
        finally:
            ended.append(name)

    threads = [Beside(partial(one, name), f"silo {name}") for name in work]
    try:
        while len(ended) < len(threads):
            sum_up(progress, together)
            reports.look()
            time.sleep(LOOK_SECONDS)
    except BaseException:
        stop.set()
        raise
    finally:
        for thread in threads:
            thread.join()
        sum_up(progress, together)
    for error in failures:
        if not isinstance(error, Stopped):
            raise error
    with suppress(WarehouseUnreachable) if stop.is_set() else nullcontext():
        reports.end()


class Refreshed:
    """Has the reports made again when silos have been loaded, or have written a batch, since; not more often than these
    do.
    """

    def __init__(self, reports: Reports, progress: dict[str, Progress], seconds: float) -> None:
        self._reports, self._progress, self._seconds = reports, progress, seconds
        self._of: list[tuple[str, int]] = []
        self._noted: set[str] = set()
        self._at = time.monotonic()

    def look(self) -> None:
        """A warehouse that cannot be reached is asked again later, as the silos do it."""
        if time.monotonic() - self._at >= self._seconds:
            try:
                self.end()
            except WarehouseUnreachable as error:
                if error.message not in self._noted:
                    note(f"the reports cannot be made again now: {error.message}")
                    self._noted.add(error.message)
            self._at = time.monotonic()

    def end(self) -> None:
        """Look once more. Raises WarehouseUnreachable."""
        now = [(each.phase, each.applied) for each in self._progress.values()]
        if now != self._of and self._are_loaded() and self._reports.refresh():
            self._of = now

    def _are_loaded(self) -> bool:
        return all(each.phase == "apply" for each in self._progress.values())


@dataclass(frozen=True, slots=True)
class _Work:
    """What the silos have in common."""

    project: Project
    engine: Engine
    warehouse: Warehouse
    progress: dict[str, Progress]
    stop: threading.Event
    live: Live
    until_caught_up: bool


def _silo(work: _Work, found: PreparedSilo) -> None:
    name, stop = found.silo.name, work.stop
    with SiloRun(found, work.engine, work.warehouse.batch_seconds, work.progress[name], stop) as run:
        if start := run.begin():
            waited = f"writers waited for at most {start.held_ms:.0f} ms" if start.held_ms else "no write waited for it"
            work.live.say(f"{name}: start fixed at {start.position}, {start.way}; {waited}.")
        for step in (run.start_capture, run.snapshot, run.load):
            if not stop.is_set():
                step()
        if not stop.is_set():
            work.live.say(f"{name}: loaded; changes are written.")
            _follow(run, stop, until_caught_up=work.until_caught_up)
    run.check()


def _item_silo(work: _Work, silo: ItemSilo) -> None:
    from whimbrel.warehouse.items import ItemSiloRun  # with the lake, which no other silo needs

    with ItemSiloRun(work.project, silo, work.engine, work.progress[silo.name], work.stop) as run:
        run.refresh()
        if not work.until_caught_up and not work.stop.is_set():
            work.live.say(f"{silo.name}: loaded; exported again every {silo.every:g} s.")
            run.follow()


def _follow(run: SiloRun, stop: threading.Event, *, until_caught_up: bool) -> None:
    if not until_caught_up:
        run.follow()
        return
    run.catch_up(run.source_end())
    if not stop.is_set():
        run.ask_source()  # after the last change was written, before anybody says "Done"


_ORDER = ("start", "snapshot", "load", "apply")


def sum_up(progress: dict[str, Progress], together: Progress) -> None:
    """All silos as one run: the phase is that of the silo that is least far."""
    several = list(progress.values())
    together.phase = min((each.phase for each in several), key=_ORDER.index)
    together.note = ", ".join(each.note for each in several if each.note)
    for name, each in progress.items():
        for table, counts in list(each.tables.items()):
            together.tables[f"{name}.{table.partition('.')[2]}"] = counts
    for counter in ("captured", "capturing", "applied", "applying", "reconnects"):
        setattr(together, counter, sum(getattr(each, counter) for each in several))
    of_sources = [each for each in several if each.captured_position] or several
    last = min(of_sources, key=lambda each: each.applied_time)
    together.applied_time, together.source_ahead = last.applied_time, last.source_ahead
    together.applied_position, together.captured_position = last.applied_position, last.captured_position
    together.silos = {name: _seen(each) for name, each in progress.items()}
    together.capture_idle = all(each.capture_idle for each in several)
    together.asked = min(each.asked for each in several)


def _seen(silo: Progress) -> dict[str, Any]:
    lag = {"lag_changes": silo.lag_changes, "lag_seconds": silo.lag_seconds, "caught_up": silo.caught_up}
    return {"phase": silo.phase, "note": silo.note, "batches": silo.batches} | lag


def _result(name: str, progress: Progress) -> SiloResult:
    rows = sum(each.loaded_rows for each in progress.tables.values())
    return SiloResult(name, progress.phase, rows, progress.applied, progress.to_dict())
