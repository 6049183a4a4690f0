"""What is whole in a log that was not closed: tells a torn tail, which may be cut off, from damage, which may not.

Torn is only what stands after the last whole transaction of the last segment and after the durable mark, with no whole
transaction behind it: a process killed while it appends leaves part of a transaction, a power cut also leaves blocks
that never reached the disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import orjson

from whimbrel.changelog.record import RESTORE, Head, LogPoint, is_commit, read_commit, read_table
from whimbrel.changelog.segments import DurableMark, lines, segment_head, segment_path, segments
from whimbrel.durable import is_sound
from whimbrel.errors import LogCorrupt
from whimbrel.records import Commit, Table


@dataclass(slots=True)
class LogEnd:
    """Where to continue appending: the last segment, the size of what is whole in it, and what was in force there."""

    segment: int
    size: int
    point: LogPoint
    total: int
    last: Commit | None
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)


def recover(folder: Path, mark: DurableMark | None) -> LogEnd:
    """Find the end of the last whole transaction. Changes nothing. Raises LogCorrupt, StateError, OSError."""
    numbers = segments(folder)
    for number in numbers[1:]:
        _check_joint(folder, segment_head(folder, number)[0])
    end = _whole_part(folder, numbers[-1])
    if mark is not None and mark.point > end.point:
        place = f"{segment_path(folder, end.segment)} at {end.size}"
        message = f"not whole up to segment {mark.point.segment}, offset {mark.point.offset}, though that was durable"
        raise LogCorrupt(message, place=place, hint=RESTORE)
    return end


def _check_joint(folder: Path, head: Head) -> None:
    """The segment before ``head``'s, if it is still there, ends where ``head`` says. Raises LogCorrupt, OSError."""
    if head.after is None:
        return
    path = segment_path(folder, head.after.segment)
    size = path.stat().st_size if path.exists() else head.after.offset
    if size != head.after.offset:
        message = f"the segment has {size} bytes, but the next one says that it ended at {head.after.offset}"
        raise LogCorrupt(message, place=f"{path} at {min(size, head.after.offset)}", hint=RESTORE)


def _whole_part(folder: Path, number: int) -> LogEnd:
    path = segment_path(folder, number)
    head, size = segment_head(folder, number)
    end = LogEnd(number, size, head.after or LogPoint(number, size), head.total, head.last)
    bad: int | None = None
    changes = 0
    tables: list[Table] = []
    for offset, line in lines(path):
        if offset == 0:
            continue
        if not is_sound(line):
            bad = offset if bad is None else bad
        elif is_commit(line):
            commit, counted, total = read_commit(orjson.loads(line))
            if bad is not None or counted != changes or total != end.total + changes:
                raise _damaged(path, end.size if bad is None else bad)
            end.size = offset + len(line) + 1
            end.point, end.total, end.last = LogPoint(number, end.size), total, commit
            end.tables.update({(table.schema, table.name): table for table in tables})
            changes, tables = 0, []
        elif line.startswith(b'{"type":"Table",'):
            tables.append(read_table(orjson.loads(line)))
        else:
            changes += 1
    return end


def _damaged(path: Path, offset: int) -> LogCorrupt:
    return LogCorrupt(
        "lines that are missing or do not match their checksum, with whole transactions after them",
        place=f"{path} at {offset}",
        hint=RESTORE,
    )
