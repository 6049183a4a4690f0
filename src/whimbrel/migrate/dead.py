"""Dead letters: rows and operations that could not become an item, kept with the reason so that they can be played
again.
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import cut_torn_line
from whimbrel.errors import StateError
from whimbrel.records import Fault, Row, Table, Value

Letter = dict[str, Any]


class DeadLetters:
    """The dead-letter file of a project, one JSON object a line, each once however often the run is repeated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        cut_torn_line(path)
        self._known = {_identity(letter) for letter in read_letters(path)}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, faults: Iterable[Fault], phase: str) -> int:
        """Write the faults that are not in the file yet; they are durable on return. Returns how many were new."""
        letters = [_letter(fault, phase) for fault in faults]
        fresh = {_identity(letter): letter for letter in letters if _identity(letter) not in self._known}
        if fresh:
            with self._path.open("ab") as file:
                file.write(b"".join(orjson.dumps(letter) + b"\n" for letter in fresh.values()))
                file.flush()
                os.fsync(file.fileno())
            self._known.update(fresh)
        return len(fresh)


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
        if not isinstance(letter, dict) or not letter.keys() >= _NAMES:
            raise _no_letters(path, f"line {number} is no letter")
    return letters


_NAMES = {"table", "reason", "source_key", "item_key", "position", "before", "after"}


def _no_letters(path: Path, reason: str) -> StateError:
    return StateError(f"not a dead-letter file: {reason}", place=str(path), hint="Put the file aside and verify.")


def replace_letters(path: Path, letters: list[Letter]) -> None:
    """Put ``letters`` in the place of the file's content, atomically."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(b"".join(orjson.dumps(letter) + b"\n" for letter in letters))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _letter(fault: Fault, phase: str) -> Letter:
    change, came = fault.change, fault.came
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "phase": phase,
        "table": fault.table,
        "reason": fault.reason,
        "source_key": _plain(fault.source_key),
        "item_key": fault.item_key,
        "position": str(change.position) if change else None,
        "before": _image(change.table, change.before) if change else None,
        "after": _image(change.table, change.after) if change else None,
        **({"came": came._asdict()} if came else {}),
    }


def _image(table: Table, row: Row | None) -> dict[str, Any] | None:
    return None if row is None else _plain(dict(zip(table.names, row, strict=True)))


def exact_values(plain: dict[str, Any]) -> dict[str, Value]:
    """The column values of a letter as they were read."""
    return {
        name: base64.b64decode(value["base64"]) if isinstance(value, dict) else value for name, value in plain.items()
    }


def _plain(values: dict[str, Value]) -> dict[str, Any]:
    return {
        name: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in values.items()
    }


def _identity(letter: Letter) -> bytes:
    names = ("table", "reason", "source_key", "item_key", "position")
    return hashlib.blake2b(orjson.dumps([letter[name] for name in names]), digest_size=16).digest()
