"""``whimbrel query``: one answer, or a shell."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from whimbrel.api.lake import athena_dollars, open_database
from whimbrel.cli.aligned import write_table
from whimbrel.cli.frame import OK
from whimbrel.errors import UserError
from whimbrel.lake.sql import Database
from whimbrel.lake.statements import statements
from whimbrel.project import Project


def query(project: Project, sql: str, kind: str, output: Path | None, **chosen: Any) -> int:
    if kind == "parquet" and output is None:
        raise UserError("Parquet goes into a file", place="--output", hint="Name it: -o rows.parquet")
    with (
        open_database(project=project, **chosen) as database,
        written(output) as out,
        cost_told(project, database),
    ):
        for statement in statements(sql):
            if kind == "table":
                write_table(database, statement, out)
            else:
                database.copy(statement, kind, out)
    return OK


@contextmanager
def cost_told(project: Project, database: Database) -> Iterator[None]:
    """On standard error, what Athena has read meanwhile, also for a question that it did not answer."""
    before = database.scanned()
    try:
        yield
    finally:
        if scanned := database.scanned() - before:
            dollars = athena_dollars(project, scanned)
            price = "the price of this region is not known" if dollars is None else f"${dollars:,.5f}"
            click.echo(f"Athena scanned {scanned / 1e6:,.1f} MB: {price}", err=True)


@contextmanager
def written(path: Path | None) -> Iterator[Any]:
    """Where to write: the file, whole or not at all, or standard output."""
    if path is None:
        yield sys.stdout.buffer
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        try:
            yield file
            file.close()
            shutil.move(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
