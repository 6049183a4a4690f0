"""The command that brings several sources together in one warehouse."""

from __future__ import annotations

from pathlib import Path

import click

from whimbrel.cli.options import dry_run_option, guarded, json_option, named_project, project_option


@click.command()
@project_option
@json_option
@dry_run_option
@click.option("--until-caught-up", is_flag=True, help="Exit once everything that the sources had is in the warehouse.")
@guarded
def converge(project_file: Path, as_json: bool, dry_run: bool, until_caught_up: bool) -> int:
    """Load all silos into the warehouse, write their changes until it has caught up, then keep following them.

    It can be stopped and resumed at any time. See docs/warehouse.md.
    """
    from whimbrel.cli import converge as command

    project = named_project(project_file)
    if dry_run:
        return command.show_plan(project, as_json)
    return command.converge(project, as_json, until_caught_up=until_caught_up)
