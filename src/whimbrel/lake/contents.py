"""What a lake has: data sets and exports with their times and sizes, for whoever looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whimbrel.errors import WhimbrelError
from whimbrel.lake import datasets
from whimbrel.lake.native import Export
from whimbrel.lake.opened import OpenLake, open_lake
from whimbrel.project import Project


@dataclass(frozen=True, slots=True)
class ListedDataset:
    """One version of a data set; ``current``: what SQL sees. ``bytes`` are those of its files."""

    name: str
    table: str
    id: str
    as_of: str
    created: str
    rows: int
    bytes: int
    files: int
    refused: int
    current: bool


@dataclass(frozen=True, slots=True)
class ListedExport:
    table: str
    id: str
    kind: str
    since: str
    as_of: str
    items: int
    files: int
    bytes: int | None  # None where they are not on this machine


@dataclass(frozen=True, slots=True)
class LakeContents:
    """Newest first. ``faults``: what cannot be read, and why."""

    datasets: tuple[ListedDataset, ...]
    exports: tuple[ListedExport, ...]
    faults: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def contents(project: Project) -> LakeContents:
    """Raises UserError for a folder that has another lake, and what the bucket of a lake in S3 raises."""
    faults: list[str] = []
    with open_lake(project) as lake:
        lake.look()
        kept = list(_datasets(lake, faults))
        tables = {each.table for each in kept} | {path.name for path in (lake.folder / "exports").glob("*")}
        exports = [each for table in sorted(tables) for each in _exports(lake, table, faults)]
    kept.sort(key=lambda each: each.created, reverse=True)
    exports.sort(key=lambda each: each.as_of, reverse=True)
    return LakeContents(tuple(kept), tuple(exports), tuple(faults))


def _datasets(lake: OpenLake, faults: list[str]) -> Iterator[ListedDataset]:
    for name in datasets.names(lake.folder):
        try:
            now = datasets.current(lake.folder, name).id
            for each in datasets.versions(lake.folder, name):
                size = sum(file.bytes for file in each.files)
                yield ListedDataset(
                    *(name, each.table, each.id, each.as_of, each.created, each.rows, size),
                    *(len(each.files), each.refused, each.id == now),
                )
        except WhimbrelError as error:
            faults.append(str(error))


def _exports(lake: OpenLake, table: str, faults: list[str]) -> Iterator[ListedExport]:
    try:
        found = lake.native(table)
    except WhimbrelError as error:
        faults.append(str(error))
        return
    for each in found:
        yield ListedExport(table, each.id, each.kind, each.since, each.as_of, each.items, len(each.files), _size(each))


def _size(export: Export) -> int | None:
    if export.stored:
        return sum(each.size for each in export.stored)
    sizes = [path.stat().st_size for path in map(Path, export.paths) if path.exists()]
    return sum(sizes) if len(sizes) == len(export.paths) else None
