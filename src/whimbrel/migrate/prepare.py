"""Prepare: the live schema and the project's rules become checked tables and compiled mappings, before anything is
moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from whimbrel import checkpoint
from whimbrel.errors import MappingError, ProjectError, SchemaDrift, StateError
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.family import family_faults, sharing
from whimbrel.mapping.versions import Versions
from whimbrel.migrate import history
from whimbrel.migrate.history import History
from whimbrel.migrate.rules import unsafe_edits
from whimbrel.migrate.state import StateFolder
from whimbrel.mysql.connect import Mysql, ServerInfo, connect, server_info
from whimbrel.mysql.preflight import check_source
from whimbrel.mysql.schema import estimated_rows, read_table, unique_keys
from whimbrel.project import Project, TableRule
from whimbrel.records import Table


@dataclass(frozen=True)
class Prepared:
    """What a run works with. ``tables`` are as the source has them now, ``mappings`` are for these.

    ``versions`` have the mappings for what the tables were before. ``history`` is None before the migration begins.
    ``mappings``, ``versions`` and ``estimates`` are by the source table's full name.
    """

    project: Project
    server: ServerInfo
    tables: dict[tuple[str, str], Table]
    mappings: dict[str, TableMapping]
    estimates: dict[str, int]
    versions: dict[str, Versions]
    history: History | None


def prepare(project: Project) -> Prepared:
    """Read the schema, check the source's settings and compile every mapping.

    Raises SourceError, PrivilegeError, UnsupportedSource, MappingError with the faults of all tables at once, and
    SchemaDrift if a table was altered since the migration began and its rule does not say what becomes of that.
    """
    if not project.tables:
        raise ProjectError(
            "there is no [[table]] to migrate", place=str(project.path), hint="Write one for each source table."
        )
    folder = StateFolder(project.state)
    begun = checkpoint.load(folder.checkpoint).phase != "new"
    connection = connect(project.source)
    try:
        return _prepare(project, connection, history.load(folder.tables) if begun else None)
    finally:
        connection.close()


def _prepare(project: Project, connection: Mysql, past: History | None) -> Prepared:
    tables: dict[tuple[str, str], Table] = {}
    estimates: dict[str, int] = {}
    versions: dict[str, Versions] = {}
    alone: list[TableMapping] = []
    faults: list[str] = []
    for rule in project.tables:
        schema, _, name = rule.source.partition(".")
        table = tables[schema, name] = read_table(connection, schema, name)
        estimates[rule.source] = estimated_rows(connection, table)
        versions[rule.source] = _versions(rule, table, past, compile_mapping)
        try:
            alone.append(versions[rule.source].of(table))
        except MappingError as error:
            faults.append(str(error))
    faults = faults or family_faults(alone)
    if past is None:
        faults += [fault for mapping in alone for fault in unproven(connection, mapping)]
    if faults:
        raise MappingError(
            "\n  " + "\n  ".join(faults), place=str(project.path), hint="\nMend the mapping, then run it again."
        )
    mappings = {each.source: each for each in alone}
    for rule, mapping in zip(project.tables, alone, strict=True):
        if mapping.shared:  # again, knowing whom the items are shared with
            compiled = partial(compile_mapping, sharing=sharing(mapping, alone))
            versions[rule.source] = _versions(rule, mapping.table, past, compiled)
            mappings[mapping.source] = versions[rule.source].of(mapping.table)
    check_source(connection, list(tables.values()))
    return Prepared(project, server_info(connection), tables, mappings, estimates, versions, past)


def _versions(
    rule: TableRule, table: Table, past: History | None, compile_: Callable[[TableRule, Table], TableMapping]
) -> Versions:
    name = (table.schema, table.name)
    first = past.starts().get(name, table) if past else table
    return Versions(rule, first, past.columns(name) if past else (), compile_)


def unproven(connection: Mysql, mapping: TableMapping) -> list[str]:
    """Why two rows could come to one place in the target and overwrite each other, if nobody says that none ever do."""
    if mapping.rule.assert_unique or not mapping.doubts():
        return []  # without a question to the source
    return [
        f"{mapping.source}: {doubt}. Put a key of the source into that of the target, or, if you know that no two rows "
        f"ever do, write assert_unique = true: `whimbrel check` says whether some do now"
        for doubt in mapping.doubts(unique_keys(connection, mapping.table))
    ]


def not_altered(connection: Mysql, tables: list[Table]) -> None:
    """Raises SchemaDrift if one of ``tables`` is not what it was when the mappings were compiled."""
    for table in tables:
        if read_table(connection, table.schema, table.name) != table:
            raise SchemaDrift("was altered this very moment", place=table.full_name, hint="Run the same command again.")


def same_source(server: ServerInfo, recorded: str) -> None:
    """Refuse to go on with another server than the one the migration began with."""
    if recorded and recorded != server.server_uuid:
        raise StateError(
            f"this source is {server.server_uuid}, the migration began with {recorded}",
            place="source.url",
            hint="Point the project at the first server again, or begin anew with a new state folder and target table.",
        )


def same_rules(prepared: Prepared, recorded: str) -> None:
    """Refuse to go on with rules that make other items than those that the migration began with."""
    if not recorded:
        return
    past = prepared.history
    if past is None or past.digest != recorded:
        raise StateError(
            "what the tables were at the start is not what the checkpoint stands for",
            place=str(StateFolder(prepared.project.state).tables),
            hint="Restore the state folder from one copy, or begin anew with a new state folder and target table.",
        )
    edits = unsafe_edits(past, prepared.project.tables, prepared.tables)
    if edits:
        raise StateError(
            f"the project file is not the one that this migration began with: {'; '.join(edits)}",
            place=str(prepared.project.path),
            hint="Put it back, or begin anew with a new state folder and target table.",
        )


def chunk_key(mapping: TableMapping) -> tuple[str, ...]:
    """The columns whose ranges make the snapshot's chunks: those of the group where one chunk can hold whole groups."""
    grouped = mapping.shape == "group" and mapping.aligned
    return mapping.group_columns if grouped else mapping.table.primary_key
