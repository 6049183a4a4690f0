"""What every verb does with its project first: read it, close its folders to others, and write nothing that they could
read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from whimbrel.errors import StateError
from whimbrel.file_name import FILE_NAME
from whimbrel.memory import few_collections
from whimbrel.notes import note
from whimbrel.private import OWNER, close_folder, private
from whimbrel.project import NO_SOURCE, Project, Target, load_project

ProjectLike: TypeAlias = Project | str | os.PathLike[str]


@contextmanager
def opened(project: ProjectLike, *, optional: bool = False) -> Iterator[Project]:
    """The project, while nobody can look into its folders but those that it names. Raises ProjectError, and StateError
    for a file or folder that the operating system refuses.

    ``optional``: without a file of the usual name, a project with no settings is used. A model file needs none.
    """
    with private(), disk_faults_named(), few_collections():
        found = project if isinstance(project, Project) else read_project(Path(project), optional=optional)
        _close_folders(found)
        with private(found.lake.readable_by):
            yield found


@contextmanager
def opened_to_migrate(project: ProjectLike, *, into_existing: bool = False) -> Iterator[Project]:
    """As ``opened``; with the tables of its DMS file, if it names one. Raises ProjectError with all that is wrong with
    that.
    """
    with opened(project) as found:
        if found.dms is None:
            yield found
            return
        from whimbrel.migration.dms_rules import project_with_rules

        yield project_with_rules(found, found.dms, into_existing=into_existing)


def state_error(error: OSError) -> StateError:
    """What the operating system refused, as an error of ours."""
    place, hint = str(error.filename or ""), "Check its owner and permissions, and the free space on the disk."
    return StateError(error.strerror or str(error), place=place, hint=hint)


@contextmanager
def disk_faults_named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # of somebody who no longer reads what a caller prints
    except OSError as error:
        raise state_error(error) from error


def read_project(path: Path, *, optional: bool = False) -> Project:
    """Raises ProjectError. ``optional`` as in ``opened``."""
    if optional and path == Path(FILE_NAME) and not path.exists():
        return Project(path=path, state=Path(".whimbrel"), source=NO_SOURCE, target=Target(), tables=())
    return load_project(path)


def _close_folders(project: Project) -> None:
    readers, lake = project.lake.readable_by, project.path.parent / project.lake.folder
    for what, folder, may in (("state", project.state, OWNER), ("lake", lake, readers)):
        if said := close_folder(folder, may, project.path.parent):
            note(f"whimbrel: {what} folder: {said}")
