"""``whimbrel converge``, and check, status and verify of a warehouse: what they print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from whimbrel.api import warehouse as verbs
from whimbrel.api.warehouse import ConvergePlan, RowReport, WarehouseVerification
from whimbrel.cli.aligned import write_table
from whimbrel.cli.frame import DIFFERENCES, OK, USER_ERROR, say, say_json
from whimbrel.cli.shown import LISTED, shown
from whimbrel.cli.stopping import INTERRUPTED
from whimbrel.errors import UserError, WhimbrelError
from whimbrel.lake.statements import statements
from whimbrel.project import Project


def converge(project: Project, as_json: bool, *, until_caught_up: bool) -> int:
    with shown(project, as_json) as asked:
        done = verbs.converge(project, until_caught_up=until_caught_up, progress=asked.tell, stop=asked.stop)
    code = INTERRUPTED if done.stopped else OK
    if as_json:
        say_json({"event": "end", "exit_code": code} | done.to_dict())
    elif done.stopped:
        click.echo("Stopped. Run the same command to continue.", err=True)
    else:
        for silo in done.silos:
            told = f"{silo.rows_loaded:,} rows loaded, {silo.changes_applied:,} changes written"
            click.echo(f"{silo.name}: {told}.", err=True)
    return code


def show_plan(project: Project, as_json: bool) -> int:
    plan = verbs.plan_converge(project)
    say(plan, as_json, [*_plan_lines(plan), "Nothing was done."])
    return OK


def check(project: Project, as_json: bool) -> int:
    """The plan, or what stands in its way."""
    try:
        plan = verbs.plan_converge(project)
    except WhimbrelError as error:
        if as_json:
            say_json({"ready": False, "fault": str(error)})
        else:
            click.echo(f"error: {error}")
        return USER_ERROR
    if as_json:
        say_json({"ready": True, **plan.to_dict()})
    else:
        for line in [*_plan_lines(plan), "Ready."]:
            click.echo(line)
    return OK


def verify(project: Project, as_json: bool) -> int:
    with shown(project, as_json) as asked:
        found = verbs.verify_warehouse(project, progress=asked.tell, stop=asked.stop)
    say(found, as_json, _verification_lines(found))
    return OK if found.equal else DIFFERENCES


def query(project: Project, sql: str, kind: str, output: Path | None) -> int:
    from whimbrel.cli.query import written  # with the lake, which no other command of these needs

    if kind == "parquet" and output is None:
        raise UserError("Parquet goes into a file", place="--output", hint="Name it: -o rows.parquet")
    with verbs.open_warehouse(project=project) as database, written(output) as out:
        for statement in statements(sql):
            if kind == "table":
                write_table(database, statement, out)
            else:
                database.copy(statement, kind, out)
    return OK


def _plan_lines(plan: ConvergePlan) -> Iterator[str]:
    yield f"Would load into {plan.engine} ({plan.place}), and then write changes:"
    for silo, tables in plan.silos.items():
        yield f"  {silo}"
        for table in tables:
            yield f"    {table.source} (about {table.rows:,} rows) into {table.target}, by {', '.join(table.key)}"
            if not table.columns:
                yield "      its columns follow from its items"
            for name, kind in table.columns.items():
                yield f"      {name} {kind}"
            if table.layout:
                yield f"      {table.layout}"


def _verification_lines(found: WarehouseVerification) -> Iterator[str]:
    for table in found.tables:
        yield from _table_lines(table)


def _table_lines(report: RowReport) -> Iterator[str]:
    total = sum(report.counts.values())
    words = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.counts.items()))
    counted = f"{report.rows:,} rows when read; the warehouse had {report.found:,}"
    yield f"{report.source} → {report.target}: {counted}. Differences: {total:,}{f' ({words})' if words else ''}"
    if report.not_compared:
        yield f"  not compared (not on both sides): {', '.join(report.not_compared)}"
    for difference in report.differences[:LISTED]:
        yield f"  {difference.kind} {_shown(difference.key)}"
        yield f"    source    {_shown(difference.expected)}"
        yield f"    warehouse {_shown(difference.found)}"
    if total > LISTED:
        yield f"  … and {total - LISTED:,} more; --json lists them"


def _shown(values: dict[str, Any] | None) -> str:
    return json.dumps(values, ensure_ascii=False)
