"""Where a job has its files: a folder of this machine, or a prefix of a bucket, which are asked in the same way."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from whimbrel.bucket import Bucket
from whimbrel.durable import replace_file, writing
from whimbrel.dynamodb.session import Session
from whimbrel.project import Project, Store, Target
from whimbrel.project.store import SCHEME

PATIENCE = 600.0  # seconds for which S3 may not answer: a cluster that waits costs money
_NEW = ".new"  # ends the name of a file that is not whole yet


class Where(NamedTuple):
    """A folder's path, or ``s3://BUCKET/PREFIX`` with how to reach it; without a slash at the end."""

    url: str
    endpoint: str = ""
    region: str = ""
    profile: str = ""

    def folder(self, name: str) -> Where:
        return self._replace(url=f"{self.url}/{name}")

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


class Folder:
    """Files below ``path``; names are relative to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def url(self, name: str) -> str:
        return str(self._path / name)

    def put_new(self, name: str, data: bytes) -> bool:
        """Durable on return. False where there is one of the name: it stays. Raises StateError."""
        path = self._path / name
        if path.exists():
            return False
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
        return True

    def get(self, name: str) -> bytes | None:
        """None where there is no such file."""
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, names: Collection[str]) -> None:
        """Those that are gone already, too."""
        for name in names:
            (self._path / name).unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and sizes of what is whole."""
        for each in sorted((self._path / prefix).rglob("*")):
            if each.suffix != _NEW and each.is_file():
                yield each.relative_to(self._path).as_posix(), each.stat().st_size

    def file(self, name: str) -> Path:
        return self._path / name

    def remove_folder(self) -> None:
        """With all that is not whole."""
        shutil.rmtree(self._path, ignore_errors=True)


Place = Folder | Bucket


def root_of(project: Project) -> Where:
    """What the names of the snapshot's files begin at: the state folder, or the bucket's prefix."""
    store, target = project.store, project.target
    if store is None:
        return Where(str(project.state.resolve()))
    return Where(store.url, store.endpoint, Session(target, "s3").region, target.profile)


def place_at(where: Where) -> Place:
    if not where.url.startswith(SCHEME):
        return Folder(Path(where.url))
    bucket, _, prefix = where.url.removeprefix(SCHEME).partition("/")
    target = Target(region=where.region, profile=where.profile)
    return Bucket(Store(bucket, prefix, where.endpoint), target, PATIENCE)


def attend(place: Place, stop: threading.Event) -> None:
    """From here on, whoever waits for S3 ends when ``stop`` is set."""
    if isinstance(place, Bucket):
        place.attend(stop)


def clear(place: Place) -> None:
    """Remove all that is there."""
    place.remove([name for name, _ in place.list("")])
    if isinstance(place, Folder):
        place.remove_folder()
