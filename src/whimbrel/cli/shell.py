"""The SQL shell: statements end with a semicolon; history and completion are prompt_toolkit's."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import click

from whimbrel.api.lake import open_database
from whimbrel.cli.aligned import write_table
from whimbrel.cli.frame import OK
from whimbrel.cli.query import cost_told
from whimbrel.errors import UserError
from whimbrel.lake.need import need
from whimbrel.lake.sql import Database
from whimbrel.lake.statements import statements
from whimbrel.project import Project

KEYWORDS = ("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "HAVING", "JOIN", "USING", "WITH", "UNION ALL")
FUNCTIONS = ("count", "sum", "avg", "min", "max", "median", "stddev", "corr", "DESCRIBE", "SUMMARIZE", "SHOW TABLES")
FORMATS = ("table", "csv", "json")
HELP = """\\d          the tables        \\d TABLE    its columns
\\f FORMAT   table, csv or json
\\as-of TIME every data set as it was then; without TIME, as it is now
\\q          the end"""


def run_shell(project: Project, **chosen: Any) -> int:
    """Read statements until the end. An error is printed, and the shell continues."""
    toolkit, history = need("prompt_toolkit", "lake"), need("prompt_toolkit.history", "lake")
    with ExitStack() as opened:
        database = opened.enter_context(open_database(project=project, **chosen))
        project.state.mkdir(parents=True, exist_ok=True)
        session = toolkit.PromptSession(history=history.FileHistory(str(project.state / "query-history")))
        kind, pending = "table", ""
        while True:
            try:
                prompt = "whimbrel> " if not pending else "     ...> "
                line = session.prompt(prompt, completer=completer(database), complete_while_typing=False)
            except KeyboardInterrupt:
                pending = ""
                continue
            except EOFError:
                return OK
            try:
                if not pending and line.strip().startswith("\\"):
                    words = line.split()
                    if words[0] == "\\q":
                        return OK
                    if words[0] == "\\as-of":
                        then = {"engine": chosen.get("engine", "duckdb"), "as_of": " ".join(words[1:])}
                        database = opened.enter_context(open_database(project=project, **then))
                    else:
                        kind = command(database, words, kind)
                    continue
                pending = f"{pending}\n{line}".strip()
                if pending.endswith(";"):
                    whole, pending = pending, ""
                    with cost_told(project, database):
                        run(database, whole, kind)
            except UserError as error:
                click.echo(f"{error}", err=True)


def run(database: Database, text: str, kind: str) -> None:
    for statement in statements(text):
        if kind == "table":
            write_table(database, statement, sys.stdout.buffer)
        else:
            database.copy(statement, kind, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def command(database: Database, words: list[str], kind: str) -> str:
    """One of the shell's own commands; the format from now on."""
    if words[0] == "\\f" and len(words) == 2 and words[1] in FORMATS:
        return words[1]
    tables = database.columns()
    if words[0] == "\\d" and len(words) == 1:
        for name in tables:
            manifest = database.shown.get(name)
            about = f"{manifest.rows:,} rows as of {manifest.as_of}" if manifest else "external"
            click.echo(f"{name}  {about}")
    elif words[0] == "\\d" and words[1] in tables:
        click.echo("\n".join(tables[words[1]]))
    else:
        click.echo(HELP)
    return kind


def completer(database: Database) -> Any:
    words = {word for table, columns in database.columns().items() for word in (table, *columns)}
    completion = need("prompt_toolkit.completion", "lake")
    return completion.WordCompleter([*sorted(words), *KEYWORDS, *FUNCTIONS], ignore_case=True)
