"""Dead letters: rows and operations that could not become an item, kept with the reason so that they can be retried.

Only the process that holds the run lock writes the file. A letter is durable before anything counts as done, and goes
only in the same step in which those that take its place come: ``Replacement`` replaces the file.

There may be as many letters as rows, each with two images of its row. So they are read one after the other, and only
their digests stay in memory.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from whimbrel.durable import after_last_newline, append, cut_torn_line, publish
from whimbrel.errors import StateError
from whimbrel.migration.digest_set import DigestSet
from whimbrel.records import Fault, Row, Table, Value

Letter = dict[str, Any]
AT_ONCE = 8 << 20  # bytes of letters that are made durable together
LOAD, CONFIRMED = "load", "confirmed"  # phases of letters: of the load, to be settled; and what came of that


class DeadLetters:
    """The dead-letter file of a project, one JSON object a line, each once however often the run is repeated.

    To be made by who holds the run lock. Raises StateError if the file is not one of dead letters.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _told(path):
            _end_last_line(path)
        self._known, self._phases = DigestSet(), Counter[str]()
        for letter in read_letters(path):
            self._note(letter)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, faults: Iterable[Fault], phase: str) -> int:
        """Write the faults that are not in the file yet; they are durable on return. Returns how many were new."""
        return self.take(letter_of(fault, phase) for fault in faults)

    def take(self, letters: Iterable[Letter]) -> int:
        """The same of letters as another file has them."""
        before, lines = len(self._known), bytearray()
        for letter in letters:
            if self._note(letter):
                lines += _line(letter)
            if len(lines) >= AT_ONCE:
                self._append(lines)
                lines = bytearray()
        self._append(lines)
        return len(self._known) - before

    def of(self, phase: str) -> bool:
        """Whether there are letters of this phase."""
        return self._phases[phase] > 0

    def letters(self) -> Iterator[Letter]:
        """All letters, as the file has them."""
        return read_letters(self._path)

    def settle(self, gone: Callable[[Letter], bool], faults: Iterable[Fault], phase: str) -> None:
        """Put the letters of ``faults`` instead of those that are ``gone``, in one durable step; all others stay.

        Must be called only when what those letters stood for is acknowledged. After a crash the file is the old one or
        the new one, and the old one is played again without harm.
        """
        with Replacement(self) as fresh:
            fresh.add(faults, phase)
            fresh.publish(gone)

    def _note(self, letter: Letter) -> bool:
        """Whether it is new."""
        if not self._known.add(identity_of(letter)):
            return False
        self._phases[letter["phase"]] += 1
        return True

    def _append(self, lines: bytearray) -> None:
        if lines:
            with _told(self._path):
                append(self._path, lines)


class Replacement:
    """What will be the file of ``letters``: new letters first, which come while the old ones are played again, and then
    those that stay. While it is entered; without ``publish`` the file stays as it was.
    """

    def __init__(self, letters: DeadLetters) -> None:
        self._letters, self._path = letters, letters._path
        self._known, self._phases = DigestSet(), Counter[str]()

    def __enter__(self) -> Replacement:
        with _told(self._path):
            self._file = self._path.with_name(self._path.name + ".new").open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._file.closed:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, faults: Iterable[Fault], phase: str) -> None:
        for fault in faults:
            self._write(letter_of(fault, phase))

    def publish(self, gone: Callable[[Letter], bool]) -> None:
        """Durable on return. To be called when what the letters that are ``gone`` stood for is acknowledged."""
        for letter in self._letters.letters():
            if not gone(letter):
                self._write(letter)
        with _told(self._path):
            publish(self._file, self._path)
        self._letters._known, self._letters._phases = self._known, self._phases

    def _write(self, letter: Letter) -> None:
        if self._known.add(identity_of(letter)):
            self._phases[letter["phase"]] += 1
            with _told(self._path):
                self._file.write(_line(letter))


def _end_last_line(path: Path) -> None:
    """An editor may leave out the end of the last line; what a crash left of one was never durable, and is cut off."""
    last = after_last_newline(path) if path.exists() else b""
    try:
        whole = isinstance(orjson.loads(last), dict)
    except orjson.JSONDecodeError:
        whole = False
    if not whole:
        cut_torn_line(path)
        return
    append(path, b"\n")


def read_letters(path: Path) -> Iterator[Letter]:
    """All letters of the file, one after the other; a last line torn by a crash was never durable and is left out.

    Raises StateError where the file is not one of dead letters.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield _checked(orjson.loads(line), number, path)
    except FileNotFoundError:
        return
    except (OSError, orjson.JSONDecodeError) as error:
        raise _no_letters(path, str(error)) from None


def _checked(letter: Any, number: int, path: Path) -> Letter:
    if not isinstance(letter, dict) or not all(isinstance(letter.get(name), kind) for name, kind in _FORM.items()):
        raise _no_letters(path, f"line {number} is not a dead-letter record")
    return letter


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


def _line(letter: Letter) -> bytes:
    return orjson.dumps(letter) + b"\n"


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
