"""The project file as somebody edits it."""

from __future__ import annotations

from collections.abc import Iterable

from whimbrel.api.opened import ProjectLike, opened
from whimbrel.checks import edited
from whimbrel.checks.edited import EditedText


def project_text(project: ProjectLike) -> tuple[str, str]:
    """The project file's text, and what tells it from another. Raises ProjectError."""
    with opened(project) as found:
        return edited.read_text(found)


def look_at_text(project: ProjectLike, text: str, *, tables: Iterable[str] = (), rows: int = 3) -> EditedText:
    """What is wrong with ``text`` as the project file, with lines; and if nothing is, some rows and their items.

    Raises ProjectError for a table that it does not have, SourceError.
    """
    with opened(project) as found:
        return edited.look_at_text(found, text, tuple(tables), rows)


def save_text(project: ProjectLike, text: str, *, before: str) -> str:
    """Save ``text`` as the project file, if that is still the one that ``before`` tells; what tells the new one.

    Raises ProjectError for a text with faults, UserError if the file was changed meanwhile.
    """
    with opened(project) as found:
        return edited.save_text(found, text, before)
