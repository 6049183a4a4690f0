"""``--dms``: an AWS DMS file in the place of the project's ``[[table]]`` sections."""

from __future__ import annotations

from pathlib import Path

import click

from whimbrel.project import Project

_ASKED = "whimbrel.dms"


def _keep(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    context.meta[_ASKED] = value


dms_option = click.option(
    "--dms",
    type=click.Path(path_type=Path),
    expose_value=False,
    callback=_keep,
    help="An AWS DMS table-mapping file, in the place of the project's [[table]] sections.",
)


def with_dms_rules(project: Project) -> Project:
    """The project with the tables of its DMS file, if the command takes ``--dms`` and one is named there or in it.

    Raises ProjectError with all that is wrong with the file.
    """
    context = click.get_current_context(silent=True)
    if context is None or _ASKED not in context.meta:
        return project
    asked: Path | None = context.meta[_ASKED]
    path = asked or project.dms
    if path is None:
        return project
    from whimbrel.cli.dms_rules import project_with_rules

    return project_with_rules(project, path, into_existing=bool(context.params.get("into_existing")))
