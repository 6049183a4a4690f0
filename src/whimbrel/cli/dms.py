"""``--dms``: an AWS DMS file instead of the project's ``[[table]]`` sections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from whimbrel.project import Project

_ASKED = "whimbrel.dms"


def _keep(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    context.meta[_ASKED] = value


dms_option = click.option(
    "--dms",
    type=click.Path(path_type=Path),
    expose_value=False,
    callback=_keep,
    help="An AWS DMS table-mapping file to use instead of the project's [[table]] sections.",
)


def with_dms_file(project: Project) -> Project:
    """The project with the DMS file that ``--dms`` names, if the command takes it and it is given."""
    context = click.get_current_context(silent=True)
    asked: Path | None = context.meta.get(_ASKED) if context else None
    if not asked:
        return project
    from dataclasses import replace

    return replace(project, dms=asked)
