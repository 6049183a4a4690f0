"""A TableRule held against its table: either a Design without a doubt left, or all that is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from whimbrel.errors import MappingError
from whimbrel.lists import Order
from whimbrel.mapping import provenance
from whimbrel.mapping.attributes import Added, Carried, Design, Key, Sharing
from whimbrel.mapping.columns import Columns
from whimbrel.mapping.templates import Template, parse
from whimbrel.mapping.trees import Leaf, parse_tree, templates_of
from whimbrel.mapping.values import BINARY_KINDS, NUMBER_KINDS, TYPES
from whimbrel.project import IndexRule, KeyRule, TableRule
from whimbrel.records import Column, Table
from whimbrel.sizes import MAX_KEY_NAME_BYTES, MAX_NAME_BYTES, text_size

TABLE_NAME = r"[A-Za-z0-9_.-]{3,255}"  # of tables and of indexes, as DynamoDB has it
MAX_PROJECTED = 20  # attributes of one index
_EMPTY = Template("", ())
_SET_KINDS = {"string-set": "SS", "number-set": "NS"}
_INSIDE = {"map": "M", "list": "L", **_SET_KINDS}
_MEMBERS = {  # of sets: the kinds whose equal texts (or numbers) are equal values
    "SS": set(TYPES) - BINARY_KINDS - {"computed"},
    "NS": {"int", "year", "bit", "decimal"},
}


def resolve(rule: TableRule, source: Table, sharing: Sharing | None = None) -> tuple[Design, Columns]:
    """Raises MappingError with all the faults of the rule at once."""
    faults: list[str] = []
    columns = Columns(rule, source, faults)
    table = columns.table
    keys = tuple(_key(role, key, table, faults) for role, key in _key_rules(rule))
    added = tuple(
        Added(name, parse_tree(tree, lambda place, text: _template(place, text, table, faults), f"attribute {name!r}"))
        for name, tree in rule.attributes.items()
    )
    order, ordering = _order(rule, table, faults)
    entry_name = _entry_name(rule, table, faults)
    key_columns = tuple(dict.fromkeys(name for key in keys for name in key.template.columns))
    group_columns = _in_key_order(key_columns, columns, source)
    ordered_by = {one.column.name for one in ordering}
    carried = _carried(rule, table, keys, {*key_columns, *entry_name.columns} - ordered_by, faults)
    faults += _rule_faults(rule, table, source)
    faults += _name_faults(rule, keys, added, carried)
    if rule.shape == "group":
        faults += _group_faults(rule, columns, added, key_columns)
        faults += _place_faults(rule, source, columns, {*key_columns, *entry_name.columns, *ordered_by})
    faults += provenance.faults(rule, columns, keys, added, carried)
    if not group_columns and not faults:
        faults.append("the key uses no column, so that all rows would share one key: use ${column} in a key template")
    invertible = not any(name in columns.uses for name in key_columns)
    design = Design(
        table=table,
        target=rule.target,
        shape=rule.shape,
        keys=keys,
        added=added,
        carried=carried,
        entry_name=entry_name,
        entry_is_map=rule.shape == "group" and not rule.entry_value,
        omit_nulls=rule.nulls == "omit",
        group_columns=group_columns,
        key_columns=key_columns,
        aligned=rule.shape != "group" or (invertible and _is_prefix(group_columns, source)),
        invertible=invertible,
        inside=_INSIDE.get(rule.entry_as, ""),
        into=rule.entry_into,
        order=order,
        ordering=ordering,
        document=rule.document if rule.shape == "document" else "",
        sharing=sharing if rule.item == "shared" else None,
        of_change=columns.of_change,
        indicator=provenance.indicator_of(rule, columns),
        sparse=_sparse(rule, table, added, carried),
    )
    faults += _shared_faults(rule, design)
    if faults:
        raise all_faults(faults, rule)
    return design, columns


def all_faults(faults: list[str], rule: TableRule) -> MappingError:
    """All faults of the rule as one error, each once."""
    hint = "Correct it in the project file; nothing was read or written."
    faults = list(dict.fromkeys(faults))
    if len(faults) == 1:
        return MappingError(faults[0], place=f"table {rule.source}", hint=hint)
    listed = "".join(f"\n  - {fault}" for fault in faults)
    return MappingError(f"{len(faults)} faults in its mapping:{listed}", place=f"table {rule.source}", hint=hint)


# --- keys and templates ---------------------------------------------------------------------------------------------


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
    if rule.type == "N" and template.parts and kind not in NUMBER_KINDS | {"computed"}:
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
    faults += [
        f"{place}: column {name!r} has a brace in its name, so that no template can name it: compute it under another "
        f"name, as columns = {{ other = '\"{name}\"' }}"
        for name in table.names
        if ("{" in name or "}" in name) and f"${{{name}}}" in text
    ]
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


def _in_key_order(key_columns: tuple[str, ...], columns: Columns, source: Table) -> tuple[str, ...]:
    """The source's columns that determine the key; in the primary key's order where they are a prefix of it."""
    used = tuple(dict.fromkeys(name for key in key_columns for name in columns.sources(key)))
    return source.primary_key[: len(used)] if _is_prefix(used, source) else used


def _is_prefix(columns: tuple[str, ...], table: Table) -> bool:
    return set(columns) == set(table.primary_key[: len(columns)])


# --- entries of a group ---------------------------------------------------------------------------------------------


def _entry_name(rule: TableRule, table: Table, faults: list[str]) -> Template:
    """The template of the entry's name; a set's member is its own name, a list's element has none."""
    if rule.shape != "group" or rule.entry_as == "list":
        return _EMPTY
    if rule.entry_as in _SET_KINDS:
        return _member(rule, table, faults)
    template = _template("entry_name", rule.entry_name, table, faults)
    if template.parts and not template.columns:
        faults.append(f"entry_name {rule.entry_name!r} uses no column: all rows of an item would have the same entry")
    return template


def _member(rule: TableRule, table: Table, faults: list[str]) -> Template:
    name, inside = rule.entry_value, _SET_KINDS[rule.entry_as]
    if name not in table.names:
        faults.append(_unknown("entry_value names", name, table))
        return _EMPTY
    if table.column(name).kind not in _MEMBERS[inside]:
        kinds = ", ".join(sorted(_MEMBERS[inside]))
        faults.append(
            f"column {name!r} ({table.column(name).kind}) cannot be the member of a {rule.entry_as}: it takes {kinds}"
        )
        return _EMPTY
    return parse(f"${{{name}}}")


def _order(rule: TableRule, table: Table, faults: list[str]) -> tuple[Order, tuple[Carried, ...]]:
    """A list's ordering attributes, and the columns that they are."""
    if rule.shape != "group" or rule.entry_as != "list":
        return (), ()
    order, carried = [], []
    if rule.entry_value:
        faults.append("entry_value is not for a list: its elements are maps that have the columns of its order in them")
    if not rule.entry_order:
        faults.append("a list needs an order: name the columns that it is ordered by")
    for text in rule.entry_order:
        name, _, direction = text.partition(" ")
        if name not in table.names:
            faults.append(_unknown("entry_order names", name, table))
        elif direction not in ("", "asc", "desc"):
            faults.append(f"entry_order {text!r} is neither a column nor a column with ' desc'")
        elif name in rule.exclude:
            faults.append(f"column {name!r} orders the list and cannot be excluded from its elements")
        else:
            column = table.column(name)
            kind = _type(rule, column, faults)
            if kind not in ("S", "N", "B", "EPOCH", "EPOCH_MS", "SECONDS"):
                faults.append(f"column {name!r} of type {kind} cannot order a list: it takes S, N and B")
            carried.append(Carried(column, _attribute(rule, name), kind))
            order.append((_attribute(rule, name), direction == "desc"))
    return tuple(order), tuple(carried)


def _group_faults(
    rule: TableRule, columns: Columns, added: tuple[Added, ...], key_columns: tuple[str, ...]
) -> list[str]:
    faults = []
    plain = {name for name in key_columns if name not in columns.uses}
    for name, tree in added:
        used = dict.fromkeys(column for template in templates_of(tree) for column in template.columns)
        others = [
            column for column in used if column not in key_columns and not plain.issuperset(columns.sources(column))
        ]
        if others:
            faults.append(
                f"attribute {name!r} uses {', '.join(map(repr, others))}, which may differ between rows of one item: "
                f"only columns of the key ({', '.join(key_columns)}) may be used"
            )
    if rule.nulls == "omit":
        faults.append("nulls = 'omit' is not for shape 'group': there a NULL entry says that its row exists")
    if rule.entry_as == "attribute" and rule.entry_into:
        faults.append("entry_into is for entries in a map, a set or a list")
    if rule.entry_as != "attribute" and not 1 <= text_size(rule.entry_into) <= MAX_NAME_BYTES:
        faults.append(f"entry_into must name the {rule.entry_as} that holds the entries")
    if rule.entry_as in ("list", *_SET_KINDS) and rule.entry_name:
        faults.append(f"entry_name is not for a {rule.entry_as}")
    if rule.entry_as in _SET_KINDS and rule.entry_value in rule.types:
        faults.append(f"types is not for {rule.entry_value!r}: a member of a {rule.entry_as} is what the set is of")
    if rule.entry_value and (rule.attribute_prefix or rule.attribute_suffix or rule.attribute_case):
        faults.append(
            "attribute_prefix, _suffix and _case name what is made of columns: here entries have their own names"
        )
    return faults


def _place_faults(rule: TableRule, source: Table, columns: Columns, used: set[str]) -> list[str]:
    """A set has a member as long as a row has it, so it must be one row's alone; the same for a list's element.

    In a map or among attributes, two rows that want the same name are seen: ``check`` says if it can happen.
    """
    if rule.entry_as not in ("list", *_SET_KINDS):
        return []
    certain = {name for name in used if name not in columns.uses}
    missing = [name for name in source.primary_key if name not in certain]
    if not missing:
        return []
    what = "ordered by" if rule.entry_as == "list" else "the member"
    listed = ", ".join(map(repr, missing))
    reason = "two rows could have the same element, and the first to be deleted would take it from the other"
    return [f"{listed} of the primary key is not in the key or {what}: {reason}; use entries in a map instead"]


# --- columns that are carried ---------------------------------------------------------------------------------------


def _carried(
    rule: TableRule, table: Table, keys: tuple[Key, ...], said: set[str], faults: list[str]
) -> tuple[Carried, ...]:
    """Record: all columns but those excluded or a key attribute as they stand. Group: the entry's columns."""
    left_out = set(rule.exclude)
    if rule.shape == "group":
        left_out |= said
    elif rule.shape == "record":
        left_out |= {key.name for key in keys if key.template.alone == key.name == _attribute(rule, key.name)}
    if rule.shape == "group" and rule.entry_value:
        return _entry_column(rule, table, left_out, faults)
    return tuple(
        Carried(column, _attribute(rule, column.name), _type(rule, column, faults))
        for column in table.columns
        if column.name not in left_out
    )


def _attribute(rule: TableRule, column: str) -> str:
    if column in rule.rename:
        return rule.rename[column]
    cased = {"lower": column.lower, "upper": column.upper}.get(rule.attribute_case, column.__str__)()
    return f"{rule.attribute_prefix}{cased}{rule.attribute_suffix}"


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
            f"column {column.name!r} ({column.kind}) cannot have type {chosen!r}: it takes "
            f"{', '.join(each for each in allowed if each != 'ANY')}"
        )
    return chosen


# --- the rule as a whole --------------------------------------------------------------------------------------------


def _rule_faults(rule: TableRule, table: Table, source: Table) -> list[str]:
    faults = []
    if rule.shape not in ("record", "document", "group"):
        faults.append(f"shape {rule.shape!r} is not known: it is 'record', 'document' or 'group'")
    if rule.entry_as not in ("attribute", *_INSIDE):
        faults.append(f"entry_as {rule.entry_as!r} is not known: it is 'attribute', {', '.join(map(repr, _INSIDE))}")
    if rule.attribute_case not in ("", "lower", "upper"):
        faults.append(f"attribute_case {rule.attribute_case!r} is not known: it is 'lower' or 'upper'")
    if rule.item not in ("own", "shared"):
        faults.append(f"item {rule.item!r} is not known: it is 'own' or 'shared'")
    if not re.fullmatch(TABLE_NAME, rule.target):
        faults.append(f"target {rule.target!r} is no DynamoDB table name: 3 to 255 letters, digits, '_', '-' and '.'")
    faults += [fault for index in rule.indexes for fault in _index_faults(index)]
    if rule.nulls not in ("null", "omit"):
        faults.append(f"nulls {rule.nulls!r} is not known: it is 'null' or 'omit'")
    if rule.shape != "group" and (rule.entry_name or rule.entry_value or rule.entry_into or rule.entry_order):
        faults.append("entry_name and entry_value are for shape 'group'")
    for setting, names in (("exclude", rule.exclude), ("rename", rule.rename), ("types", rule.types)):
        faults += [_unknown(f"{setting} names", name, table) for name in names if name not in table.names]
    return faults + [_unknown("mask names", name, source) for name in rule.mask if name not in source.names]


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
    if rule.nulls == "omit":
        return ["nulls = 'omit' is not for item = 'shared': a row of NULLs would leave no trace in the item"]
    lasting = [name for name in design.own if name not in design.sparse]
    return [] if lasting else ["a row of a shared item needs an attribute of its own, which says that the row exists"]


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
        frame += [(f"entry_into {rule.entry_into!r}", rule.entry_into)]
    columns = [(f"column {one.column.name!r}", one.attribute) for one in carried]
    if rule.shape == "record":
        return _clashes(frame + columns)
    return _clashes(frame) + ([] if rule.entry_value else _clashes(columns))


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
