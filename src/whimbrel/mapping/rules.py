"""A TableRule checked against its table: either a Design without a doubt left, or all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from whimbrel.errors import MappingError
from whimbrel.item import MAX_KEY_NAME_BYTES, MAX_NAME_BYTES, text_size
from whimbrel.mapping import provenance
from whimbrel.mapping.attributes import Added, Carried, Design, Key, Sharing
from whimbrel.mapping.carried import carried_columns
from whimbrel.mapping.columns import Columns
from whimbrel.mapping.entries import (
    INSIDE,
    deep_of,
    entry_template,
    gathered_of,
    group_faults,
    list_order,
    place_faults,
)
from whimbrel.mapping.formats import Reference
from whimbrel.mapping.forms import EXPIRY_KINDS
from whimbrel.mapping.named import EMPTY, template_of, unknown_column
from whimbrel.mapping.templates import Template, parse
from whimbrel.mapping.trees import Leaf, Tree, leaves_of, parse_tree
from whimbrel.mapping.values import BINARY_KINDS, NUMBER_KINDS, TYPES
from whimbrel.project import IndexRule, KeyRule, TableRule
from whimbrel.records import Table

TABLE_NAME = r"[A-Za-z0-9_.-]{3,255}"  # of tables and of indexes, as DynamoDB has it
_NO_COLUMN = "the key uses no column, so that all rows would share one key: use ${column} in a key template"
MAX_PROJECTED = 20  # attributes of one index


def resolve(rule: TableRule, source: Table, sharing: Sharing | None = None) -> tuple[Design, Columns]:
    """Raises MappingError with all the faults of the rule at once."""
    faults: list[str] = []
    columns = Columns(rule, source, faults)
    table = columns.table
    keys = tuple(_key(role, key, table, faults, columns.constants) for role, key in _key_rules(rule))
    added = _added(rule, table, faults)
    order, ordering = list_order(rule, table, faults)
    entry_name = entry_template(rule, table, faults)
    key_columns = tuple(dict.fromkeys(name for key in keys for name in key.template.columns))
    group_columns = _in_key_order(key_columns, columns, source)
    told = _told(table, [*(key.template for key in keys), entry_name])
    ordered_by, deep = {one.column.name for one in ordering}, deep_of(rule)
    carried = carried_columns(rule, table, keys, told - ordered_by, faults)
    faults += _rule_faults(rule, table, source) + _name_faults(rule, keys, added, carried)
    if rule.shape == "group":
        faults += [*group_faults(rule, columns, added, keys), *place_faults(rule, source, columns, told | ordered_by)]
    faults += provenance.faults(rule, columns, keys, added, carried)
    faults += [] if group_columns or faults else [_NO_COLUMN]
    lookup_columns, invertible = _lookup(rule, columns, source, keys, group_columns)
    design = Design(
        table=table,
        target=rule.target,
        shape=rule.shape,
        keys=keys,
        added=added,
        carried=carried,
        entry_name=entry_name,
        entry_is_map=rule.shape == "group" and (not rule.entry_value or rule.entry_as == "list"),
        omit_nulls=rule.nulls == "omit",
        group_columns=group_columns,
        key_columns=key_columns,
        aligned=rule.shape != "group" or (invertible and _together(group_columns, lookup_columns, source)),
        lookup_columns=lookup_columns,
        invertible=invertible,
        inside="M" if rule.entry_rows or deep.path else INSIDE.get(rule.entry_as, ""),
        into=rule.entry_rows or deep.into,
        path=deep.path,
        order=() if rule.entry_rows else order,
        gathered=gathered_of(rule, order),
        ordering=ordering,
        document=rule.document if rule.shape == "document" else "",
        sharing=sharing if rule.item == "shared" else None,
        provenance_columns=columns.provenance_columns,
        indicator=provenance.indicator_of(rule, columns),
        sparse=_sparse(rule, table, added, carried),
    )
    if faults := faults + _shared_faults(rule, design):
        raise all_faults(faults, rule)
    return design, columns


def all_faults(faults: list[str], rule: TableRule) -> MappingError:
    """All faults of the rule as one error, each once."""
    hint = "Correct it in the project file; nothing was read or written."
    faults = list(dict.fromkeys(faults))
    if len(faults) == 1:
        return MappingError(faults[0], place=f"table {rule.name}", hint=hint)
    listed = "".join(f"\n  - {fault}" for fault in faults)
    return MappingError(f"{len(faults)} faults in its mapping:{listed}", place=f"table {rule.name}", hint=hint)


# --- keys and templates ---------------------------------------------------------------------------------------------


def _key_rules(rule: TableRule) -> list[tuple[str, KeyRule]]:
    keys = [("partition key", rule.partition_key)]
    return [*keys, ("sort key", rule.sort_key)] if rule.sort_key else keys


def _key(role: str, rule: KeyRule, table: Table, faults: list[str], constants: Mapping[str, str]) -> Key:
    """A computed column that uses no column stands in the key as the text that it is: the key can be read back."""
    place = f"{role} {rule.name!r}"
    if not 1 <= text_size(rule.name) <= MAX_KEY_NAME_BYTES:
        faults.append(f"{place} must have a name of 1 to {MAX_KEY_NAME_BYTES} bytes")
    if rule.type not in ("S", "N", "B"):
        faults.append(f"{place} has type {rule.type!r}: a key is S, N or B")
        return Key(rule.name, "S", EMPTY)
    alone = "" if rule.type == "S" else _sole_column(rule.value)
    template = template_of(place, rule.value, table, faults, binary_alone=rule.type == "B")
    kind = table.column(alone).kind if alone in table.names else ""
    if rule.type == "N" and template.parts and kind not in NUMBER_KINDS | {"computed"}:
        faults.append(f"{place} of type N must be one number column alone, such as ${{id}}, not {rule.value!r}")
    if rule.type == "B" and template.parts and kind not in BINARY_KINDS:
        faults.append(f"{place} of type B must be one binary column alone, such as ${{id}}, not {rule.value!r}")
    return Key(rule.name, rule.type, template.over(constants) if rule.type == "S" else template)


def _lookup(
    rule: TableRule, columns: Columns, source: Table, keys: tuple[Key, ...], group_columns: tuple[str, ...]
) -> tuple[tuple[str, ...], bool]:
    """The columns that find an item's rows in the source, and whether the key tells them. The primary key alone finds a
    record's row, whatever else a lossy format has lost. Of a group that is split by one, they find all parts' rows.
    """
    told = _told(columns.table, [key.template for key in keys])
    if any(name in columns.uses for key in keys for name in key.template.columns):
        return group_columns, False
    if rule.shape == "group":  # of a lossy format it has a part of a group's rows
        found_by = tuple(name for name in group_columns if name in told)
        return (found_by, True) if found_by else (group_columns, False)
    if not told.issuperset(source.primary_key):
        return group_columns, told.issuperset(group_columns)
    return tuple(name for name in group_columns if name in told), True


def _told(table: Table, templates: Iterable[Template]) -> set[str]:
    columns = {column.name: column for column in table.columns}
    return {name for template in templates for name in template.told(columns)}


def _added(rule: TableRule, table: Table, faults: list[str]) -> tuple[Added, ...]:
    """The rule's own attributes, each with the tree of its templates."""

    def in_table(place: str, text: str) -> Template:
        return template_of(place, text, table, faults)

    trees = [(name, parse_tree(tree, in_table, f"attribute {name!r}")) for name, tree in rule.attributes.items()]
    faults += [fault for name, tree in trees for leaf in leaves_of(tree) if (fault := _json_fault(name, leaf, table))]
    return tuple(Added(name, tree) for name, tree in [*trees, *_time_to_live(rule, table, faults)])


def _json_fault(name: str, leaf: Leaf, table: Table) -> str:
    """An object or an array is of one JSON column, or of text that is JSON."""
    if leaf.type not in ("M", "L") or not leaf.template.parts:
        return ""
    alone = leaf.template.alone
    if alone and "JSON" in TYPES[table.column(alone).kind]:
        return ""
    return f"attribute {name!r}: {leaf.type} takes a table or a list, or one JSON column alone as ${{doc}}"


def _time_to_live(rule: TableRule, table: Table, faults: list[str]) -> list[tuple[str, Tree]]:
    """The attribute of [table.ttl]: in seconds, as DynamoDB takes no others."""
    if rule.ttl is None:
        return []
    name = rule.ttl.column
    if name not in table.names:
        faults.append(unknown_column("ttl names", name, table))
        return []
    if table.column(name).kind not in EXPIRY_KINDS:
        kinds = ", ".join(EXPIRY_KINDS)
        faults.append(f"ttl: column {name!r} ({table.column(name).kind}) is not a time: it takes {kinds}")
        return []
    return [(rule.ttl.attribute, Leaf("N", Template("", (Reference(name),)), rule.ttl.offset))]


def _sole_column(text: str) -> str:
    try:
        return parse(text).alone
    except MappingError:
        return ""


def _in_key_order(key_columns: tuple[str, ...], columns: Columns, source: Table) -> tuple[str, ...]:
    """The source's columns that determine the key; in the primary key's order where they are a prefix of it."""
    used = tuple(dict.fromkeys(name for key in key_columns for name in columns.sources(key)))
    return source.primary_key[: len(used)] if _is_prefix(used, source) else used


def _together(group: tuple[str, ...], found_by: tuple[str, ...], table: Table) -> bool:
    """Whether an item's rows are together in the primary key's order: not those of a part of a group."""
    return group == found_by and _is_prefix(group, table)


def _is_prefix(columns: tuple[str, ...], table: Table) -> bool:
    return set(columns) == set(table.primary_key[: len(columns)])


# --- the rule as a whole --------------------------------------------------------------------------------------------


def _rule_faults(rule: TableRule, table: Table, source: Table) -> list[str]:
    faults = []
    if rule.shape not in ("record", "document", "group"):
        faults.append(f"shape {rule.shape!r} is not known: it is 'record', 'document' or 'group'")
    if rule.entry_as not in ("attribute", *INSIDE):
        faults.append(f"entry_as {rule.entry_as!r} is not known: it is 'attribute', {', '.join(map(repr, INSIDE))}")
    if rule.attribute_case not in ("", "lower", "upper"):
        faults.append(f"attribute_case {rule.attribute_case!r} is not known: it is 'lower' or 'upper'")
    if rule.item not in ("own", "shared"):
        faults.append(f"item {rule.item!r} is not known: it is 'own' or 'shared'")
    if not re.fullmatch(TABLE_NAME, rule.target):
        faults.append(
            f"target {rule.target!r} is not a valid DynamoDB table name: 3 to 255 letters, digits, '_', '-' and '.'"
        )
    faults += [fault for index in rule.indexes for fault in _index_faults(index)]
    if rule.nulls not in ("null", "omit"):
        faults.append(f"nulls {rule.nulls!r} is not known: it is 'null' or 'omit'")
    if rule.shape != "group" and (rule.entry_name or rule.entry_value or rule.entry_into or rule.entry_order):
        faults.append("entry_name and entry_value are for shape 'group'")
    for setting, names in (
        ("exclude", rule.exclude),
        ("rename", rule.rename),
        ("types", rule.types),
        ("codes", rule.codes),
    ):
        faults += [unknown_column(f"{setting} names", name, table) for name in names if name not in table.names]
    return faults + [unknown_column("mask names", name, source) for name in rule.mask if name not in source.names]


def _index_faults(index: IndexRule) -> list[str]:
    """What CreateTable would refuse."""
    place, faults = f"index {index.name!r}", []
    if not re.fullmatch(TABLE_NAME, index.name):
        faults.append(f"{place} is not a valid DynamoDB index name: 3 to 255 letters, digits, '_', '-' and '.'")
    keys = [index.partition_key.name, *([index.sort_key.name] if index.sort_key else [])]
    if len(set(keys)) < len(keys):
        faults.append(f"{place} has {keys[0]!r} as both of its keys")
    projected = index.projection if isinstance(index.projection, tuple) else ()
    if index.projection == () or len(set(projected)) < len(projected) or len(projected) > MAX_PROJECTED:
        faults.append(f"{place}: projection must name 1 to {MAX_PROJECTED} attributes, each once")
    for name in (*keys, *projected):
        if not 1 <= text_size(name) <= MAX_KEY_NAME_BYTES:
            faults.append(f"{place}: {name!r} must be a name of 1 to {MAX_KEY_NAME_BYTES} bytes")
    return faults


def _shared_faults(rule: TableRule, design: Design) -> list[str]:
    if rule.item != "shared" or rule.shape == "group":
        return []
    if any(name not in design.sparse and name not in _left_out(design) for name in design.own):
        return []
    never = " that is never NULL" if design.omit_nulls else ""
    return [f"a row of a shared item needs an attribute of its own{never}, which says that the row exists"]


def _left_out(design: Design) -> set[str]:
    """The attributes that a row may leave out, of those that could be NULL."""
    if not design.omit_nulls:
        return set()
    nullable = {each.name for each in design.added if each.may_be_null(design.columns)}
    carried = design.carried if design.shape == "record" else ()
    return nullable | {each.attribute for each in carried if each.column.nullable}


def _sparse(rule: TableRule, table: Table, added: tuple[Added, ...], carried: tuple[Carried, ...]) -> frozenset[str]:
    """What this rule's indexes are keyed by and may be NULL; a group's attributes are its whole item's."""
    if rule.shape == "group" or rule.nulls == "omit":
        return frozenset()
    columns = {column.name: column for column in table.columns}
    nullable = {each.name for each in added if isinstance(each.tree, Leaf) and each.may_be_null(columns)}
    if rule.shape == "record":
        nullable |= {each.attribute for each in carried if each.column.nullable}
    keys = [key.name for index in rule.indexes for key in (index.partition_key, index.sort_key) if key]
    return frozenset(keys) & nullable


def _name_faults(
    rule: TableRule, keys: tuple[Key, ...], added: tuple[Added, ...], carried: tuple[Carried, ...]
) -> list[str]:
    """In a record all attributes share one item; a document's map and a group's entry have names of their own."""
    frame = [(f"key {key.name!r}", key.name) for key in keys]
    frame += [(f"added attribute {name!r}", name) for name, _ in added]
    if rule.shape == "document":
        frame += [(f"the document {rule.document!r}", rule.document)]
    if rule.shape == "group" and rule.entry_as != "attribute":
        frame += [(f"entry_into {rule.entry_into!r}", deep_of(rule).into)]
        frame += [(f"entry_rows {rule.entry_rows!r}", rule.entry_rows)] if rule.entry_rows else []
    columns = [(f"column {one.column.name!r}", one.attribute) for one in carried]
    if rule.shape == "record":
        return _clashes(frame + columns)
    return _clashes(frame) + ([] if rule.entry_value and rule.entry_as != "list" else _clashes(columns))


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
