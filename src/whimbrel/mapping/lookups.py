"""Look-ups: a table's columns, and more that are columns of another captured table, found there by a key.

A row with what was looked up for it is a row like any other: templates, types, expressions, a filter, the key may all
name such a column. Only two things know that it is another table's: what reads rows from the source has the server
join them, and what applies changes joins them with the other table's row as of the same place in the log (see
``migration.joins``).

Values of the two columns are equal if they are the same value, and not only if a collation says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from whimbrel.errors import MappingError
from whimbrel.mapping.named import unknown_column
from whimbrel.project import LookupRule, TableRule
from whimbrel.records import Column, LookedUp, Table

_HINT = "Correct it in the project file; nothing was read or written."
_KEYS = {"int", "year", "decimal", "date", "datetime", "timestamp", "text", "binary", "uuid", "inet4", "inet6"}


class Parent(NamedTuple):
    """A table that look-ups read, as it was when the migration began, and as it is now; ``rules`` are its own."""

    rules: tuple[TableRule, ...]
    first: Table
    now: Table


Parents = Mapping[str, Parent]  # by the table's full name
NO_PARENTS: Parents = {}


def joined(rule: TableRule, table: Table, parents: Parents) -> Table:
    """``table`` with the columns that its rules look up, as they are now: for each rule the same, as a change is joined
    once; each carries its own. Raises MappingError with all faults.
    """
    table = table.stored
    lookups = _of_all_rules(rule, table, parents)
    if not lookups:
        return table
    faults = [fault for each in rule.lookups for fault in _faults(rule, each, table, parents)]
    different = dict.fromkeys((each.name, each.parent, each.column, each.by, each.key) for each in lookups)
    names = [*table.names, *rule.columns, *rule.before_image, *(name for name, *_ in different)]
    names += [each.name for each in rule.lookups if rule.lookups.count(each) > 1]
    faults += [
        f'look-up of {each.column!r}: there is another column {each.name!r}: call it otherwise, as in as = "…"'
        for each in lookups
        if names.count(each.name) > 1
    ]
    if faults:
        listed = "; ".join(dict.fromkeys(faults))
        raise MappingError(listed, place=f"table {rule.source}", hint=_HINT)
    columns: dict[str, Column] = {}
    for each in lookups:
        parent = parents[each.parent].now
        looked = LookedUp(
            (parent.schema, parent.name),
            parent.column(each.column),
            tuple(map(parent.column, _key(each, parent))),
            each.by,
            (table.schema, table.name),
        )
        columns[each.name] = replace(looked.column, name=each.name, nullable=True, looked_up=looked)
        if each.orphans != "null":
            there = looked._replace(column=looked.key[0], orphans=each.orphans)
            columns[is_there(each)] = replace(there.column, name=is_there(each), nullable=True, looked_up=there)
    return Table(table.schema, table.name, (*table.columns, *columns.values()), table.primary_key)


def is_there(each: LookupRule) -> str:
    """The name of the column that says whether a row was found, of a rule that does not take orphans as they are."""
    return f"{each.parent}({', '.join(each.by)}): {each.orphans}"


def _of_all_rules(rule: TableRule, table: Table, parents: Parents) -> list[LookupRule]:
    """Of the others only what is sound: what is not is their fault."""
    if table.full_name not in parents:
        return list(rule.lookups)
    rules = parents[table.full_name].rules
    return [
        each
        for other in rules
        for each in other.lookups
        if other.name == rule.name or not any(_faults(other, each, table, parents))
    ]


def keys_to_prove(rule: TableRule, parents: Parents) -> Iterator[tuple[Table, tuple[str, ...]]]:
    """Tables and columns of them that must be unique there, as far as it is not the primary key."""
    for each in rule.lookups:
        parent = parents[each.parent].now if each.parent in parents else None
        if parent and set(_key(each, parent)) != set(parent.primary_key):
            yield parent, _key(each, parent)


def _key(rule: LookupRule, parent: Table) -> tuple[str, ...]:
    return rule.key or parent.primary_key


def _faults(rule: TableRule, each: LookupRule, table: Table, parents: Parents) -> Iterator[str]:
    place = f"look-up {each.name!r}"
    if each.parent not in parents:
        known = ", ".join(sorted(parents)) or "none"
        yield f"{place} reads table {each.parent}, which has no [[table]] of its own: its changes would not be seen"
        yield f"{place}: tables that are captured: {known}"
        return
    parent = parents[each.parent]
    unknown = [name for name in (each.column, *each.key) if name not in parent.now.names]
    yield from (_unknown(place, name, parent.now, parent.rules) for name in unknown)
    missing = [name for name in each.by if name not in table.names]
    yield from (_unknown(place, name, table, (rule,)) for name in missing)
    if unknown or missing:
        return
    hidden = {name for one in parent.rules for name in (*one.mask, *one.columns)}
    if each.column in hidden and each.name not in (*rule.mask, *rule.exclude):
        yield (
            f"{place}: column {each.column!r} is masked or computed in the [[table]] of {each.parent}, and would stand "
            f"here as it is: mask {each.name!r} here, or exclude it"
        )
    key = _key(each, parent.now)
    if len(key) != len(each.by):
        yield f"{place}: the key of {each.parent} is ({', '.join(key)}), and by has {len(each.by)} columns"
        return
    for name, other in zip(each.by, key, strict=True):
        if reason := _incomparable(table.column(name), parent.now.column(other)):
            yield f"{place}: {name!r} and {each.parent}.{other} cannot be compared: {reason}"


def _unknown(place: str, name: str, table: Table, rules: Sequence[TableRule]) -> str:
    """Why ``table`` has no such column: it may be one that its own rule looks up or computes."""
    if any(name == each.name for rule in rules for each in rule.lookups):
        return f"{place} names {name!r}, which {table.full_name} looks up itself: look-ups do not chain"
    if any(name in rule.columns for rule in rules):
        return f"{place} names {name!r}, which is computed: look-ups read only what a table has"
    return unknown_column(f"{place} names", name, table)


def _incomparable(one: Column, other: Column) -> str:
    """Why equal values of the two columns might not be equal as they are read, "" if they are."""
    if one.kind != other.kind:
        return f"they are {one.kind} and {other.kind}"
    if one.kind not in _KEYS:
        return f"{one.kind} is not a kind of key that can be looked up by"
    if one.kind in ("decimal", "datetime", "timestamp") and one.scale != other.scale:
        return f"they have {one.scale} and {other.scale} fractional digits"
    if one.kind == "text" and (one.charset, one.collation) != (other.charset, other.collation):
        return f"their collations are {one.collation} and {other.collation}"
    if one.kind == "binary" and (_word(one), one.length) != (_word(other), other.length):
        return f"they are {one.type_name} and {other.type_name}"
    return ""


def _word(column: Column) -> str:
    return column.type_name.lower().partition("(")[0]
