"""A table's exports in a lake in S3: what ``chain.json`` lists is there, whole; nothing else counts.

An export's data files are put as they are finished, then its manifests, and last of all the chain that lists it, which
replaces the one that the export continued from. So of two that continue from the same one, the second loses by name.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from whimbrel.durable import replace_file
from whimbrel.errors import Locked
from whimbrel.lake.applied import FILE as APPLIED
from whimbrel.lake.applied import to_bytes
from whimbrel.lake.chain_file import CHAIN, Chain, chain_bytes, chain_in, home, load_chain, save_chain
from whimbrel.lake.native import FILES, FOLDER, FULL, SUMMARY, Export, Stored, new_export_id, read_export
from whimbrel.lake.shared import LOST_AFTER, SharedLake, gone

MANIFESTS = (FILES, "manifest-files.md5", SUMMARY, "manifest-summary.md5")  # in the order in which they are put
CHECKSUMS = ("manifest-files.checksum", "manifest-summary.checksum")  # as the documentation calls them
ASKED = "asked.json"
_ID = re.compile(r"[0-9]{14}-[0-9a-f]{8}")


class SharedExports:
    """The exports of one ``table``. ``place`` is their folder on this machine."""

    def __init__(self, lake: SharedLake, table: str) -> None:
        self.place = home(lake.folder, table)
        self._lake, self._bucket, self._below = lake, lake.bucket, f"exports/{table}"
        self._version = ""  # of the chain, as it was last looked at
        self._asked = ""  # the version of what DynamoDB was asked for
        self.store, self.prefix = self._bucket.store, f"{self._bucket.store.prefix}/{self._below}"

    def look(self) -> Chain | None:
        """See what there is now. Raises LogCorrupt, and what the bucket raises."""
        data, self._version = self._bucket.read(f"{self._below}/{CHAIN}")
        with self._lake.mirroring():
            if not data:
                (self.place / CHAIN).unlink(missing_ok=True)
                return None
            chain = chain_in(data, self._bucket.url(f"{self._below}/{CHAIN}"))
            self._lake.mirror(self.place / CHAIN, data)
        return chain

    def committed(self) -> list[Export]:
        """The exports that ``look`` has seen, in the order of time. Their data files are in S3.

        Raises StateError where one is gone, LogCorrupt where one is not what its manifest says.
        """
        chain = load_chain(self.place)
        if chain is None:
            return []
        there = dict(self._bucket.list(f"{self._below}/{FOLDER}/"))
        found = [self._export(identity, there) for identity in chain.exports]
        return sorted(found, key=lambda each: (each.as_of, each.id))

    def url(self, export: Export) -> str:
        return self._bucket.url(self._name(export.folder))

    def keep(self, path: Path) -> None:
        """Put a data file, durably, and remove it here. It may be repeated."""
        name = self._name(path)
        if path.exists():
            try:
                self._bucket.put_file(name, path)
            except FileExistsError:  # by this process: names are random
                if self._bucket.size(name) != path.stat().st_size:
                    raise
            path.unlink()

    def forget_data(self, folder: Path, but: Iterable[str]) -> None:
        """Remove the data of an export that is under way but for files of these names."""
        kept = set(but)
        below = f"{self._name(folder)}/data/"
        self._bucket.remove([path for path, _ in self._bucket.list(below) if path.removeprefix(below) not in kept])

    def commit(self, folder: Path, chain: Chain) -> Export:
        """Make the export, whose data files are put and whose manifests are in ``folder``, the last one of the chain.
        It may be repeated.

        Raises Locked where another process has made one meanwhile, StateError where a data file is gone.
        """
        before = load_chain(self.place)
        listed = before.exports if before else ()
        if folder.name in listed:  # this process was killed before it was recorded here
            for name in (APPLIED, *MANIFESTS):
                (folder / name).unlink(missing_ok=True)
            return self.found(folder.name)
        listed = (*listed, folder.name)
        names = [name for name in (APPLIED, *MANIFESTS) if (folder / name).exists()]
        objects = {f"{self._name(folder)}/{name}": (folder / name).read_bytes() for name in names}
        self._bucket.remove(objects)  # of an earlier try: the chain does not list them
        for name, data in objects.items():
            self._bucket.put_new(name, data)
        made = self.found(folder.name)
        try:
            self._replace(replace(chain, exports=listed), "has exported it")
        except Locked:
            self._remove([made], ())
            raise
        return made

    def found(self, identity: str) -> Export:
        """An export that is in the bucket, whole, whether or not the chain lists it. Raises StateError, LogCorrupt."""
        return self._export(identity, dict(self._bucket.list(f"{self._below}/{FOLDER}/")))

    def commit_there(self, export: Export, chain: Chain) -> None:
        """As ``commit``, of an export that DynamoDB made in the bucket. Nothing is removed: the next run finds it.
        Up to where the table was written is put beside it.
        """
        if export.applied:
            self._bucket.put_new(f"{self._name(export.folder)}/{APPLIED}", to_bytes(export.applied))
        before = load_chain(self.place)
        listed = before.exports if before else ()
        if export.id not in listed:
            self._replace(replace(chain, exports=(*listed, export.id)), "has exported it")

    def asked(self) -> bytes:
        """The record of what DynamoDB was asked for; b"" where there is none."""
        data, self._asked = self._bucket.read(f"{self._below}/{ASKED}")
        return data

    def ask(self, data: bytes) -> None:
        """Record what DynamoDB is asked for. Raises Locked where another process has recorded that since ``asked``."""
        name = f"{self._below}/{ASKED}"
        version = self._bucket.replace(name, data, self._asked)
        if not version:
            hint = "Run the same command again: it follows that one."
            raise Locked("another process has asked DynamoDB for an export", place=self._bucket.url(name), hint=hint)
        self._asked = version

    def prune(self, keep: int) -> list[str]:
        """As ``export.prune``: the chain no longer lists what goes, and only then is it removed."""
        chain, exports = self.look(), self.committed()
        self._sweep(chain.exports if chain else ())
        full = [each for each in exports if each.kind == FULL]
        if chain is None or len(full) <= keep:
            return []
        going = [each for each in exports if each.as_of < full[-keep].as_of]
        ids = {each.id for each in going}
        self._replace(replace(chain, exports=tuple(each for each in chain.exports if each not in ids)), "works on it")
        self._remove(going, [each for each in exports if each.id not in ids])
        return [each.id for each in going]

    def _sweep(self, listed: Sequence[str]) -> None:
        """Remove what processes left that ended long ago before their export was whole."""
        below, horizon = f"{self._below}/{FOLDER}/", new_export_id(time.time() - LOST_AFTER.total_seconds())
        found = [(path, path.removeprefix(below).partition("/")[0]) for path, _ in self._bucket.list(below)]
        self._bucket.remove(
            [path for path, name in found if name not in listed and _ID.fullmatch(name) and name < horizon]
        )

    def _export(self, identity: str, there: dict[str, int]) -> Export:
        folder = self.place / FOLDER / identity
        with self._lake.mirroring():
            for name in (APPLIED, *MANIFESTS, *CHECKSUMS):
                needed = name in (FILES, SUMMARY) or f"{self._name(folder)}/{name}" in there
                if needed and not (folder / name).exists():
                    folder.mkdir(parents=True, exist_ok=True)
                    replace_file(folder / name, self._lake.small(f"{self._name(folder)}/{name}"))
        made = read_export(folder, lambda _, key: self._data(folder, key, there))
        names = [self._name(path) for path in made.paths]
        stored = [
            Stored(self._bucket.file(name), there[name], listed.md5)
            for name, listed in zip(names, made.files, strict=True)
        ]
        return replace(made, stored=tuple(stored))

    def _data(self, folder: Path, key: str, there: dict[str, int]) -> Path:
        """Where the file would be on this machine."""
        name = key.rpartition("/")[2]
        for root in (folder, folder.parent):
            if self._name(path := root / "data" / name) in there:
                return path
        raise gone(self._bucket.url(f"{self._name(folder)}/data/{name}"))

    def _name(self, path: Path) -> str:
        return f"{self._below}/{path.relative_to(self.place).as_posix()}"

    def _replace(self, chain: Chain, what: str) -> None:
        name = f"{self._below}/{CHAIN}"
        version = self._bucket.replace(name, chain_bytes(chain), self._version)
        if not version:
            message = f"another process {what} meanwhile, and this one is given up"
            raise Locked(message, place=self._bucket.url(name), hint="Run the same command again.")
        self._version = version
        with self._lake.mirroring():
            save_chain(self.place, chain)

    def _remove(self, going: list[Export], staying: Iterable[Export]) -> None:
        kept = {path for each in staying for path in each.paths}
        for each in going:
            small = (APPLIED, *MANIFESTS, *CHECKSUMS, "_started")
            self._bucket.remove([self._name(each.folder / name) for name in small])
            self._bucket.remove([self._name(path) for path in each.paths if path not in kept])
            for path in each.folder.iterdir():
                if path.is_file():
                    path.unlink()
