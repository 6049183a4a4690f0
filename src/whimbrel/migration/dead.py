"""Dead letters: rows and operations that could not become an item, kept with the reason so that they can be retried.

Only the process that holds the run lock writes the file. A letter is durable before anything counts as done, and goes
only in the same step in which those that take its place come: ``settle`` replaces the file.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import append, cut_torn_line, replace_file
from whimbrel.errors import StateError
from whimbrel.records import Fault, Row, Table, Value

Letter = dict[str, Any]
LOAD, CONFIRMED = "load", "confirmed"  # phases of letters: of the load, to be settled; and what came of that


class DeadLetters:
    """The dead-letter file of a project, one JSON object a line, each once however often the run is repeated.

    To be made by who holds the run lock. Raises StateError if the file is not one of dead letters.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _told(path):
            _end_last_line(path)
        self._known = {identity_of(letter): str(letter["phase"]) for letter in read_letters(path)}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, faults: Iterable[Fault], phase: str) -> int:
        """Write the faults that are not in the file yet; they are durable on return. Returns how many were new."""
        return self.take([letter_of(fault, phase) for fault in faults])

    def take(self, letters: Iterable[Letter]) -> int:
        """The same of letters as another file has them."""
        fresh = {identity_of(letter): letter for letter in letters}
        fresh = {identity: letter for identity, letter in fresh.items() if identity not in self._known}
        if fresh:
            with _told(self._path):
                append(self._path, _lines(fresh.values()))
            self._known |= {identity: str(letter["phase"]) for identity, letter in fresh.items()}
        return len(fresh)

    def of(self, phase: str) -> bool:
        """Whether there are letters of this phase."""
        return phase in self._known.values()

    def letters(self) -> list[Letter]:
        """All letters, as the file has them."""
        return read_letters(self._path)

    def settle(self, letters: Iterable[Letter], faults: Iterable[Fault], phase: str) -> None:
        """Put the letters of ``faults`` instead of ``letters``, in one durable step; all others stay.

        Must be called only when what ``letters`` stood for is acknowledged. After a crash the file is the old one or
        the new one, and the old one is played again without harm.
        """
        gone = {identity_of(letter) for letter in letters}
        kept = {identity_of(letter): letter for letter in read_letters(self._path)}
        kept = {identity: letter for identity, letter in kept.items() if identity not in gone}
        kept = {identity_of(letter): letter for letter in (letter_of(fault, phase) for fault in faults)} | kept
        with _told(self._path):
            replace_file(self._path, _lines(kept.values()))
        self._known = {identity: str(letter["phase"]) for identity, letter in kept.items()}


def _end_last_line(path: Path) -> None:
    """An editor may leave out the end of the last line; what a crash left of one was never durable, and is cut off."""
    last = path.read_bytes().rpartition(b"\n")[2] if path.exists() else b""
    try:
        whole = isinstance(orjson.loads(last), dict)
    except orjson.JSONDecodeError:
        whole = False
    if not whole:
        cut_torn_line(path)
        return
    append(path, b"\n")


def read_letters(path: Path) -> list[Letter]:
    """All letters of the file; a last line torn by a crash was never durable and is left out."""
    try:
        *lines, _torn = path.read_bytes().split(b"\n")
        letters = [orjson.loads(line) for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, orjson.JSONDecodeError) as error:
        raise _no_letters(path, str(error)) from None
    for number, letter in enumerate(letters, 1):
        if not isinstance(letter, dict) or not all(isinstance(letter.get(name), kind) for name, kind in _FORM.items()):
            raise _no_letters(path, f"line {number} is not a dead-letter record")
    return letters


_FORM: dict[str, Any] = {
    "phase": str,
    "table": str,
    "reason": str,
    "source_key": dict,
    "item_key": dict | None,
    "position": str | None,
    "before": dict | None,
    "after": dict | None,
}


def _no_letters(path: Path, reason: str) -> StateError:
    return StateError(f"not a dead-letter file: {reason}", place=str(path), hint="Put the file aside and verify.")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """A disk error as one that names the file."""
    try:
        yield
    except OSError as error:
        hint = "Free disk space, or repair the disk, and start again."
        raise StateError(f"the dead letters cannot be written: {error.strerror}", place=str(path), hint=hint) from error


def _lines(letters: Iterable[Letter]) -> bytes:
    return b"".join(orjson.dumps(letter) + b"\n" for letter in letters)


def letter_of(fault: Fault, phase: str) -> Letter:
    change, provenance = fault.change, fault.provenance
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "phase": phase,
        "table": fault.table,
        "reason": fault.reason,
        "source_key": plain_values(fault.source_key),
        "item_key": fault.item_key,
        "position": str(change.position) if change else None,
        "before": _image(change.table, change.before) if change else None,
        "after": _image(change.table, change.after) if change else None,
        **({"came": provenance._asdict()} if provenance else {}),
    }


def _image(table: Table, row: Row | None) -> dict[str, Any] | None:
    return None if row is None else plain_values(dict(zip(table.names, row, strict=True)))


def exact_values(plain: dict[str, Any]) -> dict[str, Value]:
    """The column values of a letter as they were read."""
    return {
        name: base64.b64decode(value["base64"]) if isinstance(value, dict) else value for name, value in plain.items()
    }


def plain_values(values: dict[str, Value]) -> dict[str, Any]:
    """As JSON has them; see ``exact_values``."""
    return {
        name: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in values.items()
    }


def identity_of(letter: Letter) -> bytes:
    """What tells it from every other one, and not when it was written."""
    names = ("table", "reason", "source_key", "item_key", "position")
    return hashlib.blake2b(orjson.dumps([letter[name] for name in names]), digest_size=16).digest()
