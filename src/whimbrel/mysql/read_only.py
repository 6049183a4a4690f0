"""ALTER SCHEMA … READ ONLY (MySQL from 8.0.22 on): nobody can write to any table of it, also root.

It waits for every transaction that has used the schema, and what comes after waits behind it: so it is tried for a
moment at a time, as a lock is. It outlives a restart, and is in no binlog.
"""

from __future__ import annotations

from whimbrel.mysql.barrier import MayNot, executed_within_limit
from whimbrel.mysql.connect import Mysql, ServerInfo, quoted, rows_as_dicts
from whimbrel.project import Source

SINCE = (8, 0, 22)


def knows_read_only(server: ServerInfo) -> bool:
    return server.flavor == "mysql" and server.version >= SINCE


def set_read_only(source: Source, schema: str, *, on: bool) -> float | None:
    """One try; how long it took, in seconds, or None if others kept it waiting. It may have been done all the same."""
    may_not = MayNot("may not make the schema read-only", f"GRANT ALTER ON {quoted(schema)}.* to this account.")
    return executed_within_limit(source, f"ALTER SCHEMA {quoted(schema)} READ ONLY = {int(on)}", may_not)


def is_read_only(connection: Mysql, schema: str) -> bool:
    found = "SELECT OPTIONS AS options FROM information_schema.SCHEMATA_EXTENSIONS WHERE SCHEMA_NAME = %s"
    return any("READ ONLY=1" in str(row["options"]) for row in rows_as_dicts(connection, found, (schema,)))


def tables_beside(connection: Mysql, schema: str, tables: list[tuple[str, str]]) -> list[str]:
    """Those of the schema that are not among ``tables``, as far as the account sees them."""
    found = "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE <> 'VIEW'"
    named = {str(row["name"]) for row in rows_as_dicts(connection, found, (schema,))}
    return sorted(named - {name for of, name in tables if of == schema})
