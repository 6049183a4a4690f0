"""What every command declares: its project, its output, and that an error of ours ends it in its own way.

Nothing is imported here that a command needs only when it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from whimbrel.cli.dms import with_dms_file
from whimbrel.file_name import FILE_NAME

if TYPE_CHECKING:
    from whimbrel.project import Project


def _refuse_empty(context: click.Context, option: click.Parameter, value: str) -> str:
    if value == "" and context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE:
        raise click.BadParameter("is empty: leave the option out, or fill it in", context, option)
    return value


def text_option(*names: str, **about: Any) -> Callable[[Any], Any]:
    """Without it "". Given as such, as by a variable that is not set, it would be passed over without a word."""
    return click.option(*names, default="", callback=_refuse_empty, **about)


project_option = click.option(
    "-p",
    "--project",
    "project_file",
    type=click.Path(path_type=Path),
    default=FILE_NAME,
    show_default=True,
    help="The project file.",
)
waive_option = click.option(
    "--waive-dead-letters",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Accept the dead letters that are lines of this file, and no others.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Print what would be done, and exit.")
warehouse_option = click.option(
    "--warehouse",
    is_flag=True,
    help="The warehouse of the silos, rather than DynamoDB; the default where the project has nothing else.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Report as JSON on standard output.")


def guarded(command: Callable[..., int]) -> Callable[..., NoReturn]:
    """See ``frame.run_guarded``."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> NoReturn:
        from whimbrel.cli.frame import run_guarded

        run_guarded(command, arguments, options)

    return run


def named_project(path: Path) -> Project:
    """The project as its file and the command line name it."""
    from whimbrel.api.opened import read_project

    return with_dms_file(read_project(path))


def optional_project(path: Path) -> Project:
    """As ``named_project``; without a file of the usual name, a project with no settings."""
    from whimbrel.api.opened import read_project

    return read_project(path, optional=True)


def means_warehouse(project: Project, asked: bool) -> bool:
    """Whether a command is about the silos: it was said, or there is nothing else."""
    return asked or bool(project.warehouse and not project.tables and project.dms is None)
