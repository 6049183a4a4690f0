"""The files of the dirty keys (see ``migration/dirty.py``): how they are written, and how what is missing is noticed.

Lines of JSON, each with its own checksum. The first says which set the file belongs to, its number, how long the file
before it is, and how many changes were applied when it was begun. ``index.json`` names the set and the newest file that
may have keys: it is durable before that file gets its first one. So a file that is missing, cut short or of another set
is noticed, and then nothing is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from whimbrel.durable import TAIL, is_sound, replace_file, sealed
from whimbrel.records import Item

FORMAT = 1
_FIRST, _BETWEEN, _LAST = b'[{"', b'"}},{"', b'"}}]'
TEXT = bytes  # a key's JSON without the ends that all keys have: see ``texts_of``


class DirtyPlace(NamedTuple):
    """A moment of a set: what becomes dirty from then on is in the file of this number, or in a later one."""

    set: str
    file: int


class Unknown(Exception):
    """What is dirty cannot be told: the reason, in words."""


class DirtyFile(NamedTuple):
    """One file. ``size`` is what it has; ``applied`` the changes that were applied when it was begun."""

    path: Path
    set: str
    number: int
    previous: int  # the size of the file before it
    applied: int
    size: int


def path_of(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.jsonl"


def header(place: DirtyPlace, previous: int, applied: int) -> bytes:
    fields = {"dirty": FORMAT, "set": place.set, "file": place.file, "previous": previous, "applied": applied}
    return sealed(orjson.dumps(fields)[:-1])


def texts_of(keys: list[Item]) -> list[TEXT]:
    """Each key's own text, by one call for all of them, which takes a twentieth of the time: every key begins with a
    quote and ends with one, and within a string no quote follows a brace.
    """
    try:
        return orjson.dumps(keys)[len(_FIRST) : -len(_LAST)].split(_BETWEEN) if keys else []
    except TypeError:  # a lone surrogate: no item of DynamoDB has such a key, and its dead letter stands
        if len(keys) == 1:
            return []
        return [text for key in keys for text in texts_of([key])]


def keys_line(target: str, texts: list[TEXT], name: bytes = b"keys") -> bytes:
    return sealed(b'{"target":%b,"%b":%b' % (orjson.dumps(target), name, _FIRST + _BETWEEN.join(texts) + _LAST))


def write_index(folder: Path, place: DirtyPlace) -> None:
    """Durable when it returns. Raises OSError."""
    replace_file(folder / "index.json", sealed(orjson.dumps(place._asdict())[:-1]))


def parts(folder: Path) -> list[DirtyFile]:
    """All files, the oldest first: at least one, without a gap, all of one set. Raises Unknown."""
    try:
        index = _fields(folder / "index.json")
        numbers = sorted(int(path.stem) for path in folder.glob("[0-9]*.jsonl"))
        found = [_part(folder, number) for number in numbers]
        place = DirtyPlace(str(index["set"]), int(index["file"]))
    except FileNotFoundError:
        raise Unknown("the state folder has no complete record of the items that were written") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unknown(f"the record of the items that were written cannot be read: {error}") from error
    if not found or found[-1].number < place.file:
        raise Unknown("the newest file of the items that were written is missing")
    for before, after in pairwise(found):
        if (after.number, after.previous) != (before.number + 1, before.size):
            raise Unknown(f"{before.path.name} of the items that were written is damaged, or the one after it missing")
    if any(part.set != place.set for part in found):
        raise Unknown("the files of the items that were written are not of one set")
    return found


def records(part: DirtyFile, *, newest: bool) -> Iterator[dict[str, Any]]:
    """Everything after the first line. Half a line at the end of the newest file was never sent to the target, and is
    left out. Raises Unknown.
    """
    try:
        with part.path.open("rb") as file:
            for number, line in enumerate(file):
                if newest and not line.endswith(b"\n"):
                    return
                if not is_sound(line[:-1]):
                    raise Unknown(f"{part.path.name}: line {number + 1} does not match its checksum")
                if number:
                    yield orjson.loads(line)
    except (OSError, ValueError) as error:
        raise Unknown(f"{part.path.name} cannot be read: {error}") from error


def _part(folder: Path, number: int) -> DirtyFile:
    path = path_of(folder, number)
    with path.open("rb") as file:
        fields = _sound(file.readline(), path)
        size = os.fstat(file.fileno()).st_size
    if fields["dirty"] != FORMAT or int(fields["file"]) != number:
        raise ValueError(f"{path.name} is not file {number} of form {FORMAT}")
    return DirtyFile(path, str(fields["set"]), number, int(fields["previous"]), int(fields["applied"]), size)


def _fields(path: Path) -> dict[str, Any]:
    return _sound(path.read_bytes(), path)


def _sound(line: bytes, path: Path) -> dict[str, Any]:
    if len(line) <= TAIL or not line.endswith(b"\n") or not is_sound(line[:-1]):
        raise ValueError(f"{path.name} does not match its checksum")
    fields: dict[str, Any] = orjson.loads(line)
    return fields
