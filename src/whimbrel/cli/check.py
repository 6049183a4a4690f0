"""``whimbrel init``, ``check`` and ``preview``: what will happen, said before anything is moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from whimbrel.api import checks as verbs
from whimbrel.cli.check_lines import preview_lines, report_lines
from whimbrel.cli.frame import DEAD_LETTERS, OK, USER_ERROR, say
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
    say(found, as_json, report_lines(found))
    return USER_ERROR if found.errors else OK


def preview(project: Project, as_json: bool, tables: tuple[str, ...], rows: int) -> int:
    """Print rows and their items; the exit code says if there are dead letters among them."""
    found = verbs.preview(project, tables=tables, rows=rows)
    say(found, as_json, _preview_lines(project, found))
    return DEAD_LETTERS if found.dead_letters else OK


def _preview_lines(project: Project, found: verbs.Preview) -> Iterator[str]:
    yield from preview_lines(found)
    if (mark := project.target.mark) != OFF:
        yield f"migrate also writes one item, its mark, to the table {mark}, which it creates if needed."
