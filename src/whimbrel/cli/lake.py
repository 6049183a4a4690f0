"""The commands over the lake: export, convert, restore, query."""

from __future__ import annotations

from pathlib import Path

import click

from whimbrel.cli.options import dry_run_option, guarded, json_option, named_project, project_option, text_option

FORMATS = ("table", "csv", "json", "parquet")
ENGINES = ("duckdb", "athena")


@click.command()
@click.argument("table")
@project_option
@json_option
@dry_run_option
@click.option("--full", "how", flag_value="full", help="The whole table, also where changes would do.")
@click.option("--incremental", "how", flag_value="incremental", help="Only the changes since the last export.")
@click.option("--stream", "method", flag_value="stream", help="Changes from the table's stream, or an error.")
@click.option("--compare", "method", flag_value="compare", help="Changes by reading the table and comparing.")
@click.option("--max-read-units", type=float, default=None, help="Per second; instead of the project's setting.")
@guarded
def export(
    table: str,
    project_file: Path,
    as_json: bool,
    dry_run: bool,
    how: str | None,
    method: str | None,
    max_read_units: float | None,
) -> int:
    """Export TABLE in the native layout: whole the first time, then what changed since the last export.

    An export that was stopped continues where it was.
    """
    from whimbrel.cli import exports

    return exports.export(
        named_project(project_file),
        as_json,
        table,
        dry_run=dry_run,
        how=how or "",
        method=method or "auto",
        max_read_units=max_read_units,
    )


@click.command()
@click.argument("table")
@project_option
@json_option
@dry_run_option
@text_option("--from", "place", help="An export from elsewhere: a folder, a file, or s3://bucket/path.")
@click.option("--again", is_flag=True, help="Infer the types from all exports again, whatever is pinned.")
@text_option("--as-of", help="The data set as it was at this time, beside the current one.")
@click.option("--accept-gap", is_flag=True, help="Continue although changes are in no export; the data set records it.")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV too, into the lake's csv folder.")
@click.option("--csv-file", type=click.Path(path_type=Path), help="Write CSV too, into this file.")
@text_option("--label", help="The column that stands first in the CSV.")
@click.option("--header", is_flag=True, help="A header in the CSV.")
@click.option("--column", "columns", multiple=True, help="Only this column in the CSV; may be given several times.")
@click.option("--without", "without", multiple=True, help="Not this column in the CSV; may be given several times.")
@guarded
def convert(
    table: str,
    project_file: Path,
    as_json: bool,
    dry_run: bool,
    place: str,
    again: bool,
    as_of: str,
    accept_gap: bool,
    as_csv: bool,
    csv_file: Path | None,
    label: str,
    header: bool,
    columns: tuple[str, ...],
    without: tuple[str, ...],
) -> int:
    """Make TABLE's exports a typed data set in Parquet.

    Types follow from all items and are pinned in the project file.
    """
    from whimbrel.cli import exports

    project = named_project(project_file)
    csv = exports.Csv(csv_file, columns, label, without, header=header) if as_csv or csv_file else None
    return exports.convert(
        project, as_json, table, csv, dry_run=dry_run, place=place, again=again, as_of=as_of, accept_gap=accept_gap
    )


@click.command()
@click.argument("table")
@project_option
@json_option
@dry_run_option
@text_option("--from", "place", help="Where the exports are, if not in the lake; or s3://bucket/path.")
@text_option("--as-of", help="Only exports up to this time.")
@text_option("--into", help="The table that is written, if it has another name.")
@click.option(
    "--key", "keys", multiple=True, help="The key as NAME:TYPE, partition key first, where no export says it."
)
@click.option("--accept-gap", is_flag=True, help="Continue although changes are in no export.")
@click.option("--into-existing", is_flag=True, help="Write into a table that has items already.")
@click.option("--import", "by_import", is_flag=True, help="DynamoDB imports the table from the bucket of [snapshot].")
@guarded
def restore(
    table: str,
    project_file: Path,
    as_json: bool,
    dry_run: bool,
    place: str,
    as_of: str,
    into: str,
    keys: tuple[str, ...],
    accept_gap: bool,
    into_existing: bool,
    by_import: bool,
) -> int:
    """Rebuild TABLE from its exports: every item as it was."""
    from whimbrel.cli import exports

    options = {"source": place, "as_of": as_of, "into": into, "accept_gap": accept_gap}
    project = named_project(project_file)
    written = {"into_existing": into_existing, "by_import": by_import}
    return exports.restore(project, as_json, table, keys, written, dry_run=dry_run, **options)


@click.command()
@click.argument("sql", required=False)
@project_option
@click.option("-f", "--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Into this file.")
@click.option("--file", "script", type=click.Path(path_type=Path, exists=True), help="The SQL is in this file.")
@text_option("--as-of", help="Every data set as it was at this time.")
@text_option("--as-of-position", "position", help="The same by FILE:OFFSET in a migration's source.")
@text_option("--dataset-id", "identity", help="The data set with this id.")
@click.option("--engine", type=click.Choice(ENGINES), default="duckdb", show_default=True, help="What answers.")
@click.option("--warehouse", is_flag=True, help="Ask the warehouse, whose tables are SILO.TABLE.")
@guarded
def query(
    sql: str | None,
    project_file: Path,
    kind: str,
    output: Path | None,
    script: Path | None,
    as_of: str,
    position: str,
    identity: str,
    engine: str,
    warehouse: bool,
) -> int:
    """Ask SQL of the data sets, each by its name. Without SQL, a shell with history and completion."""
    at = {"as_of": as_of, "dataset_id": identity, "as_of_position": position}
    project, text = named_project(project_file), script.read_text(encoding="utf-8") if script else sql
    if warehouse:
        from whimbrel.cli import converge

        return converge.query(project, text or "", kind, output)
    if text is None:
        from whimbrel.cli.shell import run_shell

        return run_shell(project, engine=engine, **at)
    from whimbrel.cli import query as asking

    return asking.query(project, text, kind, output, engine=engine, **at)
