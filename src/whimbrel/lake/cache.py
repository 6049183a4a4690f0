"""Copies of data sets' files on this machine, of a lake in S3: no more than so many bytes, and never one that is used.

A process that uses the files of a folder holds a shared lock on it. A folder is emptied only under an exclusive one.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from whimbrel.errors import StateError


class Cache:
    """The folders ``*/*`` below ``root``. What this process pins is released by ``close``."""

    def __init__(self, root: Path, most: int) -> None:
        self.most = most
        self._root = root
        self._pinned: dict[Path, int] = {}

    def pin(self, folder: Path) -> None:
        """Make the folder, and keep its files until ``close``."""
        while folder not in self._pinned:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if folder.exists() and folder.stat().st_ino == os.fstat(descriptor).st_ino:
                    self._pinned[folder] = descriptor
            finally:
                if folder not in self._pinned:  # removed before it was locked
                    os.close(descriptor)
        with suppress(OSError):
            os.utime(folder, (now := time.time(), now))

    def make_room(self, needed: int) -> None:
        """Remove what was not used for longest, until there is room for so many bytes. Raises StateError if all that is
        left is in use.
        """
        held = {place: _size(place) for place in self._root.glob("*/*") if place.is_dir()}
        total = sum(held.values())
        for place in sorted(held, key=_last_used):
            if total + needed <= self.most:
                return
            if held[place] and _emptied(place):
                total -= held[place]
        if total + needed > self.most:
            raise StateError(
                f"{total + needed:,} bytes of data sets are needed at once, and {self.most:,} may be on this machine",
                place=str(self._root),
                hint="Set a larger cache_gb in [lake].",
            )

    def close(self) -> None:
        for descriptor in self._pinned.values():
            os.close(descriptor)
        self._pinned.clear()


def _files(place: Path) -> list[Path]:
    return [*place.glob("*.parquet"), *place.glob("*.parquet.*")]


def _size(place: Path) -> int:
    found = 0
    for path in _files(place):
        with suppress(FileNotFoundError):
            found += path.stat().st_size
    return found


def _last_used(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _emptied(place: Path) -> bool:
    """Whether its files were removed; not while any process, also this one, has it pinned."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in _files(place):
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
