"""Joins, subqueries and the like: one Query if the tables have one item collection, else several calls."""

from __future__ import annotations

from whimbrel.checks.access.parse import AskedOfTable, ParsedStatement
from whimbrel.checks.access.statement_answer import NO_GROUPS, NOT_SERVED, StatementAnswer
from whimbrel.checks.access.ways import best_match, value, ways
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.templates import Literal


def several(statement: ParsedStatement, mappings: dict[str, TableMapping]) -> StatementAnswer:
    names = ", ".join(each.table.full_name for each in statement.tables)
    _spread(statement.tables)
    if statement.why == ["a join"] and statement.verb == "select" and not statement.others and not statement.grouped:
        keys = {_collection(each, mappings[each.table.full_name], statement.tables) for each in statement.tables}
        if len(keys) == 1 and None not in keys:
            own = ways(mappings[statement.tables[0].table.full_name])[0].partition
            target = mappings[statement.tables[0].table.full_name].target
            call = f"dynamodb.Table({target!r}).query(KeyConditionExpression=Key({own.name!r}).eq({value(own)}))"
            return StatementAnswer(names, "Query", call, notes=["one item collection has the rows of all these tables"])
    why = list(statement.why)
    if statement.others:
        why.append(f"{', '.join(dict.fromkeys(statement.others))}: not mapped")
    steps = []
    for each in statement.tables:
        match = best_match(each, mappings[each.table.full_name])
        if match is None:
            steps.append(f"{each.table.name} has no key bound")
        else:
            kind = "GetItem" if match.exact and not match.way.name else "Query"
            steps.append(f"{each.table.name} by {kind} on {', '.join(sorted(match.used))}")
    if statement.grouped:
        return StatementAnswer(names, NOT_SERVED, notes=[*why, "GROUP BY"], advice=NO_GROUPS)
    advice = f"Several calls: {'; '.join(steps)}. Or map the tables into one item collection (docs/mappings.md)"
    return StatementAnswer(names, NOT_SERVED, notes=why, advice=advice)


def _spread(tables: list[AskedOfTable]) -> None:
    """A column joined to one that is bound is bound: as often as there are tables, for chains of them."""
    by_alias = {each.alias: each for each in tables}
    for _ in tables:
        for each in tables:
            for own, alias, theirs in each.joined:
                other = by_alias[alias]
                if theirs in other.equal:
                    each.equal.add(own)


def _collection(asked: AskedOfTable, mapping: TableMapping, tables: list[AskedOfTable]) -> tuple[object, ...] | None:
    """The target and the partition key's text, each column as all that it is joined to; None if it is not bound."""
    template = ways(mapping)[0].partition.template
    if not set(template.columns) <= asked.equal or not mapping.invertible:
        return None
    parts: list[object] = [mapping.target]
    for part in template.parts:
        if isinstance(part, Literal):
            parts.append(part.text)
        else:
            parts.append((part.form, part.default, _equals(asked.alias, part.column, tables)))
    return tuple(parts)


def _equals(alias: str, column: str, tables: list[AskedOfTable]) -> frozenset[tuple[str, str]]:
    found, new = set[tuple[str, str]](), {(alias, column)}
    while new:
        found |= new
        links = {(other, theirs) for each in tables for own, other, theirs in each.joined if (each.alias, own) in found}
        new = links - found
    return frozenset(found)
