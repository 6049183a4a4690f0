"""One silo before anything is moved: its live schema, checked for what the source and the engine can carry exactly."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from whimbrel import checkpoint
from whimbrel.errors import BEGIN_AGAIN, PrivilegeError, StateError, UnsupportedSource, WhimbrelError
from whimbrel.migration import history
from whimbrel.migration.history import History
from whimbrel.migration.prepare import Prepared, lineage_of
from whimbrel.migration.state import StateFolder
from whimbrel.mysql.connect import Mysql, connect, server_info
from whimbrel.mysql.conversions import same_as_server
from whimbrel.mysql.preflight import source_faults
from whimbrel.mysql.schema import estimated_rows, facts_of, names_fold, read_table, table_names
from whimbrel.notes import note
from whimbrel.project import Project, Silo
from whimbrel.records import Table
from whimbrel.warehouse.names import name_faults
from whimbrel.warehouse.stored import StoredTable, stored_table


@dataclass(frozen=True)
class PreparedSilo:
    """``prepared`` is of a project that has nothing but this silo's source, and a state folder of its own."""

    silo: Silo
    engine: str
    prepared: Prepared

    @property
    def tables(self) -> list[Table]:
        return list(self.prepared.tables.values())

    def stored(self) -> list[StoredTable]:
        """The tables as they would be made now."""
        return [stored_table(self.engine, self.silo, table) for table in self.tables]


def prepare_silo(project: Project, silo: Silo, engine: str) -> PreparedSilo:
    """Raises the only fault, or UnsupportedSource with all of them; SourceUnreachable, PrivilegeError, StateError."""
    with of_silo(silo.name), closing(connect(silo.source)) as connection:
        return _prepare(project, silo, engine, connection)


_AGAIN = re.compile(re.escape(BEGIN_AGAIN), re.IGNORECASE)


def _begin_again(name: str) -> str:
    return f"egin the silo again: drop its schema {name}, and remove its state folder silos/{name}"


@contextmanager
def of_silo(name: str) -> Iterator[None]:
    """Several sources may have binlogs and tables of one name: an error says first which silo it is. To begin again is
    something else for a silo than for a migration.
    """
    try:
        yield
    except WhimbrelError as error:
        error.hint = _AGAIN.sub(lambda found: f"{found[0][0]}{_begin_again(name)}", error.hint)
        if not f"{error.place}:".startswith((f"{name}:", f"{name}.")):
            error.place = f"{name}: {error.place}" if error.place else name
        raise


def _prepare(project: Project, silo: Silo, engine: str, connection: Mysql) -> PreparedSilo:
    folder = StateFolder(project.state).silo(silo.name)
    begun = checkpoint.load(folder.checkpoint)
    if begun.migration and begun.start is None:
        hint = f"Give the silo another name, or {BEGIN_AGAIN}."
        raise StateError("it was begun as a silo of DynamoDB tables", place=str(folder.root), hint=hint)
    past = history.load(folder.tables) if begun.phase != "new" else None
    names = _names(silo, past, connection)
    tables, faults = _read(silo, names, connection)
    prepared = Prepared(
        project=replace(project, source=silo.source, state=folder.root, tables=(), warehouse=None, silos=()),
        server=server_info(connection),
        tables={(table.schema, table.name): table for table in tables},
        mappings={},
        estimates=estimated_rows(connection, tables) if tables else {},
        versions={},
        history=past,
    )
    found = PreparedSilo(silo, engine, prepared)
    if past is None:  # later versions are followed as the log has them
        faults += _carried_faults(found)
    faults += list(source_faults(connection, tables))
    _refuse(silo, faults, begun=past is not None)
    if begun.start:
        lineage_of(prepared).prove_logged(connection, prepared.server, tables)
    same_as_server(connection, tables)
    return found


def _names(silo: Silo, past: History | None, connection: Mysql) -> list[str]:
    """The tables to carry: once begun, those that it was begun with."""
    database = silo.source.database
    there = table_names(connection, database)
    wanted = _wanted(silo, there)
    if unknown := [name for name in silo.exclude if name not in there]:
        note(f"{silo.name}: exclude names {unknown[0]!r}, which {database} does not have")
    if past is None:
        return list(wanted)
    _same_tables(silo, past, folds=names_fold(connection))
    begun = [name for _, name in past.starts()]
    if new := sorted(set(wanted) - set(begun)):
        _note_new(silo, new)
    return begun


def _wanted(silo: Silo, there: Sequence[str]) -> tuple[str, ...]:
    return silo.tables or tuple(name for name in there if name not in silo.exclude)


def _note_new(silo: Silo, tables: Sequence[str]) -> None:
    """Of tables that are not carried, because the silo was begun before they were there."""
    note(f"{silo.name}: {', '.join(tables)} came after it was begun, and is not carried: write another [[silo]]")


class NewTables:
    """Those that come while a silo is followed: each is named once."""

    def __init__(self, found: PreparedSilo) -> None:
        self._silo, self._carried = found.silo, {table.name for table in found.tables}
        self._known: frozenset[str] | None = None

    def look(self, connection: Mysql) -> None:
        now = frozenset(_wanted(self._silo, table_names(connection, self._silo.source.database))) - self._carried
        before = now if self._known is None else self._known  # those were named as the silo was prepared
        if new := sorted(now - before):
            _note_new(self._silo, new)
        self._known = before | now


def _same_tables(silo: Silo, past: History, *, folds: bool) -> None:
    """Raises UnsupportedSource where the project file now says other tables than those that it was begun with."""
    begun, others = sorted(name for _, name in past.starts()), "For others write another [[silo]]"
    hint = f"Put it back. {others}, or {BEGIN_AGAIN}."
    [database] = {schema for schema, _ in past.starts()}
    if silo.source.database != database and not (folds and silo.source.database.lower() == database.lower()):
        message = f"it was begun with the database {database}, and url names {silo.source.database}"
        raise UnsupportedSource(message, place=f"{silo.name}: url", hint=hint)
    edited = sorted(set(silo.tables) ^ set(begun)) if silo.tables else sorted(set(silo.exclude) & set(begun))
    if edited:
        key = "tables" if silo.tables else "exclude"
        message = f"it was begun with {', '.join(begun)}, and {key} has another {edited[0]!r}"
        raise UnsupportedSource(message, place=f"{silo.name}: {key}", hint=hint)


def _read(silo: Silo, names: Sequence[str], connection: Mysql) -> tuple[list[Table], list[WhimbrelError]]:
    database, faults = silo.source.database, list[WhimbrelError]()
    tables = []
    if not names:
        reason, hint = f"{database} has no tables", "Check silo.url, tables and the account's grants."
        faults.append(UnsupportedSource(reason, place=silo.name, hint=hint))
    known = facts_of(connection, [(database, name) for name in names])
    for name, facts in zip(names, known, strict=True):
        try:
            tables.append(read_table(connection, database, name, facts))
        except (UnsupportedSource, PrivilegeError) as error:
            error.place = f"{silo.name}: {error.place or name}"
            faults.append(error)
    return tables, faults


def _carried_faults(found: PreparedSilo) -> list[WhimbrelError]:
    faults: list[WhimbrelError] = list(name_faults(found.engine, found.silo, found.tables))
    known = {table.name for table in found.tables}
    known |= {f"{table.name}.{name}" for table in found.tables for name in table.names}
    for key, settings in (("names", found.silo.names), ("types", found.silo.types)):
        faults += [
            UnsupportedSource("there is no such table or column", place=f"{found.silo.name}: {key}.{name}")
            for name in settings
            if name not in known
        ]
    for table in found.tables:
        if found.silo.history:
            faults += [
                UnsupportedSource("a column of the key has its own type where versions are kept", place=f"types.{key}")
                for key in found.silo.types
                if key in {f"{table.name}.{name}" for name in table.primary_key}
            ]
        try:
            stored_table(found.engine, found.silo, table)
        except UnsupportedSource as error:
            faults.append(error)
    return faults


def _refuse(silo: Silo, faults: list[WhimbrelError], *, begun: bool) -> None:
    otherwise = f"Otherwise {BEGIN_AGAIN}." if begun else ""
    if len(faults) == 1:
        [fault] = faults
        fault.hint = f"{fault.hint.rstrip('.')}. {otherwise}" if begun and fault.hint else fault.hint or otherwise
        raise fault
    if faults:
        said = "\n  ".join(map(str, faults))
        hint = f"\nCorrect each. {otherwise}" if begun else "\nCorrect each, or leave a table out with exclude."
        raise UnsupportedSource(f"\n  {said}", place=silo.name, hint=hint)
