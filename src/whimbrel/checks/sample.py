"""A real sample of rows, mapped: what an item of a table weighs, and whether its rows can become items at all."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from whimbrel.checks.ask import TimedQueries
from whimbrel.checks.findings import Finding, finding
from whimbrel.checks.scan import shown_key
from whimbrel.checks.scope import bearable_rows, some_rows, whole_table
from whimbrel.item import item_size, write_units
from whimbrel.mapping.design import TableMapping
from whimbrel.mysql.connect import quoted
from whimbrel.mysql.points import rows_where_equal
from whimbrel.mysql.schema import leading_index
from whimbrel.mysql.types import literal
from whimbrel.records import Fault, Put, Row, Value

ROWS = 2000  # of records
GROUPS, GROUPS_WITHOUT_INDEX = 200, 5
LARGEST_GROUP = 20_000  # rows; larger ones are not read, but known from counting


class Mapped(NamedTuple):
    """One item (None: a dead letter instead) with the rows that it was made of."""

    rows: list[Row]
    put: Put | None
    faults: list[Fault]


@dataclass(frozen=True, slots=True)
class ItemSizes:
    """Averages over items, and how many rows one has. ``json_bytes`` is an item as a line of DynamoDB JSON."""

    sampled: int
    rows: float
    bytes: float
    write_units: float
    json_bytes: float


def mapped_sample(queries: TimedQueries, mapping: TableMapping, wanted: int) -> list[Mapped]:
    """Items made of ``wanted`` rows spread over the table; those of a group with all their rows."""
    wanted = min(wanted, _bearable_groups(queries, mapping), bearable_rows(queries, mapping.table))
    rows = some_rows(queries, mapping.table, wanted)
    if mapping.shape != "group":
        return [_mapped(mapping, [row]) for row in rows]
    places = [mapping.table.index(name) for name in mapping.lookup_columns]
    keys = list(dict.fromkeys(tuple(row[place] for place in places) for row in rows))
    complete = rows_where_equal(
        queries.connection, mapping.table, mapping.lookup_columns, _bearable(queries, mapping, keys)
    )
    groups: dict[tuple[Value, ...], list[Row]] = defaultdict(list)
    for row in complete:
        groups[tuple(row[place] for place in places)].append(row)
    if mapping.split:
        return [_mapped(mapping, part) for key in keys if key in groups for part in _parts(mapping, groups[key])]
    return [_mapped(mapping, groups[key]) for key in keys if key in groups]


def _parts(mapping: TableMapping, rows: list[Row]) -> list[list[Row]]:
    """The rows of each of the items that a split group is."""
    found: dict[bytes, list[Row]] = defaultdict(list)
    for row in rows:
        found[mapping.group_key(row)].append(row)
    return list(found.values())


def item_sizes(sample: list[Mapped]) -> ItemSizes | None:
    """Rows were drawn, not items: an item of n rows was n times as likely to be drawn, and counts for 1/n."""
    made = [(each.put.item, 1 / len(each.rows)) for each in sample if each.put]
    if not made:
        return None
    weights = [weight for _, weight in made]
    total = sum(weights)

    def mean(figures: list[float]) -> float:
        return sum(figure * weight for figure, weight in zip(figures, weights, strict=True)) / total

    sizes = [item_size(item) for item, _ in made]
    return ItemSizes(
        sampled=len(made),
        rows=len(made) / total,
        bytes=mean([float(size) for size in sizes]),
        write_units=mean([float(write_units(size)) for size in sizes]),
        json_bytes=mean([float(len(orjson.dumps({"Item": item})) + 1) for item, _ in made]),
    )


def corrected(sizes: ItemSizes, rows: float) -> ItemSizes:
    """The same for items that are known to have ``rows`` rows on average: bytes of a row differ less than items do."""
    by = rows / sizes.rows
    return ItemSizes(sizes.sampled, rows, sizes.bytes * by, max(1.0, sizes.write_units * by), sizes.json_bytes * by)


def refused(mapping: TableMapping, sample: list[Mapped]) -> list[Finding]:
    """Rows of the sample that became dead letters: one finding for each reason, less the values in it."""
    by_reason: dict[str, list[Fault]] = defaultdict(list)
    for each in sample:
        for fault in each.faults:
            by_reason[fault.reason.partition(" is ")[0]].append(fault)
    found = []
    for faults in by_reason.values():
        count = f"{len(faults)} of the sampled {'items' if mapping.shape == 'group' else 'rows'}"
        found.append(finding("row-refused", mapping.source, f"{count}: {faults[0].reason} {shown_key(faults[0])}"))
    return found


def _mapped(mapping: TableMapping, rows: list[Row]) -> Mapped:
    puts, faults = mapping.put_items(rows)
    return Mapped(rows, puts[0] if puts else None, faults)


def _bearable_groups(queries: TimedQueries, mapping: TableMapping) -> int:
    """Without an index each group costs a whole scan."""
    if mapping.shape != "group":
        return ROWS
    return GROUPS if is_indexed(queries, mapping) else GROUPS_WITHOUT_INDEX


def _bearable(queries: TimedQueries, mapping: TableMapping, keys: list[tuple[Value, ...]]) -> list[tuple[Value, ...]]:
    """Without the keys that have more rows than should be read for a sample: told by an index, else by one scan."""
    table = whole_table(mapping.table).sql
    conditions = [group_condition(mapping, key) for key in keys]
    if keys and not is_indexed(queries, mapping):
        sums = ", ".join(f"COALESCE(SUM({condition}), 0)" for condition in conditions)
        counts = queries.row(f"SELECT {sums} FROM {table}", mapping.source)
        return [key for key, count in zip(keys, counts, strict=True) if int(count) <= LARGEST_GROUP]
    taken = []
    for key, condition in zip(keys, conditions, strict=True):
        some = f"SELECT 1 FROM {table} AND {condition} LIMIT {LARGEST_GROUP + 1}"
        if queries.row(f"SELECT COUNT(*) FROM ({some}) AS rows_of_it", mapping.source)[0] <= LARGEST_GROUP:
            taken.append(key)
    return taken


def group_condition(mapping: TableMapping, key: tuple[Value, ...]) -> str:
    """In SQL: the rows whose ``lookup_columns`` equal ``key``, as the columns' collations see it."""
    columns = [mapping.table.column(name) for name in mapping.lookup_columns]
    return " AND ".join(f"{quoted(one.name)} <=> {literal(one, part)}" for one, part in zip(columns, key, strict=True))


def is_indexed(queries: TimedQueries, mapping: TableMapping) -> bool:
    connection, table, facts = queries.connection, mapping.table, queries.facts
    return any(leading_index(connection, table, (name,), facts) for name in mapping.lookup_columns)
