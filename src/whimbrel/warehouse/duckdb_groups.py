"""Which rows lie together in DuckDB's file.

DuckDB keeps rows in groups, and has 2,048 rows of a group in memory at once, whatever these take. It merges groups by
the number of their rows. With wide rows, what it merged would not fit into memory again. So that is switched off, and
groups are merged here, by the bytes that are in them, too. A group that nobody merges takes a block of the file for
itself, however small it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from whimbrel.warehouse.names import quoted

SETTINGS = {"max_vacuum_tasks": 0}  # DuckDB merges nothing by itself
MOST_BYTES = 8 << 20  # of texts and bytes in a group that was merged
MOST_ROWS = 122_880  # as many as a group of DuckDB has
FEW = 8  # groups that are left as they are
_GROUPS = """SELECT sum(count) FILTER (WHERE column_id = 0)::BIGINT,
    coalesce(sum(stats.total_string_length::BIGINT), 0)::BIGINT
    FROM pragma_storage_info(?) WHERE segment_type <> 'VALIDITY' GROUP BY row_group_id ORDER BY row_group_id"""


class Group(NamedTuple):
    """``size`` is in bytes, of texts and bytes. Rows that were deleted are in both."""

    rows: int
    size: int


def tables_of(connection: Any, schemas: Sequence[str]) -> list[str]:
    """Those whose rows can be written again: a unique index refuses that."""
    found = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database() "
        "AND list_contains(?, schema_name) AND index_count = 0 ORDER BY ALL",
        [list(schemas)],
    ).fetchall()
    return [f"{quoted(schema)}.{quoted(table)}" for schema, table in found]


def merge(connection: Any, table: str) -> bool:
    """Make one group of several small ones, or write one again that is mostly of deleted rows; whether there was
    anything to do. The numbers of rows are others once the file was opened again, so it is one at a time.
    """
    groups = [Group(*found) for found in connection.execute(_GROUPS, [table]).fetchall()]
    [(there,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    first, end = to_merge(groups, there)
    if first == end:
        return False
    start = sum(group.rows for group in groups[:first])
    rows = (start, start + sum(group.rows for group in groups[first:end]))
    connection.execute("BEGIN TRANSACTION")
    connection.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE rowid >= ? AND rowid < ?", rows)
    connection.execute(f"DELETE FROM {table} WHERE rowid >= ? AND rowid < ?", rows)
    connection.execute("COMMIT")
    return True


def to_merge(groups: Sequence[Group], there: int) -> tuple[int, int]:
    """The first of ``groups`` that are to be one, and the one behind the last; the same number twice for none.
    ``there`` is the number of rows that are not deleted.
    """
    best = first = rows = size = 0
    begin = 0
    for end, group in enumerate(groups, 1):
        rows, size = rows + group.rows, size + group.size
        while rows > MOST_ROWS or size > MOST_BYTES:
            rows, size = rows - groups[first].rows, size - groups[first].size
            first += 1
        if end - first > best:
            best, begin = end - first, first
    if best > FEW:
        return begin, begin + best
    # The oldest comes first, and goes to the end: so each has its turn.
    return (0, 1) if 2 * there < sum(group.rows for group in groups) and groups[0].rows <= MOST_ROWS else (0, 0)
