"""Manifest: an immutable list of files with their counts and checksums, as of a time."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from whimbrel.errors import LogCorrupt, UserError
from whimbrel.lake.applied import AppliedUpTo, from_fields
from whimbrel.project.section import is_plain_name

FORMAT = "whimbrel-manifest/1"
FILE_NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Field:
    """One column: ``type`` in the words of lake/types.py, ``attribute`` the item's own name for it."""

    name: str
    type: str
    nullable: bool = True
    attribute: str = ""


@dataclass(frozen=True, slots=True)
class DataFile:
    """``path`` is relative to the data set's folder (``datasets/<name>``); ``kind`` is ``base`` or ``delta``.

    A delta has the rows that were written, and those that were deleted by their key and ``_deleted``.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    kind: str = "base"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A data set as of a moment. ``files`` stand in the order in which they apply: the base, then deltas, oldest first.

    ``key`` names the columns that identify a row (empty where nobody told us), ``rows`` is what a reader sees,
    ``refused`` how many items could not be carried since the base was made and have not been written again; the
    refused.jsonl of each id names them. ``parents`` are the ids of the exports it was made of, in order, ``gaps`` the
    times (from, to) whose changes are in none of them, which a person has accepted. ``applied``: everything up to there
    is in it, where a migration writes the table and that is known; maybe also what came later.
    """

    id: str
    table: str
    name: str
    as_of: str  # ISO 8601 in UTC
    created: str
    schema: tuple[Field, ...]
    files: tuple[DataFile, ...]
    rows: int
    parents: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    refused: int = 0
    gaps: tuple[tuple[str, str], ...] = ()
    applied: AppliedUpTo | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.schema)

    @property
    def deltas(self) -> tuple[DataFile, ...]:
        return tuple(file for file in self.files if file.kind == "delta")


def new_id(now: datetime | None = None) -> str:
    """Ids sort by the time at which they were made."""
    return f"{now or datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(3)}"


def to_json(manifest: Manifest) -> bytes:
    values = {"format": FORMAT} | asdict(replace(manifest, applied=None))
    del values["applied"]  # an earlier version reads manifests that say nothing of it
    if manifest.applied:
        values["applied"] = manifest.applied.as_fields()
    return orjson.dumps(values, option=orjson.OPT_INDENT_2) + b"\n"


def read_manifest(path: Path) -> Manifest:
    """Raises LogCorrupt when the file is not one of our manifests."""
    try:
        values: dict[str, Any] = orjson.loads(path.read_bytes())
        if values.pop("format") != FORMAT:
            raise ValueError("of another format")
        values["schema"] = tuple(Field(**each) for each in values["schema"])
        values["files"] = tuple(DataFile(**each) for each in values["files"])
        for each in values["files"]:
            if each.path.count("/") != 1 or not all(map(is_plain_name, each.path.split("/"))):
                raise ValueError(f"the file {each.path!r} would be outside of the data set")
        values["parents"], values["key"] = tuple(values["parents"]), tuple(values["key"])
        values["gaps"] = tuple((start, end) for start, end in values.get("gaps", ()))
        values["applied"] = from_fields(values.get("applied"))
        return Manifest(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LogCorrupt(f"not a manifest: {error}", place=str(path), hint="Convert the exports again.") from error


def data_file(path: Path, rows: int, identity: str, kind: str) -> DataFile:
    """A new file of the data set ``identity``, in its folder."""
    return DataFile(f"{identity}/{path.name}", rows, path.stat().st_size, sha256_of(path), kind)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def iso(moment: datetime) -> str:
    """``2026-01-14T10:18:50.622Z``, as the native export spells a time. Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_time(text: str) -> datetime:
    """A time as an export writes it; without a zone it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def asked_time(text: str, place: str) -> datetime:
    """A time as a person writes it. Raises UserError."""
    try:
        return read_time(text)
    except ValueError:
        raise UserError(f"{text!r} is not a time", place=place, hint="Write it as 2026-01-31T12:00:00Z.") from None
