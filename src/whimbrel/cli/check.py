"""``whimbrel check`` and ``whimbrel preview``: what will happen, said before anything is moved."""

from __future__ import annotations

from pathlib import Path

import click

from whimbrel.checks import preview as previews
from whimbrel.checks import report as reports
from whimbrel.checks.run import Limits
from whimbrel.checks.run import check as run_check
from whimbrel.cli.frame import DEAD_LETTERS, OK, USER_ERROR, say_json
from whimbrel.project import OFF, Project


def check(
    project: Project, as_json: bool, *, rows: int, seconds: float, prices: Path | None, statements: str = ""
) -> int:
    """Print all findings at once; the exit code says if there is an error among them."""
    report = run_check(project, Limits(rows, seconds), prices, statements)
    if as_json:
        say_json(reports.as_json(report))
    else:
        for line in reports.lines(report):
            click.echo(line)
    return USER_ERROR if report.errors else OK


def preview(project: Project, as_json: bool, tables: tuple[str, ...], rows: int) -> int:
    """Print rows and their items; the exit code says if there are dead letters among them."""
    examples = previews.preview(project, tables, rows)
    if as_json:
        say_json(previews.as_json(examples))
    else:
        for line in previews.lines(examples):
            click.echo(line)
        if project.target.mark != OFF:
            click.echo(f"migrate also writes one item, its mark, into the table {project.target.mark}; it makes it.")
    return DEAD_LETTERS if any(each.faults for _, mapped in examples for each in mapped) else OK
