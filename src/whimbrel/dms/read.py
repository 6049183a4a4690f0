"""Reads a DMS file into its rules, with everything that can be seen to be wrong without the schema said at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from whimbrel.dms import templates
from whimbrel.dms.conditions import NotACondition, on_absent_item, unused
from whimbrel.dms.fields import Fields, shown
from whimbrel.dms.patterns import pattern_fault
from whimbrel.dms.rules import (
    COLUMN_ONLY,
    DATA_TYPES,
    NAMING,
    NEGATIVE,
    OPERATORS,
    Attribute,
    Condition,
    DataType,
    Filter,
    Locator,
    ObjectMapping,
    Rules,
    Selection,
    Transformation,
)
from whimbrel.dms.text import parse
from whimbrel.errors import ProjectError


def load_rules(path: Path) -> Rules:
    """Raises ProjectError with everything that is wrong with the file, one fault a line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ProjectError(
            f"the DMS rules cannot be read: {reason}", place=str(path), hint="Name a file with --dms."
        ) from None
    return read_rules(text, str(path))


def read_rules(text: str, place: str = "DMS rules") -> Rules:
    """The rules in ``text``. Raises ProjectError with all the faults that can be seen without the schema."""
    document, faults = parse(text)
    if document is None:
        raise faulty(faults, place)
    if not isinstance(document, dict) or not isinstance(document.get("rules"), list):
        raise faulty([*faults, 'must be an object with a list: {"rules": [ … ]}'], place)
    faults += [f"{shown(key)} stands beside rules and is not known" for key in document if key != "rules"]
    reading = _Reading(faults)
    for number, entry in enumerate(document["rules"], 1):
        reading.rule(number, entry)
    if not reading.selections and not any("rule-type" in fault for fault in faults):
        faults.append("there is no selection rule, and DMS moves nothing without one")
    if faults:
        raise faulty(faults, place)
    return Rules(
        place,
        tuple(reading.selections),
        tuple(sorted(reading.transformations, key=lambda rule: rule.order)),
        tuple(reading.mappings),
        tuple(reading.notes),
    )


def faulty(faults: Iterable[str], place: str) -> ProjectError:
    """All ``faults`` of the file as one error; each once."""
    listed = "\n  ".join(dict.fromkeys(faults))
    return ProjectError(f"\n  {listed}", place=place, hint="\nMend these in the DMS file, then run it again.")


class _Reading:
    """Takes rule by rule into the lists of their kinds, and what is wrong with them into ``faults``."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        self.notes: list[str] = []
        self.selections: list[Selection] = []
        self.transformations: list[Transformation] = []
        self.mappings: list[ObjectMapping] = []
        self._seen: set[tuple[str, str]] = set()

    def rule(self, number: int, entry: Any) -> None:
        if not isinstance(entry, dict):
            self.faults.append(f"rule number {number} of the file: must be an object, not {shown(entry)}")
            return
        fields = Fields(entry, f"rule number {number} of the file", self.faults)
        identity = fields.text("rule-id", required=True)
        if identity:
            fields.place = f"rule {identity}"
        if identity and not (identity.isascii() and identity.isdigit() and len(identity) < 40):
            fields.fault("rule-id", "must be a number: where two rules meet, the lower one wins")
            identity = ""
        name = fields.text("rule-name", required=True)
        readers: dict[str, Callable[[Fields, str, str], None]] = {
            "selection": self._selection,
            "transformation": self._transformation,
            "object-mapping": self._mapping,
            "table-settings": self._settings,
            "validation": self._not_needed,
            "post-processing": self._not_needed,
        }
        kind = fields.one_of("rule-type", tuple(readers))
        if kind not in readers or "rule-type" not in entry or entry["rule-type"] != kind:
            return
        self._repeated(kind, identity)
        readers[kind](fields, identity or "0", name)
        fields.finish()

    def _repeated(self, kind: str, identity: str) -> None:
        """Two rules of one type must differ in their ids. The guide's own examples share one between types."""
        if identity and (kind, identity) in self._seen:
            self.faults.append(f"rule {identity}: rule-id stands on two {kind} rules")
        self._seen.add((kind, identity))

    def _selection(self, fields: Fields, identity: str, name: str) -> None:
        action = fields.one_of("rule-action", ("include", "exclude", "explicit"))
        locator = self._locator(fields)
        if action == "explicit" and "%" in locator.table + locator.schema:
            fields.fault("rule-action", "explicit names one table: there can be no % in its object-locator")
        filters = tuple(found for each in fields.objects("filters") if (found := _filter(each)))
        if filters and action != "include":
            fields.fault("filters", f"are applied by rule-action include only, not by {action}")
        order = fields.whole("load-order", 0)
        self._hints(fields)
        self.selections.append(Selection(identity, name, action, locator, order, filters))

    def _transformation(self, fields: Fields, identity: str, name: str) -> None:
        target = fields.text("rule-target", required=True)
        if target in ("table-tablespace", "index-tablespace"):
            self.notes.append(f"{fields.place}: rule-target {target} is of Oracle's; it has no part in this migration")
            self._consume(fields, "object-locator", "rule-action", "value", "old-value", "data-type")
            return
        if target and target not in ("schema", "table", "column"):
            fields.fault("rule-target", f"must be one of schema, table, column, not {target!r}")
        action = fields.one_of("rule-action", (*NAMING, *COLUMN_ONLY, "define-primary-key"))
        locator = self._locator(fields, column=target == "column")
        self._transformation_faults(fields, action, target, locator)
        rule = Transformation(
            identity,
            name,
            action,
            locator,
            target,
            fields.text("value", required=action in _NEEDS_VALUE),
            fields.text("old-value", required=action in ("replace-prefix", "replace-suffix")),
            fields.text("expression"),
            _data_type(fields, required=action == "change-data-type"),
            _primary_key(fields, required=action == "define-primary-key"),
        )
        if rule.expression and action != "add-column":
            fields.fault("expression", "is for rule-action add-column")
        if action == "data-masking-digits-mask" and not re.fullmatch(r"[!-~]", rule.value):
            fields.fault("value", f"must be one printable character, not {rule.value!r}")
        self._consume(fields, "filters")
        self.transformations.append(rule)

    def _transformation_faults(self, fields: Fields, action: str, target: str, locator: Locator) -> None:
        if action in COLUMN_ONLY and target not in ("column", ""):
            fields.fault("rule-target", f"must be column for rule-action {action}, not {target!r}")
        if action == "define-primary-key" and target != "table":
            fields.fault("rule-target", f"must be table for rule-action {action}, not {target!r}")
        if target == "column" and not locator.column and action not in ("add-column", "add-before-image-columns"):
            fields.fault("object-locator", "names no column-name: write % for all columns")
        if action == "add-before-image-columns":
            fields.any("before-image-def")
            fields.fault(
                "rule-action",
                "add-before-image-columns is refused: what a row was before its last change is not in the row, so a "
                "load and the log would give different items. Read such changes from the target's stream",
            )

    def _mapping(self, fields: Fields, identity: str, name: str) -> None:
        action = fields.one_of("rule-action", ("map-record-to-record", "map-record-to-document"))
        locator = self._locator(fields)
        target = fields.text("target-table-name")
        parameters = fields.object("mapping-parameters") or Fields({}, fields.place, self.faults)
        parameters.place = fields.place
        attributes = tuple(found for each in parameters.objects("attribute-mappings") if (found := _attribute(each)))
        names = [attribute.name for attribute in attributes]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            fields.fault("attribute", f"{twice!r} is mapped more than once")
        condition = parameters.object("condition-expression")
        mapping = ObjectMapping(
            identity,
            name,
            action,
            locator,
            target,
            parameters.text("partition-key-name"),
            parameters.text("sort-key-name"),
            parameters.texts("exclude-columns"),
            attributes,
            self._condition(condition) if condition else "",
        )
        if mapping.sort_key and not mapping.partition_key:
            fields.fault("partition-key-name", "is missing, and there is a sort-key-name")
        if mapping.partition_key and mapping.partition_key == mapping.sort_key:
            fields.fault("sort-key-name", f"{mapping.sort_key!r} is the partition key too")
        parameters.finish()
        self.mappings.append(mapping)

    def _condition(self, fields: Fields) -> str:
        """The expression, if it is applied during the load and holds there; what cannot be kept is a fault."""
        expression = fields.text("expression", required=True)
        defined: list[str] = []
        for key in ("expression-attribute-values", "expression-attribute-names"):
            for each in fields.objects(key):
                defined.append(each.text("name", required=True))
                each.any("value")
                each.finish()
        during_load = fields.truth("apply-during-full-load", True)
        during_changes = fields.truth("apply-during-cdc", False)
        fields.finish()
        if not expression:
            return ""
        try:
            verdict = on_absent_item(expression)
        except NotACondition as reason:
            fields.fault("expression", str(reason))
            return ""
        for fault in unused(verdict.used, [name for name in defined if name]):
            fields.fault("expression", fault)
        if during_changes:
            fields.fault(
                "apply-during-cdc",
                "is refused: a change that a condition holds back is lost for good, so the two sides would differ and "
                "no verification could say why. Choose rows with filters in the selection rule",
            )
        if during_load and not verdict.holds:
            fields.fault(
                "expression",
                "never holds for an item that is not there yet, so the full load would write nothing. Choose rows "
                "with filters in the selection rule",
            )
        if not during_load and not during_changes:
            self.notes.append(f"{fields.place}: is applied neither during the full load nor during CDC, so never")
        elif during_load and verdict.holds:
            self.notes.append(
                f"{fields.place}: holds for every item that is not there yet, and the load begins with none; rows that "
                "share one item are dead letters, never dropped"
            )
        return expression if during_load else ""

    def _settings(self, fields: Fields, identity: str, name: str) -> None:
        self._locator(fields)
        self._consume(fields, "rule-action", "filters", "isAutoSegmentationChecked")
        self._hints(fields)

    def _hints(self, fields: Fields) -> None:
        """Parallel load and LOB settings: the snapshot has chunks and connections of its own, and whole values."""
        self._consume(fields, "isAutoSegmentationChecked")
        load = fields.object("parallel-load")
        if load:
            kinds = ("partitions-auto", "subpartitions-auto", "partitions-list", "ranges", "none")
            kind = load.one_of("type", kinds)
            if kind == "partitions-list":
                load.fault("type", "partitions-list is refused: rows of other partitions would be left out silently")
            boundaries, columns = load.any("boundaries"), load.texts("columns")
            if kind == "ranges" and (not columns or not isinstance(boundaries, list)):
                load.fault("type", "ranges needs columns and boundaries")
            if kind != "none":
                self.notes.append(
                    f"{load.place}: {kind} is a hint; the snapshot is cut into chunks along the primary key over "
                    "source.connections connections, and rows with NULL in these columns are moved too"
                )
            self._consume(load, "partitions", "subpartitions", "number-of-partitions", "collection-count-from-metadata")
            self._consume(load, "max-records-skip-per-page", "batch-size")
            load.finish()
        lobs = fields.object("lob-settings")
        if lobs:
            mode = lobs.one_of("mode", ("limited", "unlimited", "none"), "none")
            size = lobs.whole("bulk-max-size", 0)
            lobs.finish()
            if mode == "limited":
                self.notes.append(
                    f"{lobs.place}: nothing is cut to {size} KB; a value goes whole, or its row is a dead letter"
                )

    def _not_needed(self, fields: Fields, identity: str, name: str) -> None:
        """Validation and post-processing: for other targets than DynamoDB, also with DMS."""
        kind = fields.text("rule-type")
        reason = {
            "validation": "DMS validates no DynamoDB target; `whimbrel verify` compares every item",
            "post-processing": "it is for S3 targets, and has no part in this migration",
        }[kind]
        self.notes.append(f"{fields.place}: rule-type {kind} does nothing here: {reason}")
        self._consume(fields, *fields.keys())

    def _locator(self, fields: Fields, *, column: bool = False) -> Locator:
        found = fields.object("object-locator", required=True)
        if not found:
            return Locator("%")
        found.place = fields.place
        target = fields.text("rule-target")
        texts = {key: found.text(key, required=key == "schema-name") for key in ("schema-name", "table-name")}
        texts["column-name"] = found.text("column-name") if column else ""
        if target != "schema" and not texts["table-name"]:
            found.fault("table-name", "is missing")
        for key, text in texts.items():
            if text and (fault := pattern_fault(text)):
                found.fault(key, fault)
                texts[key] = "%"
        kind = found.one_of("table-type", ("table", "view", "all"), "table")
        found.finish()
        return Locator(texts["schema-name"] or "%", texts["table-name"] or "%", texts["column-name"], kind)

    @staticmethod
    def _consume(fields: Fields, *keys: str) -> None:
        for key in keys:
            fields.any(key)


_NEEDS_VALUE = (
    "rename",
    "add-column",
    "data-masking-digits-mask",
    *(action for action in NAMING if action.endswith(("prefix", "suffix"))),
)


def _filter(fields: Fields) -> Filter | None:
    fields.one_of("filter-type", ("source",))
    column = fields.text("column-name", required=True)
    found = [_filter_condition(each) for each in fields.objects("filter-conditions")]
    if not found and not fields.has("filter-conditions"):
        fields.fault("filter-conditions", "is missing")
    elif not found:
        fields.fault("filter-conditions", "is empty")
    if len(found) > 1 and any(condition.operator in NEGATIVE for condition in found):
        fields.fault("filter-conditions", "with noteq, notbetween or notnull must be alone in its filter")
    fields.finish()
    return Filter(column, tuple(found)) if column and found else None


def _filter_condition(fields: Fields) -> Condition:
    operator = fields.one_of("filter-operator", OPERATORS)
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
        values.append(fields.text(key, empty=True))
    fields.finish()
    return Condition("lte" if operator == "ste" else operator, tuple(values))


def _data_type(fields: Fields, *, required: bool) -> DataType | None:
    found = fields.object("data-type", required=required)
    if not found:
        return None
    known = found.one_of("type", DATA_TYPES)
    sizes = [found.whole(key, -1) if found.has(key) else None for key in ("precision", "scale", "length")]
    found.finish()
    return DataType(known, *sizes)


def _primary_key(fields: Fields, *, required: bool) -> tuple[str, ...]:
    found = fields.object("primary-key-def", required=required)
    if not found:
        return ()
    found.text("name")
    found.one_of("origin", ("primary-key", "unique-index"), "primary-key")
    columns = found.texts("columns")
    if not columns or len(set(columns)) < len(columns):
        found.fault("columns", "must name each column of the key once")
    found.finish()
    return columns


_SCALARS = {"string": "S", "number": "N", "boolean": "BOOL"}
_DOCUMENTS = {"dynamodb-map": "M", "dynamodb-list": "L"}


def _attribute(fields: Fields) -> Attribute | None:
    name = fields.text("target-attribute-name", required=True)
    if name:
        fields.place = re.sub(r", attribute-mappings \d+$", f", attribute {name!r}", fields.place)
    kind = fields.one_of("attribute-type", ("scalar", "document"))
    types = _SCALARS if kind == "scalar" else _DOCUMENTS
    sub_type = fields.one_of("attribute-sub-type", tuple(types))
    if not fields.has("value"):
        fields.fault("value", "is missing")
        fields.finish()
        return None
    type_name = types[sub_type]
    value: Any = fields.text("value", empty=True) if kind == "scalar" else fields.any("value")
    found = templates.faults(value) if kind == "scalar" else _tree_faults(value, type_name)
    if kind == "scalar" and not value:
        found.append("is empty")
    for fault in found:
        fields.fault("value", fault)
    fields.finish()
    return Attribute(name, type_name, value) if name and not found else None


def _tree_faults(value: Any, kind: str) -> list[str]:
    if not isinstance(value, dict) or list(value) != [kind]:
        return [f'must be {{"{kind}": …}} for this attribute-sub-type, not {shown(value)}']
    return templates.tree_faults(value)
