"""Generated code for a row that is an item: shapes record and document."""

from __future__ import annotations

from whimbrel.item import MAX_ITEM_BYTES, oversize_reason
from whimbrel.mapping.attributes import Carried, Design
from whimbrel.mapping.codegen.parts import (
    added_entries,
    bound_of_carried,
    bound_of_frame,
    carried_entries,
    function,
    indent,
    key_entries,
    key_functions,
    key_lines,
    key_text,
    present_of,
    tree_of,
    unpack,
    value_of,
    variable_of,
)
from whimbrel.mapping.provenance import attribute_for


def record_functions(design: Design) -> list[str]:
    make = _record_lines(design)
    return [
        *key_functions(design),
        function("item", "row", [unpack(design), *make, f"return {key_text(design)}, item"]),
        function("put_items", "rows", _record_put_items(design, make, clashing=False)),
        function("put_clashing_items", "rows", _record_put_items(design, make, clashing=True)),
        *_indicator_function(design),
    ]


def _indicator_function(design: Design) -> list[str]:
    """The function that makes the attribute which says whether an item is deleted."""
    found = attribute_for(design.indicator, design.added, design.carried) if design.indicator else None
    if found is None:
        return []
    value = value_of(design, found) if isinstance(found, Carried) else tree_of(design, found, found.tree)
    return [function("indicator", "row", [unpack(design), f"return {value}"])]


def _record_put_items(design: Design, make: list[str], *, clashing: bool) -> list[str]:
    """That no two rows clash is known from counting: only when some did is each row looked up."""
    key = key_text(design)
    refuse = [f"if {key} in puts: raise Refused('another row has the same item key')"] if clashing else []
    counted = ["if len(puts) + len(refused) < len(rows): return None"] if not clashing else []
    return [
        "puts = {}; refused = []",
        "for row in rows:",
        "    try:",
        *indent([unpack(design), *make, *refuse], 2),
        f"        puts[{key}] = new(Put, (TABLE, {{{', '.join(key_entries(design))}}}, item))",
        "    except Refused as refusal:",
        "        refused.append((row, str(refusal)))",  # not the refusal, whose traceback leads back here
        *counted,
        "return list(puts.values()), refused, []",
    ]


def _record_lines(design: Design) -> list[str]:
    """Lines that set ``item``, whole and within DynamoDB's limits, or raise Refused."""
    lines = key_lines(design)
    if design.omit_nulls:
        lines += _with_nulls_left_out(design)
    else:
        carried = carried_entries(design)
        if design.document:
            carried = [f'{design.document!r}: {{"M": {{{", ".join(carried)}}}}}']
        lines += [f"item = {{{', '.join(key_entries(design) + added_entries(design) + carried)}}}"]
        lines += [f"if 'NULL' in item[{name!r}]: del item[{name!r}]" for name in sorted(design.sparse)]
    frame, carried_bound = bound_of_frame(design), bound_of_carried(design)
    if frame is None or carried_bound is None or frame + carried_bound > MAX_ITEM_BYTES:
        lines += [f"if too_large(item): raise Refused(f{oversize_reason('{item_size(item)}')!r})"]
    return lines


def _with_nulls_left_out(design: Design) -> list[str]:
    lines = [f"item = {{{', '.join(key_entries(design))}}}"]
    for each in design.added:
        lines += [f"value = {tree_of(design, each, each.tree)}", f"if value is not None: item[{each.name!r}] = value"]
    into = "item"
    if design.document:
        into = "document"
        lines += ["document = {}", f'item[{design.document!r}] = {{"M": document}}']
    for carried in design.carried:
        variable = variable_of(design, carried.column.name)
        value = present_of(design, carried, variable, f"column {carried.column.name!r}")
        lines += [f"if {variable} is not None: {into}[{carried.attribute!r}] = {value}"]
    return lines
