"""Changes of a silo go into the warehouse in batches: each is folded to the last image of every row, and written by a
delete and an insert, in one transaction with the silo's Position.

So each batch is there wholly or not at all, whatever is killed, and what whoever asks sees of a silo is what its source
was at the end of a transaction. A batch ends where one of the source's ends; a long one is written in portions, within
one transaction of the warehouse.

Only where an engine cannot take a transaction of any size, a very large one of the source is written in parts. Each is
a batch. How many of its changes are there is in the ledger, so none is written twice, and nobody takes the silo to be
at the end of a transaction meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from whimbrel.changelog.files import ChangeLogReader, Taken, Unread
from whimbrel.changelog.segments import read_mark
from whimbrel.errors import BEGIN_AGAIN, StateError
from whimbrel.migration.history import History
from whimbrel.migration.progress import Progress
from whimbrel.records import Change, Commit, Table
from whimbrel.warehouse.alter import follow_versions
from whimbrel.warehouse.engine import Engine, EngineSession
from whimbrel.warehouse.fold import AnyFolded, Fold, Folded, FoldedVersions
from whimbrel.warehouse.ledger import Entry, Ledger
from whimbrel.warehouse.prepared import PreparedSilo
from whimbrel.warehouse.put import put

PORTION = 20_000  # changes that are folded together in memory, at most
PORTIONS = 15  # of one batch, unless a transaction of the source is longer
FULL = PORTION * PORTIONS
BATCH, PART = Taken(64 << 20, 8 << 20), Taken(128 << 20, 32 << 20)  # of the log, that end a batch or a part, too
IDLE_SECONDS = 10.0  # after which a Position without changes is written, too

Entries = list[Change | Commit]


class RowApplier:
    """Plays the change log into the warehouse, from where the ledger says that it is. ``close`` it."""

    def __init__(
        self,
        engine: Engine,
        found: PreparedSilo,
        ledger: Ledger,
        history: History,
        reader: ChangeLogReader,
        progress: Progress,
    ) -> None:
        self._engine, self._found, self._ledger, self._history = engine, found, ledger, history
        self._reader, self._progress = reader, progress
        with engine.session() as session:
            self.kept = ledger.tables(session)
        self._last: Commit | None = None  # the last one of what was read
        self._idle: Commit | None = None  # passed, and not written: nothing of ours came before it
        self._written_at = time.monotonic()
        if reader.total != ledger.now.changes:
            raise self._disagree(ledger.now.changes, reader.total)
        self._pass_part(ledger.now.part)
        progress.applied, progress.applying = reader.total, ledger.now.part
        progress.applied_position = ledger.now.position

    def close(self) -> None:
        self._reader.close()

    def step(self) -> int:
        """Write one batch; how many records it had (0: the log has nothing new)."""
        part, taken = self._ledger.now.part, self._reader.taken
        first = self._reader.read(PORTION)
        self._progress.log_drained = not first
        if not part and not any(isinstance(entry, Change) for entry in first) and not self._are_altered(first):
            self._pass_idle(first)
            return len(first)
        began = time.monotonic()
        with self._engine.session() as session:
            with session.transaction():
                before, applied, records = self._ledger.now.changes + part, 0, 0
                for portion in self._portions(first, taken):
                    applied += self._write(session, portion)
                    records += len(portion)
                    portion.clear()  # the next one is as large, and is read while this one still has a name
                if before + applied != self._reader.handed_out:
                    raise self._disagree(before + applied, self._reader.handed_out)
                fresh = self._ledger.advance(session, self._entry(self._last))
            self._ledger.advanced(fresh)
            self._passed(fresh)
        self._progress.note_batch(applied, time.monotonic() - began)
        return records

    def check_end(self) -> None:
        """Where the warehouse has all of the log, that must be all that the capture wrote. Raises StateError."""
        mark = read_mark(self._reader.folder)
        if mark is not None and mark.point == self._reader.point and mark.total != self._ledger.now.changes:
            raise self._disagree(self._ledger.now.changes, mark.total)

    def unread(self) -> Unread:
        """What the log has that is not written."""
        return self._reader.unread()

    def write_position(self) -> None:
        """Note how far the log was read, where nothing of it was ours."""
        if self._idle is None:
            return
        with self._engine.session() as session:
            with session.transaction():
                fresh = self._ledger.advance(session, self._entry(self._idle))
            self._ledger.advanced(fresh)
        self._idle, self._written_at = None, time.monotonic()

    def _entry(self, commit: Commit | None) -> Entry:
        """``commit`` is the last one that the reader gave, None if it gave none."""
        part = self._reader.handed_out - self._reader.total
        if commit is None:
            return replace(self._ledger.now, part=part)
        return replace(
            self._ledger.now,
            point=self._reader.point,
            changes=self._reader.total,
            position=commit.position,
            committed=commit.timestamp,
            part=part,
        )

    def _pass_part(self, part: int) -> None:
        """Read on to behind the changes of a transaction that are there already."""
        while part:
            passed = self._reader.read(min(part, PORTION))
            if not passed or not all(isinstance(entry, Change) for entry in passed):
                raise self._disagree(self._ledger.now.changes + self._ledger.now.part, self._reader.handed_out)
            part -= len(passed)

    def _are_altered(self, entries: Entries) -> bool:
        """Whether a table was, by the end of ``entries``, which have no changes."""
        last = entries[-1] if entries else None
        return isinstance(last, Commit) and any(
            number > kept.version and last.position.at_or_after(since)
            for name, kept in self.kept.items()
            for number, (since, _) in enumerate(self._history.versions(name))
        )

    def _pass_idle(self, entries: Entries) -> None:
        for entry in entries:
            assert isinstance(entry, Commit)
            self._last = self._idle = entry
            self._progress.applied_position, self._progress.applied_time = entry.position, entry.timestamp
        if self._idle and time.monotonic() - self._written_at > IDLE_SECONDS:
            self.write_position()

    def _passed(self, entry: Entry) -> None:
        self._idle, self._written_at = None, time.monotonic()
        self._progress.applied, self._progress.applying = entry.changes, entry.part
        self._progress.applied_position, self._progress.applied_time = entry.position, entry.committed

    # -- one batch -----------------------------------------------------------------------------------------------------

    def _portions(self, first: Entries, before: Taken) -> Iterator[Entries]:
        """``first`` and what the log has besides: up to so many and the end of a transaction, or as much of one as is a
        part. ``before`` is what the reader had given before ``first``.
        """
        portion, reader = first, self._reader
        for number in count(1):
            yield portion
            full = number >= PORTIONS or _is_over(BATCH, before, reader.taken)
            if full and reader.handed_out == reader.total:
                break
            if self._engine.in_parts and (number >= 2 * PORTIONS or _is_over(PART, before, reader.taken)):
                break
            if not (portion := reader.read(PORTION, to_commit=full)):
                break

    def _write(self, session: EngineSession, portion: Entries) -> int:
        """How many changes these were, by another count than the reader's."""
        end = self._end_of(portion)
        follow_versions(self._found, self._ledger, self._history, self.kept, session, end.position)
        fold = Fold(self._folded)
        for changes, commit in _by_transaction(portion, end):
            fold.add(changes, commit.timestamp)
        for folded in fold.take():
            name = (folded.table.schema, folded.table.name)
            put(session, self.kept[name].table, folded, self._history.began)
        self._progress.applying += fold.changes
        return fold.changes

    def _end_of(self, portion: Entries) -> Commit:
        """The Commit that ends the last transaction of these. What the source's tables are by then, the warehouse's are
        before the changes are written: rows of an earlier version fit as well.
        """
        last = portion[-1]
        if isinstance(last, Commit):
            self._last = last
            return last
        commits = [entry for entry in portion if isinstance(entry, Commit)]
        self._last = commits[-1] if commits else self._last
        return self._reader.commit_ahead()

    def _folded(self, table: Table) -> AnyFolded:
        keeps = self.kept[table.schema, table.name].table.keeps
        return FoldedVersions(table) if keeps == "history" else Folded(table)

    def _disagree(self, applied: int, logged: int) -> StateError:
        return StateError(
            f"{applied:,} changes are in the warehouse, the change log has {logged:,} up to there",
            place=str(self._reader.folder),
            hint=f"Restore warehouse and state folder from one copy, or {BEGIN_AGAIN}.",
        )


def _is_over(most: Taken, before: Taken, now: Taken) -> bool:
    return now.bytes - before.bytes >= most.bytes or now.wide - before.wide >= most.wide


def _by_transaction(portion: Entries, end: Commit) -> Iterator[tuple[list[Change], Commit]]:
    """The changes of each transaction with the Commit that ends it; ``end`` is that of the last."""
    changes: list[Change] = []
    for entry in portion:
        if isinstance(entry, Commit):
            if changes:
                yield changes, entry
            changes = []
        else:
            changes.append(entry)
    if changes:
        yield changes, end
