"""Every row through the mapping itself: for a table of few rows, and for what no server can count: filters and computed
columns. It finds exactly the dead letters that the load would make of these rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import orjson

from whimbrel.checks.ask import TimedQueries
from whimbrel.checks.findings import Finding, finding
from whimbrel.mapping.design import TableMapping
from whimbrel.mysql.connect import quoted
from whimbrel.mysql.points import canonical_rows
from whimbrel.mysql.types import select_expression
from whimbrel.records import Fault, Row

SCANNED = 100_000  # rows of a table that cannot be counted otherwise
SCANNED_ANYWAY = 5_000  # rows of any table
AT_ONCE = 5_000
MEETING = "another row has the same item key"  # as the mapping words it


def scanned(queries: TimedQueries, mapping: TableMapping) -> list[Finding]:
    """One finding for each reason, less the values in it. Raises OutOfTime."""
    faults = _faults(mapping, list(_rows(queries, mapping)))
    by_reason: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        by_reason[fault.reason.partition(" is ")[0]].append(fault)
    return [
        finding(
            "key-shared" if several[0].reason == MEETING else "row-refused",
            mapping.source,
            f"{len(several):,} of all rows: {several[0].reason} {shown_key(several[0])}",
        )
        for several in by_reason.values()
    ]


def shown_key(fault: Fault) -> str:
    return f"({', '.join(f'{name}={value!r}' for name, value in fault.source_key.items())})" if fault.source_key else ""


def _rows(queries: TimedQueries, mapping: TableMapping) -> Iterator[Row]:
    table = mapping.table
    expressions = ", ".join(map(select_expression, table.columns))
    read = queries.rows(f"SELECT {expressions} FROM {quoted(table.schema)}.{quoted(table.name)}", table.full_name)
    yield from canonical_rows(table)(read)


def _faults(mapping: TableMapping, rows: list[Row]) -> list[Fault]:
    """A group's rows go together; of records, those that share an item are found across all."""
    if mapping.shape == "group":
        return mapping.put_items(rows)[1]
    faults: list[Fault] = []
    seen: set[bytes] = set()
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        puts, refused = mapping.put_items(some)
        faults += refused
        keys = {orjson.dumps(put.key, option=orjson.OPT_SORT_KEYS) for put in puts}
        faults += [Fault(mapping.source, MEETING, {}, orjson.loads(key), None) for key in keys & seen]
        seen |= keys
    return faults
