"""A project file that somebody edits: what is wrong with the text and at which line, and what it would make of real
rows. Nothing is saved unless it is asked for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any

from whimbrel.checks.preview import Preview, preview
from whimbrel.durable import replace_file, writing
from whimbrel.errors import MappingError, ProjectError, UserError
from whimbrel.project import Project, parse_project
from whimbrel.project.lines import line_of


@dataclass(frozen=True, slots=True)
class TextFault:
    line: int  # from 1 on
    message: str


@dataclass(frozen=True, slots=True)
class EditedText:
    """``preview`` is None where the text has faults."""

    faults: tuple[TextFault, ...]
    preview: Preview | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_text(project: Project) -> tuple[str, str]:
    """The project file's text, and what tells this text from another. Raises ProjectError."""
    try:
        data = project.path.read_bytes()
        return data.decode(), _digest(data)
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"cannot be read: {error}", place=str(project.path)) from None


def look_at_text(project: Project, text: str, tables: tuple[str, ...], rows: int) -> EditedText:
    """Source and target are those of ``project``: a text that nobody has saved reaches no other server.

    Raises SourceError, and ProjectError for a table that the text does not have.
    """
    try:
        edited = parse_project(text, project.path)
    except ProjectError as error:
        return EditedText(_faults(text, error), None)
    if edited.dms:
        raise ProjectError("the rules are in a DMS file: they are not edited here", place=str(project.path))
    try:
        return EditedText((), preview(replace(project, tables=edited.tables), tables, rows))
    except MappingError as error:
        return EditedText(_faults(text, error), None)


def save_text(project: Project, text: str, before: str) -> str:
    """Replace the file, if it is still the one that ``before`` tells; what tells the new one.

    Raises ProjectError for a text with faults, UserError if somebody else has changed the file.
    """
    parse_project(text, project.path)
    if read_text(project)[1] != before:
        hint = "Copy your text, load the file again, and put your changes into it."
        raise UserError("the file was changed meanwhile, and is left as it is", place=str(project.path), hint=hint)
    mode = project.path.stat().st_mode & 0o777
    with writing(project.path):
        replace_file(project.path, text.encode())
        project.path.chmod(mode)
    return _digest(text.encode())


def _faults(text: str, error: ProjectError | MappingError) -> tuple[TextFault, ...]:
    """An error lists all faults, one a line."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    return tuple(TextFault(line_of(text, each), each) for each in lines)


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
