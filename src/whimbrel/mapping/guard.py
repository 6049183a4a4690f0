"""The condition that a mapping's items are written under, checked against what the mapping writes."""

from __future__ import annotations

from whimbrel.mapping.attributes import Design
from whimbrel.mapping.conditions import NotACondition, Truth, on_item, unused
from whimbrel.project import ConditionRule, TableRule
from whimbrel.records import Condition, Guarded, ItemOperation, PutText, Update

_PROTECTS = "a condition protects what somebody else wrote: name an attribute that this mapping does not write"
_UNDEFINED = (
    "it would stay at whatever change made that so, and which one that is depends on the moment when the snapshot read "
    "the row, so that two runs would end in different items"
)


def faults(rule: TableRule, design: Design) -> list[str]:
    """Why the condition of ``rule`` cannot be kept; empty if it can, or if there is none."""
    condition = rule.condition
    if condition is None:
        return []
    if rule.shape == "group" or rule.item == "shared":
        what = "shape 'group'" if rule.shape == "group" else "item = 'shared'"
        return [f"condition is for items of one row, which are written whole: not for {what}"]
    keys = {key.name for key in design.keys}
    written = {*design.frame, *design.own} - keys
    named: set[str] = set()

    def ours(name: str) -> Truth:
        named.add(name)
        return True if name in keys else None if name in written else False

    try:
        absent = on_item(condition.expression, condition.names, lambda _: False)
        own = on_item(condition.expression, condition.names, ours)
    except NotACondition as reason:
        return [f"condition {condition.expression!r} {reason}"]
    found = [f"condition {fault}" for fault in unused(absent.used, [*condition.names, *condition.values])]
    place = f"condition {condition.expression!r}"
    if absent.holds is not True:
        found.append(f"{place} may not hold where no item is, and no row would come; {_PROTECTS}")
    elif own.holds is not True:
        found.append(f"{place} may not hold of an item that this mapping wrote: {_UNDEFINED}; {_PROTECTS}")
    elif keys & named:
        found.append(f"{place} names {min(keys & named)!r} of the key, which every item has: leave it out")
    return found


def condition_of(rule: ConditionRule | None) -> Condition | None:
    return Condition(rule.expression, rule.names, rule.values) if rule else None


def guarded(operation: ItemOperation, condition: Condition | None) -> ItemOperation:
    if condition is None or isinstance(operation, Update | Guarded):
        return operation
    assert not isinstance(operation, PutText), "rows make none"
    return Guarded(operation.table, operation.key, operation, condition)
