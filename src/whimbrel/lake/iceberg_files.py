"""Where an Iceberg table has its files: beside the data set's own, in the lake's folder or bucket; and its catalog.

A table's location is the folder of its data set. So the Parquet files that it lists are in its location, and what
Iceberg writes itself is in ``metadata/`` there, apart from the data sets' ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.io import PY_IO_IMPL, FileIO, InputFile, OutputFile

from whimbrel.bucket import Bucket
from whimbrel.durable import replace_file
from whimbrel.errors import UserError
from whimbrel.lake.opened import OpenLake
from whimbrel.project import Project

CATALOG = "iceberg.db"  # of a lake in a folder
_PLACE = "whimbrel.place"  # the property by which pyiceberg hands a LakePlace on


@dataclass(frozen=True)
class LakePlace:
    """Where data sets are: ``folder`` on this machine, ``bucket`` where the lake is in S3."""

    folder: Path
    bucket: Bucket | None

    @property
    def root(self) -> str:
        """As a table has it in its metadata."""
        return self.bucket.url("") if self.bucket else f"file://{self.folder.absolute()}/"

    def name(self, location: str) -> str:
        """Relative to the lake. Raises UserError for what is in another one."""
        if not location.startswith(self.root):
            raise of_another_lake(location)
        return location.removeprefix(self.root)

    def read(self, location: str) -> bytes:
        """Raises FileNotFoundError."""
        name = self.name(location)
        if self.bucket is None:
            return (self.folder / name).read_bytes()
        data = self.bucket.get(name)
        if data is None:
            raise FileNotFoundError(location)
        return data

    def write(self, location: str, data: bytes) -> None:
        """Durable when it returns. Raises FileExistsError."""
        name = self.name(location)
        if self.bucket is None:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
        elif not self.bucket.put_new(name, data):
            raise FileExistsError(location)

    def remove(self, location: str) -> None:
        name = self.name(location)
        if self.bucket is None:
            (self.folder / name).unlink(missing_ok=True)
        else:
            self.bucket.remove([name])


class LakeFiles(FileIO):  # type: ignore[misc]  # not everybody has it
    """A LakePlace as pyiceberg asks for it."""

    def __init__(self, properties: Any) -> None:
        super().__init__(properties)
        self._place: LakePlace = properties[_PLACE]

    def new_input(self, location: str) -> InputFile:
        return _Input(self._place, location)

    def new_output(self, location: str) -> OutputFile:
        return _Output(self._place, location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        self._place.remove(location if isinstance(location, str) else location.location)


class _Input(InputFile):  # type: ignore[misc]  # not everybody has it
    def __init__(self, place: LakePlace, location: str) -> None:
        super().__init__(location)
        self._place = place

    def __len__(self) -> int:
        with self.open() as file:
            return file.seek(0, 2)

    def exists(self) -> bool:
        try:
            self.open().close()
        except FileNotFoundError:
            return False
        return True

    def open(self, seekable: bool = True) -> IO[bytes]:
        return BytesIO(self._place.read(self.location))


class _Output(OutputFile):  # type: ignore[misc]  # not everybody has it
    def __init__(self, place: LakePlace, location: str) -> None:
        super().__init__(location)
        self._place, self._written = place, 0

    def __len__(self) -> int:
        return self._written

    def exists(self) -> bool:
        return bool(self.to_input_file().exists())

    def to_input_file(self) -> InputFile:
        return _Input(self._place, self.location)

    def create(self, overwrite: bool = False) -> IO[bytes]:
        """Names have random parts, so nothing is ever written over."""
        return _NewFile(self)

    def written(self, data: bytes) -> None:
        self._place.write(self.location, data)
        self._written = len(data)


class _NewFile(BytesIO):
    """Is written whole when it is closed, unless an error ended it."""

    def __init__(self, output: _Output) -> None:
        super().__init__()
        self._output = output

    def close(self) -> None:
        if not self.closed:
            data = self.getvalue()
            super().close()
            self._output.written(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            super().close()
        self.close()


def of_another_lake(location: str) -> UserError:
    hint = "Name another `database` in [lake]; or drop the table, if its lake was moved."
    return UserError("the Iceberg table is not of this lake", place=location, hint=hint)


def place_of(lake: OpenLake) -> LakePlace:
    return LakePlace(lake.folder, lake.shared.bucket if lake.shared else None)


@contextmanager
def open_catalog(project: Project, place: LakePlace) -> Iterator[MetastoreCatalog]:
    """Glue for a lake in S3; a file of SQLite for one in a folder, whose database is made where it is missing.

    What pyiceberg would find in its own configuration file or in the environment has no part in it.
    """
    files: dict[str, Any] = {PY_IO_IMPL: f"{LakeFiles.__module__}.{LakeFiles.__name__}", _PLACE: place}
    if place.bucket:
        from pyiceberg.catalog.glue import GlueCatalog

        from whimbrel.dynamodb.session import open_service

        client = open_service(replace(project.target, endpoint=project.lake.glue_endpoint), "glue")
        yield GlueCatalog("whimbrel", client=client, **files, **{"glue.skip-archive": "true"})
        return
    from whimbrel.lake.iceberg_catalog import FileCatalog

    place.folder.mkdir(parents=True, exist_ok=True)
    yield FileCatalog(place.folder.absolute() / CATALOG, project.lake.database, files)
