"""``whimbrel check``: what would go wrong, said before anything is moved. Changes nothing on either side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import click

from whimbrel.cli.frame import OK, USER_ERROR, say_json
from whimbrel.dynamodb.session import Session
from whimbrel.dynamodb.tables import is_empty, table_exists
from whimbrel.errors import WhimbrelError
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.migrate.state import StateFolder
from whimbrel.mysql.connect import connect
from whimbrel.mysql.preflight import source_faults
from whimbrel.mysql.schema import estimated_rows, read_table
from whimbrel.project import Project, TableRule


@dataclass(frozen=True, slots=True)
class Finding:
    """``severity``: error (the migration would be refused or lose something), warning, or info."""

    severity: str
    place: str
    message: str
    hint: str = ""


def check(project: Project, as_json: bool) -> int:
    """Print all findings at once; the exit code says if there is an error among them."""
    findings = list(_source_findings(project)) + list(_target_findings(project))
    errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        say_json({"errors": errors, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            click.echo(f"{finding.severity:<8} {finding.place}: {finding.message.strip()}")
            if finding.hint:
                click.echo(f"         {finding.hint.strip()}")
        click.echo("Not ready: mend the errors." if errors else "Ready. Next: whimbrel migrate")
    return USER_ERROR if errors else OK


def _source_findings(project: Project) -> Iterator[Finding]:
    try:
        connection = connect(project.source)
    except WhimbrelError as error:
        yield _from(error, "source.url")
        return
    with closing(connection):
        tables = []
        for rule in project.tables:
            schema, _, name = rule.source.partition(".")
            try:
                table = read_table(connection, schema, name)
                tables.append(table)
                yield Finding("info", rule.source, f"about {estimated_rows(connection, table):,} rows")
                yield from _mapping_findings(rule, compile_mapping(rule, table))
            except WhimbrelError as error:
                yield _from(error, rule.source)
        for fault in source_faults(connection, tables):
            yield _from(fault, "source")


def _mapping_findings(rule: TableRule, mapping: TableMapping) -> Iterator[Finding]:
    for text in mapping.ambiguities():
        yield Finding("warning", rule.source, text, "See that it cannot happen in your data, or change the template.")
    if not mapping.aligned:
        yield Finding("info", rule.source, "the group is no prefix of the primary key: its rows are regrouped on disk")


def _target_findings(project: Project) -> Iterator[Finding]:
    begun = StateFolder(project.state).checkpoint.exists()
    try:
        client: Any = Session(project.target).client()
        for rule in project.tables:
            if not table_exists(client, rule.target):
                yield Finding("info", rule.target, "the target table will be made")
            elif not begun and not is_empty(client, rule.target):
                yield Finding("error", rule.target, "the target table has items already", "Name another one.")
    except WhimbrelError as error:
        yield _from(error, "target")


def _from(error: WhimbrelError, place: str) -> Finding:
    return Finding("error", error.place or place, error.message, error.hint)
