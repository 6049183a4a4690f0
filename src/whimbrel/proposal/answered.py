"""How a statement is served by a design, and the units that it takes each time, by what is known of the tables.

The words are those of ``check --statements``; what it leaves open (a join, a Scan of a table that others are in too, an
index's writes) is reckoned here, as docs/design.md says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

from whimbrel.checks.access.parse import AskedOfTable, ParsedStatement
from whimbrel.checks.access.reads import read
from whimbrel.checks.access.several import several
from whimbrel.checks.access.statement_answer import NEEDS_INDEX, NOT_SERVED, SCAN, read_units
from whimbrel.checks.access.ways import Match, attributes_of, best_match
from whimbrel.checks.access.writes import change, insert
from whimbrel.item import WRITE_UNIT
from whimbrel.proposal.weighed import Weighed

READ_PRICE = 0.2  # of a write unit's price: so it is in every region whose prices were confirmed
RANGE_SHARE = 0.25  # of the items of a key that a range of its sort key is taken to read
UNKNOWN_LIMIT = 20.0
CHOICES = 64  # of rules, of a statement over several tables
SEVERAL_CALLS = "several calls"

Rules = Mapping[str, Sequence[Weighed]]  # by the source table


@dataclass(frozen=True)
class Answered:
    """``how`` it is served, in words; ``served``: by a key or an index. Units are for the statement once."""

    how: str
    served: bool
    reads: float = 0.0
    writes: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def weight(self) -> float:
        """In write units."""
        return self.writes + self.reads * READ_PRICE


def answered(statement: ParsedStatement, rules: Rules) -> Answered:
    """By the rules that do it best; what is written goes to the items of all of them."""
    names = list(dict.fromkeys(each.table.full_name for each in statement.tables))
    choices = islice(product(*(rules[name] for name in names)), CHOICES)
    found = [_by(statement, dict(zip(names, choice, strict=True))) for choice in choices]
    best = min(found, key=lambda each: each.weight)
    if statement.verb != "select" and len(found) > 1:
        return replace(best, writes=sum(each.writes for each in found))
    return best


def _by(statement: ParsedStatement, chosen: Mapping[str, Weighed]) -> Answered:
    if statement.why or statement.others or len(statement.tables) > 1:
        return _joined(statement, chosen)
    asked = statement.tables[0]
    weighed = chosen[asked.table.full_name]
    if statement.verb in ("insert", "replace"):
        answer = insert(statement, asked, weighed.mapping, weighed.size)
        return Answered(answer.verdict, True, 0.0, weighed.size.write_units + _of_indexes(statement, weighed))
    match = best_match(asked, weighed.mapping)
    if statement.verb != "select":
        return _changed(statement, asked, weighed, match)
    reads = _reads(statement, asked, weighed, match)
    if statement.grouped:
        return replace(reads, how=NOT_SERVED, served=False, notes=("the application groups what is read",))
    return reads


def _reads(statement: ParsedStatement, asked: AskedOfTable, weighed: Weighed, match: Match | None) -> Answered:
    size = weighed.size if match is None else weighed.in_way(match.way)
    answer = read(statement, asked, weighed.mapping, size, match)
    notes = tuple(answer.notes)
    if match is None:
        few = "Limit=" in answer.call
        units = answer.units if few and answer.units is not None else read_units(1, weighed.target_bytes)
        how = NOT_SERVED if answer.verdict == NOT_SERVED else SCAN
        return Answered(how, False, units, 0.0, notes if answer.verdict != NEEDS_INDEX else ())
    if match.exact and not match.way.name:
        return Answered(answer.verdict, True, read_units(1, size.bytes), 0.0, notes)
    amount = found_by(match, asked, weighed)
    if statement.limit and "Limit=" in answer.call:
        amount = min(amount, statement.limit if statement.limit > 0 else UNKNOWN_LIMIT)
    units = match.buckets * read_units(amount / match.buckets, size.bytes)
    if match.way.name and not _covered(statement, asked, weighed, match):
        units += amount * read_units(1, weighed.size.bytes)
        notes += ("the index has not all of its columns: a GetItem more for each item",)
    how = f"{answer.verdict} {match.way.name}" if match.way.name else answer.verdict
    return Answered(how, True, units, 0.0, notes)


def found_by(match: Match, asked: AskedOfTable, weighed: Weighed) -> float:
    """How many items have what the key is bound to."""
    single = tuple(sorted(match.used & (asked.equal | asked.among)))
    per = weighed.size.per(single)
    amount = weighed.size.items if per is None else per
    return (
        max(1.0, amount * RANGE_SHARE)
        if match.sort in ("range", "begins_with") and match.used - set(single)
        else amount
    )


def _covered(statement: ParsedStatement, asked: AskedOfTable, weighed: Weighed, match: Match) -> bool:
    index = next(each for each in weighed.mapping.rule.indexes if each.name == match.way.name)
    if index.projection == "all" or (statement.counts_only and not asked.filters):
        return True
    wanted = {*statement.columns, *asked.equal, *asked.among, *asked.ranges, *asked.filters}
    return bool(statement.columns) and wanted <= projected(weighed, match.way.name)


def projected(weighed: Weighed, name: str) -> set[str]:
    """The columns that can be read of an index."""
    design, parts = weighed.mapping.design, attributes_of(weighed.mapping)
    index = next(each for each in weighed.mapping.rule.indexes if each.name == name)
    keys = {key.name for key in design.keys} | {index.partition_key.name}
    keys |= {index.sort_key.name} if index.sort_key else set()
    found = {column for key in keys if key in parts for column in parts[key].template.told(design.columns)}
    more = set(index.projection) if isinstance(index.projection, tuple) else set()
    return found | {one.column.name for one in design.carried if one.attribute in more | keys}


def _changed(statement: ParsedStatement, asked: AskedOfTable, weighed: Weighed, match: Match | None) -> Answered:
    answer = change(statement, asked, weighed.mapping, weighed.size, match)
    indexes = _of_indexes(statement, weighed)
    if match is not None and match.exact and not match.way.name:
        return Answered(answer.verdict, True, 0.0, (answer.units or 0.0) + indexes, tuple(answer.notes))
    one = weighed.size.write_units + indexes
    found = _reads(replace(statement, verb="select", limit=0), asked, weighed, match)
    verdict = "UpdateItem" if statement.verb == "update" or weighed.mapping.shape == "group" else "DeleteItem"
    known = tuple(sorted(asked.equal | asked.among))
    amount = (weighed.size.per(known) or 1.0) if known else 1.0
    how = f"{found.how} + {verdict}"
    return Answered(how, found.served, found.reads, amount * one, found.notes)


def _of_indexes(statement: ParsedStatement, weighed: Weighed) -> float:
    """Write units that a change of one item takes in its indexes."""
    parts, total = attributes_of(weighed.mapping), 0.0
    for index in weighed.mapping.rule.indexes:
        units = max(1.0, math.ceil(weighed.index_bytes(index) / WRITE_UNIT))
        keys = [index.partition_key, *([index.sort_key] if index.sort_key else [])]
        columns = {name for key in keys if key.name in parts for name in parts[key.name].template.columns}
        if statement.verb != "update":
            total += units
        elif columns & set(statement.assigned):
            total += 2 * units
        elif index.projection == "all" or projected(weighed, index.name) & set(statement.assigned):
            total += units
    return total


# --- several tables -------------------------------------------------------------------------------------------------


def _joined(statement: ParsedStatement, chosen: Mapping[str, Weighed]) -> Answered:
    """One Query or GetItem where the tables have one item collection, or one call after another: what is cheaper."""
    mappings = {name: each.mapping for name, each in chosen.items()}
    answer = several(statement, mappings)
    steps = _steps(statement, chosen)
    if answer.verdict != NOT_SERVED:
        whole = _collection_units(statement, chosen)
        if whole <= steps.reads:
            one = all(each.mapping.shared for each in chosen.values())
            return Answered("GetItem" if one else answer.verdict, True, whole, 0.0, tuple(answer.notes))
    if statement.verb != "select":
        first = chosen[statement.tables[0].table.full_name]
        steps = replace(steps, writes=first.size.write_units + _of_indexes(statement, first))
    if statement.grouped:
        return replace(steps, how=NOT_SERVED, served=False)
    return steps


def _collection_units(statement: ParsedStatement, chosen: Mapping[str, Weighed]) -> float:
    """Of all that is under the partition key: also of tables that were not asked for."""
    total, shared = 0.0, False
    for each in _all_in_target(next(iter(chosen.values())), chosen):
        if each.mapping.shared and shared:
            continue
        shared = shared or each.mapping.shared
        template = each.mapping.design.keys[0].template
        total += (each.size.per(tuple(sorted(template.columns))) or 1.0) * each.size.bytes
    return read_units(1, total)


def _all_in_target(one: Weighed, chosen: Mapping[str, Weighed]) -> list[Weighed]:
    """Those that may be under the same partition key: their templates begin alike."""
    begin = one.mapping.design.keys[0].template.parts[:1]
    family = [each for each in one.family if each.mapping.design.keys[0].template.parts[:1] == begin]
    return family or list(chosen.values())


def _steps(statement: ParsedStatement, chosen: Mapping[str, Weighed]) -> Answered:
    """One table after another, the cheapest first; a table that is joined to many rows takes a call for each."""
    left, rows = list(statement.tables), dict[str, float]()
    said, total, served = [], 0.0, True
    while left:
        options = [(_step(statement, each, chosen, rows), place) for place, each in enumerate(left)]
        (found, calls, amount), place = min(
            options, key=lambda each: (not each[0][0].served, each[0][0].reads, each[1])
        )
        asked = left.pop(place)
        rows[asked.alias] = amount
        total += found.reads
        served = served and found.served
        times = f" {calls:,.0f} times" if calls > 1 else ""
        said.append(f"{found.how} of {asked.table.name}{times}")
    if len(said) == 1:
        return Answered(said[0].partition(" of ")[0], served, total, 0.0)
    return Answered(SEVERAL_CALLS, served, total, 0.0, ("; ".join(said),))


def _step(
    statement: ParsedStatement, asked: AskedOfTable, chosen: Mapping[str, Weighed], rows: Mapping[str, float]
) -> tuple[Answered, float, float]:
    """What it takes to read one of the tables, in how many calls, and the rows that come of it."""
    weighed = chosen[asked.table.full_name]
    joined = [(own, alias) for own, alias, _ in asked.joined if alias in rows and own not in asked.equal]
    calls = max((rows[alias] for _, alias in joined), default=1.0)
    bound = replace(asked, equal=asked.equal | {own for own, _ in joined}) if joined else asked
    match = best_match(bound, weighed.mapping)
    order = [each for each in statement.order if each[0] == asked.alias]
    limit = statement.limit if order and len(order) == len(statement.order) else 0
    columns = [name for name in statement.columns if name in asked.table.names]
    alone = ParsedStatement("", "select", [bound], order=order, limit=limit, columns=columns)
    found = _reads(alone, bound, weighed, match)
    if match is None or not found.served:
        per = weighed.size.per(tuple(sorted(bound.equal | bound.among))) if bound.equal | bound.among else None
        return found, 1.0, calls * (per or weighed.size.items)
    amount = 1.0 if match.exact and not match.way.name else found_by(match, bound, weighed)
    amount = min(amount, limit) if limit > 0 else amount
    return replace(found, reads=found.reads * calls), calls, calls * amount
