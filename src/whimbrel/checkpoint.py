"""The only resume state: one small JSON file that a person can read, replaced atomically, and the lock that guards it.

Save a checkpoint only after everything that it stands for is durable: a chunk is ``loaded`` when every item of it was
acknowledged, a log point is ``applied`` when every change before it was. A checkpoint that is behind is harmless:
loading a chunk again (before anything was applied) and applying a suffix of the log again give the same items.

Version 2 of the file ends with a checksum of all its other fields, so that a damaged digit is not taken for another
place. Version 1, which 0.1.0 wrote without a checksum, is read too, and becomes version 2 when it is next saved.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from dataclasses import fields as fields_of
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from whimbrel.changelog.record import LogPoint
from whimbrel.durable import replace_file
from whimbrel.errors import BEGIN_AGAIN, Locked, StateError
from whimbrel.records import Position

VERSION = 2
REWRITING = "rewriting"  # a counter that is there while items are written again that were right as of an earlier time
VALUES = 2  # how values are written as attributes: 1 is the form of 0.1.0, see docs/types.md


@dataclass(frozen=True, slots=True)
class TableProgress:
    """How far one table's snapshot and load have come; chunks by their numbers in the snapshot's plan."""

    chunks_planned: int | None = None  # None: the plan is not complete yet
    rows_exported: int = 0
    loaded: frozenset[int] = frozenset()
    rows_loaded: int = 0
    items_loaded: int = 0
    target_id: str = ""  # DynamoDB's identity of the target table; "" until it was made or taken
    export: str = ""  # the name of the export that the chunks' numbers are of; whimbrel 0.1.0 gave it none


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Frozen; the ``with_`` methods give a new one. ``Checkpoint()`` is a project that has not begun."""

    project: str = ""
    phase: str = "new"
    source: str = ""  # the identity of the server that the positions belong to
    rules: str = ""  # a digest of the mappings and columns that the items are made with
    values: int = VALUES  # the form of values that the migration began with: one table never has two forms
    start: Position | None = None  # where the capture began
    tables: Mapping[str, TableProgress] = field(default_factory=dict)  # by "schema.name"
    applied: LogPoint | None = None  # everything in the log before it is in the target
    applied_position: Position | None = None
    applied_timestamp: float | None = None  # the source's clock, seconds since the epoch
    counters: Mapping[str, int] = field(default_factory=dict)  # e.g. dead letters
    migration: str = ""  # its name in the table of marks; "" until a target is claimed
    mark: str = ""  # the token that the marks are known to have: see migration/mark.py
    mark_pending: str = ""  # the token that they may have already

    def table(self, name: str) -> TableProgress:
        return self.tables.get(name, TableProgress())

    def with_table(self, name: str, progress: TableProgress) -> Checkpoint:
        return replace(self, tables={**self.tables, name: progress})

    def with_loaded(self, name: str, chunks: Iterable[int], *, rows: int = 0, items: int = 0) -> Checkpoint:
        """The chunks are in the target, every item acknowledged; ``rows`` and ``items`` are those of these chunks."""
        was = self.table(name)
        loaded = was.loaded.union(chunks)
        now = replace(was, loaded=loaded, rows_loaded=was.rows_loaded + rows, items_loaded=was.items_loaded + items)
        return self.with_table(name, now)

    def with_applied(self, point: LogPoint, position: Position, timestamp: float) -> Checkpoint:
        """Every change before ``point`` is in the target, acknowledged; ``position`` is that of the Commit there."""
        return replace(self, applied=point, applied_position=position, applied_timestamp=timestamp)

    def with_counted(self, counter: str, more: int) -> Checkpoint:
        return replace(self, counters={**self.counters, counter: self.counters.get(counter, 0) + more})

    def without_counter(self, counter: str) -> Checkpoint:
        return replace(self, counters={name: value for name, value in self.counters.items() if name != counter})

    @property
    def whole_position(self) -> Position | None:
        """Up to where the target has everything: None while items before ``applied_position`` are written again."""
        return None if REWRITING in self.counters else self.applied_position


def load(path: Path) -> Checkpoint:
    """The checkpoint in ``path``; ``Checkpoint()`` where there is no such file.

    Raises StateError if it is not a checkpoint of this version, naming what does not fit.
    """
    try:
        fields = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return Checkpoint()
    except (OSError, orjson.JSONDecodeError) as error:
        raise StateError(f"the checkpoint cannot be read: {error}", place=str(path), hint=_RESTORE) from error
    version = fields.get("version") if isinstance(fields, dict) else None
    if type(version) is not int or version not in (1, VERSION):
        message = f"the checkpoint has version {version!r}; this version knows versions 1 and {VERSION}"
        raise StateError(message, place=str(path), hint="Continue with the version of whimbrel that wrote it.")
    of_version_1 = version == 1 and "checksum" not in fields
    if not of_version_1 and fields.pop("checksum", None) != _checksum(fields):
        raise StateError("the checkpoint does not match its checksum", place=str(path), hint=_RESTORE)
    try:
        return _checkpoint(_of_version_1(fields) if of_version_1 else fields)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise StateError(f"the checkpoint is inconsistent: {reason}", place=str(path), hint=_RESTORE) from error


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint durably: after a crash the file is the old one or the new one. Raises StateError."""
    try:
        replace_file(path, as_bytes(checkpoint))
    except OSError as error:
        hint = "Free disk space, or repair the disk, and start again; the checkpoint is as it was before."
        raise StateError(f"the checkpoint cannot be written: {error.strerror}", place=str(path), hint=hint) from error


def as_bytes(checkpoint: Checkpoint) -> bytes:
    """The content of its file."""
    fields = as_dict(checkpoint)
    fields["checksum"] = _checksum(fields)
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def as_dict(checkpoint: Checkpoint) -> dict[str, Any]:
    """The plain form, as it is in the file."""
    return {
        "version": VERSION,
        "project": checkpoint.project,
        "phase": checkpoint.phase,
        "source": checkpoint.source,
        "rules": checkpoint.rules,
        "values": checkpoint.values,
        "start": _position_fields(checkpoint.start),
        "tables": {name: _progress_fields(progress) for name, progress in checkpoint.tables.items()},
        "applied": checkpoint.applied._asdict() if checkpoint.applied else None,
        "applied_position": _position_fields(checkpoint.applied_position),
        "applied_timestamp": checkpoint.applied_timestamp,
        "counters": dict(checkpoint.counters),
        "migration": checkpoint.migration,
        "mark": checkpoint.mark,
        "mark_pending": checkpoint.mark_pending,
    }


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as compact ranges: ``{1, 2, 3, 60}`` is ``1-3,60``."""
    runs = groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])
    bounds = [[number for _, number in run] for _, run in runs]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in bounds)


def from_ranges(text: str) -> frozenset[int]:
    """The inverse of ``ranges``. Raises ValueError."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        low, dash, high = part.partition("-")
        run = range(int(low), int(high if dash else low) + 1)
        if not run or run[-1] > _MOST_CHUNKS or not numbers.isdisjoint(run):
            raise ValueError(f"{part!r} is not a range of chunk numbers")
        numbers.update(run)
    return frozenset(numbers)


class RunLock:
    """Held by the one whimbrel that works on a state folder, until ``release`` or the end of the process.

    The file ``lock`` stays; what locks is flock, so a crash leaves nothing to clean up. A process that has inherited
    the ``descriptor`` holds it too. Raises Locked, naming the pid of the other.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            hint = "Name a state folder that this user may write to."
            raise StateError(f"the lock cannot be made: {error.strerror}", place=str(folder), hint=hint) from error
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self.descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            hint = f"Wait until it has ended, or stop it: kill {pid}" if pid.isdigit() else "Wait until it has ended."
            raise Locked(f"another whimbrel (pid {pid}) is at work here", place=str(folder), hint=hint) from None
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _checksum(fields: Mapping[str, Any]) -> str:
    """Of what the fields say, not of how the file is laid out: an editor may have added a blank line."""
    return blake2b(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


_MOST_CHUNKS = 10_000_000
_NAMES = {"version"} | {each.name for each in fields_of(Checkpoint)}
_PROGRESS_NAMES = {each.name for each in fields_of(TableProgress)}
_RESTORE = f"Restore it from a copy of the state folder, or {BEGIN_AGAIN}."


def _checkpoint(fields: Mapping[str, Any]) -> Checkpoint:
    _only(fields, _NAMES)
    applied = _typed(fields, "applied", dict, None)
    tables = _typed(fields, "tables", dict)
    counters = _typed(fields, "counters", dict)
    timestamp = _typed(fields, "applied_timestamp", float, int, None)
    return Checkpoint(
        project=_typed(fields, "project", str),
        phase=_typed(fields, "phase", str),
        source=_typed(fields, "source", str),
        rules=_typed(fields, "rules", str),
        values=_count(fields, "values"),
        start=_position(fields, "start"),
        tables={name: _progress(_typed(tables, name, dict)) for name in tables},
        applied=None if applied is None else _log_point(applied),
        applied_position=_position(fields, "applied_position"),
        applied_timestamp=float(timestamp) if timestamp is not None else None,
        counters={name: _count(counters, name) for name in counters},
        migration=_typed(fields, "migration", str),
        mark=_typed(fields, "mark", str),
        mark_pending=_typed(fields, "mark_pending", str),
    )


def _of_version_1(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As a later version would say it: an export had no name, and one that stood at one Position said where."""
    tables = _typed(fields, "tables", dict)
    for name in tables:
        progress = _typed(tables, name, dict)
        _position(progress, "snapshot")
        tables[name] = {"export": "", **{key: value for key, value in progress.items() if key != "snapshot"}}
    return {**fields, "values": 1, "migration": "", "mark": "", "mark_pending": ""}


def _log_point(fields: Mapping[str, Any]) -> LogPoint:
    _only(fields, LogPoint._fields)
    return LogPoint(_count(fields, "segment"), _count(fields, "offset"))


def _progress(fields: Mapping[str, Any]) -> TableProgress:
    _only(fields, _PROGRESS_NAMES)
    return TableProgress(
        chunks_planned=None
        if _typed(fields, "chunks_planned", int, None) is None
        else _count(fields, "chunks_planned"),
        rows_exported=_count(fields, "rows_exported"),
        loaded=from_ranges(_typed(fields, "loaded", str)),
        rows_loaded=_count(fields, "rows_loaded"),
        items_loaded=_count(fields, "items_loaded"),
        target_id=_typed(fields, "target_id", str),
        export=_typed(fields, "export", str),
    )


@lru_cache(4096)  # of hundreds of tables one changes from save to save
def _progress_fields(progress: TableProgress) -> dict[str, Any]:
    return {
        "chunks_planned": progress.chunks_planned,
        "rows_exported": progress.rows_exported,
        "loaded": ranges(progress.loaded),
        "rows_loaded": progress.rows_loaded,
        "items_loaded": progress.items_loaded,
        "target_id": progress.target_id,
        "export": progress.export,
    }


def _position_fields(position: Position | None) -> dict[str, Any] | None:
    return position.as_fields() if position else None


def _position(fields: Mapping[str, Any], name: str) -> Position | None:
    at = _typed(fields, name, dict, None)
    if at is None:
        return None
    _only(at, Position._fields)
    epoch = _count(at, "epoch") if "epoch" in at else 0
    return Position(_typed(at, "file", str), _count(at, "offset"), _typed(at, "gtid", str), epoch)


def _only(fields: Mapping[str, Any], names: Collection[str]) -> None:
    """Refuse what this version does not know: a field that is ignored may be one that matters. What an older version
    did not have yet is filled in, by what it meant then, where its version is read.
    """
    if unknown := sorted(fields.keys() - set(names)):
        raise ValueError(f"the field {unknown[0]!r} is unknown")


def _count(fields: Mapping[str, Any], name: str) -> int:
    value: int = _typed(fields, name, int)
    if value < 0:
        raise ValueError(f"{name} is {value}")
    return value


def _typed(fields: Mapping[str, Any], name: str, *kinds: type | None) -> Any:
    value = fields[name]
    if not any(value is None if kind is None else type(value) is kind for kind in kinds):
        raise TypeError(f"{name} is {value!r}")
    return value
