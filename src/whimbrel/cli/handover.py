"""The commands of a handover: cutover, and the way back."""

from __future__ import annotations

from pathlib import Path

import click

from whimbrel.cli.dms import dms_option
from whimbrel.cli.frame import guarded, json_option, named_project, project_option


@click.command()
@project_option
@dms_option
@json_option
@click.option("--plan", is_flag=True, help="Print the steps, what they need and how long writes stop; change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@guarded
def cutover(project_file: Path, as_json: bool, plan: bool, yes: bool) -> int:
    """Move writes from the source to DynamoDB: close, drain, prove, decide, open.

    Undone if anything is in the way before the decision. A cutover that was cut off is continued.
    """
    from whimbrel.cli import cutover as cutting

    project = named_project(project_file)
    return cutting.show_plan(project, as_json) if plan else cutting.cutover(project, as_json, yes=yes)


COMMANDS = [cutover]
