"""Item operations as the JSON bodies of DynamoDB's requests. Pure.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html, API_UpdateItem.html
and API_PutItem.html
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson

from whimbrel.item import gathered, item_size
from whimbrel.records import AttributeValue, Delete, Guarded, Item, Put, PutText, Update

MAX_UPDATE_ATTRIBUTES = 100  # ours: 300 operators and a 4 KB expression are DynamoDB's, neither is reached by these
_NAMES = tuple(f"#{n}" for n in range(MAX_UPDATE_ATTRIBUTES))
_VALUES = tuple(f":{n}" for n in range(MAX_UPDATE_ATTRIBUTES))
_PARTITION_KEY = "#k"


def batch_body(operations: Sequence[Put | PutText | Delete]) -> bytes:
    """BatchWriteItem for ``operations`` (25 at most, one per key). Raises TypeError for text that is not Unicode."""
    requests: dict[str, list[dict[str, Any]]] = {}
    for operation in operations:
        entry: dict[str, Any]
        if isinstance(operation, Put):
            entry = {"PutRequest": {"Item": operation.item}}
        elif isinstance(operation, PutText):
            entry = {"PutRequest": {"Item": orjson.Fragment(operation.text)}}
        else:
            entry = {"DeleteRequest": {"Key": operation.key}}
        try:
            requests[operation.table].append(entry)
        except KeyError:
            requests[operation.table] = [entry]
    return orjson.dumps({"RequestItems": requests, "ReturnConsumedCapacity": "TOTAL"})


def delete_body(table: str, key: Item) -> bytes:
    """DeleteItem."""
    return orjson.dumps({"TableName": table, "Key": key, "ReturnConsumedCapacity": "TOTAL"})


def guarded_body(guarded: Guarded) -> tuple[str, bytes]:
    """("PutItem" or "DeleteItem", body). Raises TypeError for text that is not Unicode."""
    expression, names, values = guarded.condition
    body: dict[str, Any] = {"TableName": guarded.table, "ConditionExpression": expression}
    body |= {"ExpressionAttributeNames": names} if names else {}
    body |= {"ExpressionAttributeValues": values} if values else {}
    body["ReturnConsumedCapacity"] = "TOTAL"
    if isinstance(guarded.operation, Put):
        return "PutItem", orjson.dumps(body | {"Item": guarded.operation.item})
    return "DeleteItem", orjson.dumps(body | {"Key": guarded.key})


def update_bodies(update: Update) -> list[bytes]:
    """The UpdateItem calls for ``update``, in the order in which they must be made; usually one.

    Sets come before removes, so that an item that keeps an entry is never without one in between. An update that sets
    no entry must not make the item: it asks that the item exists, and for the item that is left, so that the caller can
    see when nothing but the frame is left.
    """
    names, values = [*update.set, *update.remove], [*update.set.values()]
    keeps = sets_entries(update)
    most = MAX_UPDATE_ATTRIBUTES
    return [
        _update_body(update, names[start : start + most], values[start : start + most], keeps=keeps)
        for start in range(0, len(names), most)
    ]


def _update_body(update: Update, names: list[str], values: list[AttributeValue], *, keeps: bool) -> bytes:
    body: dict[str, Any] = {
        "TableName": update.table,
        "Key": update.key,
        "UpdateExpression": _expression(len(values), len(names) - len(values)),
        "ExpressionAttributeNames": dict(zip(_NAMES, names, strict=False)),
        "ReturnConsumedCapacity": "TOTAL",
    }
    if values:
        body["ExpressionAttributeValues"] = dict(zip(_VALUES, values, strict=False))
    if not keeps:
        body["ConditionExpression"] = f"attribute_exists({_PARTITION_KEY})"
        body["ExpressionAttributeNames"][_PARTITION_KEY] = next(iter(update.key))
        body["ReturnValues"] = "ALL_NEW"
    return orjson.dumps(body)


def sets_entries(update: Update) -> bool:
    """True if ``update`` sets more than the frame: then the item has an entry afterwards, and may be made."""
    return not update.frame.issuperset(update.set)


def get_body(table: str, key: Item) -> bytes:
    """GetItem, consistent."""
    return orjson.dumps({"TableName": table, "Key": key, "ConsistentRead": True, "ReturnConsumedCapacity": "TOTAL"})


@cache
def _expression(sets: int, removes: int) -> str:
    """The UpdateExpression that sets the first names and removes the rest: under 1 KB for 100 names."""
    parts = []
    if sets:
        parts.append("SET " + ",".join(f"#{n}=:{n}" for n in range(sets)))
    if removes:
        parts.append("REMOVE " + ",".join(f"#{n}" for n in range(sets, sets + removes)))
    return " ".join(parts)


def operation_size(operation: Put | PutText | Delete | Update) -> int:
    """Bytes of the item as far as the operation has it; 0 of a Delete."""
    if isinstance(operation, Delete):
        return 0
    if isinstance(operation, Put | PutText):
        return item_size(operation.item if isinstance(operation, Put) else orjson.loads(operation.text))
    item = operation.key | operation.set
    if operation.inside and operation.inside.set:
        entries, kind = operation.inside.set, operation.inside.kind
        item = item | {operation.inside.name: {kind: list(entries)} if kind in ("SS", "NS") else {"M": entries}}
        if operation.inside.gathered and (made := gathered(entries, operation.inside.gathered)):
            item |= {operation.inside.gathered.name: made}
    return item_size(item)
