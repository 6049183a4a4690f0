"""The data against the mapping: what of it could not become items, or would surprise, counted by the server.

A table is read by a handful of aggregate queries over its Scope; what they find is looked at row by row only where that
is cheap, by the mapping itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from whimbrel.checks.ask import TimedQueries
from whimbrel.checks.findings import Finding, finding
from whimbrel.checks.scope import Scope
from whimbrel.checks.sql import (
    added_texts,
    as_bytes,
    column_text,
    in_sql,
    literal,
    reference_text,
    row_size,
    template_text,
)
from whimbrel.item import MAX_DIGITS, MAX_ITEM_BYTES, MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES
from whimbrel.mapping.attributes import Carried, Design
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.formats import Reference
from whimbrel.mapping.templates import Literal, Template
from whimbrel.mapping.unique import separators
from whimbrel.mapping.values import BINARY_KINDS, NUMBER_KINDS
from whimbrel.mysql.connect import quoted
from whimbrel.records import Column

EXAMPLES = 3
LARGE_ITEM = 300 * 1024

# As the mapping reads a number in text; and the ends of DynamoDB's range as DOUBLEs.
_NUMBER = "^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,6})?$"
_SMALLEST, _LARGEST = "1e-130", "9.999999999999999e125"


class Suspicion(NamedTuple):
    """A condition in SQL that no row should meet, and what it would mean."""

    code: str
    condition: str
    what: str


def row_findings(queries: TimedQueries, mapping: TableMapping, scope: Scope) -> tuple[int, list[Finding]]:
    """How many rows there are in ``scope``, and what is wrong with rows by themselves. One query, and one more for the
    examples of each thing found.
    """
    suspicions = list(_suspicions(mapping)) if not mapping.rule.filter else []
    sums = ["COUNT(*)"] + [f"COALESCE(SUM({each.condition}), 0)" for each in suspicions]
    row = queries.row(f"SELECT {', '.join(sums)} FROM {scope.sql}", mapping.source)
    total, *met = [int(count) for count in row]
    found = []
    for suspicion, count in zip(suspicions, met, strict=True):
        if count:
            examples = _examples(queries, mapping, scope, suspicion.condition)
            found.append(finding(suspicion.code, mapping.source, f"{count:,} rows: {suspicion.what}{examples}"))
    return total, found


def _suspicions(mapping: TableMapping) -> Iterator[Suspicion]:
    design = mapping.design
    limits = (MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES)
    for key, limit in zip(design.keys, limits, strict=False):
        if in_sql(mapping, key.template):
            yield from _nulls(f"key {key.name!r}", key.template, design)
            yield from _lengths(f"key {key.name!r}", key.template, design, limit)
            yield from _separators(f"key {key.name!r}", key.template, design)
    entry = design.entry_name
    if design.shape == "group" and entry.parts and in_sql(mapping, entry):
        yield from _nulls("the entry's name", entry, design)
        yield from _lengths("the entry's name", entry, design, None)
        yield from _separators("the entry's name", entry, design)
        if not design.inside:
            yield from _clashes(design)
    if design.shape != "group":
        yield from _index_suspicions(mapping)
        for name, template in added_texts(design):
            if in_sql(mapping, template):
                yield from _nulls(f"attribute {name!r}", template, design, "template-null")
        yield Suspicion("item-too-large", f"{row_size(mapping)} > {MAX_ITEM_BYTES}", "their items have over 400 KB")
    carried = [one for one in design.carried if in_sql(mapping, _alone(one.column))]
    for one in carried:
        yield from _type_suspicions(one)
    yield from _remarks([one.column for one in carried])


def _nulls(what: str, template: Template, design: Design, code: str = "key-null") -> Iterator[Suspicion]:
    verb = "needs" if code == "key-null" else "is NULL or left out, as it has"
    for name in template.needed:
        if design.columns[name].nullable:
            yield Suspicion(code, f"{quoted(name)} IS NULL", f"{what} {verb} {name}, which is NULL")


def _lengths(what: str, template: Template, design: Design, limit: int | None) -> Iterator[Suspicion]:
    text = template_text(template, design)
    if not any(isinstance(part, Literal) for part in template.parts):
        yield Suspicion("key-empty", f"LENGTH({text}) = 0", f"{what} is empty")
    for part in template.references:
        if part.form:
            name = quoted(part.column)
            refused = f"({name} IS NOT NULL AND {reference_text(part, design.columns[part.column])} IS NULL)"
            yield Suspicion("key-format", refused, f"{what} has {part.column}, which {part.form} cannot carry")
        if part.default is not None:
            same = f"{as_bytes(reference_text(part, design.columns[part.column]))} = {as_bytes(literal(part.default))}"
            met = f"COALESCE({quoted(part.column)} IS NOT NULL AND {same}, 0)"
            yield Suspicion("key-format", met, f"{what} has {part.column}, which is the text that stands for NULL")
    for name in template.columns:
        if design.columns[name].kind in ("float", "double"):
            met = f"COALESCE({quoted(name)} = 0 AND {column_text(design.columns[name])} LIKE '-%', 0)"
            yield Suspicion("key-format", met, f"{what} has {name}, which is -0.0: the source takes it for 0.0")
    bound = template.bound(design.columns)
    if limit and (bound is None or bound > limit):
        yield Suspicion("key-too-long", f"LENGTH({text}) > {limit}", f"{what} has over {limit} bytes")


def _separators(what: str, template: Template, design: Design) -> Iterator[Suspicion]:
    for part, separator, behind in separators(design, template):
        name = part.column
        text, literal_bytes = as_bytes(reference_text(part, design.columns[name])), as_bytes(literal(separator))
        if behind:
            met = f"LOCATE({literal_bytes}, CONCAT({text}, {literal_bytes})) <= LENGTH({text})"
        else:  # the first from the right, which is the last
            met = (
                f"LOCATE(REVERSE({literal_bytes}), CONCAT(REVERSE({text}), REVERSE({literal_bytes}))) <= LENGTH({text})"
            )
        yield Suspicion(
            "key-separator", f"COALESCE({met}, 0)", f"{what} has {separator!r} beside {name}, which has it too"
        )


def _index_suspicions(mapping: TableMapping) -> Iterator[Suspicion]:
    """What a secondary index would not take of a column, and DynamoDB refuses the whole item for."""
    carried = {one.attribute: one for one in mapping.design.carried}
    for index in mapping.rule.indexes:
        limits = (MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES)
        for key, limit in zip((index.partition_key, index.sort_key), limits, strict=True):
            one = carried.get(key.name) if key else None
            if one is None or one.type not in ("S", "B") or not in_sql(mapping, _alone(one.column)):
                continue
            value = quoted(one.column.name) if one.column.kind in BINARY_KINDS else column_text(one.column)
            length, what = f"COALESCE(LENGTH({value}), 1)", f"{one.attribute!r} of index {index.name}"
            if one.column.kind in ("text", "enum", "set", *BINARY_KINDS):
                yield Suspicion("key-empty", f"({length} = 0)", f"{what} is empty")
            if one.column.kind in ("text", "json", *BINARY_KINDS):
                yield Suspicion("key-too-long", f"({length} > {limit})", f"{what} has over {limit} bytes")


def _alone(column: Column) -> Template:
    return Template("", (Reference(column.name),))


def _clashes(design: Design) -> Iterator[Suspicion]:
    """Entries that would have the name of an attribute of the whole item; only the data can tell."""
    names = sorted(design.frame)
    texts = ", ".join(as_bytes(literal(name)) for name in names)
    entry = as_bytes(template_text(design.entry_name, design))
    listed = ", ".join(map(repr, names))
    yield Suspicion("entry-clash", f"{entry} IN ({texts})", f"the entry's name is one of {listed}")


def _type_suspicions(one: Carried) -> Iterator[Suspicion]:
    column, name = one.column, quoted(one.column.name)
    if one.codes:
        known = ", ".join(as_bytes(literal(text)) for text, _ in one.codes)
        yield Suspicion(
            "type-refused", f"{as_bytes(column_text(column))} NOT IN ({known})", f"{column.name} has no code"
        )
        return
    if one.type == "BOOL":
        yield Suspicion("type-refused", f"{name} NOT IN (0, 1)", f"{column.name} must be BOOL, and is neither 0 nor 1")
    if one.type != "N":
        return
    if column.kind == "decimal" and column.precision > MAX_DIGITS:
        digits = f"TRIM(BOTH '0' FROM REPLACE(ABS({name}), '.', ''))"
        yield Suspicion(
            "number-range", f"LENGTH({digits}) > {MAX_DIGITS}", f"{column.name} has over {MAX_DIGITS} digits"
        )
    elif column.kind == "double":
        outside = f"{name} <> 0 AND ABS({name}) NOT BETWEEN {_SMALLEST} AND {_LARGEST}"
        yield Suspicion("number-range", f"({outside})", f"{column.name} is outside 1E-130 to 9.99E+125")
    elif column.kind not in NUMBER_KINDS:
        text = column_text(column)
        yield Suspicion(
            "type-refused", f"{text} NOT REGEXP '{_NUMBER}'", f"{column.name} must be N, and is not a number"
        )
        mantissa = f"SUBSTRING_INDEX(LOWER({text}), 'e', 1)"
        digits = f"TRIM(BOTH '0' FROM REGEXP_REPLACE({mantissa}, '[^0-9]', ''))"
        yield Suspicion(
            "number-range", f"LENGTH({digits}) > {MAX_DIGITS}", f"{column.name} has over {MAX_DIGITS} digits"
        )


def _remarks(carried: list[Column]) -> Iterator[Suspicion]:
    """Nothing is wrong with these rows, but somebody may be surprised."""
    empty = [column for column in carried if column.kind == "text" or column.kind in BINARY_KINDS]
    if empty:
        condition = " OR ".join(f"COALESCE(LENGTH({quoted(column.name)}) = 0, 0)" for column in empty)
        yield Suspicion("empty-value", f"({condition})", f"empty in one of {_names(empty)}")
    dates = [column for column in carried if column.kind in ("date", "datetime")]
    if dates:
        condition = " OR ".join(_partial_date(column) for column in dates)
        yield Suspicion("zero-date", f"({condition})", f"a zero or partial date in one of {_names(dates)}")


def _partial_date(column: Column) -> str:
    name = quoted(column.name)
    return f"COALESCE(MONTH({name}) = 0 OR DAYOFMONTH({name}) = 0, 0)"


def _names(columns: list[Column]) -> str:
    return ", ".join(column.name for column in columns)


def _examples(queries: TimedQueries, mapping: TableMapping, scope: Scope, condition: str) -> str:
    key = [mapping.table.column(name) for name in mapping.table.primary_key]
    shown = [f"HEX({quoted(one.name)})" if one.kind in BINARY_KINDS else column_text(one) for one in key]
    statement = f"SELECT {', '.join(shown)} FROM {scope.sql} AND {condition} LIMIT {EXAMPLES}"
    rows = queries.rows(statement, mapping.source)
    texts = [", ".join(f"{one.name}={_short(value)}" for one, value in zip(key, row, strict=True)) for row in rows]
    return f" ({'; '.join(texts)})" if texts else ""


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:50]}…"
