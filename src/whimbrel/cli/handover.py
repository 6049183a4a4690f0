"""The commands of a handover: cutover, and the way back."""

from __future__ import annotations

from pathlib import Path

import click

from whimbrel.cli.dms import dms_option
from whimbrel.cli.options import guarded, json_option, named_project, project_option, waive_option


@click.command()
@project_option
@dms_option
@json_option
@click.option("--plan", is_flag=True, help="Print the steps, what they need and how long writes stop; change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--until-open", is_flag=True, help="End when DynamoDB is open, without following it back.")
@click.option("--source-is-gone", is_flag=True, help="Open DynamoDB without the source, which was lost for good.")
@waive_option
@guarded
def cutover(
    project_file: Path,
    as_json: bool,
    plan: bool,
    yes: bool,
    until_open: bool,
    source_is_gone: bool,
    waive_dead_letters: Path | None,
) -> int:
    """Move writes from the source to DynamoDB: close, drain, prove, decide, open.

    Then writes at DynamoDB are followed back into the source until Ctrl-C: `whimbrel rollback` can return to it.
    Undone if anything is in the way before the decision. A cutover that was cut off is continued.
    """
    from whimbrel.cli import cutover as cutting

    project = named_project(project_file)
    if plan:
        return cutting.show_plan(project, as_json, waive_dead_letters)
    if source_is_gone:
        return cutting.open_without_source(project, as_json)
    return cutting.cutover(project, as_json, yes=yes, until_open=until_open, waive_dead_letters=waive_dead_letters)


@click.command()
@project_option
@dms_option
@json_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@waive_option
@click.option("--unwatched", is_flag=True, help="Return although nobody can tell what others wrote to the source.")
@guarded
def rollback(project_file: Path, as_json: bool, yes: bool, waive_dead_letters: Path | None, unwatched: bool) -> int:
    """Return writes to the source, with all that was written at DynamoDB since.

    Undone if anything is in the way before the decision to return: then DynamoDB stays open.
    """
    from whimbrel.cli import cutover as cutting

    project = named_project(project_file)
    return cutting.rollback(project, as_json, yes=yes, waive_dead_letters=waive_dead_letters, unwatched=unwatched)


@click.command()
@project_option
@dms_option
@json_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--keep-fence", is_flag=True, help="Leave the fence: nobody writes to the old tables by mistake.")
@guarded
def finish(project_file: Path, as_json: bool, yes: bool, keep_fence: bool) -> int:
    """Give up the way back, and remove what whimbrel made for it."""
    from whimbrel.cli import cutover as cutting

    return cutting.finish(named_project(project_file), as_json, yes=yes, keep_fence=keep_fence)
