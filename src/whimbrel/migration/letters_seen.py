"""Dead letters as somebody looks at them: how many of each table, and a page of them at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson

from whimbrel.errors import StateError
from whimbrel.migration.dead import Letter, read_letters

Made = TypeVar("Made")
MOST_BYTES = 4 << 20  # of one page
LONGEST = 64 << 10  # bytes of a letter that is shown whole

_known: dict[tuple[Path, str], tuple[tuple[int, int, int], Any]] = {}


def while_unchanged(path: Path, name: str, make: Callable[[Path], Made]) -> Made:
    """What ``make`` makes of a file, made again only where the file is another one by now. ``name`` is that of
    ``make``.
    """
    try:
        found = path.stat()
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError:
        stamp = (0, 0, 0)
    known = _known.get((path, name))
    if known is None or known[0] != stamp:
        known = _known[path, name] = stamp, make(path)
    made: Made = known[1]
    return made


def letters_by_table(path: Path) -> dict[str, int]:
    """How many dead letters each rule has, by its name. Raises StateError."""
    return while_unchanged(path, "tables", lambda file: dict(Counter(each["table"] for each in read_letters(file))))


def read_page(path: Path, after: int, count: int) -> tuple[list[Letter], int | None]:
    """At most ``count`` letters from the place ``after`` (in bytes) on, and the place of the next one; None at the end.

    A letter of more than LONGEST bytes is without its values, and ``shortened`` is its size. Raises StateError.
    """
    letters: list[Letter] = []
    try:
        with path.open("rb") as file:
            file.seek(max(0, after))
            end, place = os.fstat(file.fileno()).st_size, file.tell()
            while len(letters) < count and place < min(end, after + MOST_BYTES):
                line = file.readline()
                if not line.endswith(b"\n"):
                    return letters, None
                letters.append(_shown(line))
                place += len(line)
            return letters, place if place < end else None
    except FileNotFoundError:
        return [], None
    except (OSError, ValueError, TypeError, KeyError) as error:
        hint = "Put the file aside and verify."
        raise StateError(f"not a dead-letter file: {error!r}", place=str(path), hint=hint) from None


def _shown(line: bytes) -> Letter:
    letter: Letter = orjson.loads(line)
    if len(line) > LONGEST:
        letter |= {"before": None, "after": None, "shortened": len(line)}
        letter["reason"] = letter["reason"][:1_000]
    return letter
