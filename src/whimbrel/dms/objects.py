"""Object-mapping rules: keys, attributes, and the condition that an item is written under."""

from __future__ import annotations

import json
from typing import Any

from whimbrel.dms import templates
from whimbrel.dms.fields import Fields, shown
from whimbrel.dms.read_rule import locator_of
from whimbrel.dms.rules import MappedAttribute, ObjectMapping
from whimbrel.mapping.conditions import NotACondition, on_absent_item, unused
from whimbrel.project import ConditionRule
from whimbrel.project.typed import constant_fault

_SCALARS = {"string": "S", "number": "N", "boolean": "BOOL"}
_DOCUMENTS = {"dynamodb-map": "M", "dynamodb-list": "L"}


def _attribute(fields: Fields) -> MappedAttribute | None:
    name = fields.string("target-attribute-name", required=True)
    if name:
        fields.place = fields.place.rpartition(", attribute-mappings ")[0] + f", attribute {name!r}"
    kind = fields.one_of("attribute-type", ("scalar", "document"))
    types = _SCALARS if kind == "scalar" else _DOCUMENTS
    sub_type = fields.one_of("attribute-sub-type", tuple(types))
    if not fields.has("value"):
        fields.fault("value", "is missing")
        fields.finish()
        return None
    type_name = types[sub_type]
    value: Any = fields.string("value", empty=True) if kind == "scalar" else fields.any("value")
    found = templates.faults(value) if kind == "scalar" else _tree_faults(value, type_name)
    if kind == "scalar" and not value:
        found.append("is empty")
    for fault in found:
        fields.fault("value", fault)
    if "$${" in json.dumps(value):
        fields.note("has $${, which is how Terraform writes ${ in its own files: here the first $ is a dollar")
    fields.finish()
    if kind == "document" and isinstance(value, str):
        value = {type_name: value}
    return MappedAttribute(name, type_name, value) if name and not found else None


def _tree_faults(value: Any, kind: str) -> list[str]:
    if isinstance(value, str) and templates.is_alone(value):  # the column's JSON
        return templates.tree_faults({kind: value})
    if not isinstance(value, dict) or list(value) != [kind]:
        return [f'must be {{"{kind}": …}} for this attribute-sub-type, not {shown(value)}']
    return templates.tree_faults(value)


def object_mapping(fields: Fields, identity: str, name: str) -> ObjectMapping:
    action = fields.one_of("rule-action", ("map-record-to-record", "map-record-to-document"))
    locator = locator_of(fields)
    target = fields.string("target-table-name")
    parameters = fields.object("mapping-parameters") or fields.nothing()
    parameters.place = fields.place
    attributes = tuple(found for each in parameters.objects("attribute-mappings") if (found := _attribute(each)))
    names = [attribute.name for attribute in attributes]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        fields.fault("attribute", f"{twice!r} is mapped more than once")
    conditions = parameters.object("condition-expression")
    condition, load_condition = _conditions(conditions) if conditions else (None, "")
    mapping = ObjectMapping(
        identity,
        name,
        action,
        locator,
        target,
        parameters.string("partition-key-name"),
        parameters.string("sort-key-name"),
        parameters.strings("exclude-columns"),
        attributes,
        condition,
        load_condition,
    )
    if mapping.sort_key and not mapping.partition_key:
        fields.fault("partition-key-name", "is missing, and there is a sort-key-name")
    if mapping.partition_key and mapping.partition_key == mapping.sort_key:
        fields.fault("sort-key-name", f"{mapping.sort_key!r} is the partition key too")
    parameters.finish()
    return mapping


def _conditions(fields: Fields) -> tuple[ConditionRule | None, str]:
    """The condition that changes are put under, and the text of one that is for the full load only and holds there.

    What the former may be is checked against the mapping later; what cannot be kept is a fault.
    """
    expression = fields.string("expression", required=True)
    names, values = (
        _placeholders(fields, "expression-attribute-names"),
        _placeholders(fields, "expression-attribute-values"),
    )
    during_load = fields.truth("apply-during-full-load", True)
    during_changes = fields.truth("apply-during-cdc", False)
    fields.finish()
    if not expression:
        return None, ""
    try:
        verdict = on_absent_item(expression)
    except NotACondition as reason:
        fields.fault("expression", str(reason))
        return None, ""
    for fault in unused(verdict.used, [*names, *values]):
        fields.fault("expression", fault)
    if during_changes:
        _fixed(fields, names, values)
        return ConditionRule(expression, names, values, during_load), ""
    if not during_load:
        fields.note("is applied neither during the full load nor during CDC, so never")
        return None, ""
    if verdict.holds:
        fields.note(
            "holds for every item that is not there yet, and the load begins with none; rows that "
            "share one item are dead letters, never dropped"
        )
    else:
        fields.fault(
            "expression",
            f"{'never holds' if verdict.holds is False else 'may not hold'} for an item that is not there yet, so the "
            "full load would write nothing. Choose rows with filters in the selection rule",
        )
    return None, expression


def _placeholders(fields: Fields, key: str) -> dict[str, Any]:
    found = {}
    for each in fields.objects(key):
        name = each.string("name", required=True)
        if name:
            found[name] = each.any("value")
        else:
            each.any("value")
        each.finish()
    return found


def _fixed(fields: Fields, names: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in names.items():
        if not isinstance(value, str) or not value:
            fields.fault(f"expression-attribute-names {name}", f"must be an attribute's name, not {shown(value)}")
    for name, value in values.items():
        if fault := constant_fault(value):
            fields.fault(f"expression-attribute-values {name}", fault)
