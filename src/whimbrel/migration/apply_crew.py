"""Apply by worker processes, while the target is far behind: each folds another stretch of the log, all at once, and
then they write.

Why the items end as in one process:

- **Order for each item.** Where stretches of one round write the same item, they do so in turns, in log order: the
  first one in turn 0, the next one in turn 1. A turn begins when all workers have acknowledged the turn before. Items
  that only one stretch writes have no turn to wait for. Whether two operations are about one item is decided by its
  ``key_id``, which is equal for keys that DynamoDB takes for the same. The next round begins when this one is
  acknowledged whole.
- **A crash** in a round leaves each item as some of its changes have made it, in their order, and different items at
  different changes. That is also what a crash within a batch leaves, or one between a batch and the Checkpoint's save:
  row images are full, so to replay all changes from an earlier place brings each item to its end. The Checkpoint, and
  the letters before it, are written only by the run's own process, when the round is acknowledged.
- **A row that moves** from one item to another is a removal and a setting, of two items. Readers may see the row in
  both or in neither for as long as the round takes; in one process that is for as long as a batch takes.
- **Totals.** The Commit at the end of a stretch says how many changes it must have. Its worker counts those that it
  folds, and the operations that come of them; all of these must have been written when the round ends.
- **A table that is altered.** The run's process reads all definitions of the log, and makes of each what its rules
  make of it, as if it had applied the changes itself. Then the workers are told (``learn``).

The keys of all items are among the dirty ones before any of them is written (``DirtyKeys``, rule 1).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from whimbrel.changelog.files import ChangeLogReader
from whimbrel.changelog.stretch import Stretch
from whimbrel.dynamodb.calls import Spent
from whimbrel.errors import StateError
from whimbrel.migration.apply_part import (
    ApplyJob,
    ApplyTold,
    ApplyWork,
    FoldStretch,
    ItemId,
    ItemsWritten,
    NoAnswer,
    NothingToWrite,
    StretchFolded,
    WriteItems,
    applying,
    learn,
)
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.dirty_files import TEXT
from whimbrel.migration.load import Crew
from whimbrel.migration.load_part import Refused
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import TOTALS_DIFFER
from whimbrel.project import Target
from whimbrel.records import Fault
from whimbrel.workers import Workers

STRETCH_BYTES = 4 << 20  # of the log, in a worker's memory several times
ROUND_CHANGES = 40_000  # in all stretches of a round: until it is acknowledged whole, the applied Position stands
LEFT_FOR_ONE = 10_000  # changes that are left to this process


class Round(NamedTuple):
    """Stretches that are applied: how many changes they had, the last of them, and what came of them."""

    changes: int
    last: Stretch
    faults: list[Fault]
    held: int
    spent: Spent


class ApplyCrew:
    """Workers for when the log is far ahead of the target; at other times there are none.

    ``work`` is for each of them, with its own share of the target.
    """

    def __init__(
        self, crew: Crew, work: ApplyWork, dirty: DirtyKeys, progress: Progress, stop: threading.Event
    ) -> None:
        self._crew, self._work, self._stop = crew, work, stop
        self._dirty, self._progress = dirty, progress
        self._workers: Workers[ApplyJob, ApplyTold] | None = None
        self._told: list[int] = []  # for each worker, of how many definitions it was told
        self._folding: list[Stretch] = []  # by the workers of these numbers, for the next round
        self._folded: dict[int, StretchFolded] = {}  # what came of them so far
        self._answers: Iterator[tuple[ApplyJob, ApplyTold]] = iter(())  # what else they have to tell

    def is_worth_it(self, reader: ChangeLogReader, limit: int, seconds: float) -> bool:
        """Whether the next stretches, of about ``limit`` changes each, are for the workers, which this begins.
        ``seconds`` of CPU is what a change costs in one process, 0 where that waits for something else.
        """
        if self._folding:
            return True
        unread = reader.unread()
        if unread.changes < LEFT_FOR_ONE:
            return False
        if self._workers is None:
            stretches = max(unread.changes // limit, unread.bytes // STRETCH_BYTES)
            if targets := self._crew.targets(stretches, unread.changes * seconds):
                self._begin(reader, targets)
        return self._workers is not None

    def apply(self, reader: ChangeLogReader, limit: int) -> Round | None:
        """Apply a stretch for each worker, or fewer if there are no more: all is acknowledged when it returns. None
        where the next transaction is too large for a stretch, or not read whole: it is for one process.

        The stretches after these are passed over and folded meanwhile: ``reader`` is ahead of what is applied by them.
        Raises what a worker raised, WorkerLost, Stopped, and StateError where counts are not the same.
        """
        if not self._folding:
            self._begin_jobs([], self._stretches(reader, limit), reader)
        stretches, self._folding = self._folding, []
        if not stretches:
            return None
        self._dirty.begin_writes()
        folded = self._all_folded(stretches)
        turns = in_turns([each.keys for each in folded])
        last = max((turn for of_one in turns for turn in of_one.values()), default=0)
        self._crew.meanwhile()  # before the first is written: nobody else has taken over
        written: list[ItemsWritten] = []
        try:
            for turn in range(last + 1):
                writes = [WriteItems(one.end, turn, each) for one, each in zip(stretches, turns, strict=True)]
                self._begin_jobs(writes, self._stretches(reader, limit) if turn == last else [], reader)
                written += self._all_written(len(writes))
            _check_written(stretches, folded, written)
        except BaseException:
            self._dirty.end_unknown()
            raise
        return _round(stretches[-1], folded, written)

    def end(self) -> None:
        if self._workers is not None:
            workers, self._workers, self._folding = self._workers, None, []
            workers.__exit__(None, None, None)

    def _begin(self, reader: ChangeLogReader, targets: Sequence[Target]) -> None:
        work = self._work._replace(known=self._crew.known())
        workers: Workers[ApplyJob, ApplyTold] = Workers(
            applying,
            [work._replace(target=target) for target in targets],
            self._stop,
            keep=[self._crew.lock],
            meanwhile=self._crew.meanwhile,
        )
        self._workers, self._told = workers.__enter__(), [len(reader.tables)] * len(targets)

    def _stretches(self, reader: ChangeLogReader, limit: int) -> list[Stretch]:
        """The next ones, of about ``limit`` changes each, for as many workers. Raises SchemaDrift."""
        unread, found, most = reader.unread(), list[Stretch](), len(self._told)
        if unread.changes < max(1, LEFT_FOR_ONE):
            return []
        changes = min(limit, max(1, ROUND_CHANGES // most))
        size, known = min(STRETCH_BYTES, changes * unread.bytes // unread.changes), len(reader.tables)
        while len(found) < most and (one := reader.pass_over(size)):
            found.append(one)
        learn(self._work.versions, reader.tables[known:])
        return found

    def _begin_jobs(self, writes: list[WriteItems], stretches: list[Stretch], reader: ChangeLogReader) -> None:
        """Have the worker of a number write what is to be written of its stretch, and then fold its next one."""
        assert self._workers is not None
        jobs: list[ApplyJob] = [*writes]
        if writes:  # a job goes to who has fewest, in their order: so each has one
            jobs += [NothingToWrite()] * (len(self._told) - len(writes))
        for number, stretch in enumerate(stretches):
            tables = reader.tables
            jobs.append(FoldStretch(number, stretch, tables[self._told[number] :]))
            self._told[number] = len(tables)
        self._folding, self._folded, self._answers = stretches, {}, self._workers.answers(jobs)

    def _all_written(self, count: int) -> list[ItemsWritten]:
        """What so many jobs have written. What is folded after that is not waited for."""
        found: list[ItemsWritten] = []
        while len(found) < count or not self._folding:
            told = self._next_told()
            if told is None:
                break
            if isinstance(told, ItemsWritten):
                found.append(told)
        return found

    def _all_folded(self, stretches: list[Stretch]) -> list[StretchFolded]:
        """What came of all of them. The items of each are dirty as soon as it says which these are."""
        for told in self._folded.values():
            self._dirty.more_writes(told.keys)
        while (more := self._next_told()) is not None:
            if isinstance(more, StretchFolded):
                self._dirty.more_writes(more.keys)
        for number, stretch in enumerate(stretches):
            _check(stretch, self._folded[number])
        return [self._folded[number] for number in range(len(stretches))]

    def _next_told(self) -> ItemsWritten | StretchFolded | None:
        """None when all jobs are done."""
        for job, told in self._answers:
            if isinstance(told, Refused):
                self._progress.note_refused(told.reason)
            elif isinstance(told, NoAnswer):
                self._dirty.add_strays(told.items)
            else:
                if isinstance(told, StretchFolded):
                    assert isinstance(job, FoldStretch)
                    self._folded[job.number] = told
                return told
        return None


def _check(stretch: Stretch, told: StretchFolded) -> None:
    logged = stretch.total - stretch.before
    if told.changes != logged:
        raise _disagree(
            f"{told.changes:,} changes of a stretch were folded, the change log has {logged:,} there", stretch
        )


def _check_written(
    stretches: Sequence[Stretch], folded: Sequence[StretchFolded], written: Sequence[ItemsWritten]
) -> None:
    made, done = sum(each.operations for each in folded), sum(each.operations for each in written)
    if made != done:
        raise _disagree(f"{done:,} operations were written, {made:,} were folded", *stretches)


def _disagree(what: str, *stretches: Stretch) -> StateError:
    place = f"{stretches[0].begin} to {stretches[-1].end}"
    return StateError(what, place=place, hint=TOTALS_DIFFER)


def _round(last: Stretch, folded: Sequence[StretchFolded], written: Sequence[ItemsWritten]) -> Round:
    faults = [fault for each in folded for fault in each.faults]
    faults += [fault for each in written for fault in each.faults]
    changes = sum(each.changes for each in folded)
    spent = Spent(
        sum(each.spent.units for each in written),
        sum(each.spent.throttles for each in written),
        sum(each.spent.bytes for each in written),
    )
    return Round(changes, last, faults, sum(each.held for each in written), spent)


def in_turns(keys: Sequence[Mapping[str, list[TEXT]]]) -> list[dict[ItemId, int]]:
    """For each stretch, in log order, the turns of those of its items that stretches before it write too: as many of
    these there are.
    """
    seen: dict[str, set[TEXT]] = {}
    writers: dict[ItemId, int] = {}
    found: list[dict[ItemId, int]] = []
    for of_one in keys:
        mine: dict[ItemId, int] = {}
        for target, texts in of_one.items():
            distinct, before = set(texts), seen.setdefault(target, set())
            for text in distinct & before:
                mine[target, text] = writers[target, text] = writers.get((target, text), 0) + 1
            before |= distinct
        found.append(mine)
    return found
