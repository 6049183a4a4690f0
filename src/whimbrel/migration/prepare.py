"""Prepare: the live schema and the project's rules become checked tables and compiled mappings, before anything is
moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from whimbrel import checkpoint
from whimbrel.changelog.segments import durable_commit
from whimbrel.checkpoint import Checkpoint
from whimbrel.errors import MappingError, SchemaDrift, StateError
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.versions import Versions
from whimbrel.migration.beginnings import Beginnings
from whimbrel.migration.history import History
from whimbrel.migration.lineage import Lineage
from whimbrel.migration.mappings import Mappings, read_mappings, refuse, unproven
from whimbrel.migration.safe_edits import unsafe_edits
from whimbrel.migration.state import StateFolder
from whimbrel.migration.value_forms import Mapped, same_values
from whimbrel.mysql.connect import Mysql, ServerInfo, connect, server_info
from whimbrel.mysql.conversions import same_as_server
from whimbrel.mysql.preflight import check_source
from whimbrel.mysql.schema import estimated_rows, facts_of, read_table
from whimbrel.project import Project
from whimbrel.records import Table


@dataclass(frozen=True)
class Prepared:
    """What a run works with. ``tables`` are as the source has them now, ``mappings`` are for these.

    ``versions`` have the mappings for what the tables were before. ``history`` is None before the migration begins.
    ``mappings``, ``versions`` and ``estimates`` are by the rule's name: that of its table, if it is the only one.
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
    SchemaDrift if a table was altered since the migration began and its rule does not say how to handle that.
    """
    connection = connect(project.source)
    try:
        return _prepare(project, connection)
    finally:
        connection.close()


def _prepare(project: Project, connection: Mysql) -> Prepared:
    found = read_mappings(project, connection)
    past = StateFolder(project.state).checkpoint
    begun = checkpoint.load(past)
    tables = list(found.tables.values())
    same_values(_mapped(found), begun.values, str(past))  # first: it may be why a table seems to be another one
    faults = list(found.faults)
    doubts = [doubt for mapping in found.mappings.values() for doubt in unproven(connection, mapping)]
    faults += [MappingError(doubt) for doubt in doubts]
    refuse(faults, project)
    info = server_info(connection)
    if begun.start:
        _lineage(project, info).prove_logged(connection, info, tables)
    check_source(connection, tables)
    same_as_server(connection, tables)
    estimated = estimated_rows(connection, tables)
    return Prepared(
        project=found.project,
        server=info,
        tables=found.tables,
        mappings=found.mappings,
        estimates={name: estimated[mapping.table.full_name] for name, mapping in found.mappings.items()},
        versions=found.versions,
        history=found.history,
    )


def _mapped(found: Mappings) -> Iterator[Mapped]:
    for rule in found.project.tables:
        table = next(each for each in found.tables.values() if each.full_name == rule.source)
        yield rule, table, found.mappings.get(rule.name)


def not_altered(connection: Mysql, tables: list[Table]) -> None:
    """Raises SchemaDrift if one of ``tables`` is not what it was when the mappings were compiled."""
    known = facts_of(connection, [(table.schema, table.name) for table in tables])
    for table, facts in zip(tables, known, strict=True):
        if read_table(connection, table.schema, table.name, facts) != table:
            raise SchemaDrift("was altered just now", place=table.full_name, hint="Run the same command again.")


def lineage_of(prepared: Prepared) -> Lineage:
    """Of the migration that the project's state folder has, if it has begun; else of this server."""
    return _lineage(prepared.project, prepared.server)


def _lineage(project: Project, info: ServerInfo) -> Lineage:
    folder = StateFolder(project.state)
    first = checkpoint.load(folder.checkpoint).source or info.server_uuid
    return Lineage(project.source, folder.servers, Beginnings(folder.binlogs), first)


def followable(prepared: Prepared, now: Checkpoint) -> None:
    """Refuse to continue with a server that does not continue the history of the one that was followed.

    The capture proves it again for all that is captured; rows are read, and compared, from here on.
    """
    lineage = lineage_of(prepared)
    if now.start is None or prepared.server.server_uuid == lineage.latest().server:
        return
    with closing(connect(prepared.project.source)) as connection:
        lineage.prove(connection, now.applied_position or now.start)


def goes_on(project: Project, connection: Mysql) -> None:
    """Refuse a migration, or a silo, that has begun, and whose capture could not continue now with the server of
    ``connection``. Nothing is written. Raises PositionLost, StateError, UnsupportedSource, and as ``Lineage.prove``.
    """
    folder = StateFolder(project.state)
    start = checkpoint.load(folder.checkpoint).start
    if start is None:
        return
    last, info = durable_commit(folder.log), server_info(connection)
    _lineage(project, info).prove_goes_on(connection, info, last.position if last else start)


def same_rules(prepared: Prepared, recorded: str) -> None:
    """Refuse to continue with rules that make other items than those that the migration began with."""
    if not recorded:
        return
    past = prepared.history
    if past is None or past.digest != recorded:
        raise StateError(
            "tables.jsonl does not match the checkpoint",
            place=str(StateFolder(prepared.project.state).tables),
            hint="Restore the state folder from one copy, or start over with a new state folder and target table.",
        )
    edits = unsafe_edits(past, prepared.project.tables, prepared.tables)
    if edits:
        raise StateError(
            f"the project file is not the one that this migration began with: {'; '.join(edits)}",
            place=str(prepared.project.path),
            hint="Put it back, or start over with a new state folder and target table.",
        )


def chunk_key(mapping: TableMapping) -> tuple[str, ...]:
    """The columns whose ranges make the snapshot's chunks: those of the group where one chunk can hold whole groups."""
    grouped = mapping.shape == "group" and mapping.aligned
    return mapping.group_columns if grouped else mapping.table.primary_key
