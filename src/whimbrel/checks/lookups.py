"""What it costs that a table looks columns up: how many items one change of the other table writes."""

from __future__ import annotations

from collections.abc import Iterator

from whimbrel.checks.ask import TimedQueries
from whimbrel.checks.findings import Finding, finding
from whimbrel.checks.scope import Scope
from whimbrel.mapping.design import TableMapping
from whimbrel.mysql.connect import quoted
from whimbrel.mysql.schema import average_row_bytes


def lookup_findings(queries: TimedQueries, mapping: TableMapping, scope: Scope, rows: int) -> Iterator[Finding]:
    """One for each way to another row. Raises OutOfTime."""
    kept = rows * average_row_bytes(queries.connection, mapping.table, queries.facts) >> 20
    for parent, by in dict.fromkeys((each.parent, each.by) for each in mapping.rule.lookups):
        names, there = ", ".join(map(quoted, by)), " AND ".join(f"{quoted(name)} IS NOT NULL" for name in by)
        most = queries.rows(
            f"SELECT COUNT(*) AS n FROM {scope.sql} AND {there} GROUP BY {names} ORDER BY n DESC LIMIT 1",
            mapping.source,
        )
        writes = f"one change there writes up to {int(most[0][0]):,} items here" if most else "no row has one now"
        part = f" ({scope.words})" if scope.words else ""
        what = f"it looks up {parent} by {', '.join(by)}: {writes}{part}; its rows are kept in the state folder"
        yield finding("looks-up", mapping.source, f"{what}, about {kept:,} MB")
