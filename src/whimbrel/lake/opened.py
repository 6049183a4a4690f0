"""A project's lake, open: its folder on this machine, and what it is a part of where the lake is in S3."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from whimbrel.bucket import bucket_of
from whimbrel.errors import UserError
from whimbrel.lake import datasets
from whimbrel.lake.chain_file import Chain, home, load_chain
from whimbrel.lake.manifest import Manifest
from whimbrel.lake.native import Export, find_exports
from whimbrel.lake.shared import SharedLake
from whimbrel.lake.shared_exports import SharedExports
from whimbrel.lake.sources import FoundExports, find
from whimbrel.project import Project

_GB = 10**9


@dataclass(frozen=True)
class OpenLake:
    folder: Path
    shared: SharedLake | None

    def look(self, name: str = "") -> None:
        """See which data sets there are now, of one name or all."""
        if self.shared:
            self.shared.look(name)

    def have(self, manifest: Manifest) -> None:
        """The data set's files in ``folder``, until the lake is closed."""
        if self.shared:
            self.shared.have(manifest)

    def retain(self, name: str, keep: int, keep_days: float) -> list[str]:
        """As ``datasets.retain``."""
        if self.shared:
            return self.shared.retain(name, keep, keep_days)
        return datasets.retain(self.folder, name, keep, keep_days)

    def exports(self, table: str) -> SharedExports | None:
        """The table's exports in S3, as they are now; None where they are in ``folder``."""
        found = SharedExports(self.shared, table) if self.shared else None
        if found:
            found.look()
        return found

    def chain(self, table: str) -> Chain | None:
        """What the last export left."""
        if self.shared:
            self.exports(table)
        return load_chain(home(self.folder, table))

    def find(self, table: str) -> FoundExports:
        """Raises UserError when there is none."""
        if self.shared is None:
            return find(home(self.folder, table))
        found = self.native(table)
        if not found:
            hint = f"Make one with: whimbrel export {table}"
            raise UserError("there is no export of it", place=self.shared.bucket.url(f"exports/{table}"), hint=hint)
        return FoundExports(tuple(found), ())

    def native(self, table: str) -> Sequence[Export]:
        """The table's exports, in the order of time; none where there is none."""
        shared = self.exports(table)
        return shared.committed() if shared else find_exports(home(self.folder, table))


def lake_folder(project: Project) -> Path:
    """Where the project's exports and data sets lie; of a lake in S3, what this machine has of them."""
    return project.path.parent / project.lake.folder


@contextmanager
def open_lake(project: Project, stop: threading.Event | None = None) -> Iterator[OpenLake]:
    """``stop`` ends a wait for S3. Raises UserError for a folder that has another lake."""
    folder, store = lake_folder(project), project.lake.store
    if store is None:
        yield OpenLake(folder, None)
        return
    most = int(project.lake.cache_gb * _GB)
    bucket = bucket_of(store, project.target)
    bucket.attend(stop or threading.Event())
    with SharedLake(bucket, folder, most) as shared:
        yield OpenLake(folder, shared)
