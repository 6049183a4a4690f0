"""Reading the change log, in any process, while another appends to it.

A reader goes up to the durable mark and no further. It holds one block of lines, never a whole transaction, and checks
every line's checksum and every transaction's count of changes before it hands out the Commit.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

import orjson

from whimbrel.changelog.record import RESTORE, LogPoint, change_decoder, is_commit, read_commit, read_table
from whimbrel.changelog.segments import BLOCK, line_before, lines, read_mark, segment_head, segment_path, segments
from whimbrel.changelog.stretch import Stretch, last_commit, table_lines
from whimbrel.durable import TAIL, is_sound
from whimbrel.errors import LogCorrupt, LogGone, StateError
from whimbrel.records import Change, Commit, Table

_Decoder = Callable[[dict[str, Any]], Change]
# About what the changes of one call of read() may take in memory at most, whatever its limit: with the operations that
# they become, and the requests for these.
_READ_BYTES = 48 << 20
_TEXT_TIMES = 4  # so often is a text of the log in memory
_VALUE_BYTES = 150  # beside it, for each value of either image
_LONG = 4 << 10  # bytes of a line, of wide rows


class Unread(NamedTuple):
    """What is durable in the log and not handed out yet."""

    bytes: int
    changes: int


class Taken(NamedTuple):
    """Bytes of the log, and those of them that are of wide rows, of more than 2 KB or so."""

    bytes: int
    wide: int


class ChangeLogReader:
    """Reads the log in ``folder`` from ``start``, a place after a Commit, or from its very beginning (None).

    The log need not exist yet when ``start`` is None. Raises LogGone when the place asked for was pruned or never was,
    LogCorrupt for damage. Used by one thread.
    """

    def __init__(self, folder: Path, start: LogPoint | None) -> None:
        self.folder = folder
        self._file: BinaryIO | None = None
        self._decoders: dict[tuple[str, str], _Decoder] = {}  # in force at the next line
        self._seen: dict[Table, _Decoder] = {}  # so that equal definitions give one Table object, over all segments
        self._lines: Iterator[bytes] = iter(())
        self._rest = b""
        self._point = start
        self._total = self._changes = 0  # up to the last Commit, and since then
        self._ahead: Commit | None = None  # the end of the transaction that is being handed out, once it was asked for
        self._segment = self._next = self._read_to = self._until = 0
        self._end = sys.maxsize  # it is read no further, until it goes elsewhere
        self._passed: int | None = None  # from here to the next line, Table lines are still to be read
        self._columns = 0  # of the table that has most of them
        self._size = self._wide = 0  # bytes of the lines that were handed out
        try:
            with self._reading():
                if start is not None:
                    self._resume(start)
                elif segments(folder):
                    self._begin()
        except BaseException:
            self.close()
            raise

    @property
    def point(self) -> LogPoint | None:
        """The place after the last Commit handed out, to resume at; where this reader started, before the first one."""
        return self._point

    def read(self, limit: int, changed: list[bytes] | None = None, *, to_commit: bool = False) -> list[Change | Commit]:
        """The next ``limit`` entries at most, in log order; empty when there is nothing new yet. ``changed`` gets the
        line of each change, without its newline. With ``to_commit`` the first Commit is the last of them.

        Raises LogCorrupt, and LogGone when the segment that follows was pruned.
        A transaction may be spread over several calls. The changes of one table definition share one Table object.
        """
        entries: list[Change | Commit] = []
        decoders, taken = self._decoders, 0
        while len(entries) < limit:
            line = next(self._lines, None)
            if line is None:
                with self._reading():
                    if self._in_memory(len(entries), taken) < _READ_BYTES and self._fill():
                        continue
                break
            if line[-TAIL:] != b',"crc":"%08x"}' % crc32(line[:-TAIL]):
                raise self._corrupt("a line does not match its checksum")
            fields = orjson.loads(line)
            if "row" in fields:
                decode = decoders.get((fields["schema"], fields["table"]))
                if decode is None:
                    raise self._corrupt("a change without its Table line before it")
                entries.append(decode(fields))
                self._changes += 1
                if changed is not None:
                    changed.append(line)
            elif fields["type"] == "Commit":
                entries.append(self._commit(fields, len(line) + 1))
                limit = len(entries) if to_commit else limit
            else:
                self._define(read_table(fields))
            self._next += len(line) + 1
            taken += len(line)
            if len(line) > _LONG:
                self._wide += len(line)
        self._size += taken
        return entries

    def pass_over(self, size: int) -> Stretch | None:
        """Go over the next whole transactions, of ``size`` bytes at most, for another reader. None where there are
        none: nothing is new yet, or the next transaction is larger, or ``read`` has handed out a part of it.

        Only Table lines and the last Commit are read here; whoever reads the stretch compares what it has with that.
        """
        with self._reading():
            if self._changes or (self._file is None and not (segments(self.folder) and self._begin())):
                return None
            self._put_back()
            durable = self._durable_to()
            while durable is not None and self._next >= durable:
                self._follow()
                durable = self._durable_to()
            if durable is None:
                return None
            begin, before = LogPoint(self._segment, self._next), self._total
            assert self._file is not None
            line, end = last_commit(self._file.fileno(), self._next, min(durable, self._next + size))
            if not line:
                return None
            if not is_sound(line):
                raise self._corrupt("the last Commit of a stretch does not match its checksum")
            commit, _, self._total = read_commit(orjson.loads(line))
            self._point = LogPoint(self._segment, end)
            self._go_to(self._point)
            self._take_passed()
        return Stretch(begin, self._point, before, self._total, commit)

    def read_stretch(self, stretch: Stretch) -> list[Change | Commit]:
        """All its entries. It must be after what was read before. Raises LogCorrupt if they are not what it says."""
        with self._reading():
            self._put_back()
            self._end = sys.maxsize
            self._go_to(stretch.begin)
        self._total, self._changes, self._end = stretch.before, 0, stretch.end.offset
        entries: list[Change | Commit] = []
        while more := self.read(sys.maxsize):
            entries += more
        if self._rest or (self._point, self._total, self._changes) != (stretch.end, stretch.total, 0):
            raise self._corrupt(f"{self.handed_out:,} changes were read up to here, a Commit says {stretch.total:,}")
        return entries

    @property
    def tables(self) -> list[Table]:
        """All definitions that were met, in log order."""
        return list(self._seen)

    @property
    def total(self) -> int:
        """The changes of the log since it began, up to the last Commit handed out."""
        return self._total

    @property
    def handed_out(self) -> int:
        """The changes of the log since it began, up to the last one handed out."""
        return self._total + self._changes

    @property
    def taken(self) -> Taken:
        """The bytes of all lines handed out since this was opened."""
        return Taken(self._size, self._wide)

    def commit_ahead(self) -> Commit:
        """The Commit that ends the transaction whose changes were handed out last; it is durable, as they are."""
        if self._ahead is None:
            with self._reading(), segment_path(self.folder, self._segment).open("rb") as file:
                file.seek(self._next)
                line = next(filter(is_commit, file), b"")
            if not line:
                raise self._corrupt("the segment ends within a transaction")
            self._ahead = read_commit(orjson.loads(line)).commit
        return self._ahead

    def unread(self) -> Unread:
        """How much is durable and was not handed out yet: cheap, from file sizes and the running total."""
        mark = read_mark(self.folder)
        if mark is None:
            return Unread(0, 0)
        size = mark.point.offset - self._next
        with self._reading():
            for segment in range(self._segment or segments(self.folder)[0], mark.point.segment):
                size += segment_path(self.folder, segment).stat().st_size
        return Unread(max(size, 0), max(mark.total - self._total - self._changes, 0))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> ChangeLogReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _commit(self, fields: dict[str, Any], length: int) -> Commit:
        commit, changes, total = read_commit(fields)
        if changes != self._changes or total != self._total + changes:
            raise self._corrupt(f"a transaction of {changes} changes has {self._changes} lines of them")
        self._total, self._changes, self._ahead = total, 0, None
        self._point = LogPoint(self._segment, self._next + length)
        return commit

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise LogGone(f"{error.filename} has been pruned", place=str(self.folder), hint=_GONE) from error
        except OSError as error:
            message = f"the change log cannot be read: {error.strerror}"
            hint = "Repair the disk or the permissions, and start again."
            raise StateError(message, place=str(error.filename or self.folder), hint=hint) from error

    def _in_memory(self, entries: int, size: int) -> int:
        return _TEXT_TIMES * size + 2 * self._columns * _VALUE_BYTES * entries

    def _define(self, table: Table) -> None:
        if table not in self._seen:
            self._seen[table] = change_decoder(table)
            self._columns = max(self._columns, len(table.columns))
        self._decoders[table.schema, table.name] = self._seen[table]

    def _fill(self) -> bool:
        """Take the next block of lines from the durable part; False when there is none yet."""
        if self._file is None and not (segments(self.folder) and self._begin()):
            return False
        assert self._file is not None
        self._take_passed()
        if self._read_to >= min(self._until, self._end):
            durable = None if self._read_to >= self._end else self._durable_to()
            if durable is None:
                return False
            self._until = durable
            if self._read_to >= self._until:
                self._follow()
                return True
        # A line longer than a block is read in blocks that grow with it, so the cost stays linear.
        block = self._file.read(min(max(BLOCK, len(self._rest)), min(self._until, self._end) - self._read_to))
        if not block:
            raise self._corrupt("the file ends before what was durable")
        self._read_to += len(block)
        *whole, self._rest = (self._rest + block).split(b"\n")
        self._lines = iter(whole)
        return True

    def _durable_to(self) -> int | None:
        """Up to where this segment is durable; None where it has nothing more, nor has another one."""
        assert self._file is not None
        mark = read_mark(self.folder)
        if mark is None or mark.point <= (self._segment, self._read_to):
            return None
        finished = mark.point.segment > self._segment
        return os.fstat(self._file.fileno()).st_size if finished else mark.point.offset

    def _put_back(self) -> None:
        """What is in memory and not handed out is read from the file again."""
        self._lines, self._rest, self._ahead, self._read_to = iter(()), b"", None, self._next
        if self._file is not None:
            self._file.seek(self._next)

    def _go_to(self, place: LogPoint) -> None:
        """Further on, where nothing is in memory. The Table lines between are read before the next line is."""
        if place.segment != self._segment:
            self._open(place.segment)
        assert self._file is not None
        if place.offset < self._next:
            raise self._corrupt(f"offset {place.offset} lies before what was read")
        if self._passed is None:
            self._passed = self._next
        self._next = self._read_to = self._file.seek(place.offset)

    def _take_passed(self) -> None:
        if self._passed is not None:
            assert self._file is not None
            self._file.seek(self._passed)
            left, rest = self._next - self._passed, b""
            while left:
                block = self._file.read(min(max(BLOCK, len(rest)), left))
                if not block:
                    raise self._corrupt("the file ends before what was durable")
                left -= len(block)
                text = rest + block
                end = text.rfind(b"\n") + 1
                self._take_tables(text[:end])
                rest = text[end:]
            self._passed = None

    def _take_tables(self, text: bytes) -> None:
        for line in table_lines(text):
            if not is_sound(line):
                raise self._corrupt("a line does not match its checksum")
            self._define(read_table(orjson.loads(line)))

    def _begin(self) -> bool:
        first = segments(self.folder)[0]
        if first != 1:
            message = f"the log begins with segment {first}; what was before it has been pruned"
            raise LogGone(message, place=str(self.folder), hint=_GONE)
        self._open(first)
        return True

    def _open(self, segment: int) -> None:
        path = segment_path(self.folder, segment)
        head, size = segment_head(self.folder, segment)
        self.close()
        self._file = path.open("rb", buffering=0)
        self._file.seek(size)
        self._segment, self._next, self._read_to, self._until = segment, size, size, 0
        self._total = head.total
        self._passed = None
        self._decoders.clear()

    def _follow(self) -> None:
        """Continue in the next segment; this one must have ended with a Commit, where the head of the next says."""
        ended, total = LogPoint(self._segment, self._next), self._total
        if self._rest or self._changes:
            raise self._corrupt("the segment ends within a transaction")
        if not segment_path(self.folder, self._segment + 1).exists():
            raise LogGone(f"segment {self._segment + 1} has been pruned", place=str(self.folder), hint=_GONE)
        head, _ = segment_head(self.folder, self._segment + 1)
        if head.after != ended or head.total != total:
            raise self._corrupt(
                f"the segment ends here, but the next one follows {head.after} and {head.total} changes"
            )
        self._open(self._segment + 1)

    def _resume(self, start: LogPoint) -> None:
        numbers = segments(self.folder)
        if start.segment not in numbers:
            kept = f"it has segments {numbers[0]} to {numbers[-1]}" if numbers else "it is empty"
            message = f"the log does not have segment {start.segment}, offset {start.offset}: {kept}"
            raise LogGone(message, place=str(self.folder), hint=_GONE)
        self._open(start.segment)
        if start.offset != self._next:
            path = segment_path(self.folder, start.segment)
            before = line_before(path, start.offset)
            if not (is_commit(before) and is_sound(before)):
                raise LogGone("no transaction ended there", place=f"{path} at {start.offset}", hint=_GONE)
            self._total = read_commit(orjson.loads(before)).total
            self._take_definitions(path, start.offset)
        assert self._file is not None
        self._file.seek(start.offset)
        self._next = self._read_to = start.offset

    def _take_definitions(self, path: Path, until: int) -> None:
        for offset, line in lines(path):
            if offset >= until:
                return
            if line.startswith(b'{"type":"Table",'):
                if not is_sound(line):
                    raise LogCorrupt("a line does not match its checksum", place=f"{path} at {offset}", hint=RESTORE)
                self._define(read_table(orjson.loads(line)))

    def _corrupt(self, message: str) -> LogCorrupt:
        place = f"{segment_path(self.folder, self._segment)} at {self._next}"
        return LogCorrupt(message, place=place, hint=RESTORE)


_GONE = (
    "The checkpoint and the change log do not belong together any more: restore the state folder from one copy, "
    "or begin the migration again"
)
