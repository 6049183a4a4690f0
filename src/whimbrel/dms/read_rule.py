"""One rule at a time: selection, transformation and table settings, and what stands in them."""

from __future__ import annotations

import re

from whimbrel.dms.fields import Fields
from whimbrel.dms.patterns import pattern_fault
from whimbrel.dms.rules import (
    COLUMN_ONLY,
    DATA_TYPES,
    NAMING,
    NEGATIVE,
    OPERATORS,
    BeforeImage,
    DataType,
    Filter,
    FilterCondition,
    Locator,
    Selection,
    Transformation,
)

_NEEDS_VALUE = (
    "rename",
    "add-column",
    "data-masking-digits-mask",
    *(action for action in NAMING if action.endswith(("prefix", "suffix"))),
)


def _filter(fields: Fields) -> Filter | None:
    fields.one_of("filter-type", ("source",))
    column = fields.string("column-name", required=True)
    found = [_filter_condition(each) for each in fields.objects("filter-conditions")]
    if not found and not fields.has("filter-conditions"):
        fields.fault("filter-conditions", "is missing")
    elif not found:
        fields.fault("filter-conditions", "is empty")
    if len(found) > 1 and any(condition.operator in NEGATIVE for condition in found):
        fields.fault("filter-conditions", "with noteq, notbetween or notnull must be alone in its filter")
    fields.finish()
    return Filter(column, tuple(found)) if column and found else None


def _filter_condition(fields: Fields) -> FilterCondition:
    operator = fields.one_of("filter-operator", OPERATORS)
    if fields.any("filter-operator") not in OPERATORS:  # what else it needs cannot be said
        return FilterCondition("null", ())
    wanted = {
        "null": (),
        "notnull": (),
        "between": ("start-value", "end-value"),
        "notbetween": ("start-value", "end-value"),
    }
    keys = wanted.get(operator, ("value",))
    values = []
    for key in keys:
        if not fields.has(key):
            fields.fault(key, "is missing")
        values.append(fields.string(key, empty=True))
    fields.finish()
    return FilterCondition("lte" if operator == "ste" else operator, tuple(values))


def _data_type(fields: Fields, *, required: bool) -> DataType | None:
    found = fields.object("data-type", required=required)
    if not found:
        return None
    known = found.one_of("type", DATA_TYPES)
    sizes = [_size(found, key) for key in ("precision", "scale", "length")]
    found.finish()
    return DataType(known, *sizes)


def _before_image(fields: Fields) -> BeforeImage:
    found = fields.object("before-image-def") or fields.nothing()
    made = BeforeImage(
        found.string("column-prefix", empty=True) if found.has("column-prefix") else "BI_",
        found.string("column-suffix", empty=True),
        found.one_of("column-filter", ("pk-only", "non-lob", "all"), "pk-only"),
    )
    found.finish()
    if not made.prefix + made.suffix:
        fields.fault("before-image-def", "has neither column-prefix nor column-suffix: the columns have their names")
    return made


def _size(fields: Fields, key: str) -> int | None:
    """The guide's own example has an empty text where there is none."""
    return None if fields.any(key) in (None, "") else fields.integer(key, -1)


def _primary_key(fields: Fields, *, required: bool) -> tuple[str, ...]:
    found = fields.object("primary-key-def", required=required)
    if not found:
        return ()
    found.string("name")
    found.one_of("origin", ("primary-key", "unique-index"), "primary-key")
    columns = found.strings("columns")
    if not columns or len(set(columns)) < len(columns):
        found.fault("columns", "must name each column of the key once")
    found.finish()
    return columns


def selection(fields: Fields, identity: str, name: str) -> Selection:
    action = fields.one_of("rule-action", ("include", "exclude", "explicit"))
    locator = locator_of(fields)
    if action == "explicit" and "%" in locator.table + locator.schema:
        fields.fault("rule-action", "explicit names one table: there can be no % in its object-locator")
    filters = tuple(found for each in fields.objects("filters") if (found := _filter(each)))
    if filters and action != "include":
        fields.fault("filters", f"are applied by rule-action include only, not by {action}")
    order = fields.integer("load-order", 0)
    hints(fields)
    return Selection(identity, name, action, locator, order, filters)


def transformation(fields: Fields, identity: str, name: str) -> Transformation | None:
    target = fields.string("rule-target", required=True)
    if target in ("table-tablespace", "index-tablespace"):
        fields.note(f"rule-target {target} is for Oracle; it does nothing here")
        fields.skip("object-locator", "rule-action", "value", "old-value", "data-type")
        return None
    if target and target not in ("schema", "table", "column"):
        fields.fault("rule-target", f"must be one of schema, table, column, not {target!r}")
    actions = (*NAMING, *COLUMN_ONLY, "define-primary-key")
    action = fields.one_of("rule-action", actions)
    locator = locator_of(fields, column=target not in ("schema", "table"))
    if fields.any("rule-action") not in actions:  # what else it needs cannot be said
        fields.skip(*fields.keys())
        return None
    _transformation_faults(fields, action, target, locator)
    rule = Transformation(
        identity,
        name,
        action,
        locator,
        target,
        fields.string(
            "value", required=action in _NEEDS_VALUE and not (action == "rename" and fields.has("expression"))
        ),
        fields.string("old-value", required=action in ("replace-prefix", "replace-suffix")),
        fields.string("expression"),
        _data_type(fields, required=action == "change-data-type"),
        _primary_key(fields, required=action == "define-primary-key"),
        _before_image(fields) if action == "add-before-image-columns" else None,
    )
    if rule.expression and action not in ("add-column", "rename"):
        fields.fault("expression", "is for rule-action add-column or rename")
    if rule.expression and action == "rename" and rule.value:
        fields.fault("value", "and expression both say the new name: keep one of them")
    if action == "data-masking-digits-mask" and not re.fullmatch(r"[!-~]", rule.value):
        fields.fault("value", f"must be one printable character, not {rule.value!r}")
    fields.skip("filters")
    return rule


def _transformation_faults(fields: Fields, action: str, target: str, locator: Locator) -> None:
    if action in COLUMN_ONLY and target not in ("column", ""):
        fields.fault("rule-target", f"must be column for rule-action {action}, not {target!r}")
    if action == "define-primary-key" and target not in ("table", ""):
        fields.fault("rule-target", f"must be table for rule-action {action}, not {target!r}")
    if target == "column" and not locator.column and action not in ("add-column", "add-before-image-columns"):
        fields.fault("object-locator", "names no column-name: write % for all columns")


def settings(fields: Fields, _identity: str, _name: str) -> None:
    locator_of(fields)
    fields.skip("rule-action", "filters", "isAutoSegmentationChecked")
    hints(fields)


def hints(fields: Fields) -> None:
    """Parallel load and LOB settings: the snapshot has chunks and connections of its own, and whole values."""
    fields.skip("isAutoSegmentationChecked")
    load = fields.object("parallel-load")
    if load:
        kinds = ("partitions-auto", "subpartitions-auto", "partitions-list", "ranges", "none")
        kind = load.one_of("type", kinds)
        if kind == "partitions-list":
            load.fault("type", "partitions-list is refused: rows of other partitions would be left out silently")
        boundaries, columns = load.any("boundaries"), load.strings("columns")
        if kind == "ranges" and (not columns or not isinstance(boundaries, list)):
            load.fault("type", "ranges needs columns and boundaries")
        if kind != "none":
            load.note(
                f"{kind} is a hint; the snapshot is cut into chunks along the primary key over "
                "source.connections connections, and rows with NULL in these columns are moved too"
            )
        load.skip("partitions", "subpartitions", "number-of-partitions", "collection-count-from-metadata")
        load.skip("max-records-skip-per-page", "batch-size")
        load.finish()
    lobs = fields.object("lob-settings")
    if lobs:
        mode = lobs.one_of("mode", ("limited", "unlimited", "none"), "none")
        size = lobs.integer("bulk-max-size", 0)
        lobs.finish()
        if mode == "limited":
            lobs.note(f"nothing is cut to {size} KB; a value goes whole, or its row is a dead letter")


def not_needed(fields: Fields, _identity: str, _name: str) -> None:
    """Validation and post-processing: for other targets than DynamoDB, also with DMS."""
    kind = fields.string("rule-type")
    reason = {
        "validation": "DMS validates no DynamoDB target; `whimbrel verify` compares every item",
        "post-processing": "it is for S3 targets, and has no part in this migration",
    }[kind]
    fields.note(f"rule-type {kind} does nothing here: {reason}")
    fields.skip(*fields.keys())


def locator_of(fields: Fields, *, column: bool = False) -> Locator:
    found = fields.object("object-locator", required=True)
    if not found:
        return Locator("%")
    found.place = fields.place
    target = fields.string("rule-target")
    texts = {key: found.string(key, required=key == "schema-name") for key in ("schema-name", "table-name")}
    texts["column-name"] = found.string("column-name") if column else ""
    if target != "schema" and not texts["table-name"]:
        found.fault("table-name", "is missing")
    for key, text in texts.items():
        if text and (fault := pattern_fault(text)):
            found.fault(key, fault)
            texts[key] = "%"
    kind = found.one_of("table-type", ("table", "view", "all"), "table")
    data_type = found.one_of("data-type", DATA_TYPES) if column and found.has("data-type") else ""
    found.finish()
    schema, table = texts["schema-name"] or "%", texts["table-name"] or "%"
    return Locator(schema, table, texts["column-name"], kind, data_type)
