"""The places that are tried for a table, and the indexes: what its statements bind gives them, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from whimbrel.checks.access.parse import AskedOfTable, ParsedStatement
from whimbrel.checks.cost import PARTITION_RATE
from whimbrel.mapping.values import NUMBER_KINDS
from whimbrel.proposal.known import KnownTable, Link
from whimbrel.proposal.placement import BY, MEMBER, PART, IndexChoice, Placement
from whimbrel.proposal.scale import MOST_ENTRIES, Asking

MOST_KEYS, MOST_SORTS, MOST_INDEXES = 6, 2, 10  # that are tried for a table
_SORTED = (*NUMBER_KINDS, "date", "datetime", "timestamp", "text")


class Bound(NamedTuple):
    """What a statement binds of a table: columns of one value, and one that is ranged or ordered by, or ""."""

    columns: tuple[str, ...]
    sort: str


def bounds(known: KnownTable, askings: list[Asking]) -> list[Bound]:
    """The most frequent first."""
    found = Counter[Bound]()
    for asking in askings:
        for asked in asking.statement.tables:
            if asked.table.full_name == known.table.full_name and asking.statement.verb not in ("insert", "replace"):
                for bound in _bounds(asking.statement, asked):
                    found[bound] += asking.per_second  # type: ignore[assignment]
    return [bound for bound, _ in sorted(found.items(), key=lambda each: (-each[1], each[0]))]


def _bounds(statement: ParsedStatement, asked: AskedOfTable) -> Iterator[Bound]:
    single = tuple(sorted(asked.equal)) or tuple(sorted(asked.among))[:1]
    ordered = [name for alias, name, _ in statement.order if alias == asked.alias]
    sort = next((name for name in (*asked.ranges, *ordered) if name not in single), "")
    if single:
        yield Bound(single, sort)
    if len(single) > 1:
        for each in single:
            yield Bound((each,), sort)
    for own in sorted({own for own, _, _ in asked.joined} - set(single)):
        yield Bound((own,), "")
        if single:
            yield Bound(tuple(sorted({own, *single})), sort)


def plain(known: KnownTable, askings: list[Asking]) -> Placement:
    """One table for it, keyed as it is now; a hot partition key of several rows is spread."""
    table = known.table
    buckets = buckets_for(known, askings, table.primary_key[:1]) if len(table.primary_key) > 1 else 0
    return Placement(BY, table.primary_key[:1], table.primary_key[1:], "", buckets) if buckets else Placement()


def placements(known: KnownTable, links: list[Link], askings: list[Asking]) -> Iterator[Placement]:
    """All that are tried, the simplest first."""
    yield plain(known, askings)
    found = bounds(known, askings)
    keys = list(dict.fromkeys(bound.columns for bound in found))[:MOST_KEYS]
    for columns in keys:
        if set(columns) == set(known.table.primary_key):
            continue
        if _keyable(known, columns):
            for sort in _sorts(known, found, columns):
                rest = _rest(known, columns, sort)
                if rest or columns:
                    yield Placement(BY, columns, rest, "", buckets_for(known, askings, columns))
    for link in links:
        if not _keyable(known, link.columns):
            continue
        if not buckets_for(known, askings, link.columns):
            for sort in _sorts(known, found, link.columns):
                yield Placement(MEMBER, link.columns, _rest(known, link.columns, sort), link.parent)
        entry = _rest(known, link.columns, "")
        if entry and known.amounts(link.columns).most <= MOST_ENTRIES:
            yield Placement(PART, link.columns, entry, link.parent)


def indexes(known: KnownTable, askings: list[Asking]) -> list[IndexChoice]:
    found = []
    for bound in bounds(known, askings):
        columns = {name: known.table.column(name) for name in (*bound.columns, *([bound.sort] if bound.sort else []))}
        sort = bound.sort if bound.sort and columns[bound.sort].kind in _SORTED else ""
        found.append(IndexChoice(bound.columns, sort, "all", buckets_for(known, askings, bound.columns)))
    return list(dict.fromkeys(found))[:MOST_INDEXES]


def links_of(known: Mapping[str, KnownTable], askings: list[Asking]) -> dict[str, list[Link]]:
    """Foreign keys, and what statements join to a primary key, of columns of one kind."""
    found: dict[str, dict[Link, None]] = {name: dict.fromkeys(each.links) for name, each in known.items()}
    for asking in askings:
        by_alias = {each.alias: each for each in asking.statement.tables}
        for asked in asking.statement.tables:
            for own, alias, theirs in sorted(asked.joined):
                parent = by_alias[alias].table
                if parent.primary_key == (theirs,) and parent.full_name in known:
                    found[asked.table.full_name][Link((own,), parent.full_name)] = None
    return {
        name: [link for link in links if link.parent != name and _fits(known[name], known.get(link.parent), link)]
        for name, links in found.items()
    }


def _fits(child: KnownTable, parent: KnownTable | None, link: Link) -> bool:
    if parent is None or len(parent.table.primary_key) != 1 or len(link.columns) != 1:
        return False
    return child.table.column(link.columns[0]).kind == parent.table.column(parent.table.primary_key[0]).kind


def _keyable(known: KnownTable, columns: tuple[str, ...]) -> bool:
    return not any(known.table.column(name).nullable for name in columns)


def _sorts(known: KnownTable, found: list[Bound], columns: tuple[str, ...]) -> list[str]:
    """What the items of a key could be sorted by; "" is the rest of the primary key alone. What statements order by is
    first: of places that cost alike, the first is taken, and where one key has many rows it is worth more than that.
    """
    wanted = [bound.sort for bound in found if bound.sort and set(bound.columns) & set(columns)]
    usable = [
        name
        for name in dict.fromkeys(wanted)
        if name not in columns and not known.table.column(name).nullable and known.table.column(name).kind in _SORTED
    ]
    return [*usable[:MOST_SORTS], ""]


def _rest(known: KnownTable, columns: tuple[str, ...], sort: str) -> tuple[str, ...]:
    rest = tuple(name for name in known.table.primary_key if name not in columns and name != sort)
    return (sort, *rest) if sort else rest


def buckets_for(known: KnownTable, askings: list[Asking], columns: tuple[str, ...]) -> int:
    """How many a key of ``columns`` is spread over, for its heaviest value takes more writes than a partition does."""
    if not set(columns) <= set(known.table.names) or set(known.table.primary_key) <= set(columns):
        return 0
    share = min(1.0, known.amounts(tuple(sorted(columns))).most / max(1.0, known.rows))
    heat = share * writes_a_second(known, askings)
    number = 0 if heat <= PARTITION_RATE else 2
    while number and number * PARTITION_RATE < 2 * heat:
        number *= 2
    return number


def writes_a_second(known: KnownTable, askings: list[Asking]) -> float:
    """Write units of single items, by the size of a row."""
    units = max(1.0, -(-sum(known.bytes.values()) // 1024))
    name = known.table.full_name
    return units * sum(
        each.per_second
        for each in askings
        if each.statement.verb != "select" and each.statement.tables[0].table.full_name == name
    )
