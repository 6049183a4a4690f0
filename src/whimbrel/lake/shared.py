"""A lake in S3, which many machines read and write: ``[lake] folder = "s3://bucket/prefix"``.

The names below the prefix are those of a lake's folder. Data, manifests and what else is written once is put once. Two
kinds of objects are replaced, each the one point at which something becomes visible, and each only by whoever still
knows its last version:

- ``datasets/<name>/current.json`` names the current data set;
- ``exports/<table>/chain.json`` lists the exports of a table.

The folder on this machine has the same layout: the small objects as they were when they were last looked at, copies of
what is read, and what is being written. It may be removed whenever no process uses it.
"""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import IO

import orjson

from whimbrel.bucket import Bucket
from whimbrel.durable import publish, replace_file
from whimbrel.errors import Locked, LogCorrupt, StateError, UserError
from whimbrel.lake import datasets
from whimbrel.lake.cache import Cache
from whimbrel.lake.manifest import FILE_NAME, DataFile, Manifest, to_json
from whimbrel.lake.refused import FILE as REFUSED
from whimbrel.threads import at_once

LOST_AFTER = timedelta(days=7)  # what no manifest lists then is of a process that has ended
_LOCK_SECONDS = 60.0
_LOOKS = 5  # at data sets that are published and removed meanwhile


class SharedLake:
    """The data sets of a lake in S3, and their ``folder`` on this machine. A context manager: at its end, others may
    remove the copies that were used.

    Every method raises what the bucket raises.
    """

    def __init__(self, bucket: Bucket, folder: Path, most: int) -> None:
        self.bucket, self.folder = bucket, folder
        self._claim()
        self.cache = Cache(folder / "datasets", most)
        self._versions: dict[str, str] = {}  # of each data set's pointer, as it was last looked at

    def __enter__(self) -> SharedLake:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cache.close()

    def look(self, name: str = "") -> None:
        """See which data sets there are now: of one name, or all."""
        with self.mirroring():
            for each in [name] if name else self._names():
                self._look_at(each)

    def have(self, manifest: Manifest) -> None:
        """The data set's files on this machine, each as its manifest has it. Raises StateError where one is gone,
        LogCorrupt where one is not what it was.
        """
        home = datasets.home(self.folder, manifest.name)
        for path in {home / manifest.id, *((home / each.path).parent for each in manifest.files)}:
            self.cache.pin(path)
        missing = [each for each in manifest.files if not _is_there(home / each.path, each.bytes)]
        if missing:
            self.cache.make_room(sum(each.bytes for each in missing))
        at_once(lambda each: self._fetch(manifest, each), missing, "fetch")
        refused = f"{manifest.id}/{REFUSED}"
        if not (home / refused).exists():
            with self.mirroring():
                replace_file(home / refused, self.small(f"datasets/{manifest.name}/{refused}"))

    def publish(self, manifest: Manifest, *, current: bool) -> None:
        """Make what ``datasets.building`` has in its folder a data set; the ``current`` one, if that is still the one
        that ``look`` has seen. Raises Locked if it is not: then nothing of this data set is left.

        The order matters: the files, the manifest, and only then the pointer.
        """
        home, below = datasets.home(self.folder, manifest.name), f"datasets/{manifest.name}"
        own = [each.path for each in manifest.files if each.path.startswith(f"{manifest.id}/")]
        names = [*own, f"{manifest.id}/{REFUSED}"]
        try:
            at_once(lambda each: self.bucket.put_file(f"{below}/{each}", home / each), names, "put")
            self._check_there(manifest)
            self.bucket.put_new(f"{below}/{manifest.id}/{FILE_NAME}", to_json(manifest))
            if current:
                self._point_to(manifest)
        except Locked:
            self.bucket.remove([f"{below}/{manifest.id}/{FILE_NAME}"])
            self.bucket.remove([f"{below}/{each}" for each in names])
            raise

    def retain(self, name: str, keep: int, keep_days: float) -> list[str]:
        """As ``datasets.retain``. What a killed process left goes after LOST_AFTER."""
        self.look(name)
        going = datasets.too_old(self.folder, name, keep, keep_days)
        below = f"datasets/{name}/"
        self.bucket.remove([f"{below}{each.id}/{FILE_NAME}" for each in going])
        kept = [each for each in datasets.versions(self.folder, name) if each not in going]
        listed = {f"{below}{file.path}" for each in kept for file in each.files}
        whole, removed = {each.id for each in kept}, {each.id for each in going}
        horizon = f"{datetime.now(UTC) - LOST_AFTER:%Y%m%dT%H%M%S}"

        def goes(path: str) -> bool:
            identity = path.removeprefix(below).partition("/")[0]
            old = identity in removed or (identity not in whole and _is_id_before(identity, horizon))
            return old and path not in listed

        self.bucket.remove([path for path, _ in self.bucket.list(below) if goes(path)])
        with self.mirroring():
            datasets.retain(self.folder, name, keep, keep_days)
        return [each.id for each in going]

    def small(self, name: str) -> bytes:
        """Raises StateError where the object is gone."""
        data = self.bucket.get(name)
        if data is None:
            raise gone(self.bucket.url(name))
        return data

    @contextmanager
    def mirroring(self) -> Iterator[None]:
        """While the small files on this machine are written: one process at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ends = time.monotonic() + _LOCK_SECONDS
        with (self.folder / ".mirror.lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > ends:
                        hint = "Wait until it has ended."
                        raise Locked("another process holds it", place=str(self.folder), hint=hint) from None
                    time.sleep(0.02)
            yield

    def mirror(self, path: Path, data: bytes) -> None:
        """The content of a small object as a file, unless that has it already."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            replace_file(path, data)

    def _claim(self) -> None:
        """Raises UserError where the folder has another lake: its data sets would be removed for those in S3."""
        mark, ours = self.folder / ".lake", self.bucket.url("").encode() + b"\n"
        if not mark.exists():
            with self.mirroring():
                if not mark.exists() and any((self.folder / each).exists() for each in ("datasets", "exports")):
                    raise _of_another(self.folder)
                replace_file(mark, ours)
        if mark.read_bytes() != ours:
            raise _of_another(self.folder)

    def _names(self) -> list[str]:
        there = {path.split("/")[1] for path, _ in self.bucket.list("datasets/")}
        return sorted(there | set(datasets.names(self.folder)))

    def _look_at(self, name: str) -> None:
        """The pointer is read before the list: what it names is in that, or was removed since, after a later one."""
        home = datasets.home(self.folder, name)
        for _ in range(_LOOKS):
            pointer, version = self.bucket.read(f"datasets/{name}/{datasets.CURRENT}")
            below = f"datasets/{name}/"
            there = [each for each, _ in self.bucket.list(below) if each.endswith(f"/{FILE_NAME}")]
            ids = {each.removeprefix(below).partition("/")[0] for each in there}
            if not pointer or datasets.id_in(pointer, home / datasets.CURRENT) in ids:
                break
        else:
            raise gone(self.bucket.url(f"datasets/{name}"))
        for identity in sorted(ids):
            if not (path := home / identity / FILE_NAME).exists():
                self.mirror(path, self.small(f"{below}{identity}/{FILE_NAME}"))
        for path in home.glob(f"[0-9]*/{FILE_NAME}"):
            if path.parent.name not in ids:
                path.unlink()
        self._versions[name] = version
        if pointer:
            self.mirror(home / datasets.CURRENT, pointer)
        else:
            (home / datasets.CURRENT).unlink(missing_ok=True)

    def _fetch(self, manifest: Manifest, file: DataFile) -> None:
        name = f"datasets/{manifest.name}/{file.path}"
        path = datasets.home(self.folder, manifest.name) / file.path
        with _beside(path) as part:
            try:
                self.bucket.copy(name, part)
            except FileNotFoundError:
                raise gone(self.bucket.url(name)) from None
            part.seek(0)
            digest = sha256()
            while block := part.read(1 << 20):
                digest.update(block)
            if digest.hexdigest() != file.sha256:
                hint = "Convert the exports again."
                raise LogCorrupt("the checksum does not match", place=self.bucket.url(name), hint=hint)
            publish(part, path)

    def _check_there(self, manifest: Manifest) -> None:
        """Raises Locked where a file that the data set is made of was removed by another process meanwhile."""
        below = f"datasets/{manifest.name}/"
        there = dict(self.bucket.list(below))
        for each in manifest.files:
            if there.get(below + each.path) != each.bytes:
                raise _overtaken(self.bucket.url(below + each.path), "its file was removed by another process")

    def _point_to(self, manifest: Manifest) -> None:
        name, pointer = f"datasets/{manifest.name}/{datasets.CURRENT}", datasets.pointer_to(manifest)
        version = self.bucket.replace(name, pointer, self._versions.get(manifest.name, ""))
        if not version:
            now = orjson.loads(self.bucket.read(name)[0] or b"{}").get("id", "nothing")
            raise _overtaken(self.bucket.url(name), f"another process has published {now} meanwhile")
        self._versions[manifest.name] = version


@contextmanager
def _beside(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside ``path``, which goes unless it is published."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{token_hex(4)}")
    with part.open("w+b") as file:
        try:
            yield file
        finally:
            part.unlink(missing_ok=True)


def gone(url: str) -> StateError:
    hint = "Run the same command again. If it is still gone, convert or export again."
    return StateError("the object is gone: another process removed it, or somebody did by hand", place=url, hint=hint)


def _overtaken(url: str, what: str) -> Locked:
    return Locked(f"{what}, and this one is given up", place=url, hint="Run the same command again.")


def _of_another(folder: Path) -> UserError:
    hint = "Name another folder: cache in [lake]."
    return UserError("the folder has another lake, and can have no copies of this one", place=str(folder), hint=hint)


def _is_there(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _is_id_before(identity: str, horizon: str) -> bool:
    return bool(re.match(r"[0-9]{8}T[0-9]{6}\.", identity)) and identity < horizon
