"""The commands over the lake: export, convert, restore, query."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from whimbrel.cli.frame import (
    DEAD_LETTERS,
    OK,
    guarded,
    json_option,
    open_project,
    project_option,
    say_json,
)
from whimbrel.cli.stopping import interruptible
from whimbrel.errors import UserError
from whimbrel.lake import datasets
from whimbrel.lake.bucket import SCHEME
from whimbrel.lake.chain import chain_of, until
from whimbrel.lake.csvfile import FILE, columns_for, default_folder, write_csv
from whimbrel.lake.export import home, load_chain
from whimbrel.lake.sources import find
from whimbrel.lake.sql import FORMATS, lake_folder, open_database, statements
from whimbrel.lake.table import MadeDataset, exported_place, make_dataset, make_export, plan_export, rule_for
from whimbrel.project import Project

NAMED = 20  # refused items shown to a person; the data set's refused.jsonl has more
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


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

    An export that was stopped goes on where it was.
    """
    project = open_project(project_file)
    return run_export(project, table, as_json, how or "", method or "auto", max_read_units, dry_run=dry_run)


def run_export(
    project: Project, table: str, as_json: bool, how: str, method: str, max_units: float | None, *, dry_run: bool
) -> int:
    if dry_run:
        plan = plan_export(project, table, how, max_units)
        rate = plan["read_units_per_second"]
        say(as_json, plan, f"A {plan['kind']} export of {table}, at {rate:,.0f} read units a second at most.")
        return OK
    with interruptible() as stop, counting(as_json) as count:
        values = make_export(project, table, how, method, max_units, stop, count)
    what = "items" if values["kind"] == "full" else "changes"
    say(as_json, values, f"{values['items']:,} {what} as of {values['as_of']} in {values['folder']}")
    return OK


@click.command()
@click.argument("table")
@project_option
@json_option
@dry_run_option
@click.option("--from", "place", default="", help="An export from elsewhere: a folder, a file, or s3://bucket/path.")
@click.option("--again", is_flag=True, help="Infer the types from all exports again, whatever is pinned.")
@click.option("--as-of", default="", help="The data set as it was at this time, beside the current one.")
@click.option("--accept-gap", is_flag=True, help="Go on where changes are in no export; the data set records it.")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV too, into the lake's csv folder.")
@click.option("--csv-file", type=click.Path(path_type=Path), help="Write CSV too, into this file.")
@click.option("--label", default="", help="The column that stands first in the CSV.")
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
    project = open_project(project_file)
    if as_of and (as_csv or csv_file):
        raise UserError("CSV is written of the current data set", place="--as-of", hint="Use query --as-of -f csv.")
    quiet = as_json and not (as_csv or csv_file)
    if dry_run:
        return _say_sources(project, table, as_json, place, as_of)
    code = run_convert(project, table, quiet, place, again=again, as_of=as_of, accept_gap=accept_gap)
    if as_csv or csv_file:
        name = rule_for(project, table).name
        run_csv(project, name, as_json, csv_file, (label, columns, without), header=header)
    return code


def run_convert(
    project: Project, table: str, as_json: bool, place: str, *, again: bool, as_of: str, accept_gap: bool
) -> int:
    with interruptible() as stop:
        exports = exported_place(project, place, stop)
        made = make_dataset(project, table, stop, exports, again=again, as_of=as_of, accept_gap=accept_gap)
    manifest, done = made.manifest, made.converted
    values: dict[str, Any] = {"dataset": manifest.name, "id": manifest.id, "as_of": manifest.as_of}
    values |= {"rows": manifest.rows, "refused": manifest.refused, "gaps": manifest.gaps, "changed": done is not None}
    if done is None:
        say(as_json, values, "Nothing new since the last export.")
    else:
        columns = {field.name: field.type for field in manifest.schema}
        values |= {"new_rows": done.new_rows, "columns": columns, "added": done.added, "mixed": done.mixed}
        values |= {"alike": done.alike, "removed": list(made.removed)}
        told = f"{manifest.rows:,} rows as of {manifest.as_of} in data set {manifest.name} ({manifest.id})"
        say(as_json, values, told)
    if not as_json:
        report(made, project)
    return DEAD_LETTERS if manifest.refused else OK


def _say_sources(project: Project, table: str, as_json: bool, place: str, as_of: str) -> int:
    folder = lake_folder(project)
    if place.startswith(SCHEME):
        say(as_json, {"table": table, "from": [place]}, f"From {place}, copied into {folder}")
        return OK
    found = find(Path(place) if place else home(folder, rule_for(project, table).table))
    chain = chain_of(until(found.exports, as_of), accepted=None) if found.exports else []
    sources = [each.id for each in chain] if found.exports else [each.path for each in found.files]
    say(as_json, {"table": table, "from": sources}, "From " + ", ".join(map(str, sources)))
    return OK


def report(made: MadeDataset, project: Project) -> None:
    """What a person must know of a data set besides its size."""
    manifest, done = made.manifest, made.converted
    if made.pinned:
        click.echo(f"The types are pinned in {project.path}.")
    for name in done.mixed if done else ():
        click.echo(f"{name!r} has values of several types: its column is DynamoDB's JSON.")
    columns = {field.attribute: field.name for field in manifest.schema}
    for names in done.alike if done else ():
        told = " and ".join(f"{name!r} (column {columns[name]!r})" if name in columns else repr(name) for name in names)
        inside = "" if names[0] in columns else "; the column that they are in is DynamoDB's JSON"
        click.echo(f"{told} differ by letter case only, which SQL does not tell apart{inside}.")
    for start, end in manifest.gaps:
        click.echo(f"The changes from {start} to {end} are in no export: accepted, and not in it.")
    if manifest.refused:
        click.echo(f"{manifest.refused:,} items are not in it:")
    for each in made.refused[:NAMED]:
        where = f"{each.file}, line {each.line}" if each.line else each.file
        click.echo(f"  {each.key or ''} {where}: {each.reason}")
    if manifest.refused > NAMED:
        click.echo(f"  … more in {datasets.home(lake_folder(project), manifest.name) / manifest.id / 'refused.jsonl'}")


def run_csv(
    project: Project,
    name: str,
    as_json: bool,
    path: Path | None,
    chosen: tuple[str, Sequence[str], Sequence[str]],
    *,
    header: bool,
) -> None:
    label, columns, without = chosen
    folder = lake_folder(project)
    manifest = datasets.current(folder, name)
    listed = columns_for(manifest, columns, label, without)
    file = path or default_folder(folder, name) / FILE
    rows = write_csv(folder, manifest, file, listed, header=header)
    say(as_json, {"csv": file, "rows": rows, "columns": listed}, f"{rows:,} rows in {file}")


@click.command()
@click.argument("table")
@project_option
@json_option
@dry_run_option
@click.option("--from", "place", default="", help="Where the exports are, if not in the lake; or s3://bucket/path.")
@click.option("--as-of", default="", help="Only exports up to this time.")
@click.option("--into", default="", help="The table that is written, if it has another name.")
@click.option(
    "--key", "keys", multiple=True, help="The key as NAME:TYPE, partition key first, where no export says it."
)
@click.option("--accept-gap", is_flag=True, help="Go on where changes are in no export.")
@click.option("--into-existing", is_flag=True, help="Write into a table that has items already.")
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
) -> int:
    """Rebuild TABLE from its exports: every item as it was."""
    from whimbrel.lake.restore import files_of, key_from
    from whimbrel.lake.restore import restore as write_back

    project = open_project(project_file)
    folder = lake_folder(project)
    with interruptible() as stop:
        exports = home(folder, table)
        found = find(exported_place(project, place, stop) or exports)
    files = files_of(found.exports, found.files, as_of, accept_gap=accept_gap)
    chain = None if place else load_chain(home(folder, table))
    key = [_key(each) for each in keys] or (list(chain.key) if chain else key_from(files))
    if not key:
        raise UserError("no export says what the key is", place=table, hint="Say it: --key customer_id:S")
    if dry_run:
        values = {"table": into or table, "key": key, "files": [each.path for each in files]}
        say(as_json, values, f"{into or table} with the key {key}, from {len(files)} files.")
        return OK
    with interruptible() as stop, counting(as_json) as count:
        done = write_back(
            project.target, into or table, files, key, into_existing=into_existing, stop=stop, on_items=count
        )
    told: dict[str, Any] = {
        "table": into or table,
        "puts": done.puts,
        "deletes": done.deletes,
        "refused": len(done.refused),
    }
    say(as_json, told, f"{done.puts:,} items written, {done.deletes:,} deleted, {len(done.refused):,} refused.")
    for each in [] if as_json else done.refused[:NAMED]:
        click.echo(f"  {each.key or ''} {each.file}, line {each.line}: {each.reason}")
    return DEAD_LETTERS if done.refused else OK


def _key(text: str) -> tuple[str, str]:
    name, _, kind = text.rpartition(":")
    if not name or kind not in ("S", "N", "B"):
        raise UserError(f"{text!r} is no key attribute", place="--key", hint="Write it as NAME:S, NAME:N or NAME:B.")
    return name, kind


@click.command()
@click.argument("sql", required=False)
@project_option
@click.option("-f", "--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Into this file.")
@click.option("--file", "script", type=click.Path(path_type=Path, exists=True), help="The SQL is in this file.")
@click.option("--as-of", default="", help="Every data set as it was at this time.")
@click.option("--dataset-id", "identity", default="", help="The data set with this id.")
@guarded
def query(
    sql: str | None,
    project_file: Path,
    kind: str,
    output: Path | None,
    script: Path | None,
    as_of: str,
    identity: str,
) -> int:
    """Ask SQL of the data sets, each by its name. Without SQL, a shell with history and completion."""
    from whimbrel.cli.table import write_table

    project = open_project(project_file)
    text = script.read_text(encoding="utf-8") if script else sql
    if text is None:
        from whimbrel.cli.shell import run_shell

        return run_shell(project, as_of=as_of, identity=identity)
    if kind == "parquet" and output is None:
        raise UserError("Parquet goes into a file", place="--output", hint="Name it: -o rows.parquet")
    with open_database(project, as_of=as_of, identity=identity) as database, opened(output) as out:
        for statement in statements(text):
            if kind == "table":
                write_table(database, statement, out)
            else:
                database.copy(statement, kind, out)
    return OK


def say(as_json: bool, values: dict[str, Any], text: str) -> None:
    say_json(values) if as_json else click.echo(text)


@contextmanager
def counting(as_json: bool) -> Iterator[Any]:
    """A count of items that moves on a terminal's last line."""
    lock, counted, shown = threading.Lock(), 0, sys.stderr.isatty() and not as_json

    def count(items: int) -> None:
        nonlocal counted
        with lock:
            counted += items
            if shown:
                click.echo(f"\r{counted:,} items", nl=False, err=True)

    yield count
    if shown:
        click.echo("\r\x1b[K", nl=False, err=True)


@contextmanager
def opened(path: Path | None) -> Iterator[Any]:
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


COMMANDS = (export, convert, restore, query)
