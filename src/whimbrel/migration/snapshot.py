"""Snapshot: one table's rows in files, a file for each chunk of its plan; and again where the load misses one.

Why a chunk may still be read in the load: what is read of a row is as good at any time after the start, for as long as
nothing has been applied. Every change since the start is in the log, which is played from its first record once all is
loaded. So the last change of each row decides, whenever the row was read; and a row without a change is as it was.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from whimbrel.checkpoint import TableProgress
from whimbrel.durable import replace_file
from whimbrel.errors import LogCorrupt, SourceUnreachable, StateError
from whimbrel.migration.kept_export import KeptExport
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.mysql.plan import Plan
from whimbrel.mysql.sessions import Sessions
from whimbrel.mysql.snapshot import export_table, whole_file
from whimbrel.project import Source
from whimbrel.records import Table
from whimbrel.snapshot_files import Chunk
from whimbrel.threads import at_once

ROWS_TOGETHER, TABLES_TOGETHER = 50_000, 50  # that are exported between two proofs of the server


@dataclass(frozen=True, slots=True)
class SnapshotTable:
    """A table to export by the columns of ``table``, under ``name``. ``key``: the columns whose ranges make its chunks.

    ``in_parts``: a part of the load is of so many whole chunks, so what is loaded stays where others are read again.
    """

    name: str
    table: Table
    key: tuple[str, ...]
    in_parts: bool = True


class Snapshot:
    """The export of one table, which is read by the columns of ``exported`` unless it is whole already.

    ``proved`` gives the identity of the server that rows are read from, which has executed everything up to the start.
    """

    def __init__(
        self,
        source: Source,
        proved: Callable[[], str],
        exported: SnapshotTable,
        folder: StateFolder,
        checkpoints: CheckpointStore,
        progress: Progress,
        stop: threading.Event,
        kept: KeptExport | None = None,
    ) -> None:
        self._source = source
        self._kept = kept
        self._proved = proved
        self._exported = exported
        self.stored = exported.table
        self._folder = folder.export(exported.name)
        self.checkpoints = checkpoints
        self._counts = progress.tables[exported.name]
        self._rows: dict[int, int] | None = None  # of the chunks that were read now; None: none had to be
        self.table = exported.name
        self.stop = stop

    def whole(self) -> Plan:
        """The plan, with the rows of all its chunks recorded, and a file for each that is not loaded yet. What is
        missing is read. Not so when it returns because ``stop`` was set.
        """
        read_together([self], self._proved)
        return self.plan

    def look(self) -> None:
        """What there is to continue. What was loaded is forgotten before something else is read, and a new export has
        its name in the Checkpoint before it has a plan: so the Checkpoint is to be saved before ``begin``.
        """
        if self._kept:
            self._kept.take_up(self._progress.export)
        self.plan = Plan(self._folder, self._kept)
        if not self._continues(self.plan):
            self._forget()
        elif not self.plan.exported:
            self._forget_what_was_loaded(self.plan)

    def begin(self) -> bool:
        """Whether everything is exported already."""
        if self.plan.table is None:
            self._folder.mkdir(parents=True)
            self.plan.begin(self.stored, self._exported.key, self._progress.export)
        return self.plan.exported

    def note(self, server: str) -> None:
        """Durable before a chunk is: a killed run leaves chunks, and the server may have changed while it read them."""
        replace_file(self._read_from, server.encode())

    def read(self, sessions: Sessions) -> None:
        """Export what has no rows in the plan, from the server that was noted. Returns early when ``stop`` is set."""
        rows = self._rows = {}
        self._counts.exported_rows = sum(self.plan.rows.values())
        self.checkpoints.keep()

        def count(more: int) -> None:
            self._counts.exported_rows += more

        export_table(
            self._source,
            self.stored,
            self._exported.key,
            self._folder,
            done=frozenset(self.plan.rows),
            on_chunk=lambda file: rows.update({file.chunk.number: file.rows}),
            on_rows=count,
            stop=self.stop,
            sessions=sessions,
            store=self._kept,
        )

    def record(self) -> None:
        """The order matters: rows are recorded when their files are durable, and the server is known to be the one that
        they were read from. The Checkpoint comes last, in ``end``.
        """
        if self._rows is not None:
            self._read_from.unlink()
            self.plan = Plan(self._folder, self._kept)
            self.plan.record(self._rows)

    def end(self) -> None:
        plan = self.plan
        if not plan.exported:
            found = f"{len(plan.rows)} of {len(plan.chunks)} planned chunks are exported, though the export ended"
            raise StateError(found, place=str(plan.path), hint="This is a bug in whimbrel: please report it.")
        if self._kept:
            self._kept.whole()
        rows_exported = sum(plan.rows.values())
        self._counts.exported_rows = self._counts.estimated_rows = rows_exported
        self._save(replace(self._progress, chunks_planned=len(plan.chunks), rows_exported=rows_exported))

    def discard(self) -> None:
        """Nobody knows what was read from a server that took over before it was proved."""
        self._forget()

    def clear(self) -> None:
        """Remove what exports before this one left in the bucket. To be called when the Checkpoint is saved: a machine
        that another one has taken over from ends there.
        """
        if self._kept and self._rows is not None:
            self._kept.remove_others()

    def read_again(self, plan: Plan, number: int) -> None:
        """The file of chunk ``number`` is not what the plan says: ``whole`` will read it from the source."""
        plan.forget([number])
        plan.file(plan.chunks[number - 1]).unlink(missing_ok=True)

    @property
    def _read_from(self) -> Path:
        """The identity of the server that a run reads from, while it does."""
        return self._folder / "server"

    @property
    def _progress(self) -> TableProgress:
        return self.checkpoints.now.table(self.table)

    def _save(self, progress: TableProgress) -> None:
        if progress != self._progress:
            self.checkpoints.save(self.checkpoints.now.with_table(self.table, progress))

    def _continues(self, plan: Plan) -> bool:
        """False where there is no plan, or one of another server, or of columns that the table has no longer."""
        if plan.table is None:
            return False
        if plan.export != self._progress.export:
            raise StateError(
                f"is of the export {plan.export!r}, the checkpoint is of {self._progress.export!r}",
                place=str(plan.path),
                hint=f"Put the right one back, or remove {self._folder}: the table is then exported again.",
            )
        if self._read_from.exists() and self._read_from.read_text() != self._proved():
            return False
        self._take_stock(plan)
        return plan.exported or plan.table == self.stored

    def _take_stock(self, plan: Plan) -> None:
        """Record what is there whole, forget what is gone and still has to be loaded."""
        loaded = self._progress.loaded if self._exported.in_parts else frozenset()
        wanted = [chunk for chunk in plan.chunks if chunk.number not in loaded]
        there = self._kept.names() if self._kept else None
        plan.forget([each.number for each in wanted if each.number in plan.rows and not _is_there(plan, each, there)])
        found: dict[int, int] = {}
        for chunk in plan.chunks:
            if chunk.number not in plan.rows and not self.stop.is_set() and (file := whole_file(plan, chunk)):
                found[chunk.number] = file.rows
        plan.record(found)

    def _forget(self) -> None:
        """The order matters: a plan whose name is not in the Checkpoint is refused, none at all is begun again."""
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._save(TableProgress(target_id=self._progress.target_id, export=secrets.token_hex(8)))
        self._counts.loaded_rows = self._counts.loaded_items = 0
        if self._kept:
            self._kept.begin(self._progress.export)
        self.plan = Plan(self._folder, self._kept)

    def _forget_what_was_loaded(self, plan: Plan) -> None:
        """Parts of the load stay loaded if none of what is read now is in them; else the load starts over."""
        loaded = self._progress.loaded
        if loaded and not (self._exported.in_parts and loaded <= plan.rows.keys()):
            self._save(replace(self._progress, loaded=frozenset(), rows_loaded=0, items_loaded=0))
            self._counts.loaded_rows = self._counts.loaded_items = 0


def _is_there(plan: Plan, chunk: Chunk, names: Collection[str] | None) -> bool:
    """``names`` are those of all files that are there, where they were asked for at once."""
    file = plan.file(chunk)
    return file.exists() if names is None else file.name in names


def small_together(sources: Sequence[str], estimates: Mapping[str, int]) -> Iterator[list[str]]:
    """The tables in order: those next to each other that have few rows together, by ``estimates``."""
    some: list[str] = []
    rows = 0
    for source in sources:
        more = estimates[source]
        if some and (rows + more > ROWS_TOGETHER or len(some) == TABLES_TOGETHER):
            yield some
            some, rows = [], 0
        some.append(source)
        rows += more
    if some:
        yield some


def read_together(snapshots: Sequence[Snapshot], proved: Callable[[], str]) -> None:
    """Make the export of each table whole, between two proofs of the server: few rows are read in less time than these
    take. Returns early, with nothing recorded, when ``stop`` is set.
    """
    checkpoints = snapshots[0].checkpoints
    with checkpoints.together():
        for each in snapshots:
            each.look()
    begun = at_once(Snapshot.begin, snapshots, "begin exports")
    left = [each for each, whole in zip(snapshots, begun, strict=True) if not whole]
    if left:
        server = proved()
        at_once(partial(Snapshot.note, server=server), left, "note the server")
        with Sessions() as sessions:  # all of them made after the proof
            sessions.expect([each.stored for each in left])
            for each in left:
                each.read(sessions)
                if each.stop.is_set():
                    return
        _refuse_moved(left, server, proved())
    at_once(Snapshot.record, snapshots, "end exports")
    with checkpoints.together():
        for each in snapshots:
            each.end()
    for each in snapshots:
        each.clear()


def damaged_again(path: object) -> LogCorrupt:
    """Of a chunk's file that was read from the source a second time."""
    hint = "Check the disk; then run the same command again: the chunk is read from the source again."
    return LogCorrupt("is damaged again, just after it was written", place=str(path), hint=hint)


def _refuse_moved(snapshots: Sequence[Snapshot], before: str, now: str) -> None:
    if now == before:
        return
    for each in snapshots:
        each.discard()
    raise SourceUnreachable(
        f"the source changed from {before} to {now} while tables were read; what was read is discarded",
        place=", ".join(each.table for each in snapshots[:3]),
        hint="Run the same command again: it reads these tables again.",
    )
