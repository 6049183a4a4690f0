"""Generated code for rows that are entries of one item: shape group."""

from __future__ import annotations

from whimbrel.item import (
    MAX_ITEM_BYTES,
    MAX_NAME_BYTES,
)
from whimbrel.mapping import values
from whimbrel.mapping.attributes import Design
from whimbrel.mapping.codegen.parts import (
    added_entries,
    bound_of_carried,
    bound_of_frame,
    can_be_empty,
    carried_entries,
    default_checks,
    function,
    indent,
    key_entries,
    key_functions,
    key_lines,
    key_text,
    null_checks,
    separator_checks,
    text_of,
    tree_of,
    unpack,
    value_of,
    variable_of,
    zero_checks,
)


def group_functions(design: Design) -> list[str]:
    added = f"{{{', '.join(added_entries(design))}}}"
    name = [*_name_lines(design), *_name_taken(design)]
    entry = [unpack(design), *key_lines(design), *name]
    return [
        *key_functions(design),
        function("entry_name", "row", [unpack(design), *name, "return name"]),
        function("entry", "row", [*entry, f"return {key_text(design)}, name, {_entry_value(design)}, {added}"]),
        function("put_items", "rows", _group_put_items(design, clashing=False)),
        function("put_clashing_items", "rows", _group_put_items(design, clashing=True)),
    ]


def _name_taken(design: Design) -> list[str]:
    return [] if design.inside else ["if name in TAKEN: refuse_clash(name, TAKEN)"]


def _name_lines(design: Design) -> list[str]:
    """Lines that set ``name``, what tells the entry from the item's others, or raise Refused."""
    nulls = [
        f'if {variable_of(design, one.column.name)} is None: refuse_null({one.column.name!r}, "the list\'s order")'
        for one in design.ordering
    ]
    if design.inside == "L":
        return [*nulls, f"name = {_identity(design)}"]
    template = design.entry_name
    lines = [*nulls, *null_checks(design, template, "the entry's name")]
    lines += default_checks(design, template, "the entry's name")
    if design.inside == "NS":
        column = design.columns[template.alone]
        return [*lines, f"name = {values.key_number_source(column, variable_of(design, column.name), 'the entry')}"]
    lines += zero_checks(design, template, "the entry's name")
    name = text_of(design, template)
    if design.path and design.order:
        name = f"deep_name({name}, {_identity(design)})"
    lines += [*separator_checks(design, template, "the entry's name"), f"name = {name}"]
    if design.inside == "SS":
        return lines
    bound = template.bound(design.columns)
    if design.path:
        return [*lines, "check_deep_name(name)"]
    if bound is None or bound > MAX_NAME_BYTES:
        lines += [f"if not 0 < len(name) <= {MAX_NAME_BYTES // 4}: check_name(name)"]
    elif can_be_empty(design, template):
        lines += ["if not name: check_name(name)"]
    return lines


def _identity(design: Design) -> str:
    """Of a list's element."""
    return f"identity(({', '.join(value_of(design, one) for one in design.ordering)},))"


def _entry_value(design: Design) -> str:
    if design.inside in ("SS", "NS"):
        return f'{{"{design.inside[0]}": name}}'
    if design.entry_is_map and design.omit_nulls:
        return f'{{"M": present({{{", ".join(carried_entries(design, null="None"))}}})}}'
    if design.entry_is_map:
        return f'{{"M": {{{", ".join(carried_entries(design))}}}}}'
    return value_of(design, design.carried[0])


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
        f"        {unpack(design)}",
        f"        if {_run_differs(design)}:",
        *indent(_run_start(design), 3),
        *indent([*key_lines(design), *_item_of_run(design)], 3),
        *indent(_run_keep(design), 3),
        *indent(_name_lines(design), 2),
        *indent(refuse, 2),
        f"        entries[name] = {_entry_value(design)}",
        "    except Refused as refusal:",
        "        refused.append((row, str(refusal)))",  # not the refusal, whose traceback leads back here
        *(_inside_result(design, clashing) if design.inside else _group_result(design, clashing)),
    ]


def _item_of_run(design: Design) -> list[str]:
    key, frame = key_text(design), ", ".join(key_entries(design) + added_entries(design))
    item = "item" if design.inside else "entries"
    return [
        f"{item} = items.get({key})",
        f"if {item} is None:",
        f"    {item} = items[{key}] = {{{frame}}}",
        *(["    inside[%s] = {}" % key] if design.inside else []),  # noqa: UP031  (braces)
        *_added_differ(design, item, frame),
        *([f"entries = inside[{key}]"] if design.inside else []),
    ]


def _added_differ(design: Design, item: str, frame: str) -> list[str]:
    """Only an ambiguous key can bring together rows that differ in what the whole item has. A row that was refused, and
    so is no entry of it, has no say in that.
    """
    frame_length = len(design.keys) + len(design.added)
    entered = f"inside[{key_text(design)}]" if design.inside else f"len({item}) > {frame_length}"
    differ = [f"{item}[{each.name!r}] != {tree_of(design, each, each.tree)}" for each in design.added if each.columns]
    reason = "another row of the same item differs in the attributes of the whole item"
    if not differ:
        return []
    return [
        f"elif {' or '.join(differ)}:",
        f"    if {entered}: raise Refused({reason!r})",
        f"    {item} = items[{key_text(design)}] = {{{frame}}}",
    ]


def _run_columns(design: Design) -> list[str]:
    """The columns by which a run is known: none if equal values might differ (0.0 and -0.0, which is refused)."""
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
        "M": f"deep_entries(each, {design.path!r}, ORDER)" if design.path else "each",
        "SS": "list(each)",
        "NS": "list(each)",
        "L": "in_order(each.values(), ORDER)",
    }[design.inside]
    return [
        *([] if clashing else ["if sum(map(len, inside.values())) + len(refused) < len(rows): return None"]),
        "for key, each in inside.items():",
        f"    items[key][{design.into!r}] = {{{design.inside!r}: {content}}}",
        *_gathered(design),
        "full = [items[key] for key, each in inside.items() if each]",
        *_fitting(design, "full", "", f"len(item[{design.into!r}][{design.inside!r}])", 0),
    ]


def _gathered(design: Design) -> list[str]:
    if design.gathered is None:
        return []
    return [
        "    found = gathered(each, GATHERED)",
        f"    if found: items[key][{design.gathered.name!r}] = found",
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
    frame, value = bound_of_frame(design), bound_of_carried(design)
    name = design.entry_name.bound(design.columns)
    if design.path or frame is None or value is None or name is None:
        return 0
    again = value if design.gathered else 0
    return max(0, (MAX_ITEM_BYTES - frame) // (name + value + 1 + again)) + frame_length
