"""The command line: one short function for each verb, which imports only the modules that it needs."""

from __future__ import annotations

from pathlib import Path

import click

import whimbrel
from whimbrel.cli import aws as on_aws
from whimbrel.cli import handover as handing_over
from whimbrel.cli import lake as over_the_lake
from whimbrel.cli.dms import dms_option
from whimbrel.cli.options import guarded, json_option, named_project, optional_project, project_option, waive_option


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(whimbrel.__version__, prog_name="whimbrel")
def main() -> None:
    """Move the live data of a MySQL or MariaDB application into Amazon DynamoDB, without stopping it.

    \b
    Exit codes: 0 done · 1 a bug in whimbrel · 2 an error in the project file or command line
                3 the source, the target or the state folder failed · 4 done, but there are dead letters
                5 the two sides differ · 130 stopped by a signal: the same command continues
    """


dry_run_option = click.option("--dry-run", is_flag=True, help="Print what would be done, and exit.")
until_option = click.option(
    "--until-caught-up",
    is_flag=True,
    help="Exit once everything committed to the source at start-up has been applied.",
)


@main.command()
@click.argument("url")
@click.option("-t", "--table", "tables", multiple=True, help="Only this table; may be given several times.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="whimbrel.toml", show_default=True)
@click.option("--endpoint", default="", help="A DynamoDB-compatible server; without it, AWS.")
@click.option("--from-dms", type=click.Path(path_type=Path), help="Translate this AWS DMS table-mapping file.")
@click.option(
    "--tls", type=click.Choice(["off", "preferred", "required", "verify"]), default=None, help="As in [source]."
)
@click.option("--tls-ca", default="", metavar="FILE", help="The CA certificate to verify the server with.")
@click.option(
    "--tls-cert", default="", metavar="FILE", help="The client certificate, for an account that requires one."
)
@click.option("--tls-key", default="", metavar="FILE", help="The private key of the client certificate.")
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


@main.command()
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
@guarded
def check(
    project_file: Path, as_json: bool, sample: int, seconds: float, full: bool, prices: Path | None, statements: str
) -> int:
    """Report what will happen, and what would go wrong, before anything is moved.

    The exit code is 2 if something would be lost or refused. All findings are listed in docs/check.md.
    """
    from whimbrel.cli import check as check_command

    return check_command.check(
        named_project(project_file),
        as_json,
        rows=0 if full else sample,
        seconds=0.0 if full else seconds,
        prices=prices,
        statements=statements,
    )


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
@project_option
@dms_option
@json_option
@guarded
def snapshot(project_file: Path, as_json: bool) -> int:
    """Run only the snapshot step: export the tables to files."""
    from whimbrel.cli import migration

    return migration.moving(whimbrel.snapshot, named_project(project_file), as_json)


@main.command()
@project_option
@dms_option
@json_option
@click.option("--into-existing", is_flag=True, help="Write into target tables that have items already.")
@guarded
def load(project_file: Path, as_json: bool, into_existing: bool) -> int:
    """Run only the load step: write the exported files to the target."""
    from whimbrel.cli import migration

    return migration.moving(whimbrel.load, named_project(project_file), as_json, into_existing=into_existing)


@main.command()
@project_option
@dms_option
@json_option
@until_option
@guarded
def apply(project_file: Path, as_json: bool, until_caught_up: bool) -> int:
    """Run only the apply step: apply the change log to the target."""
    from whimbrel.cli import migration

    return migration.moving(whimbrel.apply, named_project(project_file), as_json, until_caught_up=until_caught_up)


@main.command()
@project_option
@dms_option
@json_option
@waive_option
@guarded
def verify(project_file: Path, as_json: bool, waive_dead_letters: Path | None) -> int:
    """Compare source and target in full, while both are live."""
    from whimbrel.cli import migration

    return migration.verify(named_project(project_file), as_json, waive_dead_letters)


@main.command()
@project_option
@json_option
@guarded
def status(project_file: Path, as_json: bool) -> int:
    """Show migration progress."""
    from whimbrel.cli import status as showing

    return showing.status(named_project(project_file), as_json)


@main.command(name="retry-dead")
@project_option
@dms_option
@json_option
@dry_run_option
@guarded
def retry_dead(project_file: Path, as_json: bool, dry_run: bool) -> int:
    """Retry dead letters: read each row from the source again, and map it again."""
    from whimbrel.cli import migration

    return migration.retry_dead(named_project(project_file), as_json, dry_run=dry_run)


@main.command()
@project_option
@dms_option
@json_option
@dry_run_option
@click.argument("table")
@guarded
def refill(project_file: Path, as_json: bool, dry_run: bool, table: str) -> int:
    """Rewrite every item of TABLE from its current rows (for example after ALTER TABLE … ADD COLUMN … DEFAULT)."""
    from whimbrel.cli import migration

    project = named_project(project_file)
    if dry_run:
        return migration.show_refill(project, as_json, table)
    return migration.moving(whimbrel.refill, project, as_json, table)


@main.command()
@project_option
@json_option
@dry_run_option
@click.option("--model", "name", default="", help="Only this model of the project.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A CSV or Parquet file with a header, instead of the model's data set.",
)
@guarded
def train(project_file: Path, as_json: bool, dry_run: bool, name: str, data: Path | None) -> int:
    """Train the project's models, and write for each a model file and a report."""
    from whimbrel.cli import train as training

    return training.train(named_project(project_file), as_json, name, data, dry_run=dry_run)


@main.command()
@project_option
@json_option
@dry_run_option
@click.option("--model", "name", default="", help="Only this model of the project.")
@guarded
def renew(project_file: Path, as_json: bool, dry_run: bool, name: str) -> int:
    """Export, convert, train and compare once; update the endpoint unless the new model is worse. Can be resumed."""
    from whimbrel.cli import renew as renewing

    return renewing.renew(named_project(project_file), as_json, name, dry_run=dry_run)


@main.command()
@project_option
@json_option
@guarded
def schedule(project_file: Path, as_json: bool) -> int:
    """Renew by the cron expressions of the project, until stopped by a signal."""
    from whimbrel.cli import renew as renewing

    return renewing.schedule(named_project(project_file), as_json)


@main.command()
@project_option
@json_option
@click.option("--endpoint", default="", help="This endpoint; needed where there are several.")
@click.option("--since", default="", help="Only calls from this time on, as 2026-01-31T12:00:00Z.")
@guarded
def drift(project_file: Path, as_json: bool, endpoint: str, since: str) -> int:
    """Report how far captured calls and their scores have drifted from the training data of the model in service."""
    from whimbrel.cli import serve as serving

    return serving.drift(optional_project(project_file), as_json, endpoint, since)


model_option = click.option(
    "--model", "model_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A model file."
)


@main.command()
@project_option
@json_option
@click.option("--host", default="", help="The address to listen at; 127.0.0.1 unless the project file says another.")
@click.option("--port", type=int, help="The port; 8080 unless the project file says another, 0 for a free one.")
@model_option
@click.option("--endpoint", default="", help="The endpoint for --model; needed where the project has several.")
@guarded
def serve(
    project_file: Path, as_json: bool, host: str, port: int | None, model_file: Path | None, endpoint: str
) -> int:
    """Answer predictions over HTTP, as a SageMaker endpoint does, until stopped by a signal."""
    from whimbrel.cli import serve as serving

    return serving.serve(optional_project(project_file), as_json, host, port, model_file, endpoint)


@main.command()
@project_option
@click.option("--endpoint", default="", help="Ask this endpoint of the running server.")
@model_option
@click.argument("rows", nargs=-1)
@guarded
def predict(project_file: Path, endpoint: str, model_file: Path | None, rows: tuple[str, ...]) -> int:
    """Predict for ROWS of CSV (or standard input), by the running server or by a model file itself."""
    from whimbrel.cli import serve as serving

    return serving.predict(optional_project(project_file), endpoint, model_file, rows)


@main.group()
def endpoint() -> None:
    """Manage endpoints. Changes apply at once if the server is running."""


@endpoint.command(name="status")
@project_option
@json_option
@guarded
def endpoint_status(project_file: Path, as_json: bool) -> int:
    """Show which models every endpoint serves."""
    from whimbrel.cli import serve as serving

    return serving.status(optional_project(project_file), as_json)


@endpoint.command(name="update")
@project_option
@json_option
@dry_run_option
@click.argument("name")
@click.option("--model", "model_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True)
@click.option("--at-once", is_flag=True, help="Move all traffic at once, without a trial on a share of it.")
@guarded
def endpoint_update(
    project_file: Path, as_json: bool, dry_run: bool, name: str, model_file: Path, at_once: bool
) -> int:
    """Deploy a model file to endpoint NAME, creating it if needed. Rolls back if the new model does worse."""
    from whimbrel.cli import serve as serving

    project = optional_project(project_file)
    return serving.update(project, as_json, name, model_file, dry_run=dry_run, at_once=at_once)


@endpoint.command(name="weights")
@project_option
@json_option
@click.argument("name")
@click.argument("weights", nargs=-1, required=True)
@guarded
def endpoint_weights(project_file: Path, as_json: bool, name: str, weights: tuple[str, ...]) -> int:
    """Change the shares of endpoint NAME's variants live: VARIANT=WEIGHT …"""
    from whimbrel.cli import serve as serving

    return serving.weights(optional_project(project_file), as_json, name, weights)


for _command in (*over_the_lake.COMMANDS, *handing_over.COMMANDS, *on_aws.COMMANDS):
    main.add_command(_command)
