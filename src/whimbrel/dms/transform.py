"""Transformation rules against one table: what each of its columns is called, made of and carried as.

The rules for one column are of four sorts: one names it, one drops it, one says its type, one masks it. Of two of a
sort the lower rule-id wins, and the other is noted. Naming rules see the source's names, not another rule's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from whimbrel.dms import expressions, joins
from whimbrel.dms.expressions import quoted_name, quoted_text
from whimbrel.dms.names import means_column, might_mean_others, renamed, unknown, winner
from whimbrel.dms.patterns import literal, matches
from whimbrel.dms.rules import (
    MASKING,
    NAMING,
    NUMBER_TYPES,
    TEXT_TYPES,
    BeforeImage,
    DataType,
    DmsRules,
    Transformation,
)
from whimbrel.dms.select import is_meant
from whimbrel.dms.type_names import is_lob
from whimbrel.mapping.expressions import Expressions
from whimbrel.records import Column, Table

WHOLE_KINDS = ("int", "bit", "year")
NUMBER_KINDS = (*WHOLE_KINDS, "decimal", "float", "double")
BYTE_KINDS = ("binary", "geometry")
TEXT_KINDS = ("text", "enum")


@dataclass(slots=True)
class Shaped:
    """A table after its transformations; columns are by the source's names, and those added by their own.

    ``names``: what each column is called now. ``computed``: the SQLite expression that fills a column. ``types``: where
    it differs from whimbrel's own choice. ``before_image``: the column of which each such column has the earlier value.
    ``kinds``: what a template may take a column for. ``new_columns``: "include"
    (one that comes later becomes an attribute of its own name, as DMS has it), or "stop" if a rule might mean it.
    ``images`` are the names of all before images, those too that a rule removes.
    """

    table: Table
    target: str
    names: dict[str, str] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    computed: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    before_image: dict[str, str] = field(default_factory=dict)
    new_columns: str = "include"
    images: tuple[str, ...] = ()


def transform(rules: DmsRules, table: Table, faults: list[str], notes: list[str]) -> Shaped:
    """``rules`` carried out on the table; what cannot be done exactly goes to ``faults``."""
    meant = [rule for rule in rules.transformations if is_meant(rule.locator, table.schema, table.name)]
    meant += [rule for rule in rules.transformations if rule.target == "schema" and rule not in meant]
    shaped = Shaped(table, table.name)
    _schema(table, meant, notes)
    _name_table(shaped, [rule for rule in meant if rule.target == "table"], faults, notes)
    on_columns = [rule for rule in meant if rule.target == "column"]
    for column in table.columns:
        _column(shaped, column, [rule for rule in on_columns if means_column(rule, column.name, column)], faults, notes)
    _included(shaped, on_columns)
    if any(map(might_mean_others, on_columns)):
        shaped.new_columns = "stop"
    shaped.images = tuple(_look_back(shaped, on_columns, faults, notes))
    for rule in on_columns:
        if rule.action == "add-column":
            _add(shaped, rule, faults, notes)
    return shaped


def _schema(table: Table, meant: list[Transformation], notes: list[str]) -> None:
    for rule in meant:
        if rule.target == "schema" and matches(rule.locator.schema, table.schema):
            notes.append(f"{rule}: DynamoDB has no schemas, so that what a schema is called makes no difference")


def _name_table(shaped: Shaped, meant: list[Transformation], faults: list[str], notes: list[str]) -> None:
    place = shaped.table.full_name
    naming = winner([rule for rule in meant if rule.action in NAMING], notes)
    if naming:
        shaped.target = renamed(naming, shaped.table.name, shaped.table, faults)
    key = winner([rule for rule in meant if rule.action == "define-primary-key"], notes)
    if key:
        for name in key.primary_key:
            if name not in shaped.table.names:
                faults.append(f"{key}: primary-key-def: {unknown(name, shaped.table.names, place)}")
        shaped.key = key.primary_key


def _column(shaped: Shaped, column: Column, meant: list[Transformation], faults: list[str], notes: list[str]) -> None:
    place = f"{shaped.table.full_name}.{column.name}"
    naming = winner([rule for rule in meant if rule.action in NAMING], notes)
    shaped.names[column.name] = renamed(naming, column.name, shaped.table, faults, column) if naming else column.name
    shaped.kinds[column.name] = column.kind
    if naming and not shaped.names[column.name]:
        faults.append(f"{naming}: leaves column {place} without a name")
    if column.kind == "bit" and column.type_name.lower().replace(" ", "") in ("bit(1)", "bit"):
        shaped.types[column.name] = "BOOL"  # as DMS has it
    keeping = [rule for rule in meant if rule.action in ("remove-column", "include-column")]
    kept = winner(keeping, notes)
    if kept and kept.action == "remove-column":
        shaped.dropped.add(column.name)
        return
    change = winner([rule for rule in meant if rule.action == "change-data-type"], notes)
    if change and change.data_type:
        _change_type(shaped, column, change, change.data_type, faults, notes)
    mask = winner([rule for rule in meant if rule.action in MASKING], notes)
    if mask:
        _mask(shaped, column, mask, faults)


def _included(shaped: Shaped, meant: list[Transformation]) -> None:
    """One include-column rule turns the default round: of the table's columns, only those that one means are kept."""
    including = [rule for rule in meant if rule.action == "include-column"]
    if including:
        kept = {
            column.name
            for column in shaped.table.columns
            if any(means_column(rule, column.name, column) for rule in including)
        }
        shaped.dropped |= set(shaped.table.names) - kept


def _look_back(shaped: Shaped, meant: list[Transformation], faults: list[str], notes: list[str]) -> list[str]:
    """The names of the before images, also of those that a rule removes.

    They are of columns that are moved, as they are moved (masked ones masked), under the source's names; rules that
    name or remove columns may mean these too.
    """
    known: list[str] = []
    rule = winner([rule for rule in meant if rule.action == "add-before-image-columns"], notes)
    if not rule or not rule.before_image:
        return known
    for column in shaped.table.columns:
        if column.name in shaped.dropped or not _has_before(rule.before_image, column, shaped.table):
            continue
        if rule.locator.column and not means_column(rule, column.name, column):
            continue
        name = f"{rule.before_image.prefix}{column.name}{rule.before_image.suffix}"
        if name in shaped.names:
            faults.append(f"{rule}: before image {name!r} of {shaped.table.full_name}: there is a column of this name")
            continue
        known.append(name)
        others = [each for each in meant if means_column(each, name, column)]
        if any(each.action == "remove-column" for each in others):
            continue
        faults += [
            f"{each}: {each.action} of {name!r}, a before image: it is as its column {column.name!r} is, so mean that"
            for each in others
            if each.action not in NAMING and "%" not in each.locator.column
        ]
        naming = winner([each for each in others if each.action in NAMING], notes)
        shaped.names[name] = renamed(naming, name, shaped.table, faults, column) if naming else name
        shaped.kinds[name] = shaped.kinds[column.name]
        shaped.before_image[name] = column.name
        if column.name in shaped.types:
            shaped.types[name] = shaped.types[column.name]
    return known


def _has_before(image: BeforeImage, column: Column, table: Table) -> bool:
    if image.columns == "pk-only":
        return column.name in table.primary_key
    return image.columns == "all" or not is_lob(column)


# --- content --------------------------------------------------------------------------------------------------------


def _change_type(
    shaped: Shaped, column: Column, rule: Transformation, wanted: DataType, faults: list[str], notes: list[str]
) -> None:
    place = f"{rule}: change-data-type of {shaped.table.full_name}.{column.name}"
    if wanted.type in NUMBER_TYPES:
        chosen, fault = "N", _number_fault(column, wanted)
    elif wanted.type in TEXT_TYPES:
        chosen, fault = "S", "bytes have no text" if column.kind in BYTE_KINDS else ""
        if wanted.length and column.kind in TEXT_KINDS and column.length > wanted.length:
            notes.append(f"{place}: nothing is cut to {wanted.length} characters")
    elif wanted.type == "boolean":
        chosen, fault = "BOOL", "" if column.kind in ("int", "bit") else f"{column.kind} is not 0 or 1"
    elif wanted.type in ("bytes", "blob"):
        carried = (*TEXT_KINDS, *BYTE_KINDS)
        chosen, fault = "B", "" if column.kind in carried else f"{column.kind} has no bytes of its own"
    else:
        chosen, fault = "S", _time_fault(column, wanted)
        if not fault and column.kind == "date" and wanted.type == "datetime":
            shaped.computed[column.name] = f"{quoted_name(column.name)} || 'T00:00:00'"
    if fault:
        faults.append(f"{place} to {wanted.type}: {fault}")
        return
    shaped.types[column.name] = chosen
    shaped.kinds[column.name] = {"N": "double", "S": "text", "BOOL": "bit", "B": "binary"}[chosen]
    if column.kind == "decimal" and chosen == "N":
        shaped.kinds[column.name] = "decimal"


def _number_fault(column: Column, wanted: DataType) -> str:
    """A number keeps every digit, or the rule is at fault; DynamoDB's numbers have no width to overflow."""
    if column.kind in WHOLE_KINDS or column.kind in TEXT_KINDS:
        return ""  # a text that is not a number is a dead letter
    if column.kind not in NUMBER_KINDS:
        return f"{column.kind} is not a number"
    if wanted.type in ("real4", "real8"):
        return "" if column.kind in ("float", "double") else "a DECIMAL would be rounded; without this it is exact"
    scale = (wanted.scale or 0) if wanted.type == "numeric" else 0
    if column.kind in ("float", "double"):
        return "" if wanted.type == "numeric" and wanted.scale is None else "a fraction would be rounded away"
    if scale < column.scale and not (wanted.type == "numeric" and wanted.scale is None):
        return f"its {column.scale} digits after the point would be rounded to {scale}"
    return ""


def _time_fault(column: Column, wanted: DataType) -> str:
    same = {"date": ("date",), "time": ("time",), "datetime": ("datetime", "timestamp", "date")}[wanted.type]
    if column.kind in same:
        return ""
    if column.kind in ("datetime", "timestamp") and wanted.type in ("date", "time"):
        return f"the {'time' if wanted.type == 'date' else 'date'} would be lost; add-column it with an expression"
    return f"{column.kind} is not a {wanted.type}"


def _mask(shaped: Shaped, column: Column, rule: Transformation, faults: list[str]) -> None:
    """Masks are functions of the value alone, so that the same row is always the same item."""
    place = f"{rule}: {rule.action} of {shaped.table.full_name}.{column.name}"
    value = quoted_name(column.name)
    if rule.action == "data-masking-hash-mask":
        shaped.computed[column.name] = f"hash_sha256({value})"
        shaped.types[column.name], shaped.kinds[column.name] = "S", "text"
        return
    if column.kind in BYTE_KINDS or column.kind in ("float", "double"):
        faults.append(f"{place}: {column.kind} has no digits of its own; use data-masking-hash-mask")
        return
    text = f"CAST({value} AS TEXT)"
    if rule.action == "data-masking-digits-randomize":
        shaped.computed[column.name] = f"digits_randomize({text})"
        if column.kind in NUMBER_KINDS:
            shaped.types.setdefault(column.name, "N")
        else:
            shaped.types[column.name] = "S"
        return
    if column.kind in NUMBER_KINDS and shaped.types.get(column.name) != "S":
        faults.append(
            f"{place}: the masked digits are not a number: change-data-type it to string too, or data-masking-hash-mask"
        )
        return
    shaped.computed[column.name] = f"digits_mask({text}, {quoted_text(rule.value)})"
    shaped.types[column.name], shaped.kinds[column.name] = "S", "text"


def _add(shaped: Shaped, rule: Transformation, faults: list[str], notes: list[str]) -> None:
    table, name = shaped.table, rule.value
    place = f"{rule}: add-column {name!r} to {table.full_name}"
    if not rule.expression:
        notes.append(f"{place}: has no expression, so it is NULL in every row, and NULL is left out of the items")
        return
    others = {shaped.names[each] for each in (*table.names, *shaped.before_image) if each not in shaped.dropped}
    if name in others or (name in shaped.computed and name not in table.names):
        faults.append(f"{place}: a column of this name is there already: remove or rename that one")
        return
    if lookup := joins.of_subquery(rule.expression, table.schema, name):
        what = "an expression sees its own row only. A look-up does this, in the [[table]] of a project file"
        faults.append(f"{place}: has a SELECT: {what}: {lookup}")
        return
    noted = len(faults)
    of = literal(rule.locator.column)
    of = of if of in table.names else ""
    expression = expressions.translated(rule.expression, table, faults, place, of)
    if len(faults) == noted:
        reasons: list[str] = []
        Expressions(table, {name: expression}, "", reasons)
        faults += [f"{place}: {reason}" for reason in reasons]
    shaped.computed[name] = expression
    shaped.dropped.discard(name)
    shaped.names[name] = name
    shaped.types.pop(name, None)
    shaped.kinds[name] = "computed"
    if rule.data_type:
        kind = rule.data_type.type
        texts = (*TEXT_TYPES, "date", "time", "datetime")
        chosen = "N" if kind in NUMBER_TYPES else "S" if kind in texts else "BOOL" if kind == "boolean" else "B"
        shaped.types[name] = chosen
        shaped.kinds[name] = {"N": "double", "S": "text", "BOOL": "bit", "B": "binary"}[chosen]
