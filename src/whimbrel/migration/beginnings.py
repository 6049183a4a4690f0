"""How each binlog file began that the capture has read, the newest ones: ``binlogs.jsonl`` in the state folder.

A line is durable before anything of its file is in the change log, so that where the log ends, its file is known.
whimbrel 0.1.0 wrote no such file: then what the server has at first is taken as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.durable import replace_file, sealed_json, sealed_lines, writing
from whimbrel.errors import BEGIN_AGAIN, StateError
from whimbrel.mysql.binlog.beginning import Beginning
from whimbrel.records import Position

KEPT = 64  # files: the log's end is in one of the last few, however small they are

_RESTORE = f"Restore it from a copy of the state folder, or {BEGIN_AGAIN}."


class _Line(NamedTuple):
    epoch: int
    file: str
    when: int
    gtids: str


class Beginnings:
    """One process writes it, the one that captures; others read it when they ask."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, position: Position) -> Beginning | None:
        """Of the file of ``position``, None if it is not known. Raises StateError if the file is damaged."""
        found = [each for each in self._lines() if (each.epoch, each.file) == (position.epoch, position.file)]
        return Beginning(found[-1].when, found[-1].gtids) if found else None

    def note(self, position: Position, beginning: Beginning) -> None:
        """That the file of ``position`` began so; durable on return. Raises StateError."""
        lines = self._lines()
        fresh = _Line(position.epoch, position.file, *beginning)
        if fresh in lines:
            return
        kept = [each for each in lines if each[:2] != fresh[:2]][1 - KEPT :]
        with writing(self._path):
            replace_file(self._path, b"".join(sealed_json(each._asdict()) for each in [*kept, fresh]))

    def _lines(self) -> list[_Line]:
        try:
            fields = [orjson.loads(line) for line in sealed_lines(self._path, _RESTORE)]
            return [_Line(*(each[name] for name in _Line._fields)) for each in fields]
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"cannot be read: {error!r}", place=str(self._path), hint=_RESTORE) from error
