"""What ``whimbrel export``, ``convert`` and ``restore`` print of what the functions of ``whimbrel`` give."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import click

from whimbrel.api import lake as verbs
from whimbrel.cli.frame import DEAD_LETTERS, OK, say_json
from whimbrel.cli.stopping import interruptible
from whimbrel.errors import UserError
from whimbrel.lake import datasets
from whimbrel.lake.bucket import SCHEME
from whimbrel.lake.opened import lake_folder
from whimbrel.lake.table import ConvertPlan, ConvertResult
from whimbrel.project import Project

How: TypeAlias = Literal["", "full", "incremental"]
Method: TypeAlias = Literal["auto", "stream", "compare"]
NAMED = 20  # refused items shown to a person; the data set's refused.jsonl has more


@dataclass(frozen=True)
class Csv:
    """What ``convert`` writes as CSV, too; without ``file`` into the lake's csv folder."""

    file: Path | None
    columns: Sequence[str]
    label: str
    without: Sequence[str]
    header: bool


def export(
    project: Project,
    as_json: bool,
    table: str,
    *,
    dry_run: bool,
    how: str,
    method: str,
    max_read_units: float | None,
) -> int:
    kind, way = cast(How, how), cast(Method, method)
    if dry_run:
        plan = verbs.plan_export(project, table, how=kind, max_read_units=max_read_units)
        rate = f"at {plan.read_units_per_second:,.0f} read units a second at most"
        if not plan.read_units_per_second:
            rate = "by DynamoDB itself, without a read unit"
        say(as_json, plan.to_dict(), f"A {plan.kind} export of {table}, {rate}.")
        return OK
    with interruptible() as stop, counting(as_json) as count:
        done = verbs.export(
            project, table, how=kind, method=way, max_read_units=max_read_units, progress=count, stop=stop
        )
    what = "items" if done.kind == "full" else "changes"
    say(as_json, done.to_dict(), f"{done.items:,} {what} as of {done.as_of} in {done.folder}")
    if done.position and not as_json:
        click.echo(f"It has everything that was applied up to {done.position}.")
    return OK


def convert(
    project: Project,
    as_json: bool,
    table: str,
    csv: Csv | None,
    *,
    dry_run: bool,
    place: str,
    again: bool,
    as_of: str,
    accept_gap: bool,
) -> int:
    if as_of and csv:
        raise UserError("CSV is written of the current data set", place="--as-of", hint="Use query --as-of -f csv.")
    if dry_run:
        plan = verbs.plan_convert(project, table, source=place, as_of=as_of)
        say(as_json, plan.to_dict(), f"From {_sources(project, plan)}")
        return OK
    with interruptible() as stop:
        made = verbs.convert(project, table, source=place, again=again, as_of=as_of, accept_gap=accept_gap, stop=stop)
    report(made, project, as_json and not csv)
    if csv:
        done = verbs.write_csv(
            project,
            table,
            path=csv.file,
            columns=csv.columns,
            label=csv.label,
            without=csv.without,
            header=csv.header,
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
    if made.iceberg:
        yield f"Snapshot {made.iceberg.snapshot} of the Iceberg table {made.iceberg.table}."
        if made.iceberg.began_again:
            yield "Columns have other types than before: the table was made again, and has no older snapshot."
    if manifest.applied and done:
        yield f"It has everything that was applied up to {manifest.applied}."
    for start, end in manifest.gaps:
        yield (f"The changes from {start} to {end} are in no export: accepted, and not in it.")
    if manifest.refused:
        yield (f"{manifest.refused:,} items are not in it:")
    for each in made.refused[:NAMED]:
        where = f"{each.file}, line {each.line}" if each.line else each.file
        yield (f"  {each.key or ''} {where}: {each.reason}")
    if manifest.refused > NAMED:
        yield (f"  … more in {datasets.home(lake_folder(project), manifest.name) / manifest.id / 'refused.jsonl'}")


def restore(
    project: Project,
    as_json: bool,
    table: str,
    keys: Sequence[str],
    written: dict[str, Any],
    *,
    dry_run: bool,
    **options: Any,
) -> int:
    """``written`` says how: the options of a restore that a plan of it does not have."""
    key = [_key(each) for each in keys]
    with interruptible() as stop, counting(as_json) as count:
        if dry_run:
            plan = verbs.plan_restore(project, table, key=key, stop=stop, **options)
            told = f"{plan.table} with the key {list(plan.key)}, from {len(plan.files)} files."
            say(as_json, plan.to_dict(), told)
            return OK
        done = verbs.restore(project, table, key=key, progress=count, stop=stop, **options, **written)
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
