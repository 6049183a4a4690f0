"""The folder of a change log: its segment files, and the mark that says how far it is durable.

``00000001.log``, ``00000002.log`` … hold the lines of record.py. ``durable`` is one line of fixed length: the point up
to which everything is synced, always just after a Commit, and the number of changes up to there. Readers go no further
than the mark, so they never see what a crash may still take away, nor half a transaction. The mark itself is written
after each sync of the segment but not synced, so after a power cut it may lag behind; opening the log for writing puts
it right.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.changelog.record import RESTORE, Head, LogPoint, is_commit, read_commit, read_head
from whimbrel.durable import is_sound, sealed, sync_folder
from whimbrel.errors import LogCorrupt
from whimbrel.records import Commit

BLOCK = 1 << 20
_MARK_RETRIES = 1000  # a reader may meet the writer half-way through its line


class DurableMark(NamedTuple):
    point: LogPoint
    total: int


def segment_path(folder: Path, segment: int) -> Path:
    return folder / f"{segment:08d}.log"


def segments(folder: Path) -> list[int]:
    """The numbers of the segments, in order. Raises LogCorrupt if one in the middle is missing."""
    numbers = sorted(int(path.stem) for path in folder.glob("*.log") if path.stem.isdigit())
    for before, after in itertools.pairwise(numbers):
        if after != before + 1:
            raise LogCorrupt("the segment file is missing", place=str(segment_path(folder, before + 1)), hint=RESTORE)
    return numbers


def prune(folder: Path, before: LogPoint) -> int:
    """Remove the whole segments before ``before``, never the last one; how many were removed. Raises OSError.

    Oldest first, so that what a crash leaves is still one log without a gap.
    """
    removable = [segment for segment in segments(folder)[:-1] if segment < before.segment]
    for segment in removable:
        segment_path(folder, segment).unlink(missing_ok=True)
    if removable:
        sync_folder(folder)
    return len(removable)


def open_mark(folder: Path) -> int:
    """The mark's file descriptor, for write_mark. Raises OSError."""
    return os.open(mark_path(folder), os.O_RDWR | os.O_CREAT, 0o600)


def write_mark(descriptor: int, mark: DurableMark) -> None:
    fields = b'{"type":"Durable","segment":%20d,"offset":%20d,"total":%20d'
    os.pwrite(descriptor, sealed(fields % (*mark.point, mark.total)), 0)


def read_mark(folder: Path) -> DurableMark | None:
    """How far the log is durable; None where nothing was written yet. Raises LogCorrupt."""
    for _ in range(_MARK_RETRIES):
        try:
            line = mark_path(folder).read_bytes()
        except FileNotFoundError:
            return None
        if not line:
            return None
        if is_sound(line[:-1]):
            fields = orjson.loads(line)
            return DurableMark(LogPoint(fields["segment"], fields["offset"]), fields["total"])
    hint = "Remove this file and start the capture: opening the log for writing recreates it."
    raise LogCorrupt("the mark of what is durable does not match its checksum", place=str(mark_path(folder)), hint=hint)


def durable_commit(folder: Path) -> Commit | None:
    """The last Commit that is durable, None before the first. Raises LogCorrupt, StateError, OSError."""
    mark = read_mark(folder)
    if mark is None:
        return None
    head, length = segment_head(folder, mark.point.segment)
    if mark.point.offset <= length:
        return head.last
    path = segment_path(folder, mark.point.segment)
    line = line_before(path, mark.point.offset)
    if not (is_commit(line) and is_sound(line)):
        raise LogCorrupt("no transaction ended there", place=f"{path} at {mark.point.offset}", hint=RESTORE)
    return read_commit(orjson.loads(line)).commit


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The complete lines of a segment with their offsets, without the newline. Raises OSError."""
    offset, rest = 0, b""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                yield offset, line
                offset += len(line) + 1


def segment_head(folder: Path, segment: int) -> tuple[Head, int]:
    """The head of a segment and the length of its line. Raises LogCorrupt, StateError, OSError."""
    path = segment_path(folder, segment)
    with path.open("rb") as file:
        line = file.readline()
    head = read_head(line[:-1], f"{path} at 0")
    if head.segment != segment:
        raise LogCorrupt(f"the file holds segment {head.segment}", place=f"{path} at 0", hint=RESTORE)
    return head, len(line)


def line_before(path: Path, offset: int) -> bytes:
    """The line that ends, newline included, at ``offset``; b"" if none does. Raises OSError."""
    with path.open("rb") as file:
        tail, start = b"", offset
        while start > 0 and tail.count(b"\n") < 2:
            size = min(4096 if not tail else BLOCK, start)
            start -= size
            file.seek(start)
            tail = file.read(size) + tail
    if len(tail) != offset - start or not tail.endswith(b"\n"):
        return b""
    return tail[:-1].rpartition(b"\n")[2]


def mark_path(folder: Path) -> Path:
    return folder / "durable"
