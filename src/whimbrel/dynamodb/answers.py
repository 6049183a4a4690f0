"""What DynamoDB's answers look like by its documentation, and what each says. Pure.

An answer that is not known to be a success is a failure: what differs from the documented form raises Undocumented, and
the call is made again, which never does harm. Every request asks for ConsumedCapacity, so an answer to a single-item
call names its table: ``{}`` alone says nothing, though it may come from something between us and DynamoDB.

Source: the "Response Syntax" of https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html,
API_BatchGetItem.html, API_GetItem.html, API_PutItem.html, API_Query.html, API_Scan.html and API_UpdateItem.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import DecimalException
from typing import Any, NamedTuple

from whimbrel.item import key_id
from whimbrel.records import Delete, Item, Put, PutText

Answer = dict[str, Any]
_CONTENTS: Mapping[str, Any] = {
    "S": str,
    "N": str,
    "B": (str, bytes),
    "BOOL": bool,
    "NULL": bool,
    "M": dict,
    "L": list,
    "SS": list,
    "NS": list,
    "BS": list,
}  # fmt: skip; boto3 makes bytes of B


class Undocumented(Exception):
    """The answer does not have the documented form; ``str()`` says what is wrong with it."""


class Page(NamedTuple):
    items: list[Item]
    following: Item | None  # the key to continue after; None: this was the last page


def units(answer: Answer) -> float:
    """The capacity units that an answer reports: a list from batch calls, one object from the others; 0 without any."""
    found: Any = answer.get("ConsumedCapacity", [])
    if isinstance(found, dict):
        return _units(found)
    _demand(isinstance(found, list), "ConsumedCapacity")
    return sum(map(_units, found), 0.0)


def _units(report: Any) -> float:
    used: Any = report.get("CapacityUnits") if isinstance(report, dict) else None
    if type(used) not in (int, float) or used < 0:
        raise Undocumented("ConsumedCapacity is not as documented")
    return float(used)


def acknowledged(table: str, answer: Answer) -> Answer:
    """The answer to a call about one item or one table, if it is about ``table``."""
    report: Any = answer.get("ConsumedCapacity")
    if not isinstance(report, dict):
        raise Undocumented("ConsumedCapacity is missing")
    named = report.get("TableName")
    if named != table:  # a table may be asked for by its ARN
        _demand(isinstance(named, str) and table.endswith(f":table/{named}"), "ConsumedCapacity", f"is of {named!r}")
    return answer


def unprocessed(operations: Sequence[Put | PutText | Delete], answer: Answer) -> list[Put | PutText | Delete]:
    """Those of a BatchWriteItem's ``operations`` that its answer leaves out, in their order."""
    left: Any = answer.get("UnprocessedItems")
    _demand(isinstance(left, dict), "UnprocessedItems")
    if not left:
        return []
    sent = {(each.table, not isinstance(each, Delete), key_id(each.key)): each for each in operations}
    names = {each.table: tuple(each.key) for each in operations}
    wanted = set()
    for table, entries in left.items():
        _demand(table in names, "UnprocessedItems", f"has a table that was not asked for: {table!r}")
        _demand(isinstance(entries, list) and bool(entries), "UnprocessedItems")
        for entry in entries:
            put, item = _request(entry)
            found = (table, put, key_id(_key_in(item, names[table])))
            _demand(found in sent, "UnprocessedItems", "has a request that was not made", entry)
            _demand(found not in wanted, "UnprocessedItems", "has a request twice", entry)
            wanted.add(found)
    return [operation for identity, operation in sent.items() if identity in wanted]


def attributes_left(table: str, key: Item, answer: Answer) -> Item:
    """The item that an UpdateItem with ALL_NEW left; it is there, since the call's condition asked for it."""
    item: Item = acknowledged(table, answer).get("Attributes", {})
    _demand(is_item(item), "Attributes")
    _demand(key_id(_key_in(item, tuple(key))) == key_id(key), "Attributes", "are of another item", item)
    return item


def item_found(table: str, key: Item, answer: Answer) -> Item | None:
    """The item of a GetItem; None if there is none."""
    if "Item" not in acknowledged(table, answer):
        return None
    item: Item = answer["Item"]
    _demand(is_item(item), "Item")
    _demand(key_id(_key_in(item, tuple(key))) == key_id(key), "Item", "is another one", item)
    return item


def items_found(table: str, keys: Sequence[Item], answer: Answer) -> tuple[dict[bytes, Item], list[Item]]:
    """The items of a BatchGetItem of ``keys`` by ``key_id``, and the keys to ask for again; others have no item."""
    names = tuple(keys[0])
    asked = {key_id(key): key for key in keys}
    responses: Any = answer.get("Responses")
    left: Any = answer.get("UnprocessedKeys")
    _demand(isinstance(responses, dict) and responses.keys() <= {table}, "Responses")
    _demand(isinstance(left, dict) and left.keys() <= {table}, "UnprocessedKeys")
    again = _asked_again(left[table], names) if left else []
    _demand(table in responses or len(again) == len(asked), "Responses", f"is without {table!r}")
    items = responses.get(table, [])
    _demand(isinstance(items, list) and all(map(is_item, items)), "Responses")
    found = {key_id(_key_in(item, names)): item for item in items}
    told = [*found, *again]
    _demand(len(found) == len(items) and len(set(told)) == len(told), "the answer", "has a key twice")
    _demand(asked.keys() >= set(told), "the answer", "has a key that was not asked for")
    return found, [asked[each] for each in again]


def page(table: str, after: Item | None, limit: int, answer: Answer) -> Page:
    """A page of a Scan without a filter, which went on ``after`` a key; ``limit`` items were asked for (0: any)."""
    items, following = _counted(table, answer), answer.get("LastEvaluatedKey")
    _demand(answer["ScannedCount"] == len(items) <= (limit or len(items)), "ScannedCount")
    if "LastEvaluatedKey" in answer:
        _demand(is_item(following), "LastEvaluatedKey")
        _demand(following != after, "LastEvaluatedKey", "is where the page began", following)
    return Page(items, following)


def filtered(table: str, key: Item, answer: Answer) -> bool:
    """Whether a Query of one whole key with a filter found its item."""
    items = _counted(table, answer)
    _demand("LastEvaluatedKey" not in answer and len(items) <= answer["ScannedCount"] <= 1, "ScannedCount")
    _demand(all(key_id(_key_in(item, tuple(key))) == key_id(key) for item in items), "Items", "is another", items)
    return bool(items)


def described(name: str, answer: Answer) -> Answer:
    """The table of a DescribeTable: of this name, with a status and a key whose attributes have types."""
    table: Any = answer.get("Table")
    _demand(isinstance(table, dict), "Table")
    named, status = table.get("TableName"), table.get("TableStatus")
    _demand(isinstance(named, str) and (named == name or name.endswith(f":table/{named}")), "Table", f"is {named!r}")
    _demand(isinstance(status, str) and bool(status), "TableStatus")
    types = {each.get("AttributeName"): each.get("AttributeType") for each in _dicts(table, "AttributeDefinitions")}
    key = [(each.get("AttributeName"), each.get("KeyType")) for each in _dicts(table, "KeySchema")]
    _demand([role for _, role in key] in (["HASH"], ["HASH", "RANGE"]), "KeySchema")
    _demand(all(types.get(attribute) in ("S", "N", "B") for attribute, _ in key), "AttributeDefinitions")
    return dict(table)


def made(name: str, answer: Answer) -> None:
    """The answer to a CreateTable of this name."""
    table: Any = answer.get("TableDescription")
    named = table.get("TableName") if isinstance(table, dict) else None
    _demand(isinstance(named, str) and (named == name or name.endswith(f":table/{named}")), "TableDescription")


def is_item(item: Any) -> bool:
    """Whether ``item`` is a map of attribute values, at least one."""
    return isinstance(item, dict) and bool(item) and all(map(_is_value, item.values()))


def _is_value(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    [(kind, content)] = value.items()
    if kind not in _CONTENTS or not isinstance(content, _CONTENTS[kind]):
        return False
    if kind == "M":
        return all(map(_is_value, content.values()))
    if kind == "L":
        return all(map(_is_value, content))
    return kind not in ("SS", "NS", "BS") or all(isinstance(member, _CONTENTS[kind[0]]) for member in content)


def _counted(table: str, answer: Answer) -> list[Item]:
    """The items of a Query or Scan, as many as it says."""
    items: list[Item] = acknowledged(table, answer).get("Items", [None])
    _demand(isinstance(items, list) and {*map(type, items)} <= {dict} and all(items), "Items")
    count, scanned = answer.get("Count"), answer.get("ScannedCount")
    _demand(type(count) is int and count == len(items), "Count", f"is {count!r} of {len(items)} items")
    _demand(type(scanned) is int, "ScannedCount")
    return items


def _dicts(fields: Answer, name: str) -> list[Answer]:
    found = fields.get(name)
    _demand(isinstance(found, list) and all(isinstance(each, dict) for each in found), name)
    return list(found or ())


def _request(entry: Any) -> tuple[bool, Item]:
    """True and the item of a PutRequest, False and the key of a DeleteRequest."""
    if isinstance(entry, dict) and len(entry) == 1:
        for kind, name in (("PutRequest", "Item"), ("DeleteRequest", "Key")):
            request = entry.get(kind)
            if isinstance(request, dict) and is_item(request.get(name)):
                return kind == "PutRequest", request[name]
    raise Undocumented(f"UnprocessedItems has something that is not a request: {_short(entry)}")


def _asked_again(request: Any, names: tuple[str, ...]) -> list[bytes]:
    keys: Any = request.get("Keys") if isinstance(request, dict) else None
    _demand(isinstance(keys, list) and bool(keys) and all(map(is_item, keys)), "UnprocessedKeys")
    return [key_id(_key_in(key, names)) for key in keys]


def _key_in(item: Item, names: Iterable[str]) -> Item:
    try:
        key = {name: item[name] for name in names}
        key_id(key)
        return key
    except (KeyError, TypeError, DecimalException):
        raise Undocumented(f"an item is without its key: {_short(item)}") from None


def _demand(so: object, what: str, reason: str = "is not as documented", value: Any = None) -> None:
    """Raises Undocumented with ``reason`` and ``value``, which is made text only then: it may be a page of items."""
    if not so:
        raise Undocumented(f"{what} {reason}" if value is None else f"{what} {reason}: {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
