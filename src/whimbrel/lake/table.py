"""What is done with one table of a project: it is exported, its exports become a data set, and that becomes CSV.

What reads a table in DynamoDB is imported where it is used: a conversion starts without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whimbrel.errors import UserError
from whimbrel.lake import datasets
from whimbrel.lake.applied import applied_now
from whimbrel.lake.bucket import SCHEME, fetch
from whimbrel.lake.chain import chain_of, until
from whimbrel.lake.chain_file import home
from whimbrel.lake.convert import Converted, ConvertRules, from_exports, from_files
from whimbrel.lake.csvfile import FILE, columns_for, default_folder, write_csv
from whimbrel.lake.iceberg_if_installed import need_iceberg
from whimbrel.lake.manifest import Manifest
from whimbrel.lake.opened import OpenLake, lake_folder, open_lake
from whimbrel.lake.pin import pin
from whimbrel.lake.refused import Refused, read_refused
from whimbrel.lake.snapshot import IcebergSnapshot
from whimbrel.lake.sources import find
from whimbrel.lake.types import parse_type
from whimbrel.project import Project
from whimbrel.project.lake import Dataset

if TYPE_CHECKING:
    from whimbrel.lake.export import ExportedTable, ReadLimits


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """``kind`` is ``full`` or ``incremental``; the table is read at ``read_units_per_second`` at most."""

    table: str
    kind: str
    read_units_per_second: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """``items`` were read (changes, of an incremental export), as they were ``as_of`` a moment (ISO 8601, UTC).

    ``removed`` are the ids of older exports that are not kept any more. ``position`` is up to where a migration had
    written the table before, file:offset in its source's binlog; "" where that is not certain.
    """

    table: str
    kind: str
    read_units_per_second: float
    id: str
    items: int
    as_of: str
    folder: str
    removed: tuple[str, ...]
    position: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ConvertPlan:
    """``sources`` are the ids of the exports, or the files, or the address in S3, that would be converted."""

    table: str
    sources: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"table": self.table, "from": list(self.sources)}


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """The data set as ``manifest`` has it. ``converted`` is None where it had everything already; ``refused`` are items
    that are not in it: they, or the first of them. ``pinned``: the project file was changed. ``iceberg`` is its
    snapshot, where the data set is published as one.
    """

    manifest: Manifest
    converted: Converted | None
    refused: list[Refused]
    pinned: bool = False
    removed: tuple[str, ...] = ()
    iceberg: IcebergSnapshot | None = None

    def to_dict(self) -> dict[str, Any]:
        manifest, done = self.manifest, self.converted
        values: dict[str, Any] = {"dataset": manifest.name, "id": manifest.id, "as_of": manifest.as_of}
        values |= {"rows": manifest.rows, "refused": manifest.refused, "changed": done is not None}
        values |= {"gaps": [list(gap) for gap in manifest.gaps], "position": str(manifest.applied or "")}
        if done is not None:
            columns = {field.name: field.type for field in manifest.schema}
            values |= {"new_rows": done.new_rows, "columns": columns, "added": done.added, "mixed": done.mixed}
            values |= {"alike": done.alike, "removed": list(self.removed)}
        if self.iceberg:
            values["iceberg"] = self.iceberg.to_dict()
        return values


@dataclass(frozen=True, slots=True)
class CsvResult:
    csv: str
    rows: int
    columns: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def plan_export(project: Project, table: str, how: str = "", max_units: float | None = None) -> ExportPlan:
    """What an export would be now. ``how``: ``full`` or ``incremental``, else whichever will do."""
    with open_lake(project) as lake:
        kind, _about, limits = _export_plan(project, lake, table, how, max_units)
    return ExportPlan(table, kind, 0.0 if project.lake.export == "native" else limits.units)


def prove_export(project: Project, table: str) -> ExportedTable:
    """What DynamoDB says of the table. Raises what an export would: RequestRefused if it does not exist,
    PrivilegeError where it may not be read, UserError where DynamoDB could not export it. At most one item is read.
    """
    from whimbrel.lake.by_dynamodb import prove_recovery
    from whimbrel.lake.export import facts, prove_readable

    about = facts(project.target, table)
    if project.lake.store and project.lake.export == "native":
        prove_recovery(project.target, about, recovery=project.lake.recovery)
    else:
        prove_readable(project.target, about)
    return about


def make_export(
    project: Project,
    table: str,
    *,
    how: str = "",
    method: str = "auto",
    max_units: float | None = None,
    or_last: bool = False,
    stop: threading.Event,
    count: Callable[[int], None] = lambda items: None,
) -> ExportResult:
    """Export the table, or what changed in it. ``or_last``: where DynamoDB exports no window as short as that since the
    last export, it is that one.
    """
    from whimbrel.lake.by_dynamodb import make_by_dynamodb
    from whimbrel.lake.changes import export_changes
    from whimbrel.lake.export import export_full, prune

    with open_lake(project, stop) as lake:
        folder, keep, shared = lake.folder, project.lake.keep_exports, lake.exports(table)
        kind, about, limits = _export_plan(project, lake, table, how, max_units)
        applied = applied_now(project, table, about.id)
        certain = applied if limits.consistent else None  # another read may miss what was written just before it
        settings: dict[str, Any] = {"shared": shared, "stop": stop, "on_items": count}
        if shared and project.lake.export == "native" and method == "auto":
            made = make_by_dynamodb(
                project,
                about,
                shared,
                full=kind == "full",
                or_last=or_last,
                applied=applied,
                stop=stop,
                on_items=count,
            )
            limits = replace(limits, units=0.0)
        elif kind == "full":
            made = [export_full(project.target, folder, about, limits, certain, **settings)]
        else:
            made = [export_changes(project.target, folder, about, limits, certain, method=method, **settings)]
        gone = (shared.prune(keep) if shared else prune(folder, table, keep)) if kind == "full" else []
        last, items = made[-1], sum(each.items for each in made)
        place = shared.url(last) if shared else str(last.folder)
    said = str(last.applied or "")
    return ExportResult(table, kind, limits.units, last.id, items, last.as_of, place, tuple(gone), said)


def plan_convert(project: Project, table: str, place: str, as_of: str) -> ConvertPlan:
    """What ``make_dataset`` would convert. Raises what finding the exports raises."""
    if place.startswith(SCHEME):
        return ConvertPlan(table, (place,))
    with open_lake(project) as lake:
        found = find(Path(place)) if place else lake.find(rule_for(project, table).table)
    chain = chain_of(until(found.exports, as_of), accepted=None) if found.exports else []
    sources = [each.id for each in chain] if found.exports else [each.place for each in found.files]
    return ConvertPlan(table, tuple(sources))


def make_csv(
    project: Project,
    table: str,
    path: Path | None,
    *,
    columns: Sequence[str] = (),
    label: str = "",
    without: Sequence[str] = (),
    header: bool = False,
) -> CsvResult:
    """The table's current data set as CSV, in ``path`` or the lake's csv folder."""
    name = rule_for(project, table).name
    with open_lake(project) as lake:
        lake.look(name)
        manifest = datasets.current(lake.folder, name)
        listed = columns_for(manifest, columns, label, without)
        file = path or default_folder(lake.folder, name) / FILE
        lake.have(manifest)
        rows = write_csv(lake.folder, manifest, file, listed, header=header)
    return CsvResult(str(file), rows, tuple(listed))


def make_dataset(
    project: Project,
    table: str,
    stop: threading.Event,
    place: Path | None = None,
    *,
    again: bool = False,
    as_of: str = "",
    accept_gap: bool = False,
    on_items: Callable[[int], None] = lambda items: None,
) -> ConvertResult:
    """Convert the table's exports, or what lies at ``place``; pin the types, and remove the data sets that are too old.

    ``again`` infers all types from scratch. With ``as_of``, the data set as it was then is made beside the current one,
    and nothing is pinned. Raises what finding, reading and converting raise.
    """
    rule = rule_for(project, table)
    with open_lake(project, stop) as lake:
        lake.look()
        _check_name(project, lake, rule.name)
        key = _key(lake, rule)
        rules = replace(rules_of(rule, key, again), workers=project.workers, on_items=on_items)
        made = _made(lake, rules, place, again, as_of, accept_gap, stop)
        if made is None:
            manifest = datasets.current(lake.folder, rule.name)
            lake.have(manifest)
            refused = read_refused(lake.folder, manifest)
            if not rule.publish:
                return ConvertResult(manifest, None, refused)
            iceberg, removed = _settle(project, lake, rule)  # where a process was killed before it had done so
            return ConvertResult(manifest, None, refused, False, removed, iceberg)
        pinned = not as_of and pin(project.path, rule.table, rule.name, key if made.manifest.key else (), made.types)
        iceberg, removed = _settle(project, lake, rule)
        return ConvertResult(made.manifest, made, made.refused, pinned, removed, iceberg)


def _settle(project: Project, lake: OpenLake, rule: Dataset) -> tuple[IcebergSnapshot | None, tuple[str, ...]]:
    """What follows a data set's pointer: its snapshot, and only then is removed what is too old."""
    iceberg, keep, days = _in_iceberg(project, lake, rule), project.lake.keep, project.lake.keep_days
    return iceberg, tuple(lake.retain(rule.name, keep, days))


def _in_iceberg(project: Project, lake: OpenLake, rule: Dataset) -> IcebergSnapshot | None:
    """The current data set's snapshot, where it is to have one."""
    if not rule.publish:
        return None
    made: IcebergSnapshot = need_iceberg().publish(project, lake, rule.name, project.lake.keep, project.lake.keep_days)
    return made


def _made(
    lake: OpenLake,
    rules: ConvertRules,
    place: Path | None,
    again: bool,
    as_of: str,
    accept_gap: bool,
    stop: threading.Event,
) -> Converted | None:
    """None where there is nothing new."""
    found, folder, shared = find(place) if place else lake.find(rules.table), lake.folder, lake.shared
    if found.exports:
        settings: dict[str, Any] = {"fresh": again, "as_of": as_of, "accept_gap": accept_gap}
        return from_exports(folder, rules, found.exports, **settings, stop=stop, shared=shared)
    if as_of:
        raise UserError("the files do not state their time", place="--as-of", hint="Leave it out.")
    return from_files(folder, rules, found.files, stop, shared)


def exported_place(project: Project, place: str, stop: threading.Event) -> Path | None:
    """Where the exports are on this machine: those in S3 are copied first. None where no place is named."""
    if not place.startswith(SCHEME):
        return Path(place) if place else None
    target = replace(project.target, endpoint=project.lake.s3_endpoint)
    return fetch(target, place, lake_folder(project), stop)


def rule_for(project: Project, table: str) -> Dataset:
    """The [[dataset]] of this table, or one of its own name."""
    for each in project.lake.datasets:
        if table in (each.table, each.name):
            return each
    return Dataset(table=table, name=table)


def rules_of(rule: Dataset, key: tuple[str, ...], again: bool = False) -> ConvertRules:
    """How to convert. Raises UserError for an unknown type."""
    pinned = {}
    for name, text in {} if again else rule.columns.items():
        try:
            pinned[name] = parse_type(text)
        except ValueError as error:
            place = f"dataset {rule.name}: columns.{name}"
            raise UserError(str(error), place=place, hint="See docs/lake.md.") from None
    alike = bool(rule.publish)
    return ConvertRules(rule.table, rule.name, rule.key or key, rule.exclude, rule.flatten, pinned, alike=alike)


def _check_name(project: Project, lake: OpenLake, name: str) -> None:
    """Raises UserError where there is a data set whose name is another one only by its letter case."""
    names = {each.name for each in project.lake.datasets} | set(datasets.names(lake.folder))
    for other in sorted(names - {name}):
        if other.lower() == name.lower():
            message = f"there is a data set {other!r}: SQL does not tell names apart by letter case"
            raise UserError(message, place=name, hint="Give it another name in its [[dataset]].")


def _key(lake: OpenLake, rule: Dataset) -> tuple[str, ...]:
    if rule.key:
        return rule.key
    chain = lake.chain(rule.table)
    return tuple(name for name, _ in chain.key) if chain else ()


def _export_plan(
    project: Project, opened: OpenLake, table: str, how: str, max_units: float | None
) -> tuple[str, ExportedTable, ReadLimits]:
    from whimbrel.lake.export import UNFINISHED, facts, read_limits

    lake, place = project.lake, home(opened.folder, table)
    about = facts(project.target, table)
    most = max_units if max_units is not None else lake.max_read_units or project.target.max_read_units
    limits = read_limits(about, lake.capacity_share, most, lake.segments, lake.consistent)
    chain = opened.chain(table)
    unfinished = (place / UNFINISHED).exists()
    whole = how == "full" or (how != "incremental" and (chain is None or chain.table_id != about.id or unfinished))
    return ("full" if whole else "incremental"), about, limits
