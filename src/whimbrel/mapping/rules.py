"""A TableRule held against its table: either a Design without a doubt left, or all that is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from whimbrel.errors import MappingError
from whimbrel.mapping.templates import Template, parse
from whimbrel.mapping.values import BINARY_KINDS, NUMBER_KINDS, TYPES
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Table
from whimbrel.sizes import MAX_KEY_NAME_BYTES, MAX_NAME_BYTES, text_size

_EMPTY = Template("", ())


class Key(NamedTuple):
    """One key attribute: ``type`` is S, N or B."""

    name: str
    type: str
    template: Template


class Carried(NamedTuple):
    """A column that becomes an attribute (or an entry of a row's map): ``type`` is S, N, B or BOOL."""

    column: Column
    attribute: str
    type: str


@dataclass(frozen=True, slots=True)
class Design:
    """``rule`` resolved against ``table``. In a group, ``carried`` is the row's map, or the one column of the entry."""

    table: Table
    target: str
    shape: str
    keys: tuple[Key, ...]
    added: tuple[tuple[str, Template], ...]
    carried: tuple[Carried, ...]
    entry_name: Template
    entry_is_map: bool
    omit_nulls: bool
    group_columns: tuple[str, ...]
    aligned: bool

    @property
    def columns(self) -> dict[str, Column]:
        return {column.name: column for column in self.table.columns}


def resolve(rule: TableRule, table: Table) -> Design:
    """Raises MappingError with all the faults of the rule at once."""
    faults = _unbuilt(rule)
    if faults:
        raise _all(faults, rule)
    keys = tuple(_key(role, key, table, faults) for role, key in _key_rules(rule))
    added = tuple(
        (name, _template(f"attribute {name!r}", str(text), table, faults)) for name, text in rule.attributes.items()
    )
    entry_name = _entry_name(rule, table, faults)
    group_columns = _in_key_order(keys, table)
    carried = _carried(rule, table, keys, group_columns, entry_name, faults)
    faults += _rule_faults(rule, table)
    faults += _name_faults(rule, keys, added, carried)
    if rule.shape == "group":
        faults += _group_faults(rule, table, added, group_columns, entry_name)
    if not group_columns and not faults:
        faults.append("the key uses no column, so that all rows would share one key: use ${column} in a key template")
    if faults:
        raise _all(faults, rule)
    aligned = rule.shape == "record" or _is_prefix(group_columns, table)
    omit = rule.nulls == "omit"
    is_map = rule.shape == "group" and not rule.entry_value
    return Design(
        table, rule.target, rule.shape, keys, added, carried, entry_name, is_map, omit, group_columns, aligned
    )


def _unbuilt(rule: TableRule) -> list[str]:
    """What the vocabulary has and the mapping cannot do yet: refused by name, never ignored."""
    unbuilt = {
        "shape 'document'": rule.shape == "document",
        f"entry as {rule.entry_as!r}": rule.entry_as != "attribute",
        "columns": rule.columns,
        "filter": rule.filter,
        "mask": rule.mask,
        "attribute_prefix": rule.attribute_prefix,
        "attribute_suffix": rule.attribute_suffix,
        "attribute_case": rule.attribute_case,
        "item = 'shared'": rule.item != "own",
        "index": rule.indexes,
        "attributes of a type other than text": [each for each in rule.attributes.values() if isinstance(each, dict)],
    }
    return [f"{what} is not built yet" for what, used in unbuilt.items() if used]


def _all(faults: list[str], rule: TableRule) -> MappingError:
    hint = "Correct it in the project file; nothing was read or written."
    if len(faults) == 1:
        return MappingError(faults[0], place=f"table {rule.source}", hint=hint)
    listed = "".join(f"\n  - {fault}" for fault in faults)
    return MappingError(f"{len(faults)} faults in its mapping:{listed}", place=f"table {rule.source}", hint=hint)


def _key_rules(rule: TableRule) -> list[tuple[str, KeyRule]]:
    keys = [("partition key", rule.partition_key)]
    return [*keys, ("sort key", rule.sort_key)] if rule.sort_key else keys


def _key(role: str, rule: KeyRule, table: Table, faults: list[str]) -> Key:
    place = f"{role} {rule.name!r}"
    if not 1 <= text_size(rule.name) <= MAX_KEY_NAME_BYTES:
        faults.append(f"{place} must have a name of 1 to {MAX_KEY_NAME_BYTES} bytes")
    if rule.type not in ("S", "N", "B"):
        faults.append(f"{place} has type {rule.type!r}: a key is S, N or B")
        return Key(rule.name, "S", _EMPTY)
    alone = "" if rule.type == "S" else _sole_column(rule.value)
    template = _template(place, rule.value, table, faults, binary_alone=rule.type == "B")
    kind = table.column(alone).kind if alone in table.names else ""
    if rule.type == "N" and template.parts and kind not in NUMBER_KINDS:
        faults.append(f"{place} of type N must be one number column alone, such as ${{id}}, not {rule.value!r}")
    if rule.type == "B" and template.parts and kind not in BINARY_KINDS:
        faults.append(f"{place} of type B must be one binary column alone, such as ${{id}}, not {rule.value!r}")
    return Key(rule.name, rule.type, template)


def _sole_column(text: str) -> str:
    try:
        return parse(text).alone
    except MappingError:
        return ""


def _template(place: str, text: str, table: Table, faults: list[str], *, binary_alone: bool = False) -> Template:
    """The parsed template, or the empty one if it has a fault (which is then noted)."""
    try:
        template = parse(text)
    except MappingError as error:
        faults.append(f"{place}: {error.message}")
        return _EMPTY
    noted = len(faults)
    if not template.parts:
        faults.append(f"{place} has an empty template")
    for name in template.columns:
        if name not in table.names:
            faults.append(_unknown(f"{place} uses", name, table))
        elif table.column(name).kind not in TYPES:
            faults.append(f"{place} uses column {name!r} of kind {table.column(name).kind!r}, which has no text")
        elif table.column(name).kind in BINARY_KINDS and not (binary_alone and template.alone):
            faults.append(f"{place} uses {name!r}, a binary column: binary has no text; a key of type B takes it alone")
    return template if len(faults) == noted else _EMPTY


def _unknown(what: str, name: str, table: Table) -> str:
    folded = {column.lower(): column for column in table.names}
    nearest = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.0)
    return f"{what} column {name!r}, which {table.full_name} does not have; the nearest is {folded[nearest[0]]!r}"


def _entry_name(rule: TableRule, table: Table, faults: list[str]) -> Template:
    if rule.shape != "group":
        return _EMPTY
    template = _template("entry_name", rule.entry_name, table, faults)
    if template.parts and not template.columns:
        faults.append(f"entry_name {rule.entry_name!r} uses no column: all rows of an item would have the same entry")
    return template


def _in_key_order(keys: tuple[Key, ...], table: Table) -> tuple[str, ...]:
    """The columns that determine the key; in the primary key's order where they are a prefix of it."""
    used = tuple(dict.fromkeys(name for key in keys for name in key.template.columns))
    return table.primary_key[: len(used)] if _is_prefix(used, table) else used


def _is_prefix(columns: tuple[str, ...], table: Table) -> bool:
    return set(columns) == set(table.primary_key[: len(columns)])


def _carried(
    rule: TableRule,
    table: Table,
    keys: tuple[Key, ...],
    group_columns: tuple[str, ...],
    entry_name: Template,
    faults: list[str],
) -> tuple[Carried, ...]:
    """Record: all columns but those excluded or a key attribute as they stand. Group: the entry's columns."""
    left_out = set(rule.exclude)
    if rule.shape == "group":
        left_out |= {*group_columns, *entry_name.columns}
    else:
        left_out |= {key.name for key in keys if key.template.alone == key.name == rule.rename.get(key.name, key.name)}
    if rule.shape == "group" and rule.entry_value:
        return _entry_column(rule, table, left_out, faults)
    return tuple(
        Carried(column, rule.rename.get(column.name, column.name), _type(rule, column, faults))
        for column in table.columns
        if column.name not in left_out
    )


def _entry_column(rule: TableRule, table: Table, left_out: set[str], faults: list[str]) -> tuple[Carried, ...]:
    """The one column of ``entry_value``. A column carried nowhere must have been excluded in so many words."""
    if rule.entry_value not in table.names:
        faults.append(_unknown("entry_value names", rule.entry_value, table))
        return ()
    lost = [name for name in table.names if name not in left_out and name != rule.entry_value]
    if lost:
        faults.append(
            f"nothing carries {'column' if len(lost) == 1 else 'columns'} {', '.join(map(repr, lost))}: "
            f"exclude them, or leave entry_value out to make each entry a map of all columns"
        )
    column = table.column(rule.entry_value)
    return (Carried(column, rule.entry_value, _type(rule, column, faults)),)


def _type(rule: TableRule, column: Column, faults: list[str]) -> str:
    if column.kind not in TYPES:
        faults.append(f"column {column.name!r} has kind {column.kind!r}, which cannot be mapped: exclude it")
        return "S"
    allowed = TYPES[column.kind]
    chosen = rule.types.get(column.name, allowed[0])
    if chosen not in allowed:
        faults.append(
            f"column {column.name!r} ({column.kind}) cannot have type {chosen!r}: it takes {', '.join(allowed)}"
        )
    return chosen


def _rule_faults(rule: TableRule, table: Table) -> list[str]:
    faults = []
    if rule.shape not in ("record", "group"):
        faults.append(f"shape {rule.shape!r} is not known: it is 'record' or 'group'")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", rule.target):
        faults.append(f"target {rule.target!r} is no DynamoDB table name: 3 to 255 letters, digits, '_', '-' and '.'")
    if rule.nulls not in ("null", "omit"):
        faults.append(f"nulls {rule.nulls!r} is not known: it is 'null' or 'omit'")
    if rule.shape == "record" and (rule.entry_name or rule.entry_value):
        faults.append("entry_name and entry_value are for shape 'group'")
    for setting, names in (("exclude", rule.exclude), ("rename", rule.rename), ("types", rule.types)):
        faults += [_unknown(f"{setting} names", name, table) for name in names if name not in table.names]
    return faults


def _name_faults(
    rule: TableRule, keys: tuple[Key, ...], added: tuple[tuple[str, Template], ...], carried: tuple[Carried, ...]
) -> list[str]:
    """In a record all attributes share one item; in a group the carried columns have a map of their own."""
    frame = [(f"key {key.name!r}", key.name) for key in keys]
    frame += [(f"added attribute {name!r}", name) for name, _ in added]
    columns = [(f"column {one.column.name!r}", one.attribute) for one in carried]
    if rule.shape == "group":
        return _clashes(frame) + ([] if rule.entry_value else _clashes(columns))
    return _clashes(frame + columns)


def _clashes(named: Iterable[tuple[str, str]]) -> list[str]:
    faults = []
    seen: dict[str, str] = {}
    for what, name in named:
        if not 1 <= text_size(name) <= MAX_NAME_BYTES:
            faults.append(f"{what} has an attribute name that is empty or over {MAX_NAME_BYTES} bytes")
        elif name in seen:
            faults.append(f"{what} and {seen[name]} would both be attribute {name!r}: rename or exclude one")
        seen.setdefault(name, what)
    return faults


def _group_faults(
    rule: TableRule,
    table: Table,
    added: tuple[tuple[str, Template], ...],
    group_columns: tuple[str, ...],
    entry_name: Template,
) -> list[str]:
    faults = []
    for name, template in added:
        others = [column for column in template.columns if column not in group_columns]
        if others:
            faults.append(
                f"attribute {name!r} uses {', '.join(map(repr, others))}, which may differ between rows of one item: "
                f"only columns of the key ({', '.join(group_columns)}) may be used"
            )
    if rule.nulls == "omit":
        faults.append("nulls = 'omit' is for shape 'record': in a group a NULL entry says that its row exists")
    return faults
