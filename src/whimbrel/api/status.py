"""How far a migration is. Apart from the other verbs, so that asking takes no time."""

from __future__ import annotations

from whimbrel.api.opened import ProjectLike, opened
from whimbrel.migration import status as of_a_project
from whimbrel.migration.status import Status

__all__ = ["Status", "dead_letters", "status"]


def status(project: ProjectLike) -> Status:
    """How far the migration is. Raises StateError if nothing has begun."""
    with opened(project) as found:
        return of_a_project.status(found)


def dead_letters(project: ProjectLike) -> int:
    """How many rows, or items, could not be migrated and wait for ``retry_dead``."""
    with opened(project) as found:
        return of_a_project.dead_letters(found)
