"""UpdateItem for entries within one attribute of an item: a map, a set or a list. Pure: bodies of requests.

Every change speaks of an entry by name, and setting or removing it twice is the same as once, so a replay is harmless.
An empty map or list is not kept (DynamoDB keeps no empty set either), so an item is the same however it came about.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html. SET of a
path within a map that is not there is refused; so a condition asks for the map, and it is made where it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import InvalidOperation
from typing import Any

import orjson

from whimbrel.dynamodb.answers import Answer, Undocumented, attributes_left
from whimbrel.dynamodb.requests import MAX_UPDATE_ATTRIBUTES
from whimbrel.item import gathered, identity_of, in_order
from whimbrel.nested import with_entries
from whimbrel.records import AttributeValue, Inside, Item, Update

INSIDE = "#i"


class NotOurs(Exception):
    """The attribute in the store is not what the mapping makes; ``str()`` says how."""


def map_set_bodies(update: Update, inside: Inside) -> Iterator[tuple[bytes, bytes]]:
    """For each call that sets entries: the body for an item that has the map, and the one for an item that has not."""
    names = list(inside.set)
    for start in range(0, len(names), MAX_UPDATE_ATTRIBUTES):
        part = {name: inside.set[name] for name in names[start : start + MAX_UPDATE_ATTRIBUTES]}
        sets = [f"{INSIDE}.#{n}=:{n}" for n in range(len(part))]
        values = {f":{n}": value for n, value in enumerate(part.values())}
        within = _body(update, sets, [], dict(_numbered(part)), values, f"attribute_exists({INSIDE})")
        whole = _body(update, [f"{INSIDE}=:m"], [], {}, {":m": {"M": part}}, f"attribute_not_exists({INSIDE})")
        yield within, whole


def map_remove_bodies(update: Update, inside: Inside) -> Iterator[bytes]:
    """Each asks that the map is there, and for the item that is left."""
    for start in range(0, len(inside.remove), MAX_UPDATE_ATTRIBUTES):
        part = inside.remove[start : start + MAX_UPDATE_ATTRIBUTES]
        removes = [f"{INSIDE}.#{n}" for n in range(len(part))]
        yield _body(update, [], removes, dict(_numbered(part)), {}, f"attribute_exists({INSIDE})", frame=False)


def remove_body(update: Update, inside: Inside) -> bytes:
    """Takes the whole attribute away."""
    return _body(update, [], [INSIDE], {}, {}, f"attribute_exists({INSIDE})", frame=False)


def set_bodies(update: Update, inside: Inside) -> Iterator[tuple[str, bytes]]:
    """("add" or "delete", body) for a set; a set that loses its last member is removed by DynamoDB itself."""
    if inside.set:
        members = {":m": {inside.kind: list(inside.set)}}
        yield "add", _body(update, [], [], {}, members, "", more=f"ADD {INSIDE} :m")
    if inside.remove:
        members = {":m": {inside.kind: list(inside.remove)}}
        condition = f"attribute_exists({INSIDE})"
        yield "delete", _body(update, [], [], {}, members, condition, frame=False, more=f"DELETE {INSIDE} :m")


def list_body(update: Update, elements: list[AttributeValue]) -> bytes:
    return _body(update, [f"{INSIDE}=:l"], [], {}, {":l": {"L": elements}}, "")


def gathered_body(
    update: Update, inside: Inside, was: AttributeValue | None, entries: Item, *, asks: bool = True
) -> bytes:
    """Writes a map and what is gathered of it, or takes both away; if it ``asks``, only where the map is still as it
    was read. Raises NotOurs if an entry is not of the form that the mapping makes.
    """
    try:
        made = gathered(entries, inside.gathered) if inside.gathered else None
    except (KeyError, InvalidOperation) as error:
        raise NotOurs(f"an entry of {inside.name!r} is not of the form of the others: {error}") from None
    sets = [f"{INSIDE}=:m"] if entries else []
    values: Item = {":m": {"M": entries}} if entries else {}
    if made:
        sets, values = [*sets, "#g=:g"], values | {":g": made}
    removes = [*([] if entries else [INSIDE]), *(["#g"] if inside.gathered and not made else [])]
    names = {"#g": inside.gathered.name} if inside.gathered else {}
    values |= {":was": was} if was and asks else {}
    condition = f"{INSIDE} = :was" if was else f"attribute_not_exists({INSIDE})"
    condition = condition if asks else ""
    return _body(update, sets, removes, names, values, condition)


def entries_after(item: Item, inside: Inside) -> Item:
    """The map's entries in ``item``, with some set and removed. Raises NotOurs if it is not a map."""
    found = item.get(inside.name, {"M": {}})
    if "M" not in found:
        raise NotOurs(f"attribute {inside.name!r} is not a map")
    try:
        return with_entries(found["M"], inside)
    except KeyError:
        raise NotOurs(f"an entry of {inside.name!r} is not a map") from None


def map_left(update: Update, inside: Inside, answer: Answer) -> Item:
    """The item that a removal within the map left, as its answer says; the map is there, if only an empty one."""
    item = attributes_left(update.table, update.key, answer)
    if "M" not in item.get(inside.name, {}):
        raise Undocumented(f"Attributes is without the map {inside.name!r}")
    return item


def elements_after(item: Item, inside: Inside) -> list[AttributeValue]:
    """The list of ``item`` with the entries set and removed, in order. Raises NotOurs if it is not a list of ours."""
    found = item.get(inside.name, {"L": []})
    if "L" not in found:
        raise NotOurs(f"attribute {inside.name!r} is not a list")
    try:
        elements = {identity_of(element, inside.order): element for element in found["L"]}
    except KeyError as missing:
        raise NotOurs(f"an element of {inside.name!r} has no {missing}, by which the list is ordered") from None
    for name in inside.remove:
        elements.pop(name, None)
    return in_order((elements | inside.set).values(), inside.order)


def is_empty(value: AttributeValue) -> bool:
    """An empty map or list."""
    return not next(iter(value.values()))


def _numbered(names: Any) -> Iterator[tuple[str, str]]:
    return ((f"#{n}", name) for n, name in enumerate(names))


def _body(
    update: Update,
    sets: list[str],
    removes: list[str],
    names: dict[str, str],
    values: dict[str, AttributeValue],
    condition: str,
    *,
    frame: bool = True,
    more: str = "",
) -> bytes:
    """``frame``: with the attributes of the whole item, which whatever makes it must bring; else ask what is left."""
    assert update.inside is not None
    names = {**names, INSIDE: update.inside.name}
    if frame:
        sets = [*sets, *(f"#f{n}=:f{n}" for n in range(len(update.set)))]
        names |= {f"#f{n}": name for n, name in enumerate(update.set)}
        values = values | {f":f{n}": value for n, value in enumerate(update.set.values())}
    clauses = [f"SET {','.join(sets)}" if sets else "", f"REMOVE {','.join(removes)}" if removes else "", more]
    body: dict[str, Any] = {
        "TableName": update.table,
        "Key": update.key,
        "UpdateExpression": " ".join(filter(None, clauses)),
        "ExpressionAttributeNames": names,
        "ReturnConsumedCapacity": "TOTAL",
    }
    if values:
        body["ExpressionAttributeValues"] = values
    if condition:
        body["ConditionExpression"] = condition
    if not frame:
        body["ReturnValues"] = "ALL_NEW"
    return orjson.dumps(body)
