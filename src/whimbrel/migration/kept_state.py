"""What another machine needs to continue an export, in the bucket beside its files: the start, the tables as they were,
which exports there are, and how far the imports of DynamoDB are.

Each state is an object of its own, with the number after the one before it. A number is taken once, so of two machines
the one that comes second ends by name. The change log is not in it, nor what was applied: a machine without them
captures from the start again, loads again, and is refused once changes were applied.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from whimbrel import checkpoint
from whimbrel.bucket import Bucket, bucket_of
from whimbrel.checkpoint import Checkpoint, RunLock
from whimbrel.durable import is_sound, replace_file, sealed_json, writing
from whimbrel.errors import Locked, LogCorrupt, StateError
from whimbrel.migration.kept_export import KeptExport
from whimbrel.migration.state import StateFolder
from whimbrel.project import Project

FORMAT = "whimbrel-state/1"
SURE_SECONDS = 3.0  # how long a look at the bucket is good for
_FOLDER = "state/"
_SERVER = "server"


class KeptState:
    """``keep`` is called with each Checkpoint that is durable in the state folder."""

    def __init__(self, folder: StateFolder, bucket: Bucket) -> None:
        self._folder, self._bucket = folder, bucket
        self._last: dict[str, Any] = {}
        self._sure_at = 0.0

    def take_up(self) -> None:
        """Raises Locked if another machine has continued since, StateError if the bucket has another migration."""
        ours = _read(self._folder.kept)
        newest = newest_number(self._bucket)
        if ours is None:
            if newest:
                raise _of_another(self._bucket, "has the state of a migration that is not in this state folder")
            return
        number = ours["number"]
        if newest not in (number, number - 1):
            raise self._taken()
        self._last = ours
        self._put(ours)  # it is there, or the last run ended just before

    def keep(self, now: Checkpoint) -> None:
        """Durable in the bucket when it returns, if anything in it is new."""
        files = {name: path.read_text() for name, path in _files(self._folder) if path.exists()}
        files[self._folder.checkpoint.name] = checkpoint.as_bytes(_without_load(now)).decode()
        if files == self._last.get("files"):
            return
        self._last = _document(self._last.get("number", 0) + 1, files)
        with writing(self._folder.kept):
            replace_file(self._folder.kept, _bytes(self._last))
        self._put(self._last)

    def export(self, source: str) -> KeptExport:
        return KeptExport(self._bucket, self._folder.export(source), source, self.sure)

    def sure(self) -> None:
        """See every few seconds that no other machine has continued. Raises Locked."""
        if not self._last or time.monotonic() - self._sure_at < SURE_SECONDS:
            return
        if self._bucket.file(_name(self._last["number"] + 1)).exists():
            raise self._taken()
        self._sure_at = time.monotonic()

    def _put(self, document: dict[str, Any]) -> None:
        if not self._bucket.put_new(_name(document["number"]), _bytes(document)):
            raise self._taken()

    def _taken(self) -> Locked:
        found = newest(self._bucket)
        return Locked(
            f"{found['by'] if found else 'another machine'} has continued this migration",
            place=self._bucket.url(_FOLDER),
            hint="Continue there. To continue here, end it there, and begin here with an empty state folder.",
        )


def open_bucket(project: Project, stop: threading.Event | None = None) -> Bucket | None:
    """None for a project that keeps its files in the state folder. Whoever waits for S3 ends when ``stop`` is set."""
    if project.store is None:
        return None
    bucket = bucket_of(project.store, project.target)
    bucket.attend(stop or threading.Event())
    return bucket


def adopt(project: Project) -> str:
    """Take up in an empty state folder what the bucket has; who had it before, "" where there is nothing to adopt.

    Raises StateError where changes were applied already: how far is in the other state folder.
    """
    folder, bucket = StateFolder(project.state), open_bucket(project)
    if bucket is None or folder.checkpoint.exists() or (found := adoptable(bucket)) is None:
        return ""
    folder.make()
    with RunLock(folder.root):
        name = folder.checkpoint.name
        ours = _document(found["number"] + 1, found["files"])
        if not bucket.put_new(_name(ours["number"]), _bytes(ours)):  # first: from here on the other one ends
            raise Locked("another whimbrel takes this migration up", place=bucket.url(_FOLDER), hint="Let it continue.")
        for each in sorted(found["files"], key=lambda each: each == name):  # the Checkpoint last: with it all is there
            if each == name:
                replace_file(folder.kept, _bytes(ours))
            path = _inside(folder.root, each)
            path.parent.mkdir(parents=True, exist_ok=True)
            with writing(path):
                replace_file(path, found["files"][each].encode())
    return str(found["by"])


def adoptable(bucket: Bucket) -> dict[str, Any] | None:
    """The state that a machine with an empty state folder continues. Raises StateError as ``adopt`` does."""
    found = newest(bucket)
    if found and orjson.loads(found["files"]["checkpoint.json"])["phase"] == "apply":
        raise _of_another(bucket, "has a migration of which changes were applied, by another state folder")
    return found


def newest(bucket: Bucket) -> dict[str, Any] | None:
    """The newest state; None where there is none. Raises LogCorrupt."""
    number = newest_number(bucket)
    data = bucket.get(_name(number)) if number else None
    return _parsed(data, bucket.url(_name(number))) if data is not None else None


def newest_number(bucket: Bucket) -> int:
    """0 where there is no state."""
    return max((int(Path(name).stem) for name, _ in bucket.list(_FOLDER)), default=0)


def _without_load(now: Checkpoint) -> Checkpoint:
    """As it was before the load: what a machine without the dead letters may rely on."""
    tables = {
        name: replace(each, loaded=frozenset(), rows_loaded=0, items_loaded=0) for name, each in now.tables.items()
    }
    return replace(now, tables=tables, applied=None, applied_position=None, applied_timestamp=None, counters={})


def _files(folder: StateFolder) -> Iterator[tuple[str, Path]]:
    for path in (folder.tables, folder.servers, folder.binlogs, folder.imports):
        yield path.name, path
    for path in sorted((folder.root / "export").glob(f"*/{_SERVER}")):
        yield path.relative_to(folder.root).as_posix(), path


def _inside(root: Path, name: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise LogCorrupt(f"the file name {name!r} leads out of the state folder", place=_FOLDER, hint=_RESTORE)
    return path


def _document(number: int, files: dict[str, str]) -> dict[str, Any]:
    # "run" makes the documents of two machines differ, so that each knows its own.
    who = {"by": socket.gethostname(), "run": secrets.token_hex(8)}
    return {"format": FORMAT, "number": number, **who, "files": files}


def _bytes(document: dict[str, Any]) -> bytes:
    return sealed_json(document)


def _read(path: Path) -> dict[str, Any] | None:
    return _parsed(path.read_bytes(), str(path)) if path.exists() else None


def _parsed(data: bytes, place: str) -> dict[str, Any]:
    line = data.rstrip(b"\n")
    if not is_sound(line):
        raise LogCorrupt("does not match its checksum", place=place, hint=_RESTORE)
    document: dict[str, Any] = orjson.loads(line)
    del document["crc"]
    if document.get("format") != FORMAT:
        raise LogCorrupt(f"has the format {document.get('format')!r}", place=place, hint="Use the whimbrel of it.")
    return document


def _name(number: int) -> str:
    return f"{_FOLDER}{number:08d}.json"


def _of_another(bucket: Bucket, what: str) -> StateError:
    hint = "Continue with that state folder; or name another prefix in snapshot.store, and start over."
    return StateError(what, place=bucket.url(_FOLDER), hint=hint)


_RESTORE = "Name another prefix in snapshot.store: the tables are exported again."
