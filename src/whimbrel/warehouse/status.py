"""How far the silos are, by their state folders alone. It imports nothing that reaches a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whimbrel import checkpoint
from whimbrel.checkpoint import Checkpoint
from whimbrel.errors import StateError
from whimbrel.migration.live import read_status
from whimbrel.migration.state import StateFolder
from whimbrel.project import Project


@dataclass(frozen=True, slots=True)
class WarehouseStatus:
    """``silos`` has the Checkpoint of each, by name. ``running`` are the figures of the process that is at work."""

    silos: dict[str, Checkpoint]
    running: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        silos = {name: checkpoint.as_dict(now) for name, now in self.silos.items()}
        return {"silos": silos, "running": self.running}


def status(project: Project) -> WarehouseStatus:
    """Raises StateError where nothing has begun."""
    names = [*(silo.name for silo in project.silos), *(silo.name for silo in project.item_silos)]
    folders = {name: StateFolder(project.state).silo(name) for name in names}
    if not any(folder.checkpoint.exists() for folder in folders.values()):
        raise StateError("nothing has begun yet", place=str(project.state), hint="Begin with: whimbrel converge")
    found = {name: checkpoint.load(folder.checkpoint) for name, folder in folders.items()}
    return WarehouseStatus(found, read_status(StateFolder(project.state)))
