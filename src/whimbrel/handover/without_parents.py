"""Rows whose foreign key leads nowhere: the way back writes without looking at foreign keys, and DynamoDB has none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

from whimbrel.checks.ask import TimedQueries
from whimbrel.mysql.connect import Mysql, connect, quoted, rows_as_dicts, server_info
from whimbrel.project import Source
from whimbrel.records import Table

LOOK_SECONDS = 20.0  # for all foreign keys together: a Ctrl-C waits for it


class Orphans(NamedTuple):
    """``rows`` of ``table`` refer by the foreign key ``name`` to rows of ``parent`` that are not there."""

    table: str
    name: str
    parent: str
    rows: int

    def __str__(self) -> str:
        return f"{self.rows:,} rows of {self.table} refer to rows of {self.parent} that are not there ({self.name})"


def rows_without_parents(source: Source, tables: Iterable[Table]) -> Iterator[Orphans]:
    """Of each foreign key from one of ``tables``, or to one: each reads the whole child table.

    Raises OutOfTime after LOOK_SECONDS, SourceError, PrivilegeError.
    """
    names = {(table.schema, table.name) for table in tables}
    with closing(connect(source)) as connection:
        queries = TimedQueries(connection, server_info(connection), LOOK_SECONDS)
        for (schema, name, constraint), parts in _foreign_keys(connection).items():
            parent = str(parts[0]["parent_schema"]), str(parts[0]["parent"])
            if not {(schema, name), parent} & names:
                continue
            (count,) = queries.row(_count((schema, name), parent, parts), f"{schema}.{name}")
            if count:
                yield Orphans(f"{schema}.{name}", constraint, ".".join(parent), int(count))


def _count(child: tuple[str, str], parent: tuple[str, str], parts: list[dict[str, Any]]) -> str:
    child_table, parent_table = ".".join(map(quoted, child)), ".".join(map(quoted, parent))
    joined = " AND ".join(f"c.{quoted(each['name'])} = p.{quoted(each['parent_column'])}" for each in parts)
    said = " AND ".join(f"c.{quoted(each['name'])} IS NOT NULL" for each in parts)
    missing = f"NOT EXISTS (SELECT 1 FROM {parent_table} p WHERE {joined})"
    return f"SELECT COUNT(*) FROM {child_table} c WHERE {said} AND {missing}"


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
