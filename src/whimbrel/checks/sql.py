"""What the mapping makes of a row, in SQL: texts of templates and sizes of items, so that the server can count them."""

from __future__ import annotations

from whimbrel.checks.formats import form_in_sql
from whimbrel.item import text_size
from whimbrel.mapping.attributes import Carried, Design
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.formats import Reference
from whimbrel.mapping.templates import Literal, Template
from whimbrel.mapping.trees import Leaf
from whimbrel.mapping.values import BINARY_KINDS
from whimbrel.mysql.connect import quoted
from whimbrel.mysql.types import needs_decoding
from whimbrel.records import Column

# Bytes of values whose size hardly varies; an N is two digits a byte.
_FIXED = {
    "int": 9,
    "year": 3,
    "bit": 9,
    "float": 10,
    "double": 11,
    "decimal": 21,
    "date": 10,
    "time": 10,
    "datetime": 19,
    "timestamp": 20,
    "uuid": 36,
    "inet4": 15,
    "inet6": 39,
}


def in_sql(mapping: TableMapping, *templates: Template) -> bool:
    """Whether the server can make these texts: they use only columns as they are in the source, not computed ones."""
    made = mapping.seen.uses
    return all(
        part.column in mapping.table.names and part.column not in made and form_in_sql(part, "", "") is not None
        for each in templates
        for part in each.references
    )


def counts(mapping: TableMapping) -> bool:
    """Whether the server can count the rows and the keys of this mapping."""
    leaves_out = mapping.rule.filter or any(each.orphans != "null" for each in mapping.rule.lookups)
    return not leaves_out and in_sql(mapping, *(key.template for key in mapping.design.keys))


def literal(text: str) -> str:
    return f"_utf8mb4 x'{text.encode().hex()}'" if text else "_utf8mb4''"


def column_text(column: Column) -> str:
    """The column's text as a template renders it, as text in utf8mb4. (A float's may be spelled differently.)"""
    name = quoted(column.name)
    if column.kind in ("float", "double"):
        return f"CAST({name} * 1e0 AS CHAR CHARACTER SET utf8mb4)"
    if column.kind == "bit" or (column.kind == "decimal" and "zerofill" in column.type_name.lower()):
        return f"CAST({name} + 0 AS CHAR CHARACTER SET utf8mb4)"
    if column.charset:
        return f"CONVERT({name} USING utf8mb4)"
    text = f"CAST({name} AS CHAR CHARACTER SET utf8mb4)"
    if column.kind in ("datetime", "timestamp"):
        text = f"REPLACE({text}, ' ', 'T')"
    return f"CONCAT({text}, 'Z')" if column.kind == "timestamp" else text


def reference_text(part: Reference, column: Column) -> str:
    """The text of one column in a template; NULL where its format cannot carry the value."""
    text = column_text(column) if column.kind not in BINARY_KINDS else quoted(column.name)
    formatted = form_in_sql(part, quoted(column.name), text) or text
    if part.default is None:
        return formatted
    return f"IF({quoted(column.name)} IS NULL, {literal(part.default)}, {formatted})"


def template_text(template: Template, design: Design) -> str:
    """Text in utf8mb4; bytes where the template is a binary column alone."""
    columns = design.columns
    if template.alone and columns[template.alone].kind in BINARY_KINDS:
        return quoted(template.alone)
    parts = [
        literal(part.text) if isinstance(part, Literal) else reference_text(part, columns[part.column])
        for part in template.parts
    ]
    return parts[0] if len(parts) == 1 else f"CONCAT({', '.join(parts)})"


def as_bytes(text: str) -> str:
    return f"CAST({text} AS BINARY)"


def row_size(mapping: TableMapping) -> str:
    """About how many bytes the row adds to its item; numbers count for their largest, computed columns for nothing."""
    design = mapping.design
    carried = [each for each in design.carried if in_sql(mapping, Template("", (Reference(each.column.name),)))]
    if design.shape != "group":
        return _sum([*_frame_sizes(mapping), *(_named(each.attribute, _value_size(each)) for each in carried)])
    entry = design.entry_name
    name = [f"COALESCE(LENGTH({template_text(entry, design)}), 0)"] if entry.parts and in_sql(mapping, entry) else []
    name += [str(text_size(design.path) + 8)] if design.path else []  # of a map for each row, at most
    if design.entry_is_map:
        fields = [_named(each.attribute, f"1 + {_value_size(each)}") for each in carried]
        again = [_value_size(each) for each in carried if design.gathered and each.attribute == design.gathered.value]
        return _sum([*name, "3", *fields, *again])
    return _sum([*name, *map(_value_size, carried), *(map(_value_size, carried) if design.gathered else ())])


def frame_size(mapping: TableMapping) -> str:
    """Bytes of a group's key and added attributes, as an aggregate over its rows."""
    return _sum([f"COALESCE(MAX({size}), 0)" for size in _frame_sizes(mapping)])


def _frame_sizes(mapping: TableMapping) -> list[str]:
    return [
        _named(name, f"COALESCE(LENGTH({template_text(each, mapping.design)}), 0)")
        for name, each in [*((key.name, key.template) for key in mapping.design.keys), *added_texts(mapping.design)]
        if in_sql(mapping, each)
    ]


def added_texts(design: Design) -> list[tuple[str, Template]]:
    """The added attributes that are one template, whatever its type."""
    return [(each.name, each.tree.template) for each in design.added if isinstance(each.tree, Leaf)]


def _sum(sizes: list[str]) -> str:
    return " + ".join(sizes) or "0"


def _named(name: str, size: str) -> str:
    return f"{text_size(name)} + {size}"


def _value_size(one: Carried) -> str:
    column = one.column
    if one.type == "BOOL":
        return "1"
    if column.kind in _FIXED:
        return str(_FIXED[column.kind] + (7 if column.scale and column.kind != "decimal" else 0))
    text = f"CONVERT({quoted(column.name)} USING utf8mb4)" if needs_decoding(column) else quoted(column.name)
    return f"COALESCE(LENGTH({text}), 1)"
