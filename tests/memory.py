"""A table of DynamoDB in memory, behind the interface of a DynamoClient: the edge of tests that need no server.

It knows the calls that whimbrel makes for whole items and for attributes of items, answers in the documented form, and
can leave items out, refuse, or lose an answer when a test says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from whimbrel.errors import RequestRefused, UnexpectedAnswer
from whimbrel.records import Item

Body = dict[str, Any]


class MemoryWire:
    """``disturb`` sees each call (operation, body) before it is carried out, and may raise. ``leave_out`` says how many
    requests of a BatchWriteItem are not carried out. ``refuse`` says why an item can never be written, or "".
    """

    endpoint = "memory"

    def __init__(self, key: tuple[str, ...] = ("pk", "sk")) -> None:
        self.key = key
        self.items: dict[str, dict[str, Item]] = {}  # by table, then by key
        self.calls: list[tuple[str, Body]] = []
        self.unanswered: set[int] = set()
        self.disturb: Callable[[str, Body], object] = lambda operation, body: None
        self.lose_answer: Callable[[str, Body], bool] = lambda operation, body: False
        self.leave_out: Callable[[int], int] = lambda count: 0
        self.refuse: Callable[[Item], str] = lambda item: ""

    def table(self, name: str = "t") -> dict[str, Item]:
        return self.items.setdefault(name, {})

    async def ask(self, operation: str, body: bytes) -> bytes:
        asked = json.loads(body)
        self.calls.append((operation, asked))
        self.disturb(operation, asked)
        assert asked["ReturnConsumedCapacity"] == "TOTAL"
        for name in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
            assert asked.get(name, True), f"DynamoDB refuses an empty {name}"
        answer = getattr(self, operation)(asked)
        if self.lose_answer(operation, asked):
            raise self.unexpected(operation, "lost")
        return json.dumps(answer).encode()

    def unexpected(self, operation: str, reason: str) -> UnexpectedAnswer:
        return UnexpectedAnswer(reason, place=operation)

    def close(self) -> None:
        """Nothing is open."""

    def identity(self, item: Item) -> str:
        return json.dumps([item[name] for name in self.key])

    def BatchWriteItem(self, asked: Body) -> Body:  # noqa: N802
        requests = [(table, each) for table, entries in asked["RequestItems"].items() for each in entries]
        assert 1 <= len(requests) <= 25
        items = [each.get("PutRequest", {}).get("Item") or each["DeleteRequest"]["Key"] for _, each in requests]
        assert len({(table, self.identity(item)) for (table, _), item in zip(requests, items, strict=True)}) == len(
            items
        )
        for item in items:
            self._check(item)
        done = len(requests) - self.leave_out(len(requests))
        for (table, request), item in list(zip(requests, items, strict=True))[:done]:
            if "PutRequest" in request:
                self.table(table)[self.identity(item)] = item
            else:
                assert set(item) == set(self.key)
                self.table(table).pop(self.identity(item), None)
        left: Body = {}
        for table, request in requests[done:]:
            left.setdefault(table, []).append(request)
        used = [{"TableName": table, "CapacityUnits": 1.0} for table in asked["RequestItems"]]
        return {"UnprocessedItems": left, "ConsumedCapacity": used}

    def DeleteItem(self, asked: Body) -> Body:  # noqa: N802
        self._demand_condition(asked)
        self.table(asked["TableName"]).pop(self.identity(asked["Key"]), None)
        return self._used(asked)

    def PutItem(self, asked: Body) -> Body:  # noqa: N802
        self._check(asked["Item"])
        self._demand_condition(asked | {"Key": asked["Item"]})
        self.table(asked["TableName"])[self.identity(asked["Item"])] = asked["Item"]
        return self._used(asked)

    def UpdateItem(self, asked: Body) -> Body:  # noqa: N802
        self._demand_condition(asked)
        names, values = asked["ExpressionAttributeNames"], asked.get("ExpressionAttributeValues", {})
        for value in values.values():
            self._check({"value": value})
        items = self.table(asked["TableName"])
        item: dict[str, Any] = dict(items.get(self.identity(asked["Key"])) or asked["Key"])
        used = set(re.findall(r"#\w+", f"{asked['UpdateExpression']} {asked.get('ConditionExpression')}"))
        assert used == set(names), "DynamoDB refuses names that are not used"
        for part, what in re.findall(r"(SET|REMOVE|ADD|DELETE) (\S+(?: :m)?)", asked["UpdateExpression"]):
            for each in what.split(","):
                _change(item, part, each, names, values)
        assert all(item[name] == asked["Key"][name] for name in self.key), "DynamoDB refuses to change a key"
        items[self.identity(asked["Key"])] = item
        return self._used(asked) | ({"Attributes": item} if asked.get("ReturnValues") == "ALL_NEW" else {})

    def GetItem(self, asked: Body) -> Body:  # noqa: N802
        assert asked["ConsistentRead"] is True
        found = self.table(asked["TableName"]).get(self.identity(asked["Key"]))
        return self._used(asked) | ({"Item": found} if found else {})

    def BatchGetItem(self, asked: Body) -> Body:  # noqa: N802
        ((table, request),) = asked["RequestItems"].items()
        assert request["ConsistentRead"] is True
        assert len(request["Keys"]) <= 100
        items = [self.table(table).get(self.identity(key)) for key in request["Keys"]]
        used = [{"TableName": table, "CapacityUnits": 1.0}]
        return {"Responses": {table: [each for each in items if each]}, "UnprocessedKeys": {}, "ConsumedCapacity": used}

    def Scan(self, asked: Body) -> Body:  # noqa: N802
        mine = sorted(self.table(asked["TableName"]).items())[asked["Segment"] :: asked["TotalSegments"]]
        if "ExclusiveStartKey" in asked:
            after = self.identity(asked["ExclusiveStartKey"])
            mine = [each for each in mine if each[0] > after]
        limit = asked.get("Limit") or len(mine)
        page = [item for _, item in mine[:limit]]
        answer = self._used(asked) | {"Items": page, "Count": len(page), "ScannedCount": len(page)}
        if mine[limit:]:
            answer["LastEvaluatedKey"] = {name: page[-1][name] for name in self.key}
        return answer

    def Query(self, asked: Body) -> Body:  # noqa: N802
        """One whole key, with a filter."""
        values = asked["ExpressionAttributeValues"]
        key = {name: values[f":whimbrel_{number}"] for number, name in enumerate(self.key)}
        item = self.table(asked["TableName"]).get(self.identity(key))
        asked = asked | {"ConditionExpression": asked["FilterExpression"], "Key": key}
        try:
            self._demand_condition(asked)
        except RequestRefused:
            found = []
        else:
            found = [item] if item else []
        return self._used(asked) | {"Items": found, "Count": len(found), "ScannedCount": int(item is not None)}

    def _used(self, asked: Body) -> Body:
        return {"ConsumedCapacity": {"TableName": asked["TableName"], "CapacityUnits": 1.0}}

    def _check(self, item: Item) -> None:
        if reason := self.refuse(item):
            raise RequestRefused(reason, code="ValidationException")

    def _demand_condition(self, asked: Body) -> None:
        """attribute_exists or attribute_not_exists of one attribute, or one attribute compared with a value."""
        if "ConditionExpression" not in asked:
            return
        found = self.table(asked["TableName"]).get(self.identity(asked["Key"]), {})
        names, values = asked.get("ExpressionAttributeNames", {}), asked.get("ExpressionAttributeValues", {})
        expression = asked["ConditionExpression"]
        if exists := re.fullmatch(r"attribute_(not_)?exists\((#?\w+)\)", expression):
            holds = (names.get(exists[2], exists[2]) in found) is not bool(exists[1])
        else:
            name, value = expression.split(" = ")
            holds = found.get(names.get(name, name)) == values[value]
        if not holds:
            raise RequestRefused("the condition does not hold", code="ConditionalCheckFailedException")


def _change(item: Item, part: str, what: str, names: dict[str, str], values: dict[str, Any]) -> None:
    """One action of an UpdateExpression, on the item or within a map of it."""
    path, _, value = what.replace(" ", "=").partition("=")
    *outer, name = (names[each] for each in path.split("."))
    into: Any = item
    for each in outer:
        assert "M" in into[each], "DynamoDB refuses a path within what is not a map"
        into[each] = {"M": dict(into[each]["M"])}
        into = into[each]["M"]
    if part == "SET":
        into[name] = values[value]
    elif part == "REMOVE":
        into.pop(name, None)
    else:
        ((kind, members),) = values[value].items()
        had = set(into.pop(name, {kind: []})[kind])
        left = had | set(members) if part == "ADD" else had - set(members)
        if left:
            into[name] = {kind: sorted(left)}
