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

from whimbrel.checkpoint import Checkpoint
from whimbrel.durable import TAIL, is_sound, replace_file, sealed, sealed_json
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
    """One file. ``size`` is what it has; ``applied`` the changes that were applied when it was begun, ``sent`` up to
    which change the keys of what may be in a stream are in older files: None where one process applies the changes.
    """

    path: Path
    set: str
    number: int
    previous: int  # the size of the file before it
    applied: int
    size: int
    sent: int | None = None


def path_of(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.jsonl"


def header(place: DirtyPlace, previous: int, applied: int, sent: int | None) -> bytes:
    fields = {"dirty": FORMAT, "set": place.set, "file": place.file, "previous": previous, "applied": applied}
    return sealed_json(fields if sent is None else fields | {"sent": sent})


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


def text_of_id(key: bytes) -> TEXT:
    """The text of a key by its ``key_id``."""
    return key[len(_FIRST) - 1 : 1 - len(_LAST)]


def write_index(folder: Path, place: DirtyPlace) -> None:
    """Durable when it returns. Raises OSError."""
    replace_file(folder / "index.json", sealed_json(place._asdict()))


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


def place_of(found: list[DirtyFile], applied: int) -> DirtyPlace:
    """The moment from which on all keys are noted of what is written after now, ``applied`` changes being applied: the
    newest file, or an older one, if it has keys of changes that are in a stream and not applied yet. Raises Unknown.
    """
    for part in reversed(found):
        if part.sent is None or part.sent <= applied:
            return DirtyPlace(part.set, part.number)
    raise Unknown("a stream has changes of items that were not all noted")


def keys_since(folder: Path, applied: int) -> Iterator[tuple[str, TEXT]]:
    """The target and key of all that was sent, and not applied when ``applied`` changes were. Raises Unknown."""
    found = parts(folder)
    first = place_of(found, applied).file
    for part in found:
        if part.number >= first:
            for each in records(part, newest=part is found[-1]):
                yield from ((each["target"], text) for text in texts_of(each.get("keys", [])))


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


def sound(folder: Path, now: Checkpoint) -> list[DirtyFile]:
    """The files, if they have every key that was written up to ``now``, which was loaded before. Raises Unknown."""
    found = parts(folder)
    if now.applied is not None and "applied" not in now.counters:
        raise Unknown("an older version of whimbrel applied changes since the last verification")
    marks = (each["applied"] for each in records(found[-1], newest=True) if "applied" in each)
    if max([found[-1].applied, *marks]) < applied_of(now):
        raise Unknown("changes were applied without a record of the items that were written")
    return found


def left_under_way(past: list[DirtyFile]) -> Iterator[tuple[str, TEXT]]:
    """The calls of a process that ended, which may not have been answered: all since the last mark, and the strays."""
    for part in reversed(past):
        under_way: list[tuple[str, TEXT]] = []
        marked = False
        for each in records(part, newest=part is past[-1]):
            if "applied" in each:
                under_way, marked = [], True
            under_way += [(each["target"], text) for text in texts_of(each.get("keys", []))]
            if part is past[-1]:
                yield from ((each["target"], text) for text in texts_of(each.get("strays", [])))
        yield from under_way
        if marked:
            return


def applied_of(now: Checkpoint) -> int:
    return now.counters.get("applied", 0)


def _part(folder: Path, number: int) -> DirtyFile:
    path = path_of(folder, number)
    with path.open("rb") as file:
        fields = _sound(file.readline(), path)
        size = os.fstat(file.fileno()).st_size
    if fields["dirty"] != FORMAT or int(fields["file"]) != number:
        raise ValueError(f"{path.name} is not file {number} of form {FORMAT}")
    counts = int(fields["previous"]), int(fields["applied"])
    return DirtyFile(path, str(fields["set"]), number, *counts, size, fields.get("sent"))


def _fields(path: Path) -> dict[str, Any]:
    return _sound(path.read_bytes(), path)


def _sound(line: bytes, path: Path) -> dict[str, Any]:
    if len(line) <= TAIL or not line.endswith(b"\n") or not is_sound(line[:-1]):
        raise ValueError(f"{path.name} does not match its checksum")
    fields: dict[str, Any] = orjson.loads(line)
    return fields
