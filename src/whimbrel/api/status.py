"""How far a migration is. Apart from the other verbs, so that asking takes no time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from whimbrel.api.opened import ProjectLike, opened
from whimbrel.migration import status as of_a_project
from whimbrel.migration.status import DataSetStatus, Status
from whimbrel.project import Project
from whimbrel.warehouse import status as of_its_silos
from whimbrel.warehouse.status import WarehouseStatus

__all__ = ["Status", "WarehouseStatus", "dead_letters", "status", "warehouse_status"]


def status(project: ProjectLike) -> Status:
    """How far the migration is. Raises StateError if nothing has begun.

    Of a lake in S3, its data sets are said as this machine has last seen them.
    """
    with opened(project) as found:
        return replace(of_a_project.status(found), data_sets=tuple(_data_sets(found)))


def dead_letters(project: ProjectLike) -> int:
    """How many rows, or items, could not be migrated and wait for ``retry_dead``."""
    with opened(project) as found:
        return of_a_project.dead_letters(found)


def _data_sets(project: Project) -> Iterator[DataSetStatus]:
    """Of the target tables."""
    folder, targets = project.path.parent / project.lake.folder, {each.target for each in project.tables}
    if not (folder / "datasets").exists():
        return
    from whimbrel.lake import datasets

    for name in datasets.names(folder):
        manifest = datasets.current(folder, name)
        if manifest.table in targets:
            yield DataSetStatus(name, manifest.table, manifest.as_of, str(manifest.applied or ""))


def warehouse_status(project: ProjectLike) -> WarehouseStatus:
    """How far each silo of the warehouse is. Raises StateError if nothing has begun."""
    with opened(project) as found:
        return of_its_silos.status(found)
