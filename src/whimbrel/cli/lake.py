"""The commands over the lake: export, convert, restore, query."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import click

from whimbrel.api import lake as verbs
from whimbrel.api.opened import opened
from whimbrel.cli.frame import (
    DEAD_LETTERS,
    OK,
    guarded,
    json_option,
    named_project,
    project_option,
    say_json,
)
from whimbrel.cli.stopping import interruptible
from whimbrel.errors import UserError
from whimbrel.lake import datasets
from whimbrel.lake.bucket import SCHEME
from whimbrel.lake.sql import FORMATS, lake_folder, open_database, statements
from whimbrel.lake.table import ConvertPlan, ConvertResult
from whimbrel.project import Project

How: TypeAlias = Literal["", "full", "incremental"]
Method: TypeAlias = Literal["auto", "stream", "compare"]
NAMED = 20  # refused items shown to a person; the data set's refused.jsonl has more
dry_run_option = click.option("--dry-run", is_flag=True, help="Print what would be done, and exit.")


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
    project, kind, way = named_project(project_file), cast(How, how or ""), cast(Method, method or "auto")
    if dry_run:
        plan = verbs.plan_export(project, table, how=kind, max_read_units=max_read_units)
        rate = f"at {plan.read_units_per_second:,.0f} read units a second at most"
        say(as_json, plan.to_dict(), f"A {plan.kind} export of {table}, {rate}.")
        return OK
    with interruptible() as stop, counting(as_json) as count:
        done = verbs.export(
            project, table, how=kind, method=way, max_read_units=max_read_units, progress=count, stop=stop
        )
    what = "items" if done.kind == "full" else "changes"
    say(as_json, done.to_dict(), f"{done.items:,} {what} as of {done.as_of} in {done.folder}")
    return OK


@click.command()
@click.argument("table")
@project_option
@json_option
@dry_run_option
@click.option("--from", "place", default="", help="An export from elsewhere: a folder, a file, or s3://bucket/path.")
@click.option("--again", is_flag=True, help="Infer the types from all exports again, whatever is pinned.")
@click.option("--as-of", default="", help="The data set as it was at this time, beside the current one.")
@click.option("--accept-gap", is_flag=True, help="Continue although changes are in no export; the data set records it.")
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
    project = named_project(project_file)
    if as_of and (as_csv or csv_file):
        raise UserError("CSV is written of the current data set", place="--as-of", hint="Use query --as-of -f csv.")
    if dry_run:
        plan = verbs.plan_convert(project, table, source=place, as_of=as_of)
        say(as_json, plan.to_dict(), f"From {_sources(project, plan)}")
        return OK
    with interruptible() as stop:
        made = verbs.convert(project, table, source=place, again=again, as_of=as_of, accept_gap=accept_gap, stop=stop)
    report(made, project, as_json and not (as_csv or csv_file))
    if as_csv or csv_file:
        done = verbs.write_csv(
            project, table, path=csv_file, columns=columns, label=label, without=without, header=header
        )
        say(as_json, done.to_dict(), f"{done.rows:,} rows in {done.csv}")
    return DEAD_LETTERS if made.manifest.refused else OK


def _sources(project: Project, plan: ConvertPlan) -> str:
    text = ", ".join(plan.sources)
    return f"{text}, copied into {lake_folder(project)}" if text.startswith(SCHEME) else text


def report(made: ConvertResult, project: Project, as_json: bool) -> None:
    manifest = made.manifest
    told = f"{manifest.rows:,} rows as of {manifest.as_of} in data set {manifest.name} ({manifest.id})"
    say(as_json, made.to_dict(), told if made.converted else "Nothing new since the last export.")
    if not as_json:
        for line in _more_lines(made, project):
            click.echo(line)


def _more_lines(made: ConvertResult, project: Project) -> Iterator[str]:
    """What a person must know of a data set besides its size."""
    manifest, done = made.manifest, made.converted
    if made.pinned:
        yield (f"The types are pinned in {project.path}.")
    for name in done.mixed if done else ():
        yield (f"{name!r} has values of several types: its column is DynamoDB's JSON.")
    columns = {field.attribute: field.name for field in manifest.schema}
    for names in done.alike if done else ():
        told = " and ".join(f"{name!r} (column {columns[name]!r})" if name in columns else repr(name) for name in names)
        inside = "" if names[0] in columns else "; the column that they are in is DynamoDB's JSON"
        yield (f"{told} differ by letter case only, which SQL does not tell apart{inside}.")
    for start, end in manifest.gaps:
        yield (f"The changes from {start} to {end} are in no export: accepted, and not in it.")
    if manifest.refused:
        yield (f"{manifest.refused:,} items are not in it:")
    for each in made.refused[:NAMED]:
        where = f"{each.file}, line {each.line}" if each.line else each.file
        yield (f"  {each.key or ''} {where}: {each.reason}")
    if manifest.refused > NAMED:
        yield (f"  … more in {datasets.home(lake_folder(project), manifest.name) / manifest.id / 'refused.jsonl'}")


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
@click.option("--accept-gap", is_flag=True, help="Continue although changes are in no export.")
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
    project, key = named_project(project_file), [_key(each) for each in keys]
    if dry_run:
        with interruptible() as stop:
            plan = verbs.plan_restore(
                project, table, source=place, as_of=as_of, into=into, key=key, accept_gap=accept_gap, stop=stop
            )
        values, shown = plan.to_dict(), list(plan.key)
        say(as_json, values, f"{plan.table} with the key {shown}, from {len(plan.files)} files.")
        return OK
    with interruptible() as stop, counting(as_json) as count:
        done = verbs.restore(
            project,
            table,
            source=place,
            as_of=as_of,
            into=into,
            key=key,
            accept_gap=accept_gap,
            into_existing=into_existing,
            progress=count,
            stop=stop,
        )
    told = f"{done.puts:,} items written, {done.deletes:,} deleted, {len(done.refused):,} refused."
    say(as_json, done.to_dict(), told)
    for each in [] if as_json else done.refused[:NAMED]:
        click.echo(f"  {each.key or ''} {each.file}, line {each.line}: {each.reason}")
    return DEAD_LETTERS if done.refused else OK


def _key(text: str) -> tuple[str, str]:
    name, _, kind = text.rpartition(":")
    if not name or kind not in ("S", "N", "B"):
        raise UserError(f"{text!r} is not a key attribute", place="--key", hint="Write it as NAME:S, NAME:N or NAME:B.")
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

    project = named_project(project_file)
    text = script.read_text(encoding="utf-8") if script else sql
    if text is None:
        from whimbrel.cli.shell import run_shell

        with opened(project):
            return run_shell(project, as_of=as_of, identity=identity)
    if kind == "parquet" and output is None:
        raise UserError("Parquet goes into a file", place="--output", hint="Name it: -o rows.parquet")
    with (
        opened(project),
        open_database(project, as_of=as_of, identity=identity) as database,
        written(output) as out,
    ):
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


COMMANDS = (export, convert, restore, query)
