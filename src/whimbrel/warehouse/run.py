"""One silo at work: which phase comes after which, and what must be true before the next may begin.

The phases are those of a migration, and the order that makes them right is the same (migration/run.py): the start is
fixed, the capture runs from it on, rows are read and loaded, and the log is played from its first record. What differs
is where the state is: how far the warehouse is stands in the warehouse itself (``ledger``), in the transactions that
brought it there. The Checkpoint in the state folder says when nothing is read any more, and what may be pruned.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from types import TracebackType

from whimbrel.changelog.files import ChangeLogReader
from whimbrel.changelog.segments import prune
from whimbrel.checkpoint import RunLock
from whimbrel.errors import StateError
from whimbrel.migration import history
from whimbrel.migration.capture import Capture
from whimbrel.migration.history import History, Name
from whimbrel.migration.positions import reached
from whimbrel.migration.prepare import followable, lineage_of, not_altered
from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.migration.snapshot import Snapshot, SnapshotTable, read_together, small_together
from whimbrel.migration.state import CheckpointStore, StateFolder, refuse_remains
from whimbrel.migration.watch import SourceWatch
from whimbrel.migration.watched import WatchedCapture
from whimbrel.mysql.connect import clock, connect
from whimbrel.mysql.visible import Start, fixed_start
from whimbrel.records import Position, Table
from whimbrel.warehouse.alter import FollowedTables, fill, follow_versions
from whimbrel.warehouse.apply import BATCH, FULL, RowApplier
from whimbrel.warehouse.claim import is_claimed
from whimbrel.warehouse.engine import Engine
from whimbrel.warehouse.ledger import FOLLOWING, KeptTable, Ledger
from whimbrel.warehouse.load import SiloTableLoad
from whimbrel.warehouse.patience import patiently
from whimbrel.warehouse.prepared import NewTables, PreparedSilo
from whimbrel.warehouse.stored import stored_table

POLL_SECONDS = 0.02
PRUNE_SECONDS = 10.0


class SiloRun:
    """Holds the silo's run lock, and its connection to the source. ``stop`` ends each phase soon, with what was done
    saved. Raises Locked when another process is at work.
    """

    def __init__(
        self, found: PreparedSilo, engine: Engine, batch_seconds: float, progress: Progress, stop: threading.Event
    ) -> None:
        self.found, self._engine, self._batch_seconds = found, engine, batch_seconds
        self.progress, self.stop = progress, stop
        self.folder = StateFolder(found.prepared.project.state)
        self.ledger = Ledger(found.silo.name)
        self.history = found.prepared.history
        self._source = found.silo.source
        self._captured: WatchedCapture | None = None
        self._waits_since: float | None = None  # when changes were first seen that are not written yet

    def __enter__(self) -> SiloRun:
        self.folder.make()
        self._lock = RunLock(self.folder.root)
        try:
            self.checkpoints = CheckpointStore(self.folder.checkpoint)
            followable(self.found.prepared, self.checkpoints.now)
            self.lineage = lineage_of(self.found.prepared)
            for table in self.found.tables:
                estimate = self.found.prepared.estimates[table.full_name]
                done = self.checkpoints.now.table(table.full_name)
                self.progress.tables[table.full_name] = TableCounts(estimate, done.rows_exported)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._captured:
            self._captured.stop()
        self._lock.release()

    @property
    def phase(self) -> str:
        return self.checkpoints.now.phase

    def begin(self) -> Start | None:
        """Fix the start, unless that was done, and take the silo in the warehouse. The order matters: nothing is
        claimed before the state folder knows by what name.
        """
        start = self._fix_start() if self.phase == "new" else None
        self._claim()
        return start

    def start_capture(self) -> None:
        capture = Capture(
            self._source,
            self.lineage,
            self._begun,
            FollowedTables(),
            self.folder.log,
            self._start,
            self.progress,
            self.stop.set,
        )
        tables, on_failure, new = self.found.tables, self.stop.set, NewTables(self.found)
        watch = SourceWatch(self._source, self.lineage, tables, self.progress, on_failure, capture.reconnect, new.look)
        self._captured = WatchedCapture(capture, watch)
        self._captured.start()

    def check(self) -> None:
        """Raise what ended the capture, or what the watch found, if something did."""
        if self._captured:
            self._captured.check()

    def ask_source(self) -> None:
        """Ask the source once more whether all that this rests on is still so."""
        if self._captured:
            self._captured.ask_source()

    def source_end(self) -> Position:
        with closing(connect(self._source)) as connection:
            return self.lineage.end_of(connection)

    # -- the load ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> None:
        """Export every table that is not exported yet."""
        if self.phase != "snapshot":
            return
        self.progress.phase = "snapshot"
        now = self.checkpoints.now
        left = [name for name in self._names() if now.table(name).chunks_planned is None]
        for some in small_together(left, self.found.prepared.estimates):
            read_together([self._snapshot_of(name) for name in some], self._proved_server)
            if self.stop.is_set():
                return
        self._save(phase="load")

    def load(self) -> None:
        """Load every exported table; then nothing is loaded any more."""
        if self.phase != "load":
            return
        self.progress.phase = "load"
        patiently(self._load_tables, self._read_ledger, self.progress, self.stop)

    def _load_tables(self) -> None:
        if self.ledger.now.phase != FOLLOWING:
            kept = self._made_tables()
            for name in self._names():
                self._load(name, kept)
                if self.stop.is_set():
                    return
            self._end_load(kept)
        self._save(phase="apply")

    def _load(self, name: str, kept: dict[Name, KeptTable]) -> None:
        snapshot, counts = self._snapshot_of(name), self.progress.tables[name]
        table = next(each for each in kept.values() if ".".join(each.table.source) == name)
        SiloTableLoad(self._engine, self.ledger, table, snapshot, counts, self._begun.began, self.stop).run()

    def _made_tables(self) -> dict[Name, KeptTable]:
        """The tables, made as the source's were at the start, and altered as far as those that were read."""
        silo, engine = self.found.silo, self.found.engine
        with self._engine.session() as session:
            kept = self.ledger.tables(session)
            with session.transaction():
                for name, first in self._begun.starts().items():
                    if name not in kept:
                        kept[name] = KeptTable(stored_table(engine, silo, first))
                        session.create(kept[name].table)
                        self.ledger.put_table(session, kept[name])
                if any(self._readable(table) != self._begun.starts()[name] for name, table in self._now().items()):
                    follow_versions(self.found, self.ledger, self._begun, kept, session, self.source_end())
                fresh = self.ledger.advance(session)
            self.ledger.advanced(fresh)
        return kept

    def _end_load(self, kept: dict[Name, KeptTable]) -> None:
        with self._engine.session() as session:
            with session.transaction():
                for each in kept.values():
                    session.after_load(each.table)
                fresh = self.ledger.advance(session, replace(self.ledger.now, phase=FOLLOWING))
            self.ledger.advanced(fresh)

    def _snapshot_of(self, name: str) -> Snapshot:
        table = self._readable(next(each for each in self.found.tables if each.full_name == name))
        exported = SnapshotTable(name, table, table.primary_key)
        return Snapshot(
            self._source, self._proved_server, exported, self.folder, self.checkpoints, self.progress, self.stop
        )

    def _readable(self, now: Table) -> Table:
        """The first version, if all its columns are still there: then it makes no difference when rows are read."""
        first = self._begun.starts()[now.schema, now.name]
        return first if set(first.columns) <= set(now.columns) and first.primary_key == now.primary_key else now

    # -- following -----------------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Write what comes, in a batch every so many seconds, until ``stop`` is set."""
        self._follow_on(lambda: False, gather=True)

    def catch_up(self, until: Position) -> None:
        """Write what comes at once, until the warehouse is at ``until``."""
        self._follow_on(lambda: reached(self.progress.applied_position, until), gather=False)

    def follow_until(self, done: Callable[[], bool]) -> None:
        """Write what comes at once, until ``done`` says so."""
        self._follow_on(done, gather=False)

    def _follow_on(self, done: Callable[[], bool], *, gather: bool) -> None:
        if self.phase != "apply":
            raise StateError(f"the phase is {self.phase!r}", place=str(self.folder.root), hint="Load first.")
        self.progress.phase = "apply"

        def work() -> None:
            with closing(self._applier()) as applier:
                self._follow(applier, done, gather=gather)

        patiently(work, self._read_ledger, self.progress, self.stop)

    def _follow(self, applier: RowApplier, done: Callable[[], bool], *, gather: bool) -> None:
        pruned_at = time.monotonic()
        fill(self.found, self._engine, self.ledger, applier.kept, self.stop)
        while not self.stop.is_set() and not done():
            if self._is_due(applier, gather=gather) and applier.step():
                self._waits_since = None  # what came meanwhile is gathered from now on
                fill(self.found, self._engine, self.ledger, applier.kept, self.stop)
                self._save_applied()
            else:
                self.stop.wait(POLL_SECONDS)
            if time.monotonic() - pruned_at > PRUNE_SECONDS:
                self._prune()
                pruned_at = time.monotonic()
        applier.write_position()
        applier.check_end()
        self._save_applied()

    def _is_due(self, applier: RowApplier, *, gather: bool) -> bool:
        """Whether a batch is written now: each has a price, so changes of a source that is followed are gathered."""
        unread, now = applier.unread(), time.monotonic()
        if not unread.changes or self.ledger.now.part:
            self._waits_since = None
            return True
        self._waits_since = self._waits_since or now
        waited = now - self._waits_since >= self._batch_seconds
        return not gather or waited or unread.changes >= FULL or unread.bytes >= BATCH.bytes

    def _applier(self) -> RowApplier:
        reader = ChangeLogReader(self.folder.log, self.ledger.now.point)
        try:
            return RowApplier(self._engine, self.found, self.ledger, self._begun, reader, self.progress)
        except BaseException:
            reader.close()
            raise

    def _read_ledger(self) -> None:
        with self._engine.session() as session:
            self.ledger.read(session)

    def _save_applied(self) -> None:
        entry = self.ledger.now
        if entry.point and entry.position and entry.point != self.checkpoints.now.applied:
            fresh = self.checkpoints.now.with_applied(entry.point, entry.position, entry.committed)
            self.checkpoints.save(fresh)

    def _prune(self) -> None:
        if self.checkpoints.now.applied is not None:
            prune(self.folder.log, self.checkpoints.now.applied)

    # -- the beginning -------------------------------------------------------------------------------------------------

    def _fix_start(self) -> Start:
        refuse_remains(self.folder)
        tables = self.found.tables
        with closing(connect(self._source)) as connection:
            began = clock(connection)  # before the start, so that no change is older than it
            start = fixed_start(self._source, tables, self.stop.wait)
            not_altered(connection, tables)  # after the start: an ALTER from here on is in the log
        self.lineage.begin(start.position)
        self.history = history.begin(self.folder.tables, (), tables, start.position, began)
        server, name = self.found.prepared.server.server_uuid, secrets.token_hex(8)
        self._save(phase="snapshot", source=server, rules=self.history.digest, start=start.position, migration=name)
        return start

    def _claim(self) -> None:
        """Raises WarehouseTaken, StateError where warehouse and state folder do not belong together."""
        now = self.checkpoints.now
        with self._engine.session() as session:
            if not is_claimed(self.found, self.ledger, session, now):
                with session.transaction():
                    self.ledger.claim(session, now.migration)
                return
            for kept in self.ledger.tables(session).values():
                name = ".".join(kept.table.source)
                rows = sum(sum(chunks.values()) for chunks in self.ledger.chunks(session, name).values())
                counts = self.progress.tables.setdefault(name, TableCounts())
                counts.loaded_rows = counts.loaded_items = rows

    def _proved_server(self) -> str:
        """The identity of the server that rows are read from, which has executed everything up to the start."""
        with closing(connect(self._source)) as connection:
            return self.lineage.prove(connection, self._start)

    def _names(self) -> list[str]:
        return [table.full_name for table in self.found.tables]

    def _now(self) -> dict[Name, Table]:
        return self.found.prepared.tables

    @property
    def _start(self) -> Position:
        start = self.checkpoints.now.start
        assert start is not None, "the start is fixed before anything is captured"
        return start

    @property
    def _begun(self) -> History:
        assert self.history is not None, "the tables are recorded with the start"
        return self.history

    def _save(self, **values: object) -> None:
        self.checkpoints.save(replace(self.checkpoints.now, **values))  # type: ignore[arg-type]
