"""The entries of a group: their names, their order, and what cannot be an entry of an item that many rows share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from whimbrel.item import MAX_NAME_BYTES, Order, text_size
from whimbrel.mapping.attributes import Added, Carried, Key
from whimbrel.mapping.carried import attribute_name, carried
from whimbrel.mapping.columns import Columns
from whimbrel.mapping.named import EMPTY, template_of, unknown_column
from whimbrel.mapping.templates import Template, parse
from whimbrel.mapping.trees import templates_of
from whimbrel.mapping.values import BINARY_KINDS, TYPES
from whimbrel.nested import deep_name
from whimbrel.project import TableRule
from whimbrel.records import Column, Gathered, Table

_DEEP = re.compile(r"([^.$]+)\.(.*\$\{.*)\.([^.${}]+)", re.DOTALL)
_SET_KINDS = {"string-set": "SS", "number-set": "NS"}
INSIDE = {"map": "M", "list": "L", **_SET_KINDS}
_MEMBERS = {  # of sets: the kinds whose equal texts (or numbers) are equal values
    "SS": set(TYPES) - BINARY_KINDS - {"computed"},
    "NS": {"int", "year", "bit", "decimal"},
}


class Deep(NamedTuple):
    """Where entries are: in the attribute ``into``, or in the map ``path`` of its entry of the name ``outer``."""

    into: str
    outer: str = ""
    path: str = ""


def deep_of(rule: TableRule) -> Deep:
    """``orders.${order_id}.lines`` is a map within a map; anything without a template is an attribute's name."""
    found = _DEEP.fullmatch(rule.entry_into)
    return Deep(*found.groups()) if found else Deep(rule.entry_into)


def entry_template(rule: TableRule, table: Table, faults: list[str]) -> Template:
    """The template of the entry's name; a set's member is its own name, a list's element has none. Of a list that is in
    the entries of a map, it is the name of the map's entry.
    """
    deep = deep_of(rule)
    if rule.shape != "group" or (rule.entry_as == "list" and not rule.entry_rows and not deep.path):
        return EMPTY
    if rule.entry_as in _SET_KINDS:
        member = _member(rule, table, faults)
        if not rule.entry_rows:
            return member
    if deep.path and not template_of("entry_into", deep.outer, table, faults).columns:
        faults.append(f"entry_into {rule.entry_into!r} uses no column between its two names")
    if deep.path and rule.entry_as == "list":
        return template_of("entry_into", deep.outer, table, [])
    text = deep_name(deep.outer, rule.entry_name) if deep.path else rule.entry_name
    template = template_of("entry_name", text, table, faults)
    if template.parts and not template.columns:
        faults.append(f"entry_name {rule.entry_name!r} uses no column: all rows of an item would have the same entry")
    return template


def _member(rule: TableRule, table: Table, faults: list[str]) -> Template:
    name, inside = rule.entry_value, _SET_KINDS[rule.entry_as]
    if name not in table.names:
        faults.append(unknown_column("entry_value names", name, table))
        return EMPTY
    takes = _MEMBERS[inside] | ({"computed"} if rule.entry_rows else set())
    if table.column(name).kind not in takes:
        kinds = ", ".join(sorted(takes))
        faults.append(
            f"column {name!r} ({table.column(name).kind}) cannot be the member of a {rule.entry_as}: it takes {kinds}"
        )
        return EMPTY
    return parse(f"${{{name}}}")


def list_order(rule: TableRule, table: Table, faults: list[str]) -> tuple[Order, tuple[Carried, ...]]:
    """A list's ordering attributes, and the columns that they are."""
    if rule.shape != "group" or rule.entry_as != "list":
        return (), ()
    order, ordering = [], []
    if rule.entry_value and not rule.entry_rows:
        faults.append(
            "entry_value is not for a list: its elements are maps that have the columns of its order in them. A list "
            'of plain values needs a map beside it that has them by row: rows = "…", name = "${…}"'
        )
    if not rule.entry_order:
        faults.append("a list needs an order: name the columns that it is ordered by")
    for text in rule.entry_order:
        name, _, direction = text.partition(" ")
        if name not in table.names:
            faults.append(unknown_column("entry_order names", name, table))
        elif direction not in ("", "asc", "desc"):
            faults.append(f"entry_order {text!r} is neither a column nor a column with ' desc'")
        elif name in rule.exclude:
            faults.append(f"column {name!r} orders the list and cannot be excluded from its elements")
        else:
            column = table.column(name)
            one = carried(rule, column, attribute_name(rule, name), faults)
            kind = one.type
            if kind not in ("S", "N", "B", "EPOCH", "EPOCH_MS", "SECONDS"):
                faults.append(f"column {name!r} of type {kind} cannot order a list: it takes S, N and B")
            ordering.append(one)
            order.append((attribute_name(rule, name), direction == "desc"))
    return tuple(order), tuple(ordering)


def gathered_of(rule: TableRule, order: Order) -> Gathered | None:
    """The set or list that is made of the map ``entry_rows``."""
    if not rule.entry_rows:
        return None
    if rule.entry_as == "list":
        return Gathered(rule.entry_into, "L", attribute_name(rule, rule.entry_value), order)
    return Gathered(rule.entry_into, _SET_KINDS.get(rule.entry_as, ""))


def group_faults(rule: TableRule, columns: Columns, added: tuple[Added, ...], keys: tuple[Key, ...]) -> list[str]:
    faults = []
    seen = {column.name: column for column in columns.table.columns}
    key_columns = tuple(dict.fromkeys(name for key in keys for name in key.template.columns))
    told = {name for key in keys for name in key.template.told(seen)}
    named = (
        frozenset() if rule.entry_rows else entry_template(rule, columns.table, []).told(seen)
    )  # not tried with rows
    if hidden := [name for name in key_columns if name not in told and name not in named]:
        faults.append(
            f"the item's key does not tell {', '.join(map(repr, hidden))}, which it has by a lossy format only: put "
            f"the column into the key too, or into the name of the entries, or make "
            f'the key of a computed one, as columns = {{ day = "date(placed)" }}'
        )
    plainly_told = [name for name in key_columns if name in told]
    plain = {name for name in told if name not in columns.uses}
    for name, tree in added:
        used = dict.fromkeys(column for template in templates_of(tree) for column in template.columns)
        others = [column for column in used if column not in told and not plain.issuperset(columns.sources(column))]
        if others:
            faults.append(
                f"attribute {name!r} uses {', '.join(map(repr, others))}, which may differ between rows of one item: "
                f"only columns of the key ({', '.join(plainly_told)}) may be used"
            )
    if rule.nulls == "omit":
        faults += _omit_faults(rule, seen, added)
    if deep_of(rule).path and (rule.entry_as not in ("map", "list") or rule.entry_rows):
        faults.append(f"entry_into {rule.entry_into!r}: only a map, or a list without `rows`, can be within a map")
    if rule.entry_as == "attribute" and rule.entry_into:
        faults.append("entry_into is for entries in a map, a set or a list")
    if rule.entry_as != "attribute" and not 1 <= text_size(rule.entry_into) <= MAX_NAME_BYTES:
        faults.append(f"entry_into must name the {rule.entry_as} that holds the entries")
    if rule.entry_as in ("list", *_SET_KINDS):
        faults += _rows_faults(rule)
    faults += [
        f"{setting} is not for {rule.entry_value!r}: a member of a {rule.entry_as} is what the set is of"
        for setting, names in (("types", rule.types), ("codes", rule.codes))
        if rule.entry_as in _SET_KINDS and rule.entry_value in names
    ]
    if rule.entry_value and (rule.attribute_prefix or rule.attribute_suffix or rule.attribute_case):
        faults.append(
            "attribute_prefix, _suffix and _case name what is made of columns: here entries have their own names"
        )
    return faults


def _rows_faults(rule: TableRule) -> list[str]:
    if not rule.entry_rows:
        reason = f'entry_name is not for a {rule.entry_as} without a map of its rows: rows = "…"'
        return [reason] if rule.entry_name else []
    if not 1 <= text_size(rule.entry_rows) <= MAX_NAME_BYTES:
        return ["entry_rows must name the map that has what each row gives"]
    return []


def _omit_faults(rule: TableRule, columns: Mapping[str, Column], added: tuple[Added, ...]) -> list[str]:
    """In a group it is for the maps that entries are: these are there, however many of their columns are NULL."""
    if rule.entry_value:
        return ["nulls = 'omit' is not for an entry that is one value: there a NULL says that its row exists"]
    return [
        f"nulls = 'omit' is for the entries of a group, and attribute {each.name!r} of the whole item may be NULL"
        for each in added
        if each.may_be_null(columns)
    ]


def place_faults(rule: TableRule, source: Table, columns: Columns, used: set[str]) -> list[str]:
    """A set has a member as long as a row has it, so it must be one row's alone; the same for a list's element.

    In a map or among attributes, two rows that want the same name are seen: ``check`` says if it can happen.
    """
    if rule.entry_as not in ("list", *_SET_KINDS) or rule.entry_rows:
        return []
    certain = {name for name in used if name not in columns.uses}
    missing = [name for name in source.primary_key if name not in certain]
    if not missing:
        return []
    what = "ordered by" if rule.entry_as == "list" else "the member"
    listed = ", ".join(map(repr, missing))
    reason = "two rows could have the same element, and the first to be deleted would take it from the other"
    instead = 'use entries in a map instead, or name a map beside it that says which row gives what: rows = "…"'
    return [f"{listed} of the primary key is not in the key or {what}: {reason}; {instead}"]
