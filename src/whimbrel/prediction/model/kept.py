"""Where the models of a project are kept."""

from __future__ import annotations

from pathlib import Path

from whimbrel.project import Project

MODEL_FILE = "model.json"


def models_folder(project: Project, name: str) -> Path:
    """The versions of a model are in it, each in a folder of its own."""
    return project.state / "models" / name


def newest_model(project: Project, name: str) -> Path | None:
    """The file of the newest version: a version begins with its time."""
    return max(models_folder(project, name).glob(f"*/{MODEL_FILE}"), default=None)
