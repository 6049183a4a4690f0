"""The commands of a migration: init, check, preview, migrate with its phases, verify, status and repair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import whimbrel
from whimbrel.cli.dms import dms_option
from whimbrel.cli.options import (
    dry_run_option,
    guarded,
    json_option,
    means_warehouse,
    named_project,
    project_option,
    waive_option,
    warehouse_option,
)

until_option = click.option(
    "--until-caught-up",
    is_flag=True,
    help="Exit once everything committed to the source at start-up has been applied.",
)


def _tls_options(command: Callable[..., int]) -> Callable[..., int]:
    """How a source that a URL names is reached: the keys of [source]."""
    key = click.option("--tls-key", default="", metavar="FILE", help="The private key of the client certificate.")
    certificate = click.option(
        "--tls-cert", default="", metavar="FILE", help="The client certificate, for an account that requires one."
    )
    ca = click.option("--tls-ca", default="", metavar="FILE", help="The CA certificate to verify the server with.")
    modes = click.Choice(["off", "preferred", "required", "verify"])
    return click.option("--tls", type=modes, default=None, help="As in [source].")(ca(certificate(key(command))))


@click.command()
@click.argument("url")
@click.option("-t", "--table", "tables", multiple=True, help="Only this table; may be given several times.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="whimbrel.toml", show_default=True)
@click.option("--endpoint", default="", help="A DynamoDB-compatible server; without it, AWS.")
@click.option("--from-dms", type=click.Path(path_type=Path), help="Translate this AWS DMS table-mapping file.")
@_tls_options
@guarded
def init(
    url: str,
    tables: tuple[str, ...],
    output: Path,
    endpoint: str,
    from_dms: Path | None,
    tls: str | None,
    tls_ca: str,
    tls_cert: str,
    tls_key: str,
) -> int:
    """Write a commented project file from the live schema at mysql://user@host:port/database."""
    from whimbrel.cli import check as check_command

    named = {"tls": tls or "", "tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key}
    return check_command.init(url, output, tables=tables, endpoint=endpoint, dms=from_dms, **named)


@click.command()
@click.argument("url")
@click.option(
    "--statements",
    required=True,
    metavar="FILE",
    help="The application's statements: a slow log, a general log, a .sql file, or performance_schema.",
)
@click.option(
    "--hours", type=click.FloatRange(0.001), default=24.0, show_default=True, help="The time that they are of."
)
@click.option("-t", "--table", "tables", multiple=True, help="Only this table; may be given several times.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="whimbrel.toml", show_default=True)
@json_option
@click.option("--endpoint", default="", help="A DynamoDB-compatible server; without it, AWS.")
@click.option("--region", default="", help="The region whose prices count.")
@click.option("--prices", type=click.Path(path_type=Path), help="A price file of your own.")
@click.option(
    "--seconds",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="Time limit for each table; 0 for none.",
)
@_tls_options
@guarded
def design(url: str, as_json: bool, tls: str | None, **options: Any) -> int:
    """Propose a design for the tables at URL that serves the application's statements, as a commented project file.

    It says how each statement is served, what a month costs, and what else was weighed. See docs/design.md.
    """
    from whimbrel.cli import design as design_command

    return design_command.design(url, as_json, tls=tls or "", **options)


@click.command()
@project_option
@dms_option
@json_option
@click.option(
    "--sample", type=click.IntRange(1), default=1_000_000, show_default=True, help="Rows to read of each table."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="Time limit for each table; 0 for none.",
)
@click.option("--full", is_flag=True, help="Read all rows, however long it takes.")
@click.option("--prices", type=click.Path(path_type=Path), help="A price file of your own.")
@click.option(
    "--statements",
    default="",
    metavar="FILE",
    help="Report how DynamoDB serves the application's statements: FILE is a slow log, a general log, a .sql file, or "
    "performance_schema.",
)
@warehouse_option
@guarded
def check(
    project_file: Path,
    as_json: bool,
    sample: int,
    seconds: float,
    full: bool,
    prices: Path | None,
    statements: str,
    warehouse: bool,
) -> int:
    """Report what will happen, and what would go wrong, before anything is moved.

    The exit code is 2 if something would be lost or refused. All findings are listed in docs/check.md.
    """
    project = named_project(project_file)
    if means_warehouse(project, warehouse):
        from whimbrel.cli import converge

        return converge.check(project, as_json)
    from whimbrel.cli import check as check_command

    return check_command.check(
        project,
        as_json,
        rows=0 if full else sample,
        seconds=0.0 if full else seconds,
        prices=prices,
        statements=statements,
    )


@click.command()
@project_option
@dms_option
@json_option
@click.option("-t", "--table", "tables", multiple=True, help="Only this source table; may be given several times.")
@click.option("-n", "--rows", type=click.IntRange(1), default=5, show_default=True, help="Rows of each table.")
@guarded
def preview(project_file: Path, as_json: bool, tables: tuple[str, ...], rows: int) -> int:
    """Print some real rows and the items that they become, with their sizes and write units.

    The exit code is 4 if some of these rows cannot become items.
    """
    from whimbrel.cli import check as check_command

    return check_command.preview(named_project(project_file), as_json, tables, rows)


@click.command()
@project_option
@dms_option
@json_option
@dry_run_option
@until_option
@click.option("--into-existing", is_flag=True, help="Write into target tables that have items already.")
@guarded
def migrate(project_file: Path, as_json: bool, dry_run: bool, until_caught_up: bool, into_existing: bool) -> int:
    """Run all steps until the target has caught up, then keep following the source.

    It can be stopped and resumed at any time.
    """
    from whimbrel.cli import migration

    project = named_project(project_file)
    if dry_run:
        return migration.show_plan(project, as_json, into_existing=into_existing)
    options = {"until_caught_up": until_caught_up, "into_existing": into_existing}
    return migration.moving(whimbrel.migrate, project, as_json, **options)


@click.command()
@project_option
@dms_option
@json_option
@until_option
@guarded
def capture(project_file: Path, as_json: bool, until_caught_up: bool) -> int:
    """Run only the capture step: write every change to the change log, from a position fixed at the first start."""
    from whimbrel.cli import migration

    project = named_project(project_file)
    return migration.moving(whimbrel.capture, project, as_json, until_caught_up=until_caught_up)


@click.command()
@project_option
@dms_option
@json_option
@guarded
def snapshot(project_file: Path, as_json: bool) -> int:
    """Run only the snapshot step: export the tables to files."""
    from whimbrel.cli import migration

    return migration.moving(whimbrel.snapshot, named_project(project_file), as_json)


@click.command()
@project_option
@dms_option
@json_option
@click.option("--into-existing", is_flag=True, help="Write into target tables that have items already.")
@guarded
def load(project_file: Path, as_json: bool, into_existing: bool) -> int:
    """Run only the load step: write the exported files to the target."""
    from whimbrel.cli import migration

    return migration.moving(whimbrel.load, named_project(project_file), as_json, into_existing=into_existing)


@click.command()
@project_option
@dms_option
@json_option
@until_option
@guarded
def apply(project_file: Path, as_json: bool, until_caught_up: bool) -> int:
    """Run only the apply step: apply the change log to the target."""
    from whimbrel.cli import migration

    return migration.moving(whimbrel.apply, named_project(project_file), as_json, until_caught_up=until_caught_up)


@click.command()
@project_option
@dms_option
@json_option
@waive_option
@warehouse_option
@guarded
def verify(project_file: Path, as_json: bool, waive_dead_letters: Path | None, warehouse: bool) -> int:
    """Compare source and target in full, while both are live."""
    project = named_project(project_file)
    if means_warehouse(project, warehouse):
        from whimbrel.cli import converge

        return converge.verify(project, as_json)
    from whimbrel.cli import migration

    return migration.verify(project, as_json, waive_dead_letters)


@click.command()
@project_option
@json_option
@warehouse_option
@guarded
def status(project_file: Path, as_json: bool, warehouse: bool) -> int:
    """Show migration progress."""
    project = named_project(project_file)
    if means_warehouse(project, warehouse):
        from whimbrel.cli import silos

        return silos.status(project, as_json)
    from whimbrel.cli import status as showing

    return showing.status(project, as_json)


@click.command(name="retry-dead")
@project_option
@dms_option
@json_option
@dry_run_option
@guarded
def retry_dead(project_file: Path, as_json: bool, dry_run: bool) -> int:
    """Retry dead letters: read each row from the source again, and map it again."""
    from whimbrel.cli import migration

    return migration.retry_dead(named_project(project_file), as_json, dry_run=dry_run)


@click.command()
@project_option
@dms_option
@json_option
@dry_run_option
@click.option("--remove", is_flag=True, help="Also remove items of its keys that no row makes.")
@click.argument("table")
@guarded
def refill(project_file: Path, as_json: bool, dry_run: bool, remove: bool, table: str) -> int:
    """Rewrite every item of TABLE from its current rows (for example after ALTER TABLE … ADD COLUMN … DEFAULT)."""
    from whimbrel.cli import migration

    project = named_project(project_file)
    if dry_run:
        return migration.show_refill(project, as_json, table, remove=remove)
    return migration.moving(whimbrel.refill, project, as_json, table, remove=remove)
