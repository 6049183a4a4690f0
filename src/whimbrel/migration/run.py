"""The coordinator of a migration: which phase comes after which, and what must be true before the next may begin.

The phases, and the only moves between them; each is saved before the work of the next begins::

    new ──► snapshot ──► load ──► apply (for as long as the source is written to)

- new → snapshot: the start Position is fixed. The capture runs from there on, beside everything below.
- snapshot: only then are rows read. A change that a chunk did not see is in the log.
- load: items are put. Nothing has been applied yet, so all or part of it may be repeated, and rows be read again.
- apply: the log is played from its first record. From here on nothing is loaded any more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from types import TracebackType

from whimbrel.changelog.files import ChangeLogReader
from whimbrel.checkpoint import RunLock
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import StateError
from whimbrel.handed_over import refuse_handed_over
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.provenance import of_snapshot
from whimbrel.migration import history
from whimbrel.migration.apply import Applier
from whimbrel.migration.apply_crew import ApplyCrew
from whimbrel.migration.apply_part import ApplyWork
from whimbrel.migration.capture import Capture
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.history import History
from whimbrel.migration.join_fill import filled_joins, opened_joins
from whimbrel.migration.joins import Joins
from whimbrel.migration.kept_state import KeptState, open_bucket
from whimbrel.migration.live import counts_so_far
from whimbrel.migration.load import ChunkLoader, Crew, Loader, is_loaded
from whimbrel.migration.mapped_tables import MappedTables
from whimbrel.migration.mark import Claim
from whimbrel.migration.prepare import Prepared, chunk_key, followable, lineage_of, not_altered, same_rules
from whimbrel.migration.progress import Progress
from whimbrel.migration.send import Sender
from whimbrel.migration.snapshot import Snapshot, SnapshotTable, damaged_again, read_together, small_together
from whimbrel.migration.spark.submitted import SparkLoader, SparkWork, end_jobs_of_before
from whimbrel.migration.state import CheckpointStore, StateFolder, refuse_remains, with_held
from whimbrel.migration.stream import perhaps_sent, refuse_without_stream, sender, take
from whimbrel.migration.targets import check_targets, open_targets
from whimbrel.migration.watch import SourceWatch
from whimbrel.migration.watched import WatchedCapture
from whimbrel.mysql.connect import clock, connect
from whimbrel.mysql.plan import Plan
from whimbrel.mysql.visible import Start, fixed_start
from whimbrel.records import ItemOperation, Position, Provenance
from whimbrel.workers import processes

NEXT = {"new": "snapshot", "snapshot": "load", "load": "apply"}

log = logging.getLogger(__name__)


class Run:
    """One process at work on a project: holds the run lock, the Checkpoint, and the connections to the target.

    ``stop`` ends every phase soon, with what was done saved. Raises Locked when another process is at work.
    """

    def __init__(
        self,
        prepared: Prepared,
        stop: threading.Event,
        progress: Progress,
        *,
        into_existing: bool = False,
        lock: RunLock | None = None,
        hands_over: bool = False,
    ) -> None:
        """``lock`` is the run lock where the caller has it already, and is released with the Run. ``hands_over``: it is
        a cutover itself; after one is decided, nothing else moves data forward.
        """
        self.prepared = prepared
        self.progress = progress
        self.stop = stop
        self.folder = StateFolder(prepared.project.state)
        self._into_existing = into_existing
        self._given_lock = lock
        self._hands_over = hands_over
        self._captured: WatchedCapture | None = None
        self._unfit: set[str] = set()  # files of the export that were found not to fit its plan
        self.dirty: DirtyKeys | None = None  # from the phase "apply" on
        self.history = prepared.history

    def __enter__(self) -> Run:
        self.folder.make()
        self._lock = self._given_lock or RunLock(self.folder.root)
        try:
            if not self._hands_over:
                refuse_handed_over(self.folder.root)
            self.bucket = open_bucket(self.prepared.project, self.stop)
            self._kept = KeptState(self.folder, self.bucket) if self.bucket else None
            if self._kept:
                self._kept.take_up()
            self.checkpoints = CheckpointStore(self.folder.checkpoint, *([self._kept.keep] if self._kept else []))
            followable(self.prepared, self.checkpoints.now)
            self.lineage = lineage_of(self.prepared)
            same_rules(self.prepared, self.checkpoints.now.rules)
            self.dead = DeadLetters(self.folder.dead)
            self.wire = DynamoClient(self.prepared.project.target)
        except BaseException:
            self._lock.release()
            raise
        target, noted = self.prepared.project.target, self.progress.note_refused
        self.claim = Claim(self.prepared, self.checkpoints, self.wire, self.stop, noted)
        self.writer = Writer(
            self.wire, target, stop=self.stop, before=self._before_write, astray=self._astray, refused=noted
        )
        try:
            self.claim.look()
            if self.phase == "apply":
                self._open_dirty()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._show_resumed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_capture()
        self.wire.close()
        if self.dirty:
            self.dirty.close()
        self._lock.release()

    @property
    def phase(self) -> str:
        return self.checkpoints.now.phase

    def fix_start(self) -> Start | None:
        """Fix the Position from which every change is captured. Must come before any row is read.

        None if it has been fixed before.
        """
        if self.phase != "new":
            return None
        refuse_remains(self.folder)
        tables = list(self.prepared.tables.values())
        with closing(connect(self.prepared.project.source)) as connection:
            began = clock(connection)  # before the start, so that no change is older than it
            start = fixed_start(self.prepared.project.source, tables, self.stop.wait)
            not_altered(connection, tables)  # after the start: an ALTER from here on is in the log
        self.lineage.begin(start.position)
        self.history = history.begin(self.folder.tables, self.prepared.project.tables, tables, start.position, began)
        self._move_from("new", source=self.prepared.server.server_uuid, rules=self.history.digest, start=start.position)
        log.info("start fixed", extra={"position": str(start.position), "way": start.way, "held_ms": start.held_ms})
        self.progress.held_writers_ms = start.held_ms
        return start

    def start_capture(self) -> None:
        """Begin, or continue, to write every change since the start to the change log, in a thread of its own."""
        self._captured = self.new_capture()
        self._captured.start()

    def stop_capture(self) -> None:
        if self._captured:
            self._captured.stop()

    def new_capture(self) -> WatchedCapture:
        """To be started once the start is fixed. What ends it sets ``stop``."""
        source, tables, stop = self.prepared.project.source, list(self.prepared.tables.values()), self.stop.set
        mapped = MappedTables(self.prepared.versions)
        capture = Capture(source, self.lineage, self._begun, mapped, self.folder.log, self.start, self.progress, stop)
        watch = SourceWatch(source, self.lineage, tables, self.progress, stop, capture.reconnect)
        return WatchedCapture(capture, watch)

    def snapshot(self) -> None:
        """Export every table that is not exported yet."""
        if self.phase != "snapshot":
            return
        now, estimates = self.checkpoints.now, self.prepared.estimates
        left = [source for source in self.prepared.mappings if now.table(source).chunks_planned is None]
        for some in small_together(left, estimates):
            self._enter("snapshot", some[0])
            read_together([self._snapshot_of(source) for source in some], self._proved_server)
            if self.stop.is_set():
                return
        self._move_from("snapshot")

    def load(self) -> None:
        """Put the items of every exported row."""
        if self.phase == "apply":
            return
        if self.phase != "load":
            hint = "Run `whimbrel snapshot` first."
            raise StateError(f"the phase is {self.phase!r}", place=str(self.folder.root), hint=hint)
        end_jobs_of_before(self.prepared.project)  # nothing may write beside the applier, whatever loads now
        self._open_targets()
        if self.prepared.project.stream:
            take(self.prepared.project, self.wire, self.checkpoints.now.migration, self.stop)
        made_of = self.folder.lookups, self.prepared, self.checkpoints, self._snapshot_of, self._read_again
        rows = {source: self.checkpoints.now.table(source).rows_exported for source in self.prepared.mappings}
        with filled_joins(*made_of, self.stop) as joins:
            for some in small_together(list(rows), rows):
                with self.checkpoints.together() if len(some) > 1 else nullcontext():  # a crash has them loaded again
                    for source in some:
                        self.load_whole(source, lambda mapping: self._loader(mapping, joins))
        if not self.stop.is_set():
            self._move_from("load")

    def load_whole(self, source: str, loader_of: Callable[[TableMapping], ChunkLoader]) -> None:
        """All exported rows of one source table, unless ``stop`` is set."""
        self._enter("load", source)
        mapping = self.prepared.mappings[source]
        while not self.stop.is_set() and not is_loaded(mapping, self.checkpoints.now.table(source)):
            self._load(source, loader_of)

    def _load(self, source: str, loader_of: Callable[[TableMapping], ChunkLoader]) -> None:
        """Load what the plan of the export has, and make whole first what of it is not. A chunk whose file turns out
        not to fit is read again by the next call.
        """
        plan = self._snapshot_of(source).whole()
        if self.stop.is_set():
            return
        assert plan.table is not None
        mapping = self.prepared.versions[source].of(plan.table)  # the table may have been altered since
        if unfit := loader_of(mapping).load(plan, self.folder.spill):
            self._read_again(source, plan, unfit)
        elif not self.stop.is_set() and not is_loaded(mapping, self.checkpoints.now.table(source)):
            hint = "Begin again with a new state folder and target table, and please report this."
            raise StateError("the parts that are loaded are not those of the plan", place=str(plan.path), hint=hint)

    def _loader(self, mapping: TableMapping, joins: Joins | None) -> ChunkLoader:
        project, done = self.prepared.project, self.checkpoints.now.table(mapping.source)
        kept = (self.dead, self.checkpoints, self.progress, self.stop)
        if mapping.looks_up:  # by this process, which has what is looked up
            return Loader(mapping, self.writer, *kept, self.of_snapshot, joins=joins)
        if project.spark and done.rows_exported >= project.spark.least_rows:
            spark = SparkWork(self.prepared, self._begun, self.of_snapshot, self.claim.sure)
            return SparkLoader(spark, mapping, *kept)
        return Loader(mapping, self.writer, *kept, self.of_snapshot, self._crew())

    def _read_again(self, source: str, plan: Plan, number: int) -> None:
        """Chunk ``number``, whose file does not fit. Raises LogCorrupt if that happens again."""
        path = plan.file(plan.chunks[number - 1])
        if str(path) in self._unfit:
            raise damaged_again(path)
        self._unfit.add(str(path))
        self._snapshot_of(source).read_again(plan, number)

    def sure(self) -> None:
        """Raises Locked if another machine has continued, of a migration whose files are in a bucket."""
        if self._kept:
            self._kept.sure()

    def applier(self) -> Applier | Sender:
        """What plays the log into the target, or has it played. Raises StateError before the load is complete."""
        if self.phase != "apply":
            hint = "Run `whimbrel load` first."
            raise StateError(f"the phase is {self.phase!r}", place=str(self.folder.root), hint=hint)
        self._check_targets()
        self._enter("apply", "")
        dirty = self.dirty or self._open_dirty()
        if self.prepared.project.stream:
            return sender(
                self.prepared, self._begun, self.wire, self.dead, dirty, self.checkpoints, self.progress, self.stop
            )
        refuse_without_stream(self.folder)
        # First: it may be that the Checkpoint is still to follow what it has.
        joins = opened_joins(self.folder.lookups, self.prepared, self.checkpoints, self.stop)
        versions = self.prepared.versions
        reader, began = ChangeLogReader(self.folder.log, self.checkpoints.now.applied), self._begun.began
        work = ApplyWork(reader.folder, versions, began, self.prepared.project.target)
        crew = ApplyCrew(self._crew(), work, dirty, self.progress, self.stop)
        kept = (self.dead, dirty, self.checkpoints, self.progress, began, joins)
        return Applier(reader, versions, self.writer, *kept, crew if self.prepared.project.parallel_apply else None)

    def _crew(self) -> Crew:
        project, sure = self.prepared.project, self.claim.sure
        return Crew(processes(project.workers), project.target, self._lock.descriptor, sure, self.wire.known)

    def _open_dirty(self) -> DirtyKeys:
        self.dirty = DirtyKeys(self.folder, self.checkpoints.now, perhaps_sent(self.prepared.project))
        return self.dirty

    def count_held(self) -> int:
        """Count, for good, what conditions skipped of what was written outside of load and apply; how much it was."""
        held = self.writer.take_held()
        if held:
            self.progress.held += held
            self.checkpoints.save(with_held(self.checkpoints.now, self.progress))
        return held

    @property
    def captures(self) -> bool:
        """Whether this process captures."""
        return self._captured is not None

    def check_capture(self) -> None:
        """Raise what ended the capture, or what the watch found, if something did."""
        if self._captured:
            self._captured.check()

    def ask_source(self) -> None:
        """Ask the source once more whether all that the migration rests on is still so. Raises what is not."""
        if self._captured:
            self._captured.ask_source()

    def _before_write(self, operations: Sequence[ItemOperation]) -> None:
        self.claim.sure()
        if self.dirty:  # the load writes what nobody has verified yet
            self.dirty.begin_write(operations)

    def _astray(self, operations: Sequence[ItemOperation]) -> None:
        if self.dirty:
            self.dirty.add_strays((operation.table, operation.key) for operation in operations)

    @property
    def start(self) -> Position:
        start = self.checkpoints.now.start
        assert start is not None, "the start is fixed before anything is captured"
        return start

    @property
    def of_snapshot(self) -> Provenance:
        """How the rows of the snapshot came."""
        return of_snapshot(self.start, self._begun.began)

    @property
    def _begun(self) -> History:
        assert self.history is not None, "the tables are recorded with the start"
        return self.history

    def _snapshot_of(self, source: str) -> Snapshot:
        readable = self.prepared.versions[source].readable(self.prepared.mappings[source])
        return Snapshot(
            self.prepared.project.source,
            self._proved_server,
            SnapshotTable(source, readable.table.stored, chunk_key(readable), not readable.regrouped),
            self.folder,
            self.checkpoints,
            self.progress,
            self.stop,
            self._kept.export(source) if self._kept else None,
        )

    def _proved_server(self) -> str:
        """The identity of the server that rows are read from, which must have executed everything up to the start: what
        it has not executed by then would be neither in its rows nor captured. Raises PositionLost, StateError.
        """
        with closing(connect(self.prepared.project.source)) as connection:
            return self.lineage.prove(connection, self.start)

    def _open_targets(self) -> None:
        """Make the target tables, or take them up again; a table with strange items in it is refused, never
        overwritten.
        """
        now, mappings = self.checkpoints.now, self.prepared.mappings
        new = [mapping for source, mapping in mappings.items() if not now.table(source).target_id]
        if new:
            found = open_targets(
                self.wire, self.prepared.project.target, new, self.stop, allow_items=self._into_existing
            )
            for mapping in new:
                now = now.with_table(
                    mapping.source, replace(now.table(mapping.source), target_id=found[mapping.target])
                )
            # Saved before the first item is put: from then on the items in them are ours.
            self.checkpoints.save(now)
        self.claim.look()
        self._check_targets()

    def _check_targets(self) -> None:
        now, mappings = self.checkpoints.now, self.prepared.mappings.values()
        recorded = [(each.target, now.table(each.source).target_id) for each in mappings]
        check_targets(self.wire, recorded, self.stop)

    def _move_from(self, phase: str, **values: object) -> None:
        assert self.phase == phase
        self.claim.look()
        self.checkpoints.save(replace(self.checkpoints.now, phase=NEXT[phase], **values))  # type: ignore[arg-type]
        log.info("phase done", extra={"phase": phase})

    def _enter(self, phase: str, table: str) -> None:
        self.progress.phase = phase
        self.progress.note = table

    def _show_resumed(self) -> None:
        """Fill the display with what earlier runs did."""
        progress, now = self.progress, self.checkpoints.now
        progress.tables |= counts_so_far(self.folder, self.prepared.estimates, now)
        progress.phase = now.phase
        progress.dead = len(self.dead)
        progress.held = now.counters.get("held", 0)
        progress.applied_position = now.whole_position
