"""The columns that an item carries: the attribute that each becomes, and its type."""

from __future__ import annotations

from dataclasses import replace

from whimbrel.mapping.attributes import Carried, Key
from whimbrel.mapping.codes import codes_of, type_of
from whimbrel.mapping.named import unknown_column
from whimbrel.mapping.values import TYPES
from whimbrel.project import TableRule
from whimbrel.records import Column, Table

MEMBERS = {"string-set": "S", "number-set": "N"}  # the type of a set's members


def carried_columns(
    rule: TableRule, table: Table, keys: tuple[Key, ...], said: set[str], faults: list[str]
) -> tuple[Carried, ...]:
    """Record: all columns but those excluded or a key attribute as they stand. Group: the entry's columns. What only
    another rule of the table looks up is left out.
    """
    own = {each.name for each in rule.lookups}
    left_out = {*rule.exclude, *(one.name for one in table.columns if one.looked_up and one.name not in own)}
    if rule.shape == "group":
        left_out |= said
    elif rule.shape == "record":
        left_out |= {key.name for key in keys if key.template.alone == key.name == attribute_name(rule, key.name)}
    if rule.shape == "group" and rule.entry_value:
        return _entry_column(rule, table, left_out, faults)
    return tuple(
        carried(rule, column, attribute_name(rule, column.name), faults)
        for column in table.columns
        if column.name not in left_out
    )


def attribute_name(rule: TableRule, column: str) -> str:
    if column in rule.rename:
        return rule.rename[column]
    cased = {"lower": column.lower, "upper": column.upper}.get(rule.attribute_case, column.__str__)()
    return f"{rule.attribute_prefix}{cased}{rule.attribute_suffix}"


def _entry_column(rule: TableRule, table: Table, left_out: set[str], faults: list[str]) -> tuple[Carried, ...]:
    """The column of ``entry_value``, and those that order a list of such values. A column that is carried nowhere must
    have been excluded in so many words.
    """
    if rule.entry_value not in table.names:
        faults.append(unknown_column("entry_value names", rule.entry_value, table))
        return ()
    ordering = [text.partition(" ")[0] for text in rule.entry_order]
    lost = [name for name in table.names if name not in left_out and name not in (rule.entry_value, *ordering)]
    if lost:
        faults.append(
            f"nothing carries {'column' if len(lost) == 1 else 'columns'} {', '.join(map(repr, lost))}: "
            f"exclude them, or leave entry_value out to make each entry a map of all columns"
        )
    column = table.column(rule.entry_value)
    if rule.entry_as == "list":
        wanted = [each for each in table.columns if each.name in (rule.entry_value, *ordering)]
        return tuple(carried(rule, each, attribute_name(rule, each.name), faults) for each in wanted)
    if kind := MEMBERS.get(rule.entry_as):
        rule = replace(rule, types={rule.entry_value: kind})
    return (carried(rule, column, rule.entry_value, faults),)


def carried(rule: TableRule, column: Column, attribute: str, faults: list[str]) -> Carried:
    codes = codes_of(rule, column, faults)
    return Carried(column, attribute, type_of(codes) if codes else attribute_type(rule, column, faults), codes)


def attribute_type(rule: TableRule, column: Column, faults: list[str]) -> str:
    if column.kind not in TYPES:
        faults.append(f"column {column.name!r} has kind {column.kind!r}, which cannot be mapped: exclude it")
        return "S"
    allowed = TYPES[column.kind]
    chosen = rule.types.get(column.name, allowed[0])
    if chosen not in allowed:
        faults.append(
            f"column {column.name!r} ({column.kind}) cannot have type {chosen!r}: it takes "
            f"{', '.join(each for each in allowed if each != 'ANY')}"
        )
    return chosen
