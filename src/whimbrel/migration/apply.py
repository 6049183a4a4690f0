"""Apply: play the change log into the target, in order for each item, and remember how far."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from whimbrel.changelog.files import ChangeLogReader, LogPoint
from whimbrel.changelog.segments import read_mark
from whimbrel.checkpoint import REWRITING
from whimbrel.dynamodb.calls import Spent
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import StateError
from whimbrel.mapping.family import rules_by_table
from whimbrel.mapping.fold import by_table
from whimbrel.mapping.versions import Versions
from whimbrel.migration.apply_crew import ApplyCrew, Round
from whimbrel.migration.apply_part import folded_rules
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.joins import Joins
from whimbrel.migration.oversize import refuse_oversize
from whimbrel.migration.progress import Progress
from whimbrel.migration.provenance import Provenances
from whimbrel.migration.state import TOTALS_DIFFER, CheckpointStore, with_held
from whimbrel.records import Change, Commit, Fault

FIRST_BATCH, LEAST_BATCH, LARGEST_BATCH = 500, 50, 10_000  # changes that are folded together
# What one batch may take. The larger it is, the more of its changes are of the same items, and the fewer writes they
# need: so batches grow while the target is behind, until the applied Position would no longer move steadily.
QUICK_SECONDS, SLOW_SECONDS = 1.0, 5.0
SAVE_SECONDS = 0.5
POLL_SECONDS = 0.02


class Applier:
    """Plays the log from the Checkpoint on; one batch is wholly written before the next, so order holds per item."""

    def __init__(
        self,
        reader: ChangeLogReader,
        versions: Mapping[str, Versions],
        writer: Writer,
        dead: DeadLetters,
        dirty: DirtyKeys,
        checkpoints: CheckpointStore,
        progress: Progress,
        began: float = 0.0,
        joins: Joins | None = None,
        crew: ApplyCrew | None = None,
    ) -> None:
        """``began`` is when the migration did, seconds since the epoch. ``joins``, if any, are open, and closed with
        this. So is ``crew``, which applies what is far behind; not beside ``joins``, whose state is in one process.
        """
        self._reader = reader
        self._versions = versions
        self._rules = rules_by_table(versions)
        self._writer = writer
        self._dead = dead
        self._dirty = dirty
        self._checkpoints = checkpoints
        self._progress = progress
        self._began = began
        self._joins = joins
        self._crew = None if joins else crew
        self._seconds_each = 0.0  # of CPU for an entry of the last batch; 0 if it was small or mostly waited
        self._unsaved = False  # something was applied since the last save
        self._saved_at = 0.0
        self._batch = FIRST_BATCH
        self._passed_to: tuple[LogPoint, Commit, int] | None = None  # written whole up to here, saved or not
        self._point = reader.point  # likewise; what workers read next may be further on
        progress.applied = self._applied = reader.total
        if checkpoints.now.counters.get("applied", reader.total) != reader.total:
            self.close()
            raise self._disagree(
                f"the checkpoint has {checkpoints.now.counters['applied']:,} changes applied", reader.total
            )
        progress.applied_position = checkpoints.now.whole_position
        point, waited_for = checkpoints.now.applied, joins.waited_for if joins else None
        if point and waited_for:
            self._passed_to = point, waited_for, reader.total

    def idle(self) -> None:
        """Save what was applied, and wait a moment for more to come."""
        self._end_crew()
        self.save()
        self._progress.log_drained = self._reader.unread().changes == 0
        time.sleep(POLL_SECONDS)

    def step(self) -> int:
        """Apply one batch; returns how many records it had (0: the log has nothing new). Where rows wait for what they
        look up, no batch is read before these are written.
        """
        if self._joins and self._joins.waiting:
            return self._write_waiting(self._joins)
        began, number = (time.monotonic(), time.thread_time()), self._reader.handed_out
        if self._crew and self._is_for(self._crew) and (done := self._crew.apply(self._reader, self._batch)):
            self._take_round(done)
            self._adapt(done.changes, time.monotonic() - began[0])
            return max(1, done.changes)
        batch = self._read()
        self._progress.log_drained = False
        changes = [record for record in batch if isinstance(record, Change)]
        if changes:
            provenances = Provenances(self._reader, batch, number, self._began)
            applied = [self._apply(portion, provenances) for portion in self._portions(changes)]
            self._applied += self._joins.take_count() if self._joins else sum(applied)
            self._unsaved = True
        self._check_applied(self._reader.handed_out)
        commits = [record for record in batch if isinstance(record, Commit)]
        if commits:
            assert self._reader.point is not None
            self._passed(self._reader.point, commits[-1], self._reader.total)
        self._progress.applying = self._reader.handed_out - self._reader.total
        seconds, cpu = time.monotonic() - began[0], time.thread_time() - began[1]
        self._adapt(len(batch), seconds)
        self._seconds_each = cpu / len(batch) if len(batch) >= FIRST_BATCH and cpu > seconds / 2 else 0.0
        return len(batch)

    def _is_for(self, crew: ApplyCrew) -> bool:
        """Whether workers do the next step."""
        if crew.is_worth_it(self._reader, self._batch, self._seconds_each):
            return True
        crew.end()
        return False

    def _take_round(self, done: Round) -> None:
        """All of it is acknowledged."""
        for fault in done.faults:
            refuse_oversize(self._versions[fault.table].rule, [fault])
        self._progress.log_drained = False
        self._count(done.faults, done.held, done.spent)
        self._applied += done.changes
        self._check_applied(done.last.total)
        self._passed(done.last.end, done.last.commit, done.last.total)
        self._progress.applying = 0

    def _check_applied(self, logged: int) -> None:
        if self._applied != logged:
            raise self._disagree(f"{self._applied:,} changes were applied", logged)

    def _portions(self, changes: list[Change]) -> Iterable[list[Change]]:
        return self._joins.of(changes) if self._joins else [changes]

    def _read(self) -> list[Change | Commit]:
        """One batch. What look-ups read is saved as of the end of a transaction, where the log can be read on: so a
        batch ends there, unless the transaction is a long one.
        """
        batch, reader = self._reader.read(self._batch), self._reader
        if self._joins:
            while reader.handed_out > reader.total and len(batch) < 2 * self._batch and (more := reader.read(1)):
                batch += more
        return batch

    def _write_waiting(self, joins: Joins) -> int:
        portion = joins.more()
        self._apply(portion, Provenances(self._reader, [], self._reader.handed_out, self._began))
        self._unsaved = True
        self._show_passed()
        self._save_at_times()
        return max(1, len(portion))

    def quiet(self) -> None:
        """Between two batches nothing is on its way to the target."""

    def check_end(self) -> None:
        """Where the target has all that is in the log, that must be all that the capture wrote. Raises StateError."""
        mark = read_mark(self._reader.folder)
        if mark is not None and mark.point == self._point and mark.total != self._applied:
            raise self._disagree(f"{self._applied:,} changes were applied", mark.total)

    def _disagree(self, what: str, logged: int) -> StateError:
        return StateError(
            f"{what}, the change log has {logged:,} up to there", place=str(self._reader.folder), hint=TOTALS_DIFFER
        )

    def _adapt(self, size: int, seconds: float) -> None:
        """Larger batches while they are quick, smaller ones for a slow target: the applied Position moves steadily."""
        if seconds > SLOW_SECONDS:
            self._batch = max(LEAST_BATCH, self._batch // 2)
        elif size >= self._batch and seconds < QUICK_SECONDS:
            self._batch = min(LARGEST_BATCH, self._batch * 2)

    def _apply(self, changes: list[Change], provenances: Provenances) -> int:
        """How many changes were applied: all, by another count than the reader's."""
        faults: list[Fault] = []
        applied = 0
        for mine in by_table(changes):
            for each in folded_rules(self._versions, self._rules[mine[0].table.full_name], mine, provenances):
                found = each.faults + each.write(self._writer, provenances, each.operations)
                refuse_oversize(each.mapping.rule, found)
                faults += found
            applied += len(mine)
        self._count(faults, self._writer.take_held(), self._writer.take_spent())
        return applied

    def _count(self, faults: list[Fault], held: int, spent: Spent) -> None:
        """Of what was acknowledged. The letters are durable on return, before the Checkpoint can pass them."""
        self._progress.held += held
        self._progress.spend(spent.units, spent.throttles)
        for fault in faults:
            if fault.item_key is not None:
                self._dirty.add(self._versions[fault.table].rule.target, [fault.item_key])
        if faults:
            self._progress.dead += self._dead.add(faults, "apply")

    def _passed(self, point: LogPoint, commit: Commit, total: int) -> None:
        self._passed_to, self._unsaved = (point, commit, total), True
        self._point = point
        self._progress.applied = total
        self._show_passed()
        self._save_at_times()

    def _show_passed(self) -> None:
        """Nobody is told of a place before the rows that wait for it are written."""
        if self._joins and self._joins.waiting:
            return
        if self._passed_to:
            _, commit, _ = self._passed_to
            self._progress.applied_position = commit.position
            self._progress.applied_time = commit.timestamp
        elif self._progress.applied_position is None:
            self._progress.applied_position = self._checkpoints.now.applied_position

    def _save_at_times(self) -> None:
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save()

    def close(self) -> None:
        """Close the change log; nothing is saved by it."""
        self._end_crew()
        self._reader.close()
        if self._joins:
            self._joins.close()

    def _end_crew(self) -> None:
        if self._crew:
            self._crew.end()

    def save(self) -> None:
        """Save how far the target is: to the end of the last batch written whole.

        Not to the reader's place, which may be past a batch that was broken off.
        """
        if self._passed_to is None:
            return
        point, commit, applied = self._passed_to
        # Of what look-ups read there is one state, the newest: it is saved only where the log can be read on from it.
        newest = self._unsaved and self._reader.handed_out == self._reader.total
        if not newest if self._joins else point == self._checkpoints.now.applied:
            return
        self._progress.captured = max(self._progress.captured, self._reader.total + self._reader.unread().changes)
        now = self._checkpoints.now.with_applied(point, commit.position, commit.timestamp)
        if self._joins and self._joins.waiting:
            now = replace(self._checkpoints.now, applied=point)  # the Position stays: not all before it is written
        else:
            now = now.without_counter(REWRITING)
        now = replace(now, counters={**now.counters, "applied": applied})
        self._dirty.save(applied)  # before the Checkpoint passes what is in it
        if self._joins:
            self._joins.save(point, applied, commit)  # likewise, and it is never ahead by more than one save
        self._unsaved = False
        self._checkpoints.save(with_held(now, self._progress))
        self._saved_at = time.monotonic()
