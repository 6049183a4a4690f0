"""Stretches of the change log: one reader passes over them, and others read them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from whimbrel.changelog.record import LogPoint
from whimbrel.records import Commit

_COMMIT, _TABLE = b'{"type":"Commit",', b'{"type":"Table",'  # so such a line begins, and no other one
_LAST_LINES = 16 << 10  # bytes in which the last Commit is looked for first


class Stretch(NamedTuple):
    """Whole transactions that one reader has passed over and another one is to read, all in one segment. Up to its
    beginning the log has ``before`` changes, up to its end ``total``; ``commit`` is its last one.
    """

    begin: LogPoint
    end: LogPoint
    before: int
    total: int
    commit: Commit


def last_commit(file: int, begin: int, end: int) -> tuple[bytes, int]:
    """The last line of a Commit between two offsets of a segment, of which ``begin`` is that of a line, and the offset
    after it; b"" if there is none. Raises OSError.
    """
    size = _LAST_LINES
    while True:
        first = max(begin, end - size)
        text = os.pread(file, end - first, first)
        lines = text[: text.rfind(b"\n") + 1]
        at = lines.rfind(b"\n" + _COMMIT) + 1
        if at or (first == begin and lines.startswith(_COMMIT)):
            line = lines[at : lines.index(b"\n", at)]
            return line, first + at + len(line) + 1
        if first == begin:
            return b"", begin
        size *= 16


def table_lines(text: bytes) -> Iterator[bytes]:
    """Of whole lines, those that define a table, without the newline."""
    begin = 0 if text.startswith(_TABLE) else text.find(b"\n" + _TABLE) + 1
    while text.startswith(_TABLE, begin):
        end = text.index(b"\n", begin)
        yield text[begin:end]
        begin = text.find(b"\n" + _TABLE, end) + 1 or len(text)
