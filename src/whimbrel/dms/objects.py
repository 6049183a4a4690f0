"""Object-mapping rules: keys, attributes, and the condition that an item is written under."""

from __future__ import annotations

from typing import Any

from whimbrel.dms import templates
from whimbrel.dms.conditions import NotACondition, on_absent_item, unused
from whimbrel.dms.fields import Fields, shown
from whimbrel.dms.parts import locator_of
from whimbrel.dms.rules import Attribute, ObjectMapping

_SCALARS = {"string": "S", "number": "N", "boolean": "BOOL"}
_DOCUMENTS = {"dynamodb-map": "M", "dynamodb-list": "L"}


def _attribute(fields: Fields) -> Attribute | None:
    name = fields.text("target-attribute-name", required=True)
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


def object_mapping(fields: Fields, identity: str, name: str) -> ObjectMapping:
    action = fields.one_of("rule-action", ("map-record-to-record", "map-record-to-document"))
    locator = locator_of(fields)
    target = fields.text("target-table-name")
    parameters = fields.object("mapping-parameters") or fields.nothing()
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
        _condition(condition) if condition else "",
    )
    if mapping.sort_key and not mapping.partition_key:
        fields.fault("partition-key-name", "is missing, and there is a sort-key-name")
    if mapping.partition_key and mapping.partition_key == mapping.sort_key:
        fields.fault("sort-key-name", f"{mapping.sort_key!r} is the partition key too")
    parameters.finish()
    return mapping


def _condition(fields: Fields) -> str:
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
        fields.note("is applied neither during the full load nor during CDC, so never")
    elif during_load and verdict.holds:
        fields.note(
            "holds for every item that is not there yet, and the load begins with none; rows that "
            "share one item are dead letters, never dropped"
        )
    return expression if during_load else ""
