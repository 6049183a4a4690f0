"""``whimbrel init``, ``check`` and ``preview``: what will happen, said before anything is moved."""

from __future__ import annotations

from pathlib import Path

import click

from whimbrel.api import checks as verbs
from whimbrel.cli.check_lines import preview_lines, report_lines
from whimbrel.cli.frame import DEAD_LETTERS, OK, USER_ERROR, say_json
from whimbrel.project import OFF, PASSWORD_VARIABLE, Project


def init(url: str, output: Path, *, tables: tuple[str, ...], endpoint: str, dms: Path | None, **tls: str) -> int:
    made = verbs.init(url, output=output, tables=tables, endpoint=endpoint, dms=dms, **tls)
    left_out = f", {len(made.left_out)} left out (see its end)" if made.left_out else ""
    written = f"{made.tables} table{'' if made.tables == 1 else 's'}"
    click.echo(f"Wrote {output} with {written}{f' from {dms}' if dms else left_out}.")
    if made.password_given:
        click.echo(f"The password is not in it: set {PASSWORD_VARIABLE} in the environment.")
    click.echo(f"Next: edit the mapping in {output}, then `whimbrel check`.")
    return OK


def check(
    project: Project, as_json: bool, *, rows: int, seconds: float, prices: Path | None, statements: str = ""
) -> int:
    """Print all findings at once; the exit code says if there is an error among them."""
    found = verbs.check(project, rows=rows, seconds=seconds, prices=prices, statements=statements)
    if as_json:
        say_json(found.to_dict())
    else:
        for line in report_lines(found):
            click.echo(line)
    return USER_ERROR if found.errors else OK


def preview(project: Project, as_json: bool, tables: tuple[str, ...], rows: int) -> int:
    """Print rows and their items; the exit code says if there are dead letters among them."""
    found = verbs.preview(project, tables=tables, rows=rows)
    if as_json:
        say_json(found.to_dict())
    else:
        for line in preview_lines(found):
            click.echo(line)
        if project.target.mark != OFF:
            mark = project.target.mark
            click.echo(f"migrate also writes one item, its mark, to the table {mark}, which it creates if needed.")
    return DEAD_LETTERS if found.dead_letters else OK
