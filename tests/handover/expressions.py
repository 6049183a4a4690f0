"""The little of DynamoDB's expressions that these tests send to the stand-in; what is not known is refused.

Conditions are ``attribute_exists``, ``attribute_not_exists``, ``begins_with``, ``=``, ``<`` and ``<=``, joined by OR or
by AND; updates are ``SET name = :value``, ``SET name = if_not_exists(name, :value)``, ``ADD name :number`` and
``REMOVE name``, of whole attributes.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

Item = dict[str, Any]


class Unknown(Exception):
    """The expression has what is not understood here."""


def holds(body: dict[str, Any], item: Item | None, expression: str = "ConditionExpression") -> bool:
    """Whether the item of the call meets its condition."""
    text = body[expression]
    if " OR " in text:
        return any(_one(each, body, item or {}) for each in text.split(" OR "))
    return all(_one(each, body, item or {}) for each in text.split(" AND "))


def _one(text: str, body: dict[str, Any], item: Item) -> bool:
    if found := re.fullmatch(r"attribute_(not_)?exists\((\S+)\)", text):
        return (_name(found[2], body) in item) is not bool(found[1])
    if found := re.fullmatch(r"begins_with\((\S+), (:\S+)\)", text):
        return str(item[_name(found[1], body)]["S"]).startswith(_value(found[2], body)["S"])
    if not (found := re.fullmatch(r"(\S+) (=|<|<=) (:\S+)", text)):
        raise Unknown(text)
    has, asked = item.get(_name(found[1], body)), body["ExpressionAttributeValues"][found[3]]
    if found[2] == "=":
        return bool(has == asked)
    if has is None:
        return False
    one, other = Decimal(has["N"]), Decimal(asked["N"])
    return one < other or (one == other and found[2] == "<=")


def updated(body: dict[str, Any], item: Item | None) -> Item:
    """The item after the update; a new one has its key."""
    made = dict(item or body["Key"])
    for clause in re.split(r"(?<=\S)\s+(?=SET |REMOVE |ADD )", body["UpdateExpression"]):
        verb, _, rest = clause.partition(" ")
        for part in re.split(r",\s*(?![^(]*\))", rest):
            if verb == "REMOVE":
                made.pop(_name(part, body), None)
                continue
            if verb == "ADD":
                name, value = part.split()
                before = made.get(_name(name, body), {"N": "0"})["N"]
                made[_name(name, body)] = {"N": str(Decimal(before) + Decimal(_value(value, body)["N"]))}
                continue
            name, value = (each.strip() for each in part.split("="))
            if found := re.fullmatch(r"if_not_exists\((\S+),\s*(:\S+)\)", value):
                made.setdefault(_name(name, body), made.get(_name(found[1], body), _value(found[2], body)))
            else:
                made[_name(name, body)] = _value(value, body)
    return made


def _name(text: str, body: dict[str, Any]) -> str:
    return str(body.get("ExpressionAttributeNames", {}).get(text, text))


def _value(text: str, body: dict[str, Any]) -> Any:
    if text not in body["ExpressionAttributeValues"]:
        raise Unknown(text)
    return body["ExpressionAttributeValues"][text]
