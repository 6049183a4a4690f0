"""The heaviest items and partitions, as the server counts them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from whimbrel.checks.ask import TimedQueries
from whimbrel.checks.data import LARGE_ITEM
from whimbrel.checks.findings import Finding, finding
from whimbrel.checks.scope import Scope
from whimbrel.checks.sql import as_bytes, frame_size, in_sql, row_size, template_text
from whimbrel.item import MAX_ITEM_BYTES, item_size
from whimbrel.mapping.design import TableMapping
from whimbrel.mysql.connect import quoted
from whimbrel.mysql.points import rows_where_equal
from whimbrel.mysql.schema import leading_index
from whimbrel.mysql.types import decoded, select_expression
from whimbrel.records import Row, Value

HEAVIEST = 10
BUCKETS = 1 << 16
ROOM = 8192  # bytes: the largest keys, that a bucket is not weighed with
READ_AT_MOST = 8 * MAX_ITEM_BYTES  # an item that is larger by the server's count is not read, to know it exactly
MAX_COLLECTION_BYTES = 10 * 2**30  # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/LSI.html
HOT_SHARE, HOT_ROWS = 0.1, 1000
ROWS_OF_A_HOT_LOAD = 10_000  # at 1,000 write units a second, ten seconds of one partition
BUCKETS_OF_A_KEY = 16  # that are advised


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition key, and its share of the rows that were read."""

    key: str
    rows: int
    share: float


def group_findings(queries: TimedQueries, mapping: TableMapping, scope: Scope) -> Iterator[Finding]:
    """The items of several rows that are too large, or will be."""
    size, frame = row_size(mapping), frame_size(mapping)
    if mapping.split:
        yield from _of_split_groups(queries, mapping, scope, f"SUM({size}) + {frame}")
        return
    heavy = _heaviest(queries, mapping, scope, mapping.group_columns, f"SUM({size})", f" + {frame}", LARGE_ITEM)
    for key, rows, bytes_about in heavy:
        if bytes_about > LARGE_ITEM:
            yield from _large_item(queries, mapping, key, rows, bytes_about)


def _of_split_groups(queries: TimedQueries, mapping: TableMapping, scope: Scope, weight: str) -> Iterator[Finding]:
    """By the server's count of each part."""
    texts = [template_text(key.template, mapping.design) for key in mapping.design.keys]
    shown = f"CONCAT_WS(', ', {', '.join(texts)})"
    statement = (
        f"SELECT {shown} AS k, COUNT(*) AS n, {weight} AS w FROM {scope.sql} GROUP BY {', '.join(texts)} "
        f"HAVING w > {LARGE_ITEM} ORDER BY w DESC LIMIT {HEAVIEST}"
    )
    for key, rows, about in queries.rows(statement, mapping.source):
        code = "item-too-large" if int(about) > MAX_ITEM_BYTES else "item-large"
        yield finding(code, mapping.source, f"the part {key} has about {int(about):,} bytes in {int(rows):,} rows")


def _heaviest(
    queries: TimedQueries,
    mapping: TableMapping,
    scope: Scope,
    names: tuple[str, ...],
    weight: str,
    more: str,
    least: int,
) -> list[tuple[tuple[Value, ...], int, int]]:
    """The HEAVIEST values of the columns, each with its rows and its weight, as far as they weigh ``least``.

    Where no index has the columns, the server would write as many groups as there are to disk: so first all rows are
    weighed in buckets, and only the heaviest buckets are looked into. What weighs ``least`` weighs it there, too.
    """
    columns = [mapping.table.column(name) for name in names]
    within = ""
    if not leading_index(queries.connection, mapping.table, names, queries.facts):
        bucket = f"MOD(CRC32(CONCAT_WS(x'00', {', '.join(as_bytes(quoted(name)) for name in names)})), {BUCKETS})"
        statement = f"SELECT {bucket} AS b, {weight} AS w FROM {scope.sql} GROUP BY b ORDER BY w DESC LIMIT {HEAVIEST}"
        heavy = [number for number, weighs in queries.rows(statement, mapping.source) if int(weighs) + ROOM >= least]
        if not heavy:
            return []
        within = f" AND {bucket} IN ({', '.join(map(str, heavy))})"
    keys = ", ".join(map(select_expression, columns))
    statement = (
        f"SELECT {keys}, COUNT(*) AS n, {weight}{more} AS w FROM {scope.sql}{within} "
        f"GROUP BY {', '.join(map(quoted, names))} ORDER BY w DESC LIMIT {HEAVIEST}"
    )
    found = []
    for *key, count, weighs in queries.rows(statement, mapping.source):
        values = tuple(decoded(column, value) for column, value in zip(columns, key, strict=True))
        found.append((values, int(count), int(weighs)))
    return found


def _large_item(
    queries: TimedQueries, mapping: TableMapping, key: tuple[Value, ...], rows: int, about: int
) -> Iterator[Finding]:
    shown = shown_key(mapping.group_columns, key)
    if about > READ_AT_MOST:
        yield finding(
            "item-too-large", mapping.source, f"the item of {shown} has about {about:,} bytes in {rows:,} rows"
        )
        return
    read = rows_where_equal(queries.connection, mapping.table, mapping.group_columns, [key])
    puts, faults = mapping.put_items(read)
    for fault in faults:
        if not fault.source_key:  # the whole item
            yield finding("item-too-large", mapping.source, f"{shown}: {fault.reason}, in {len(read):,} rows")
    for put in puts:
        if item_size(put.item) > LARGE_ITEM:
            size = item_size(put.item)
            yield finding("item-large", mapping.source, f"the item of {shown} has {size:,} bytes in {len(read):,} rows")


def partitions(queries: TimedQueries, mapping: TableMapping, scope: Scope, rows: int) -> list[Partition]:
    """The heaviest partition keys; empty where each row has one of its own."""
    template = mapping.design.keys[0].template
    names, told = template.columns, template.told(mapping.design.columns)
    if not rows or told >= set(mapping.table.primary_key):
        return []
    if not told.issuperset(names):
        return _by_text(queries, mapping, scope, rows)
    heavy = _heaviest(queries, mapping, scope, names, "COUNT(*)", "", 0)
    return [Partition(shown_key(names, key), count, count / rows) for key, count, _ in heavy]


def _by_text(queries: TimedQueries, mapping: TableMapping, scope: Scope, rows: int) -> list[Partition]:
    """By the keys themselves, where a lossy format brings several values of its columns to one."""
    text = template_text(mapping.design.keys[0].template, mapping.design)
    statement = (
        f"SELECT {text} AS k, COUNT(*) AS n FROM {scope.sql} GROUP BY k HAVING k IS NOT NULL ORDER BY n DESC "
        f"LIMIT {HEAVIEST}"
    )
    return [Partition(str(key), int(n), int(n) / rows) for key, n in queries.rows(statement, mapping.source)]


def partition_findings(mapping: TableMapping, heaviest: list[Partition]) -> Iterator[Finding]:
    for each in heaviest:
        if each.share >= HOT_SHARE and each.rows >= HOT_ROWS:
            reason = f"{each.key} has {each.rows:,} rows, {each.share:.0%} of all that were read"
            yield finding("hot-partition", mapping.source, reason, spread_advice(mapping))
    most = heaviest[0] if heaviest and mapping.shape != "group" else None
    if most and most.rows >= ROWS_OF_A_HOT_LOAD and most.share < 1 and not mapping.spread:
        yield finding("hot-load", mapping.source, f"{most.key} has {most.rows:,} rows")


def spread_advice(mapping: TableMapping) -> str:
    """What to write in the project file to spread a partition key; "" where nothing is known to fit."""
    lines = spread_lines(mapping)
    if not lines:
        return ""
    reads = f"one Query for each of the {BUCKETS_OF_A_KEY} buckets reads all of it"
    return f"Spread it, as a partition takes 1,000 writes/s: {' and '.join(lines)} in its [[table]]; {reads}"


def spread_lines(mapping: TableMapping) -> list[str]:
    """The setting, and the partition key under another name where it has a column's, which stays an attribute."""
    key, column = mapping.rule.partition_key, _spread_by(mapping)
    if not column:
        return []
    lines, name = [f"spread = {{ buckets = {BUCKETS_OF_A_KEY}, by = {json.dumps(column)} }}"], key.name
    while name in mapping.table.names:
        name += "_spread"
    if (name, "S") != (key.name, key.type):
        lines.insert(0, f"partition_key = {{ name = {json.dumps(name)}, value = {json.dumps(key.value)} }}")
    return lines


def _spread_by(mapping: TableMapping) -> str:
    """A column that is the same for all rows of an item, and is not in the partition key; "" if there is none."""
    partition, *sort = [key.template.columns for key in mapping.design.keys]
    own = () if mapping.shape == "group" else mapping.table.primary_key
    if mapping.shared or mapping.rule.partition_key.type == "B" or any(index.local for index in mapping.rule.indexes):
        return ""
    names = [*itertools.chain(*sort), *own]
    return next((name for name in names if name not in partition and _fits(mapping, name)), "")


def _fits(mapping: TableMapping, name: str) -> bool:
    """Whether a bucket of the column can stand in a template."""
    kind = mapping.design.columns[name].kind
    return kind not in ("float", "double", "json", "geometry", "computed") and not re.search("[{}]", name)


def collection_findings(mapping: TableMapping, heaviest: list[Partition], table_bytes: float) -> Iterator[Finding]:
    """Where a table has local indexes, the items of a partition key, and what these have of them, may take 10 GB."""
    local = sum(index.local for index in mapping.rule.indexes)
    for each in heaviest if local else []:
        size = each.share * table_bytes * (1 + local)
        if size > MAX_COLLECTION_BYTES:
            what = f"{each.key} has about {size / 2**30:,.0f} GB with what {local} local indexes may have of it"
            yield finding("index-collection", mapping.source, what)


def partition_of(mapping: TableMapping, row: Row) -> str:
    """The columns behind the row's partition key, for people."""
    template = mapping.design.keys[0].template
    names = template.columns
    if not in_sql(mapping, template) or not template.told(mapping.design.columns).issuperset(names):
        key = mapping.item_key(row)
        return str(next(iter(key[mapping.design.keys[0].name].values()))) if key else str(key)
    return shown_key(names, tuple(row[mapping.table.index(name)] for name in names))


def shown_key(names: Sequence[str], key: Sequence[Value]) -> str:
    """``a=1, b=x``; bytes in hexadecimal."""
    texts = (value.hex() if isinstance(value, bytes) else str(value) for value in key)
    return ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
