"""What the commands do with one table of a project: export it, and make its exports a data set."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whimbrel.errors import UserError
from whimbrel.lake import datasets
from whimbrel.lake.bucket import SCHEME, fetch
from whimbrel.lake.changes import export_changes
from whimbrel.lake.convert import Converted, Rules, from_exports, from_files
from whimbrel.lake.export import (
    UNFINISHED,
    Limits,
    TableFacts,
    export_full,
    facts,
    home,
    load_chain,
    prune,
    read_limits,
)
from whimbrel.lake.manifest import Manifest
from whimbrel.lake.pin import pin
from whimbrel.lake.refused import Refused, read_refused
from whimbrel.lake.sources import find
from whimbrel.lake.sql import lake_folder
from whimbrel.lake.types import parse_type
from whimbrel.project import Project
from whimbrel.project.lake import Dataset


@dataclass(frozen=True, slots=True)
class MadeDataset:
    """``converted`` is None where the data set had everything already. ``pinned``: the project file was changed."""

    manifest: Manifest
    converted: Converted | None
    refused: list[Refused]  # that are not in it: they, or the first of them
    pinned: bool = False
    removed: tuple[str, ...] = ()


def plan_export(project: Project, table: str, how: str, max_units: float | None) -> dict[str, Any]:
    """What an export would be now: full or incremental, and how fast."""
    kind, _about, limits = _export_plan(project, table, how, max_units)
    return {"table": table, "kind": kind, "read_units_per_second": limits.units}


def make_export(
    project: Project,
    table: str,
    how: str,
    method: str,
    max_units: float | None,
    stop: threading.Event,
    count: Callable[[int], None],
) -> dict[str, Any]:
    """Export the table, or what changed in it; what was made, for people and programs."""
    lake, folder = project.lake, lake_folder(project)
    kind, about, limits = _export_plan(project, table, how, max_units)
    if kind == "full":
        made = export_full(project.target, folder, about, limits, stop=stop, on_items=count)
    else:
        made = export_changes(project.target, folder, about, limits, method=method, stop=stop, on_items=count)
    removed = prune(folder, table, lake.keep_exports) if kind == "full" else []
    return {
        "table": table,
        "kind": kind,
        "read_units_per_second": limits.units,
        "id": made.id,
        "items": made.items,
        "as_of": made.as_of,
        "folder": str(made.folder),
        "removed": removed,
    }


def make_dataset(
    project: Project,
    table: str,
    stop: threading.Event,
    place: Path | None = None,
    *,
    again: bool = False,
    as_of: str = "",
    accept_gap: bool = False,
) -> MadeDataset:
    """Convert the table's exports, or what lies at ``place``; pin the types, and remove the data sets that are too old.

    ``again`` infers all types from scratch. With ``as_of``, the data set as it was then is made beside the current one,
    and nothing is pinned. Raises what finding, reading and converting raise.
    """
    rule, folder = rule_for(project, table), lake_folder(project)
    _check_name(project, rule.name)
    key = _key(project, rule)
    rules = rules_of(rule, key, again)
    found = find(place or home(folder, rule.table))
    if found.exports:
        made = from_exports(folder, rules, found.exports, fresh=again, as_of=as_of, accept_gap=accept_gap, stop=stop)
    elif as_of:
        raise UserError("the files do not say of which time they are", place="--as-of", hint="Leave it out.")
    else:
        made = from_files(folder, rules, found.files, stop)
    if made is None:
        manifest = datasets.current(folder, rule.name)
        return MadeDataset(manifest, None, read_refused(folder, manifest))
    pinned = not as_of and pin(project.path, rule.table, rule.name, key if made.manifest.key else (), made.types)
    removed = datasets.retain(folder, rule.name, project.lake.keep, project.lake.keep_days)
    return MadeDataset(made.manifest, made, made.refused, pinned, tuple(removed))


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


def rules_of(rule: Dataset, key: tuple[str, ...], again: bool = False) -> Rules:
    """How the conversion is to be done. Raises UserError for a type that there is not."""
    pinned = {}
    for name, text in {} if again else rule.columns.items():
        try:
            pinned[name] = parse_type(text)
        except ValueError as error:
            place = f"dataset {rule.name}: columns.{name}"
            raise UserError(str(error), place=place, hint="See docs/lake.md.") from None
    return Rules(rule.table, rule.name, rule.key or key, rule.exclude, rule.flatten, pinned)


def _check_name(project: Project, name: str) -> None:
    """Raises UserError where there is a data set whose name is another one only by its letter case."""
    names = {each.name for each in project.lake.datasets} | set(datasets.names(lake_folder(project)))
    for other in sorted(names - {name}):
        if other.lower() == name.lower():
            message = f"there is a data set {other!r}: SQL does not tell names apart by letter case"
            raise UserError(message, place=name, hint="Give it another name in its [[dataset]].")


def _key(project: Project, rule: Dataset) -> tuple[str, ...]:
    chain = load_chain(home(lake_folder(project), rule.table))
    return rule.key or (tuple(name for name, _ in chain.key) if chain else ())


def _export_plan(project: Project, table: str, how: str, max_units: float | None) -> tuple[str, TableFacts, Limits]:
    lake, place = project.lake, home(lake_folder(project), table)
    about = facts(project.target, table)
    most = max_units if max_units is not None else lake.max_read_units or project.target.max_read_units
    limits = read_limits(about, lake.capacity_share, most, lake.segments, lake.consistent)
    chain = load_chain(place)
    unfinished = (place / UNFINISHED).exists()
    whole = how == "full" or (how != "incremental" and (chain is None or chain.table_id != about.id or unfinished))
    return ("full" if whole else "incremental"), about, limits
