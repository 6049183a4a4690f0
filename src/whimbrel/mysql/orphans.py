"""Rows whose foreign key leads nowhere: a reverse stream writes without looking at foreign keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts
from whimbrel.records import Table


class Orphans(NamedTuple):
    """``rows`` of ``table`` refer by the foreign key ``name`` to rows of ``parent`` that are not there."""

    table: str
    name: str
    parent: str
    rows: int


def orphans(connection: Mysql, tables: Iterable[Table]) -> Iterator[Orphans]:
    """Of each foreign key from one of ``tables``, or to one: each reads the whole child table."""
    names = {(table.schema, table.name) for table in tables}
    for (schema, name, constraint), parts in _foreign_keys(connection).items():
        parent = str(parts[0]["parent_schema"]), str(parts[0]["parent"])
        if (schema, name) not in names and parent not in names:
            continue
        child_table, parent_table = f"{quoted(schema)}.{quoted(name)}", ".".join(map(quoted, parent))
        joined = " AND ".join(f"c.{quoted(each['name'])} = p.{quoted(each['parent_column'])}" for each in parts)
        said = " AND ".join(f"c.{quoted(each['name'])} IS NOT NULL" for each in parts)
        statement = f"SELECT COUNT(*) AS n FROM {child_table} c WHERE {said}"
        statement += f" AND NOT EXISTS (SELECT 1 FROM {parent_table} p WHERE {joined})"
        if count := int(rows_as_dicts(connection, statement)[0]["n"]):
            yield Orphans(f"{schema}.{name}", constraint, ".".join(parent), count)


def _foreign_keys(connection: Mysql) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    rows = rows_as_dicts(
        connection,
        "SELECT TABLE_SCHEMA AS in_schema, TABLE_NAME AS in_table, CONSTRAINT_NAME AS key_name, COLUMN_NAME AS name, "
        "REFERENCED_TABLE_SCHEMA AS parent_schema, REFERENCED_TABLE_NAME AS parent, "
        "REFERENCED_COLUMN_NAME AS parent_column FROM information_schema.KEY_COLUMN_USAGE "
        "WHERE REFERENCED_TABLE_NAME IS NOT NULL ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
    )
    found = defaultdict(list)
    for row in rows:
        found[row["in_schema"], row["in_table"], row["key_name"]].append(row)
    return dict(found)
