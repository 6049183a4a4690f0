"""Data sets on disk: published whole, read whole, kept by a rule.

``datasets/<name>/<id>/{manifest.json, part-….parquet, delta-….parquet}`` and ``datasets/<name>/current.json``, which
names the id. A manifest may list files of earlier ids: a renewal adds a delta to the base that is there.

A reader resolves ``current.json`` once and then sees one whole data set, whatever is published meanwhile.
"""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from whimbrel.durable import replace_file, sync_file, sync_folder
from whimbrel.errors import Locked, LogCorrupt, StateError, UserError
from whimbrel.lake.applied import asked_position
from whimbrel.lake.duck import connect
from whimbrel.lake.inside import child
from whimbrel.lake.manifest import FILE_NAME, Manifest, asked_time, iso, read_manifest, read_time, sha256_of, to_json
from whimbrel.project.section import is_plain_name

if TYPE_CHECKING:
    import pyarrow

CURRENT = "current.json"
DELETED, SEQUENCE = "_deleted", "_sequence"
# Else DuckDB takes a folder's name such as ``pk=7`` for a column, instead of the one that the files have.
OWN_COLUMNS = "hive_partitioning = false"


def names(folder: Path) -> list[str]:
    """The data sets that have been published in the lake's ``folder``."""
    return sorted(path.parent.name for path in (folder / "datasets").glob(f"*/{CURRENT}"))


def current(folder: Path, name: str) -> Manifest:
    """The data set as it was last published. Raises UserError when there is none."""
    pointer = home(folder, name) / CURRENT
    try:
        data = pointer.read_bytes()
    except FileNotFoundError:
        hint = f"Make it with: whimbrel export {name} && whimbrel convert {name}"
        raise UserError("there is no such data set yet", place=name, hint=hint) from None
    return read_manifest(home(folder, name) / id_in(data, pointer) / FILE_NAME)


def id_in(pointer: bytes, path: Path) -> str:
    """The data set that the content of a pointer names. Raises LogCorrupt."""
    try:
        identity: str = orjson.loads(pointer)["id"]
        if not is_plain_name(identity):
            raise ValueError(f"{identity!r} is not an id")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LogCorrupt(f"not a pointer: {error}", place=str(path), hint="Convert the exports again.") from error
    return identity


def at(folder: Path, name: str, as_of: str = "", identity: str = "", position: str = "") -> Manifest:
    """The data set with this id; or the newest that is not newer than ``as_of``, or whose applied Position is not
    after ``position`` (FILE:OFFSET); or the current one.

    Raises UserError, naming what there is.
    """
    if not (as_of or identity or position):
        return current(folder, name)
    if [as_of, identity, position].count("") < 2:
        message = "a data set is asked for in two ways"
        raise UserError(message, place=name, hint="Give its time, its id or its position alone.")
    kept = versions(folder, name)
    if position:
        return _at_position(kept, name, position)
    if identity:
        found = [each for each in kept if each.id == identity]
    else:
        moment = asked_time(as_of, name)
        found = [each for each in kept if read_time(each.as_of) <= moment]
    if not found:
        there = ", ".join(f"{each.id} (as of {each.as_of})" for each in kept) or "nothing"
        raise UserError(f"no data set {identity or 'as of ' + as_of}", place=name, hint=f"There is: {there}.")
    return max(found, key=lambda each: (read_time(each.as_of), each.id))


def _at_position(kept: Sequence[Manifest], name: str, text: str) -> Manifest:
    """Positions of another server, or of before a failover, are not compared: the newest data set says which count."""
    asked, known = asked_position(text), [(each, each.applied) for each in kept if each.applied]
    last = known[-1][1] if known else None
    found = [
        each
        for each, applied in known
        if last and (applied.source, applied.position.epoch) == (last.source, last.position.epoch)
        if asked._replace(epoch=last.position.epoch).at_or_after(applied.position)
    ]
    if not found:
        there = ", ".join(f"{each.id} ({applied})" for each, applied in known) or "none that says its position"
        raise UserError(f"no data set up to {asked}", place=name, hint=f"There is: {there}.")
    return found[-1]


def versions(folder: Path, name: str) -> list[Manifest]:
    """Every data set that is kept under this name, oldest first."""
    return [read_manifest(path) for path in sorted(home(folder, name).glob(f"[0-9]*/{FILE_NAME}"))]


def home(folder: Path, name: str) -> Path:
    """Raises UserError for a name that cannot be a folder's."""
    return child(folder / "datasets", name)


@contextmanager
def building(folder: Path, name: str, identity: str) -> Iterator[Path]:
    """The folder of a future data set: not one before ``publish`` puts its manifest there; removed on an error.

    One at a time for each name. What a crash left of another is removed. Raises Locked.
    """
    place = home(folder, name)
    place.mkdir(parents=True, exist_ok=True)
    with locked(place / ".lock", name):
        _sweep(place)
        workshop = place / identity
        workshop.mkdir()
        try:
            yield workshop
        finally:
            if not (workshop / FILE_NAME).exists():
                shutil.rmtree(workshop, ignore_errors=True)


@contextmanager
def locked(path: Path, name: str) -> Iterator[None]:
    """Hold the lock file. Raises Locked when another process does."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            hint = "Wait until it has ended."
            raise Locked("another whimbrel process is working on it", place=name, hint=hint) from None
        yield


def publish(folder: Path, manifest: Manifest, *, current: bool = True) -> None:
    """Make the manifest, whose files are all in place, a data set, durably; the ``current`` one.

    The order matters: the files, their folder, the manifest, and only then the pointer. Raises OSError.
    """
    workshop = home(folder, manifest.name) / manifest.id
    for path in workshop.iterdir():
        sync_file(path)
    sync_folder(workshop.parent)
    replace_file(workshop / FILE_NAME, to_json(manifest))
    if current:
        point_to(folder, manifest)


def point_to(folder: Path, manifest: Manifest) -> None:
    """Make a kept data set the current one."""
    replace_file(home(folder, manifest.name) / CURRENT, pointer_to(manifest))


def pointer_to(manifest: Manifest) -> bytes:
    return orjson.dumps({"id": manifest.id, "as_of": manifest.as_of}) + b"\n"


def retain(folder: Path, name: str, keep: int, keep_days: float = 0.0) -> list[str]:
    """Remove all but the last ``keep`` data sets and those of the last ``keep_days``; the ids that went.

    The current one stays, and so does every file that a kept manifest lists, whichever id it was made under. Nothing is
    removed while another process converts: no manifest lists the files that it makes. The next conversion removes it.
    """
    place = home(folder, name)
    try:
        with locked(place / ".lock", name):
            going = too_old(folder, name, keep, keep_days)
            for each in going:  # without its manifest it stops being a data set: a crash from here on leaves only files
                (place / each.id / FILE_NAME).unlink()
            _sweep(place)
            return [each.id for each in going]
    except Locked:
        return []


def too_old(folder: Path, name: str, keep: int, keep_days: float = 0.0) -> list[Manifest]:
    """The data sets that ``retain`` removes."""
    now = current(folder, name)
    kept = versions(folder, name)
    youngest = {each.id for each in kept[-max(1, keep) :]} | {now.id}
    if keep_days:
        horizon = iso(read_time(kept[-1].created) - timedelta(days=keep_days))
        youngest |= {each.id for each in kept if each.created >= horizon}
    return [each for each in kept if each.id not in youngest]


def check(folder: Path, manifest: Manifest) -> None:
    """Compare every file with its checksum. Raises LogCorrupt, naming the file."""
    for file in manifest.files:
        path = home(folder, manifest.name) / file.path
        if not path.exists() or sha256_of(path) != file.sha256:
            raise LogCorrupt("the checksum does not match", place=str(path), hint="Convert the exports again.")


def select(folder: Path, manifest: Manifest, columns: Sequence[str] | None = None) -> str:
    """SQL for DuckDB that gives the data set's rows: the base without what the deltas changed, and their last word.

    Only the key columns of the base are compared; without deltas it is the plain files.
    """
    known = dict.fromkeys(manifest.columns)
    wanted = list(known if columns is None else columns)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UserError(f"no column {unknown[0]!r}", place=manifest.name, hint=f"It has {', '.join(manifest.columns)}.")
    missing = [file for file in manifest.files if not (home(folder, manifest.name) / file.path).exists()]
    if missing:
        raise StateError(f"{missing[0].path} is gone", place=manifest.name, hint="Convert the exports again.")
    base = _parts(folder, manifest, wanted, "base")
    if not manifest.deltas:
        return base
    listed, key = ", ".join(map(quoted, wanted)), ", ".join(map(quoted, manifest.key))
    latest = f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {quoted(SEQUENCE)} DESC) = 1"
    named = list(dict.fromkeys([*manifest.key, *wanted]))
    return (
        f"WITH changed AS MATERIALIZED (SELECT * FROM ({_parts(folder, manifest, named, 'delta')}) {latest}) "
        f"SELECT {listed} FROM ({_parts(folder, manifest, named, 'base')}) ANTI JOIN changed USING ({key}) "
        f"UNION ALL SELECT {listed} FROM changed WHERE NOT {quoted(DELETED)}"
    )


def arrow(folder: Path, manifest: Manifest, columns: Sequence[str] | None = None) -> pyarrow.Table:
    """The data set's rows, in one order whenever they are read, and whatever columns of them: so by one thread.

    Raises UserError for a column that it has not, StateError when a file is gone.
    """
    with connect(threads=1) as connection:
        table: pyarrow.Table = connection.sql(select(folder, manifest, columns)).to_arrow_table()
        return table


def _parts(folder: Path, manifest: Manifest, columns: list[str], kind: str) -> str:
    files = [file for file in manifest.files if file.kind == kind]
    paths = ", ".join(path_literal(home(folder, manifest.name) / file.path) for file in files)
    stored = f"SELECT * FROM read_parquet([{paths}], union_by_name = true, {OWN_COLUMNS})" if files else ""
    return typed(manifest, columns, kind, stored)


def typed(manifest: Manifest, columns: Sequence[str], kind: str, stored: str) -> str:
    """What the query ``stored`` gives ("": nothing), as the data set has it. A part that was written before a column
    was known has NULL there; the types are the manifest's.
    """
    types = sql_types(manifest)
    selected = ", ".join(f"{quoted(name)}::{types[name]} AS {quoted(name)}" for name in columns)
    empty = ", ".join(f"NULL::{types[name]} AS {quoted(name)}" for name in manifest.columns)
    if kind == "delta":
        selected += f", {quoted(DELETED)}, {quoted(SEQUENCE)}"
        empty += f", NULL::BOOLEAN AS {quoted(DELETED)}, NULL::BIGINT AS {quoted(SEQUENCE)}"
    more = f" UNION ALL BY NAME {stored}" if stored else ""
    return f"SELECT {selected} FROM (SELECT {empty} WHERE false{more})"


def sql_types(manifest: Manifest) -> dict[str, str]:
    """Of each column, in DuckDB."""
    from whimbrel.lake.types import parse_type, sql_type

    return {field.name: sql_type(parse_type(field.type)) for field in manifest.schema}


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL string."""
    return "'" + text.replace("'", "''") + "'"


def path_literal(path: Path) -> str:
    """A file to read, as an SQL string: what would be a pattern or an address there stands for itself."""
    return literal(re.sub(r"[*?\[]", r"[\g<0>]", str(path.absolute())))


def _sweep(place: Path) -> None:
    """Remove every file that no manifest lists from folders without a manifest, and the folders that are empty then."""
    listed = {place / file.path for path in place.glob(f"[0-9]*/{FILE_NAME}") for file in read_manifest(path).files}
    for folder in place.glob("[0-9]*"):
        if folder.is_dir() and not (folder / FILE_NAME).exists():
            for path in folder.iterdir():
                if path not in listed:
                    path.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()
