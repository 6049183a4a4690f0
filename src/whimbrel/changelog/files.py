"""The change log as files: one process appends transactions durably, others read them from any Commit on.

The order that makes it safe: lines are appended; ``sync`` makes them durable; only then does the mark (see
segments.py) move, and only up to the mark do readers read. Opening a log again cuts off what a crash left of an
unfinished transaction. A fault anywhere else is LogCorrupt, with the file and the offset, and nothing is cut.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from whimbrel.changelog import record
from whimbrel.changelog.reader import ChangeLogReader, Taken, Unread
from whimbrel.changelog.record import Head, LogPoint
from whimbrel.changelog.recover import LogEnd, recover
from whimbrel.changelog.segments import (
    DurableMark,
    mark_path,
    open_mark,
    prune,
    read_mark,
    segment_path,
    segments,
    write_mark,
)
from whimbrel.durable import named, replace_file, sync_folder
from whimbrel.errors import Locked, LogCorrupt, StateError
from whimbrel.records import Change, Commit, Table

__all__ = ["ChangeLogReader", "ChangeLogWriter", "LogPoint", "Taken", "Unread"]

_FLUSH_BYTES = 256 * 1024
_Encoder = Callable[[Change], bytes]


class ChangeLogWriter:
    """Appends transactions to the log in ``folder``; one writer at a time, used by one thread.

    Opening makes the folder if need be, cuts a torn tail off and makes the rest durable. Raises Locked, LogCorrupt, and
    StateError when the disk fails or is full: then this writer is finished, everything synced before stays readable,
    and opening the log again continues after the last whole transaction.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = 64 * 1024 * 1024) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._failure: StateError | None = None
        self._lines: list[bytes] = []  # appended, not yet in the file
        self._buffered = self._unsynced = 0
        self._total = self._changes = 0  # up to the last Commit, and since then
        self._last: Commit | None = None
        self._file = self._mark = -1
        self._lock = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            self._take_up(self._recovered_end())
        except OSError as error:
            self._release()
            raise self._give_up(error) from error
        except BaseException:
            self._release()
            raise

    @property
    def last(self) -> Commit | None:
        """The last Commit of the log, also after reopening; None if it never had one."""
        return self._last

    @property
    def end(self) -> LogPoint:
        """The place after the last Commit appended, durable or not."""
        return self._end

    @property
    def durable(self) -> LogPoint:
        """The place after the last Commit that is durable: how far readers can read."""
        return self._durable.point

    @property
    def total(self) -> int:
        """All changes committed to the log since it began."""
        return self._total

    def append(self, changes: list[Change]) -> None:
        """Add changes of the transaction that the next ``commit`` ends. Raises StateError."""
        self._check()
        self._rotate_if_full()
        add, size = self._lines.append, 0
        table, encode = self._table, self._encode
        try:
            for change in changes:
                if change.table is not table:
                    table = change.table
                    encode = self._encoder(table)
                line = encode(change)
                add(line)
                size += len(line)
        except BaseException as error:
            self._give_up(error)  # the transaction is incomplete now: it must never get its Commit
            raise
        self._changes += len(changes)
        self._added(size)

    def commit(self, commit: Commit) -> None:
        """End the transaction. It is durable after the next ``sync``. Raises StateError."""
        self._check()
        self._rotate_if_full()
        total = self._total + self._changes
        line = record.commit_line(commit, self._changes, total)
        self._lines.append(line)
        self._total, self._changes, self._last = total, 0, commit
        self._added(len(line))
        self._end = LogPoint(self._segment, self._size)

    def sync(self) -> None:
        """Make all that was appended durable, and let readers see it up to the last Commit. Raises StateError."""
        self._check()
        if not self._unsynced and self._durable.point == self._end:
            return
        self._flush()
        try:
            with named(segment_path(self.folder, self._segment)):
                os.fdatasync(self._file)
            self._advance_mark()
        except OSError as error:
            raise self._give_up(error) from error
        self._unsynced = 0

    def begin_segment(self) -> None:
        """Begin the next segment, once all of this one is durable, unless this one has no Commit yet; only between two
        transactions. Opening the log reads the last segment: so the next one has little to read. Raises StateError.
        """
        self._check()
        assert not self._changes, "between two transactions"
        if self._end != (self._segment, self._size):
            return
        self.sync()
        head = Head(self._segment + 1, self._end, self._total, self._last)
        try:
            size, ended = _make_segment(self.folder, head), self._file
            self._open_segment(head.segment, size)
            os.close(ended)  # last: whoever releases the log closes the file that it has by then, and none twice
        except OSError as error:
            raise self._give_up(error) from error

    def prune(self, before: LogPoint) -> int:
        """Remove whole segments before ``before``, never the last one; how many were removed."""
        return prune(self.folder, before)

    def close(self) -> None:
        """Sync and release the log. A transaction without its Commit is cut off when the log is opened again."""
        if self._lock < 0:
            return
        try:
            if self._failure is None:
                self.sync()
                with named(mark_path(self.folder)):
                    os.fsync(self._mark)
        except OSError as error:
            raise self._give_up(error) from error
        finally:
            self._release()

    def __enter__(self) -> ChangeLogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _recovered_end(self) -> LogEnd:
        for leftover in self.folder.glob("*.new"):
            leftover.unlink()
        mark = read_mark(self.folder)
        if not segments(self.folder):
            if mark is not None:
                place = str(segment_path(self.folder, mark.point.segment))
                raise LogCorrupt("the segment file is missing", place=place, hint=record.RESTORE)
            _make_segment(self.folder, Head(segment=1, after=None, total=0, last=None))
        return recover(self.folder, mark)

    def _take_up(self, end: LogEnd) -> None:
        self._open_segment(end.segment, end.size)
        with named(segment_path(self.folder, end.segment)):
            os.ftruncate(self._file, end.size)
            os.fsync(self._file)
        for table in end.tables.values():
            self._encoders[table.schema, table.name] = (table, record.change_encoder(table))
        self._end, self._total, self._last = end.point, end.total, end.last
        self._mark = open_mark(self.folder)
        self._advance_mark()
        with named(mark_path(self.folder)):
            os.fsync(self._mark)
        sync_folder(self.folder)

    def _open_segment(self, segment: int, size: int) -> None:
        self._file = os.open(segment_path(self.folder, segment), os.O_WRONLY | os.O_APPEND)
        self._segment, self._size = segment, size
        self._table: Table | None = None
        self._encode: _Encoder = _no_table
        self._encoders: dict[tuple[str, str], tuple[Table, _Encoder]] = {}

    def _encoder(self, table: Table) -> _Encoder:
        """The encoder of ``table``; a Table line goes first if this segment's last one for that name is another."""
        known = self._encoders.get((table.schema, table.name))
        if known is None or known[0] != table:
            known = (table, record.change_encoder(table))
            line = record.table_line(table)
            self._lines.append(line)
            self._added(len(line))
            self._encoders[table.schema, table.name] = known
        self._table, self._encode = table, known[1]
        return known[1]

    def _added(self, size: int) -> None:
        self._size += size
        self._unsynced += size
        self._buffered += size
        if self._buffered >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        data = memoryview(b"".join(self._lines))
        self._lines.clear()
        self._buffered = 0
        try:
            with named(segment_path(self.folder, self._segment)):
                while data:
                    data = data[os.write(self._file, data) :]
        except OSError as error:
            raise self._give_up(error) from error
        except BaseException as error:
            self._give_up(error)
            raise

    def _advance_mark(self) -> None:
        self._durable = DurableMark(self._end, self._total)
        with named(mark_path(self.folder)):
            write_mark(self._mark, self._durable)

    def _rotate_if_full(self) -> None:
        if self._size >= self._segment_bytes and self._end == (self._segment, self._size):
            self.begin_segment()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._lock < 0:
            raise StateError("the change log is closed", place=str(self.folder))

    def _give_up(self, error: BaseException) -> StateError:
        """The error for the caller and for all later calls: from here on it is uncertain what is in the file."""
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        self._failure = StateError(
            f"the change log cannot be written: {reason}",
            place=str(getattr(error, "filename", None) or self.folder),
            hint="Free disk space, or repair the disk, and start again: it continues after the last whole transaction.",
        )
        return self._failure

    def _release(self) -> None:
        for descriptor in (self._file, self._mark, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._mark = self._lock = -1


def _make_segment(folder: Path, head: Head) -> int:
    """Make a segment with its head, whole and durable before it has its name; its size."""
    line = record.head_line(head)
    replace_file(segment_path(folder, head.segment), line)
    return len(line)


def _lock(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        hint = "Stop the other capture, or wait until it has ended."
        raise Locked("another capture is writing this change log", place=str(folder), hint=hint) from None
    return descriptor


def _no_table(change: Change) -> bytes:
    raise AssertionError("a table's encoder is looked up before its first change is encoded")
