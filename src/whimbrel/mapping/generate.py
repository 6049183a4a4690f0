"""Python source made once for each mapping: straight-line code that turns rows into items, without a lookup per column.

Everything that can be decided from the Design is decided here; each check that a row needs is one cheap expression, and
what fails it raises Refused from a slow path with the reason. Column ``i`` of a row is the variable ``c<i>``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from whimbrel.lists import identity, in_order
from whimbrel.mapping import forms, values
from whimbrel.mapping.attributes import Added, Carried, Design, Key
from whimbrel.mapping.forms import Refused, shown
from whimbrel.mapping.provenance import bearer
from whimbrel.mapping.templates import Literal, Reference, Template
from whimbrel.mapping.trees import Leaf, Tree, templates_of
from whimbrel.mapping.unique import separators
from whimbrel.records import AttributeValue, Item, Put, Row
from whimbrel.sizes import (
    MAX_ITEM_BYTES,
    MAX_NAME_BYTES,
    MAX_PARTITION_KEY_BYTES,
    MAX_SORT_KEY_BYTES,
    item_size,
    text_size,
    too_large,
)

KeyText = str | tuple[str, str]  # what tells items apart: the partition key's text, and the sort key's if there is one


Mapped = tuple[list[Put], list[tuple[Row, Refused]], list[Item]]  # puts, rows refused and why, items that are too large


@dataclass(frozen=True, slots=True)
class Code:
    """The generated functions of one mapping. Those of one row raise Refused if it cannot be mapped."""

    source: str
    put_items: Callable[[Sequence[Row]], Mapped | None]  # None if rows clash
    put_clashing_items: Callable[[Sequence[Row]], Mapped]  # the first of rows that clash has the place
    key: Callable[[Row], KeyText]
    key_item: Callable[[KeyText], Item]
    item: Callable[[Row], tuple[KeyText, Item]]  # record and document
    entry_name: Callable[[Row], str]  # group
    entry: Callable[[Row], tuple[KeyText, str, AttributeValue, Item]]  # group: key, name, value, added attributes
    indicator: Callable[[Row], AttributeValue | None]  # record and document that delete softly


def generate(design: Design) -> Code:
    source = "\n\n".join(_group(design) if design.shape == "group" else _record(design)) + "\n"
    space: dict[str, Any] = {
        "Put": Put,
        "new": tuple.__new__,  # a NamedTuple without the cost of its own __new__
        "Refused": Refused,
        "item_size": item_size,
        "too_large": too_large,
        "refuse_null": _refuse_null,
        "refuse_separator": _refuse_separator,
        "check_key": _check_key,
        "check_name": _check_name,
        "refuse_clash": _refuse_clash,
        "TABLE": design.target,
        "FRAME": design.frame,
        "TAKEN": _taken(design),
        "ORDER": design.order,
        "identity": identity,
        "in_order": in_order,
        "json_tree": partial(forms.json_tree, number=values.exact_number),
        "computed": partial(forms.computed, number=values.exact_number),
        "computed_text": forms.computed_text,
        "computed_binary": forms.computed_binary,
        "string_set": forms.string_set,
        "epoch": forms.epoch,
        "epoch_ms": forms.epoch_ms,
        "seconds": forms.seconds,
        "truth": forms.truth,
        "present": _present_members,
        "NEVER": object(),
        "SMALL_NUMBERS": values.SMALL_NUMBERS,
        "exact_number": values.exact_number,
        "checked_number": values.checked_number,
        "boolean": values.boolean,
        "base64": values.base64,
    }
    exec(compile(source, f"<mapping of {design.table.full_name}>", "exec"), space)
    names = ("put_items", "put_clashing_items", "key", "key_item", "item", "entry_name", "entry", "indicator")
    return Code(source, *(space.get(name, _absent) for name in names))


def _taken(design: Design) -> frozenset[str]:
    """The names that no entry among the item's attributes may have."""
    return design.frame | (design.sharing.taken if design.sharing else frozenset())


# --- slow paths, called by generated code ---------------------------------------------------------------------------


def _absent(*_: object) -> NoReturn:
    raise AssertionError("this shape of mapping has no such function")


def _refuse_null(column: str, place: str) -> NoReturn:
    raise Refused(f"{place} needs column {column!r}, which is NULL")


def _refuse_separator(column: str, text: str, separator: str, place: str) -> NoReturn:
    raise Refused(
        f"{place} has {separator!r} beside column {column!r}, whose own text {shown(text)} runs into it: "
        f"another row could have the same text"
    )


def _check_key(place: str, text: str | bytes, limit: int) -> None:
    if not text:
        raise Refused(f"{place} is empty, which DynamoDB does not allow")
    size = len(text) if isinstance(text, bytes) else text_size(text)
    if size > limit:
        raise Refused(f"{place} has {size} bytes, more than the {limit} that DynamoDB allows: {shown(text)}")


def _check_name(name: str) -> None:
    if not name:
        raise Refused("the entry's name is empty, which DynamoDB does not allow")
    size = text_size(name)
    if size > MAX_NAME_BYTES:
        raise Refused(f"the entry's name has {size} bytes, more than the {MAX_NAME_BYTES} of a DynamoDB attribute name")


def _refuse_clash(name: str, frame: frozenset[str]) -> NoReturn:
    if name in frame:
        raise Refused(
            f"the entry's name {shown(name)} is the name of an attribute of the whole item or of another table"
        )
    raise Refused(f"another row of the same item has the entry {shown(name)} already")


def _present_members(members: dict[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    return {name: value for name, value in members.items() if value is not None}


# --- parts of the source --------------------------------------------------------------------------------------------


def _variable(design: Design, column: str) -> str:
    return f"c{design.table.index(column)}"


def _unpack(design: Design) -> str:
    return "".join(f"c{i}, " for i in range(len(design.table.columns))) + "= row"


def _text(design: Design, template: Template) -> str:
    """Source of the template's text."""
    if template.alone and values.column_piece(design.columns[template.alone], "x") == "{x}":
        column = design.columns[template.alone]
        variable = _variable(design, template.alone)
        return f'f"{{{variable}}}"' if column.kind in values.INTEGER_KINDS else variable
    return values.text_source(
        [
            values.literal_piece(part.text)
            if isinstance(part, Literal)
            else values.column_piece(design.columns[part.column], _variable(design, part.column))
            for part in template.parts
        ]
    )


def _null_checks(design: Design, template: Template, place: str) -> list[str]:
    return [f"if {_variable(design, name)} is None: refuse_null({name!r}, {place!r})" for name in template.columns]


def _separator_checks(design: Design, template: Template, place: str) -> list[str]:
    """Two rows never share a text: a column that runs into the literal beside it refuses its row."""
    lines = []
    for separator in separators(design, template):
        column, literal = separator.column, separator.text
        text = _text(design, Template("", (Reference(column),)))
        met = f"{literal!r} in {text}"
        if len(literal) > 1:  # where they meet, a part of the text and a part of the separator could be one more
            beside = f"({text} + {literal!r}).find({literal!r}) < len({text})"
            met = beside if separator.behind else f"({literal!r} + {text}).rfind({literal!r}) > 0"
        lines += [f"if {met}: refuse_separator({column!r}, {text}, {literal!r}, {place!r})"]
    return lines


def _key_lines(design: Design) -> list[str]:
    """Lines that set ``k0`` (and ``k1``), the key attributes' texts, or raise Refused."""
    lines = []
    for number, key in enumerate(design.keys):
        place = f"{('partition', 'sort')[number]} key {key.name!r}"
        limit = (MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES)[number]
        lines += _null_checks(design, key.template, place)
        lines += _one_key(design, key, f"k{number}", place, limit)
    return lines


def _one_key(design: Design, key: Key, target: str, place: str, limit: int) -> list[str]:
    variable = _variable(design, key.template.alone) if key.template.alone else ""
    if key.type == "N":
        return [f"{target} = {values.key_number_source(design.columns[key.template.alone], variable, place)}"]
    if key.type == "B":
        return [f"if not 0 < len({variable}) <= {limit}: check_key({place!r}, {variable}, {limit})",
                f"{target} = base64({variable})"]  # fmt: skip
    lines = [*_separator_checks(design, key.template, place), f"{target} = {_text(design, key.template)}"]
    bound = key.template.bound(design.columns)
    if bound is None or bound > limit:  # four bytes a character at most
        lines += [f"if not 0 < len({target}) <= {limit // 4}: check_key({place!r}, {target}, {limit})"]
    elif _can_be_empty(design, key.template):
        lines += [f"if not {target}: check_key({place!r}, {target}, {limit})"]
    return lines


def _can_be_empty(design: Design, template: Template) -> bool:
    never = values.NUMBER_KINDS | {"date", "time", "datetime", "timestamp", "uuid", "inet4", "inet6"}
    return not any(isinstance(part, Literal) or design.columns[part.column].kind in never for part in template.parts)


def _key_text(design: Design) -> str:
    return "k0" if len(design.keys) == 1 else "(k0, k1)"


def _key_entries(design: Design) -> list[str]:
    return [f'{key.name!r}: {{"{key.type}": k{number}}}' for number, key in enumerate(design.keys)]


def _key_functions(design: Design) -> list[str]:
    return [
        _function("key", "row", [_unpack(design), *_key_lines(design), f"return {_key_text(design)}"]),
        _function("key_item", "k", [f"{_key_text(design)} = k", f"return {{{', '.join(_key_entries(design))}}}"]),
    ]


def _added_checks(design: Design) -> list[str]:
    """A NULL in a template refuses the row, unless NULLs are left out."""
    if design.omit_nulls:
        return []
    return [
        line
        for each in design.added
        for template in templates_of(each.tree)
        for line in _null_checks(design, template, f"attribute {each.name!r}")
    ]


def _added_entries(design: Design) -> list[str]:
    return [f"{each.name!r}: {_tree(design, each, each.tree)}" for each in design.added]


def _tree(design: Design, added: Added, tree: Tree) -> str:
    """Source of the AttributeValue; where NULLs are left out, None for a leaf with one."""
    if isinstance(tree, Leaf):
        leaf = _leaf(design, added, tree)
        if not design.omit_nulls or not tree.template.columns:
            return leaf
        missing = " or ".join(f"{_variable(design, name)} is None" for name in tree.template.columns)
        return f"(None if {missing} else {leaf})"
    children = [(name, _tree(design, added, child)) for name, child in tree.children]
    if tree.type == "L":
        listed = f"[{', '.join(source for _, source in children)}]"
        return (
            f'{{"L": [each for each in {listed} if each is not None]}}' if design.omit_nulls else f'{{"L": {listed}}}'
        )
    named = f"{{{', '.join(f'{name!r}: {source}' for name, source in children)}}}"
    return f'{{"M": present({named})}}' if design.omit_nulls else f'{{"M": {named}}}'


def _leaf(design: Design, added: Added, leaf: Leaf) -> str:
    text, place = _text(design, leaf.template), f"attribute {added.name!r}"
    if leaf.type == "N":
        return f'{{"N": exact_number({text}, {place!r})}}'
    if leaf.type == "BOOL":
        return f'{{"BOOL": truth({text}, {place!r})}}'
    return f'{{"S": {text}}}'


def _value(design: Design, carried: Carried) -> str:
    """Source of the AttributeValue of a column, whatever it holds."""
    variable = _variable(design, carried.column.name)
    place = f"column {carried.column.name!r}"
    present = _present(carried, variable, place)
    return present if present.startswith("SMALL_NUMBERS") else f'{{"NULL": True}} if {variable} is None else {present}'


def _present(carried: Carried, variable: str, place: str) -> str:
    return values.attribute_source(carried.column, carried.type, variable, place)


def _carried_entries(design: Design) -> list[str]:
    return [f"{carried.attribute!r}: {_value(design, carried)}" for carried in design.carried]


def _carried_bound(design: Design) -> int | None:
    """The most bytes that the carried columns of one row take with their names, None if unknown."""
    bounds = [values.value_bound(one.column, one.type) for one in design.carried]
    names = sum(text_size(one.attribute) + 1 for one in design.carried)
    return None if None in bounds else names + 3 + sum(bound or 0 for bound in bounds)


def _frame_bound(design: Design) -> int | None:
    if any(not isinstance(each.tree, Leaf) for each in design.added):
        return None
    templates = [key.template for key in design.keys if key.type == "S"]
    templates += [template for each in design.added for template in templates_of(each.tree)]
    bounds = [template.bound(design.columns) for template in templates]
    names = sum(text_size(name) + 1 for name in (*design.frame, *design.own, design.into))
    keys = MAX_PARTITION_KEY_BYTES + MAX_SORT_KEY_BYTES
    return None if None in bounds else names + keys + sum(bound or 0 for bound in bounds)


def _indent(lines: list[str], depth: int = 1) -> list[str]:
    return ["    " * depth + line for line in lines]


def _function(name: str, arguments: str, body: list[str]) -> str:
    return "\n".join([f"def {name}({arguments}):", *_indent(body)])


# --- record ---------------------------------------------------------------------------------------------------------


def _record(design: Design) -> list[str]:
    make = _record_lines(design)
    return [
        *_key_functions(design),
        _function("item", "row", [_unpack(design), *make, f"return {_key_text(design)}, item"]),
        _function("put_items", "rows", _record_put_items(design, make, clashing=False)),
        _function("put_clashing_items", "rows", _record_put_items(design, make, clashing=True)),
        *_indicator_function(design),
    ]


def _indicator_function(design: Design) -> list[str]:
    """The function that makes the attribute which says whether an item is deleted."""
    found = bearer(design.indicator, design.added, design.carried) if design.indicator else None
    if found is None:
        return []
    value = _value(design, found) if isinstance(found, Carried) else _tree(design, found, found.tree)
    return [_function("indicator", "row", [_unpack(design), f"return {value}"])]


def _record_put_items(design: Design, make: list[str], *, clashing: bool) -> list[str]:
    """That no two rows clash is known from counting: only when some did is each row looked up."""
    key = _key_text(design)
    refuse = [f"if {key} in puts: raise Refused('another row has the same item key')"] if clashing else []
    counted = ["if len(puts) + len(refused) < len(rows): return None"] if not clashing else []
    return [
        "puts = {}; refused = []",
        "for row in rows:",
        "    try:",
        *_indent([_unpack(design), *make, *refuse], 2),
        f"        puts[{key}] = new(Put, (TABLE, {{{', '.join(_key_entries(design))}}}, item))",
        "    except Refused as refusal:",
        "        refused.append((row, refusal))",
        *counted,
        "return list(puts.values()), refused, []",
    ]


def _record_lines(design: Design) -> list[str]:
    """Lines that set ``item``, whole and within DynamoDB's limits, or raise Refused."""
    lines = _key_lines(design) + _added_checks(design)
    if design.omit_nulls:
        lines += _with_nulls_left_out(design)
    else:
        carried = _carried_entries(design)
        if design.document:
            carried = [f'{design.document!r}: {{"M": {{{", ".join(carried)}}}}}']
        lines += [f"item = {{{', '.join(_key_entries(design) + _added_entries(design) + carried)}}}"]
    frame, carried_bound = _frame_bound(design), _carried_bound(design)
    if frame is None or carried_bound is None or frame + carried_bound > MAX_ITEM_BYTES:
        lines += [f"if too_large(item): raise Refused({_too_large('{item_size(item)}')})"]
    return lines


def _with_nulls_left_out(design: Design) -> list[str]:
    lines = [f"item = {{{', '.join(_key_entries(design))}}}"]
    for each in design.added:
        lines += [f"value = {_tree(design, each, each.tree)}", f"if value is not None: item[{each.name!r}] = value"]
    into = "item"
    if design.document:
        into = "document"
        lines += ["document = {}", f'item[{design.document!r}] = {{"M": document}}']
    for carried in design.carried:
        variable = _variable(design, carried.column.name)
        value = _present(carried, variable, f"column {carried.column.name!r}")
        lines += [f"if {variable} is not None: {into}[{carried.attribute!r}] = {value}"]
    return lines


def _too_large(size: str) -> str:
    return f'f"the item has {size} bytes, more than the {MAX_ITEM_BYTES} that DynamoDB allows"'


# --- group ----------------------------------------------------------------------------------------------------------


def _group(design: Design) -> list[str]:
    added = f"{{{', '.join(_added_entries(design))}}}"
    name = [*_name_lines(design), *_name_taken(design)]
    entry = [_unpack(design), *_key_lines(design), *_added_checks(design), *name]
    return [
        *_key_functions(design),
        _function("entry_name", "row", [_unpack(design), *name, "return name"]),
        _function("entry", "row", [*entry, f"return {_key_text(design)}, name, {_entry_value(design)}, {added}"]),
        _function("put_items", "rows", _group_put_items(design, clashing=False)),
        _function("put_clashing_items", "rows", _group_put_items(design, clashing=True)),
    ]


def _name_taken(design: Design) -> list[str]:
    return [] if design.inside else ["if name in TAKEN: refuse_clash(name, TAKEN)"]


def _name_lines(design: Design) -> list[str]:
    """Lines that set ``name``, what tells the entry from the item's others, or raise Refused."""
    if design.inside == "L":
        place = "the list's order"
        nulls = [
            f"if {_variable(design, one.column.name)} is None: refuse_null({one.column.name!r}, {place!r})"
            for one in design.ordering
        ]
        return [*nulls, f"name = identity(({', '.join(_value(design, one) for one in design.ordering)},))"]
    template = design.entry_name
    lines = _null_checks(design, template, "the entry's name")
    if design.inside == "NS":
        column = design.columns[template.alone]
        return [*lines, f"name = {values.key_number_source(column, _variable(design, column.name), 'the entry')}"]
    lines += [*_separator_checks(design, template, "the entry's name"), f"name = {_text(design, template)}"]
    if design.inside == "SS":
        return lines
    bound = template.bound(design.columns)
    if bound is None or bound > MAX_NAME_BYTES:
        lines += [f"if not 0 < len(name) <= {MAX_NAME_BYTES // 4}: check_name(name)"]
    elif _can_be_empty(design, template):
        lines += ["if not name: check_name(name)"]
    return lines


def _entry_value(design: Design) -> str:
    if design.inside in ("SS", "NS"):
        return f'{{"{design.inside[0]}": name}}'
    if design.entry_is_map:
        return f'{{"M": {{{", ".join(_carried_entries(design))}}}}}'
    return _value(design, design.carried[0])


def _group_put_items(design: Design, *, clashing: bool) -> list[str]:
    """Rows mostly come in runs of one item: a run is known by its columns, and only its first row renders the key.

    As with records, that no entry met another or the frame is known from counting. ``entries`` are those of the item of
    the run: the item itself, unless the entries are inside one of its attributes.
    """
    refuse = ["if name in entries: refuse_clash(name, TAKEN)"] if clashing else []
    if clashing or (design.sharing and design.sharing.taken):
        refuse = _name_taken(design) + refuse
    return [
        "items = {}; inside = {}; refused = []" if design.inside else "items = {}; refused = []",
        *_run_start(design),
        "for row in rows:",
        "    try:",
        f"        {_unpack(design)}",
        f"        if {_run_differs(design)}:",
        *_indent(_run_start(design), 3),
        *_indent([*_key_lines(design), *_added_checks(design), *_item_of_run(design)], 3),
        *_indent(_run_keep(design), 3),
        *_indent(_name_lines(design), 2),
        *_indent(refuse, 2),
        f"        entries[name] = {_entry_value(design)}",
        "    except Refused as refusal:",
        "        refused.append((row, refusal))",
        *(_inside_result(design, clashing) if design.inside else _group_result(design, clashing)),
    ]


def _item_of_run(design: Design) -> list[str]:
    key, frame = _key_text(design), ", ".join(_key_entries(design) + _added_entries(design))
    item = "item" if design.inside else "entries"
    return [
        f"{item} = items.get({key})",
        f"if {item} is None:",
        f"    {item} = items[{key}] = {{{frame}}}",
        *(["    inside[%s] = {}" % key] if design.inside else []),  # noqa: UP031  (braces)
        *_added_differ(design, item),
        *([f"entries = inside[{key}]"] if design.inside else []),
    ]


def _added_differ(design: Design, item: str) -> list[str]:
    """Only an ambiguous key can bring together rows that differ in what the whole item has."""
    differ = [f"{item}[{each.name!r}] != {_tree(design, each, each.tree)}" for each in design.added if each.columns]
    reason = "another row of the same item differs in the attributes of the whole item"
    return [f"elif {' or '.join(differ)}: raise Refused({reason!r})"] if differ else []


def _run_columns(design: Design) -> list[str]:
    """The columns by which a run is known: none if equal values might have different texts (0.0 and -0.0)."""
    if any(design.columns[name].kind in ("float", "double", "computed") for name in design.key_columns):
        return []
    return [str(design.table.index(name)) for name in design.key_columns]


def _run_start(design: Design) -> list[str]:
    return [" = ".join([*(f"p{i}" for i in _run_columns(design)), "NEVER"])]


def _run_differs(design: Design) -> str:
    return " or ".join(f"c{i} != p{i}" for i in reversed(_run_columns(design))) or "True"


def _run_keep(design: Design) -> list[str]:
    return [f"p{i} = c{i}" for i in _run_columns(design)]


def _group_result(design: Design, clashing: bool) -> list[str]:
    """Items that no row could enter are not put; large ones are measured."""
    frame = len(design.keys) + len(design.added)
    counted = f"sum(map(len, items.values())) - {frame} * len(items)"
    return [
        *([] if clashing else [f"if {counted} + len(refused) < len(rows): return None"]),
        *_fitting(design, "items.values()", f"len(item) > {frame} and ", "len(item)", frame),
    ]


def _inside_result(design: Design, clashing: bool) -> list[str]:
    content = {
        "M": "each",
        "SS": "list(each)",
        "NS": "list(each)",
        "L": "in_order(each.values(), ORDER)",
    }[design.inside]
    return [
        *([] if clashing else ["if sum(map(len, inside.values())) + len(refused) < len(rows): return None"]),
        "for key, each in inside.items():",
        f"    items[key][{design.into!r}] = {{{design.inside!r}: {content}}}",
        "full = [items[key] for key, each in inside.items() if each]",
        *_fitting(design, "full", "", f"len(item[{design.into!r}][{design.inside!r}])", 0),
    ]


def _fitting(design: Design, items: str, wanted: str, length: str, frame: int) -> list[str]:
    """Lines that part the items that are ``wanted`` into puts and those that are too large; few need be measured."""
    keys = ", ".join(f"{key.name!r}: item[{key.name!r}]" for key in design.keys)
    fits = f"({length} <= {_safe_entries(design, frame)} or item_size(item) <= {MAX_ITEM_BYTES})"
    return [
        f"puts = [new(Put, (TABLE, {{{keys}}}, item)) for item in {items} if {wanted}{fits}]",
        "large = []",
        "if len(puts) < len(items):",
        f"    large = [item for item in {items} if {wanted}not {fits}]",
        "return puts, refused, large",
    ]


def _safe_entries(design: Design, frame_length: int) -> int:
    """How many entries (and attributes of the frame) an item may have without being measured; 0 if that is unknown."""
    frame, value = _frame_bound(design), _carried_bound(design)
    name = design.entry_name.bound(design.columns)
    if frame is None or value is None or name is None:
        return 0
    return max(0, (MAX_ITEM_BYTES - frame) // (name + value + 1)) + frame_length
