"""Prepare: the live schema and the project's rules become checked tables and compiled mappings, before anything is
moved.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import orjson

from whimbrel.errors import MappingError, ProjectError, StateError
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mysql.connect import Mysql, ServerInfo, connect, server_info
from whimbrel.mysql.preflight import check_source
from whimbrel.mysql.schema import estimated_rows, read_table
from whimbrel.project import Project
from whimbrel.records import Table


@dataclass(frozen=True)
class Prepared:
    """What a run works with. ``mappings`` and ``estimates`` are by the source table's full name."""

    project: Project
    server: ServerInfo
    tables: dict[tuple[str, str], Table]
    mappings: dict[str, TableMapping]
    estimates: dict[str, int]

    @property
    def rules_digest(self) -> str:
        """Changes when a mapping or a table's columns change: items made under another digest are other items."""
        rules = [asdict(rule) for rule in sorted(self.project.tables, key=lambda rule: rule.source)]
        columns = [asdict(table) for _name, table in sorted(self.tables.items())]
        return hashlib.blake2b(orjson.dumps([rules, columns]), digest_size=16).hexdigest()


def prepare(project: Project) -> Prepared:
    """Read the schema, check the source's settings and compile every mapping.

    Raises SourceError, PrivilegeError, UnsupportedSource, and MappingError with the faults of all tables at once.
    """
    if not project.tables:
        raise ProjectError(
            "there is no [[table]] to migrate", place=str(project.path), hint="Write one for each source table."
        )
    connection = connect(project.source)
    try:
        return _prepare(project, connection)
    finally:
        connection.close()


def _prepare(project: Project, connection: Mysql) -> Prepared:
    tables: dict[tuple[str, str], Table] = {}
    mappings: dict[str, TableMapping] = {}
    estimates: dict[str, int] = {}
    faults: list[str] = []
    for rule in project.tables:
        schema, _, name = rule.source.partition(".")
        table = read_table(connection, schema, name)
        tables[schema, name] = table
        estimates[rule.source] = estimated_rows(connection, table)
        try:
            mappings[rule.source] = compile_mapping(rule, table)
        except MappingError as error:
            faults.append(str(error))
    targets = [rule.target for rule in project.tables]
    for target in sorted({name for name in targets if targets.count(name) > 1}):
        faults.append(f"target {target!r} stands in more than one [[table]], which is not built yet")
    if faults:
        raise MappingError(
            "\n  " + "\n  ".join(faults), place=str(project.path), hint="\nMend the mapping, then run it again."
        )
    check_source(connection, list(tables.values()))
    return Prepared(project, server_info(connection), tables, mappings, estimates)


def same_source(server: ServerInfo, recorded: str) -> None:
    """Refuse to go on with another server than the one the migration began with."""
    if recorded and recorded != server.server_uuid:
        raise StateError(
            f"this source is {server.server_uuid}, the migration began with {recorded}",
            place="source.url",
            hint="Point the project at the first server again, or begin anew with a new state folder and target table.",
        )


def same_rules(prepared: Prepared, recorded: str) -> None:
    """Refuse to go on with another mapping or other columns than those the items were made with."""
    if recorded and recorded != prepared.rules_digest:
        raise StateError(
            "the mapping or the columns of a table are not those that this migration began with",
            place=str(prepared.project.path),
            hint="Put them back, or begin anew with a new state folder and target table.",
        )


def chunk_key(mapping: TableMapping) -> tuple[str, ...]:
    """The columns whose ranges make the snapshot's chunks: those of the group where one chunk can hold whole groups."""
    grouped = mapping.shape == "group" and mapping.aligned
    return mapping.group_columns if grouped else mapping.table.primary_key
