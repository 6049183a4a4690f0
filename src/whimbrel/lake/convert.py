"""Exports become a data set: a full export its base, each incremental one a delta on top of it.

What a renewal costs follows what changed: the changes become one more Parquet file, and of the base only the key
columns are read, to count the rows. Deltas are folded into one when there are many, and into the base when they have
grown to a quarter of it: each row is rewritten a bounded number of times, however long the chain is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from whimbrel.errors import NotYet, UserError
from whimbrel.lake import datasets, sources
from whimbrel.lake.applied import AppliedUpTo
from whimbrel.lake.chain import chain_of, gap_before, until
from whimbrel.lake.counting import count_rows
from whimbrel.lake.datasets import building, publish
from whimbrel.lake.fold import check_unique, folded
from whimbrel.lake.known_types import RESERVED, KnownTypes, fields_of
from whimbrel.lake.manifest import DataFile, Field, Manifest, data_file, iso, new_id
from whimbrel.lake.native import Export, check_file
from whimbrel.lake.parquet_parts import PartMaker, groups_of, look_at, look_at_all, make_parts
from whimbrel.lake.refused import FILE as REFUSED
from whimbrel.lake.refused import Refused, reasons_of, refused_lines
from whimbrel.lake.segments import Part
from whimbrel.lake.settled import still_refused
from whimbrel.lake.shared import SharedLake
from whimbrel.lake.sources import SourceFile
from whimbrel.lake.types import TAGS_OF, Type, parse_type

_SEQUENCE_ROOM = 1 << 40  # rows of one renewal

Stop = threading.Event | None
Shared = SharedLake | None  # where the lake is in S3


@dataclass(frozen=True, slots=True)
class ConvertRules:
    """How one table is converted; ``pinned`` are the types that stand in the project file. ``workers`` are threads, and
    0 means one a core: what takes the time, DuckDB and Arrow, leaves the interpreter to the others meanwhile.
    ``on_items`` is called with the number of items that were read since, from any of them. ``alike``: all files
    have the types that the data set has, as others read them.
    """

    table: str
    name: str
    key: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    flatten: bool = False
    pinned: Mapping[str, Type] | None = None
    workers: int = 0
    alike: bool = False
    on_items: Callable[[int], None] = lambda items: None


@dataclass(frozen=True, slots=True)
class Converted:
    """``types`` are the attributes' as they are now, ``added`` those that no pinned type was there for; ``mixed`` have
    values of several types and are carried as DynamoDB's JSON.
    """

    manifest: Manifest
    types: dict[str, Type]
    refused: list[Refused]
    added: list[str]
    mixed: list[str]
    new_rows: int  # read in this conversion
    refusals: int  # items that are not in the data set; ``refused`` names them, or the first of them
    alike: list[list[str]]  # attributes whose names differ by letter case only, which SQL does not tell apart


def from_files(
    folder: Path, rules: ConvertRules, files: Sequence[SourceFile], stop: Stop = None, shared: Shared = None
) -> Converted:
    """Loose files (no native export) as a new data set, as of now. Incremental files among them are refused."""
    strange = [each for each in files if each.form in ("incremental", "ion-changes")]
    if strange:
        raise UserError(
            "the file has changes, not items",
            place=str(strange[0].path),
            hint="Name the folder that holds the native export with its manifests.",
        )
    files = sources.prepared(files, rules.pinned or {})
    return _base(folder, rules, files, iso(datetime.now(UTC)), (), stop, shared, loose=True)


def from_exports(
    folder: Path,
    rules: ConvertRules,
    exports: Sequence[Export],
    *,
    fresh: bool = False,
    as_of: str = "",
    accept_gap: bool = False,
    stop: Stop = None,
    shared: Shared = None,
) -> Converted | None:
    """The table as of the last of ``exports`` (in order of time); None when the current data set is that already.

    The newest full export and the incrementals after it count, and the data set is published as of each of them. Where
    the current one has been made from that full export, only the incrementals that it has not are read; ``fresh`` makes
    it all from scratch. With ``as_of`` it is made from the exports up to then, beside the current one. A gap is
    accepted by ``accept_gap``, or because it was before. Raises UserError when the chain has another gap, LogCorrupt,
    StateError, Stopped.
    """
    present = _present(folder, rules.name)
    accepted = None if accept_gap else present.gaps if present else ()
    chain = chain_of(until(exports, as_of), accepted=accepted)
    current = not as_of or present is None
    made: Converted | None = None
    if fresh or as_of or present is None or not _continues(present, rules, chain):
        full = chain[0]
        made = _base(
            folder,
            rules,
            _checked(full),
            full.as_of,
            (full.id,),
            stop,
            shared,
            full.applied,
            current=current,
            later=[file for each in chain[1:] for file in _checked(each)],
        )
        present, rules = made.manifest, replace(rules, pinned=made.types)
    for export in [each for each in chain if each.id not in present.parents]:
        later = _delta(folder, rules, present, export, stop, shared, current=current)
        made = later if made is None else _joined(made, later)
        present, rules = later.manifest, replace(rules, pinned=dict(rules.pinned or {}) | later.types)
    return made


def _joined(made: Converted, later: Converted) -> Converted:
    return replace(
        later,
        added=made.added + later.added,
        mixed=list(dict.fromkeys(made.mixed + later.mixed)),
        new_rows=made.new_rows + later.new_rows,
    )


def _base(
    folder: Path,
    rules: ConvertRules,
    files: Sequence[SourceFile],
    as_of: str,
    parents: tuple[str, ...],
    stop: Stop,
    shared: Shared,
    applied: AppliedUpTo | None = None,
    *,
    current: bool = True,
    loose: bool = False,
    later: Sequence[SourceFile] = (),
) -> Converted:
    """``loose``: the files are of no export whose manifest says that they belong together. ``later`` have the changes
    that will be added to it: its types are theirs, too.
    """
    columns = KnownTypes(rules.pinned or {}, rules.key, rules.exclude)
    identity = new_id()
    with building(folder, rules.name, identity) as workshop:
        if shared:
            shared.cache.pin(workshop)
        look_at(columns, files)
        look_at_all(columns, later, stop)
        maker = PartMaker(columns, flatten=rules.flatten, stop=stop, on_items=rules.on_items)
        workers = _threads(rules)
        parts = make_parts(workshop, groups_of(files, workers), maker, workers)
        schema = _schema(rules, columns)
        refused = [each for part in parts for each in part.refused]
        _check_content(rules, schema, parts, refused)
        listed = _data_files(parts, identity, "base")
        key = _key_columns(rules, schema, columns.types())
        if loose and key and listed:
            check_unique(rules.name, workshop.parent, [each.path for each in listed], key, workers)
        manifest = Manifest(
            id=identity,
            table=rules.table,
            name=rules.name,
            as_of=as_of,
            created=iso(datetime.now(UTC)),
            schema=schema,
            files=listed,
            rows=sum(each.rows for each in listed),
            parents=parents,
            key=key,
            refused=sum(part.refusals for part in parts),
            applied=applied,
        )
        return _publish(folder, manifest, workshop, parts, refused, columns, current, shared)


def _delta(
    folder: Path,
    rules: ConvertRules,
    present: Manifest,
    export: Export,
    stop: Stop,
    shared: Shared,
    *,
    current: bool = True,
) -> Converted:
    """The present data set and what the ``export`` changed, as one more file."""
    files = _checked(export)
    if not rules.key:
        rules = replace(rules, key=_key_in(files))
    pinned = {each.attribute: parse_type(each.type) for each in present.schema} if not rules.flatten else {}
    columns = KnownTypes(pinned | dict(rules.pinned or {}), rules.key, rules.exclude)
    identity = new_id()
    with building(folder, rules.name, identity) as workshop:
        if shared:
            shared.cache.pin(workshop)
            shared.have(present)
        look_at(columns, files)
        maker = PartMaker(columns, flatten=rules.flatten, stop=stop, on_items=rules.on_items)
        start = len(present.parents) * _SEQUENCE_ROOM
        parts = make_parts(workshop, [files], maker, 1, start)
        schema = _merged(present.schema, _schema(rules, columns))
        refused, count = still_refused(folder, present, rules.key, files, parts)
        gap = gap_before(present.as_of, export)
        changed = replace(
            present,
            id=identity,
            as_of=export.as_of,
            created=iso(datetime.now(UTC)),
            schema=schema,
            files=present.files + _data_files(parts, identity, "delta"),
            parents=(*present.parents, export.id),
            key=_key_columns(rules, schema, columns.types()),
            refused=count,
            gaps=(*present.gaps, gap) if gap else present.gaps,
            applied=export.applied or present.applied,  # what the export does not know was in it before
        )
        changed = folded(folder, changed, workshop, alike=rules.alike)
        changed = replace(changed, rows=count_rows(folder, changed))
        return _publish(folder, changed, workshop, parts, refused, columns, current, shared)


def _publish(
    folder: Path,
    manifest: Manifest,
    workshop: Path,
    parts: Sequence[Part],
    refused: list[Refused],
    columns: KnownTypes,
    current: bool,
    shared: Shared,
) -> Converted:
    """What a reader of the data set will see, and what it must be told."""
    (workshop / REFUSED).write_bytes(refused_lines(refused))
    if shared:
        shared.publish(manifest, current=current)
    with shared.mirroring() if shared else nullcontext():
        publish(folder, manifest, current=current)
    rows = sum(part.rows for part in parts)
    return Converted(
        manifest, columns.types(), refused, columns.added, columns.mixed(), rows, manifest.refused, columns.alike()
    )


def _threads(rules: ConvertRules) -> int:
    from whimbrel.workers import processes  # here, since a conversion of changes has one thread

    return processes(rules.workers)


def _data_files(parts: Sequence[Part], identity: str, kind: str) -> tuple[DataFile, ...]:
    """The segments that have rows; others, and what is left of parts made again, go."""
    segments = [each for part in parts for each in part.segments]
    for each in segments:
        if not each.rows:
            each.path.unlink()
    return tuple(data_file(each.path, each.rows, identity, kind) for each in segments if each.rows)


def _schema(rules: ConvertRules, columns: KnownTypes) -> tuple[Field, ...]:
    fields = [each for each, _ in fields_of(columns.types(), rules.exclude, rules.flatten)]
    return tuple(replace(each, nullable=each.attribute not in rules.key) for each in fields)


def _merged(present: Sequence[Field], new: Sequence[Field]) -> tuple[Field, ...]:
    """The columns as they were, with their types as they are now, and new ones behind them."""
    now = {each.name: each for each in new}
    kept = [now.pop(each.name, each) for each in present]
    return (*kept, *now.values())


def _check_content(rules: ConvertRules, schema: Sequence[Field], parts: Sequence[Part], refused: list[Refused]) -> None:
    """Raises UserError where nothing could be carried, or nothing is there that says what the columns are."""
    if refused and not any(part.rows for part in parts) and (not schema or all(each.line for each in refused)):
        raise _nothing_carried(rules, refused, sum(part.refusals for part in parts))
    if not schema:
        hint = "Convert it when it has items, or pin its columns in the project file."
        raise NotYet("there are no items, so the columns are not known", place=rules.table, hint=hint)


def _nothing_carried(rules: ConvertRules, refused: Sequence[Refused], count: int) -> UserError:
    named = f" (these are the reasons of {len(refused):,})" if len(refused) < count else ""
    message = f"all of its {count:,} lines were set aside{named}:\n{reasons_of(refused)}"
    return UserError(message, place=rules.table, hint="\nIs it an export in one of the formats in docs/lake.md?")


def _key_columns(rules: ConvertRules, schema: Sequence[Field], types: Mapping[str, Type]) -> tuple[str, ...]:
    names = {each.attribute: each.name for each in schema}
    for name in rules.key:
        if name not in names:
            hint = f"The attributes are {', '.join(names)}."
            raise UserError(f"the key attribute {name!r} is not in any item", place=rules.name, hint=hint)
        if TAGS_OF.get(types[name].kind) not in (("S",), ("N",), ("B",)):
            hint = "A key is a string, a number or binary in all items: see `key` in the [[dataset]]."
            raise UserError(f"the key attribute {name!r} has the type {types[name]}", place=rules.name, hint=hint)
    return tuple(names[name] for name in rules.key)


def _key_in(files: Sequence[SourceFile]) -> tuple[str, ...]:
    """The key's attributes, as a change names them."""
    for each in files:
        with sources.here(each) as source:
            for line in sources.read(source):
                if line.record is not None and line.record.keys:
                    return tuple(line.record.keys)
    return ()


def _checked(export: Export) -> list[SourceFile]:
    """The export's files, each compared with its checksum. Raises LogCorrupt."""
    for number in range(len(export.files)):
        check_file(export, number)
    return sources.sources(export)


def _present(folder: Path, name: str) -> Manifest | None:
    return datasets.current(folder, name) if name in datasets.names(folder) else None


def _continues(present: Manifest, rules: ConvertRules, chain: Sequence[Export]) -> bool:
    """True if the data set has been made from a beginning of this chain, under the same pinned types."""
    ids = [each.id for each in chain]
    if any(each.name.lower() in RESERVED for each in present.schema):
        return False  # made before the name was taken
    if not present.parents or list(present.parents) != ids[: len(present.parents)]:
        return False
    types = {each.attribute: each.type for each in present.schema}
    return rules.flatten or all(types.get(name, str(kind)) == str(kind) for name, kind in (rules.pinned or {}).items())
