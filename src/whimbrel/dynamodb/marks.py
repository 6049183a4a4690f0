"""The table of marks: one item for each target table and migration, written only on the condition of what is there.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import orjson

from whimbrel.dynamodb.answers import acknowledged, item_found, page
from whimbrel.dynamodb.calls import RetryingClient
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.loop import AtOnce, complete
from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.refusals import CONDITION_FAILED
from whimbrel.dynamodb.session import Session
from whimbrel.dynamodb.tables import ensure_table
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import PrivilegeError, RequestRefused
from whimbrel.project import Target
from whimbrel.records import Item

KEY = (("target", "S"), ("migration", "S"))
AT_ONCE = 16  # calls: a project may have hundreds of targets
ROUTE = "whimbrel route"  # not the name of a table: it has a blank in it


class Mark(NamedTuple):
    """What the table says of one migration into one target table. All of it is text."""

    target: str
    migration: str
    holder: str  # the token of the run that may write
    table_id: str  # of the target table: a later one of the same name is another
    source: str  # the identity of the source server
    owns: Mapping[str, str]  # by source table: the templates of the keys that its items have
    place: str  # host and state folder, for people
    since: str  # when the run began, for people
    keys: Mapping[str, str] = {}  # where the target is shared, by rule: the keys that it owns; see mapping.owned


class Marks:
    """Raises what RetryingClient.call raises, and PrivilegeError with what the account needs."""

    def __init__(
        self,
        wire: DynamoClient,
        target: Target,
        stop: threading.Event,
        refused: Callable[[str], object] = lambda reason: None,
    ) -> None:
        """``refused`` is as RetryingClient has it."""
        self.table = target.mark
        self._target = target
        self._limit = ConcurrencyLimit(AT_ONCE)
        self._calls = RetryingClient(wire, RateLimiter(0), self._limit, stop, refused=refused)

    def make(self) -> None:
        """Make the table if there is none; on demand, whatever the others are."""
        client = Session(self._target).client()
        try:
            ensure_table(client, self.table, KEY, replace(self._target, billing="on-demand"), allow_items=True)
        except PrivilegeError as error:
            raise self._not_allowed(error) from error

    def put_all(self, marks: Sequence[Mark], before: str) -> dict[str, bool]:
        """Write each of ``marks`` if there is none yet, or its holder is ``before`` or already the new one; by its
        target, whether it was written.
        """
        return dict(AtOnce(partial(self._put, before), self._limit).do_all(marks))

    async def _put(self, before: str, mark: Mark) -> tuple[str, bool]:
        values = _attributes(mark)
        body = {
            "TableName": self.table,
            "Key": _key(mark.target, mark.migration),
            "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in values),
            "ConditionExpression": "attribute_not_exists(#holder) OR #holder = :holder OR #holder = :before",
            "ExpressionAttributeNames": {f"#{name}": name for name in values},
            "ExpressionAttributeValues": {f":{name}": value for name, value in values.items()}
            | {":before": {"S": before or mark.holder}},
        }
        return mark.target, await self._if_met("UpdateItem", body)

    def remove(self, mark: Mark) -> bool:
        """Remove ``mark`` if its holder still has it."""
        body = {
            "TableName": self.table,
            "Key": _key(mark.target, mark.migration),
            "ConditionExpression": "#holder = :holder",
            "ExpressionAttributeNames": {"#holder": "holder"},
            "ExpressionAttributeValues": {":holder": {"S": mark.holder}},
        }
        return complete(self._if_met("DeleteItem", body))

    def of(self, target: str, migration: str) -> Mark | None:
        """The mark as it stands now."""
        return complete(self._of(migration, target))[1]

    def of_all(self, targets: Sequence[str], migration: str) -> dict[str, Mark | None]:
        """The marks as they stand now, by their targets."""
        return dict(AtOnce(partial(self._of, migration), self._limit).do_all(targets))

    async def _of(self, migration: str, target: str) -> tuple[str, Mark | None]:
        key = _key(target, migration)
        body = {"TableName": self.table, "Key": key, "ConsistentRead": True}
        item = await self._ask("GetItem", body, partial(item_found, self.table, key))
        return target, None if item is None else self._mark(item)

    def every_one_of(self, targets: Sequence[str]) -> dict[str, list[Mark]]:
        """The marks of every migration into each of the tables."""
        return dict(AtOnce(self._every_one_of, self._limit).do_all(targets))

    async def _every_one_of(self, target: str) -> tuple[str, list[Mark]]:
        found: list[Mark] = []
        after: Item | None = None
        while True:
            body: dict[str, Any] = {
                "TableName": self.table,
                "ConsistentRead": True,
                "KeyConditionExpression": "#target = :target",
                "ExpressionAttributeNames": {"#target": "target"},
                "ExpressionAttributeValues": {":target": {"S": target}},
            } | ({"ExclusiveStartKey": after} if after else {})
            items, after = await self._ask("Query", body, partial(page, self.table, after, 0))
            found += map(self._mark, items)
            if after is None:
                return target, found

    def put_route(self, table: str, route: Item) -> bool:
        """Write ``route`` for the source table ``table``, unless there is one of a later epoch: then False. ``epoch``
        is one of its attributes. The item's key is ROUTE and the table's full name.
        """
        body = {
            "TableName": self.table,
            "Key": _key(ROUTE, table),
            "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in route),
            "ConditionExpression": "attribute_not_exists(#epoch) OR #epoch <= :epoch",
            "ExpressionAttributeNames": {f"#{name}": name for name in route},
            "ExpressionAttributeValues": {f":{name}": value for name, value in route.items()},
        }
        return complete(self._if_met("UpdateItem", body))

    async def _if_met(self, operation: str, body: dict[str, Any]) -> bool:
        try:
            await self._ask(operation, body, partial(acknowledged, self.table))
        except RequestRefused as error:
            if error.code == CONDITION_FAILED:
                return False
            raise
        return True

    async def _ask(self, operation: str, body: dict[str, Any], read: Any) -> Any:
        try:
            return await self._calls.ask(operation, orjson.dumps(body | {"ReturnConsumedCapacity": "TOTAL"}), read)
        except PrivilegeError as error:
            raise self._not_allowed(error) from error

    def _mark(self, item: Item) -> Mark:
        try:
            owns = {name: value["S"] for name, value in item["owns"]["M"].items()}
            keys = {name: value["S"] for name, value in item["keys"]["M"].items()} if "keys" in item else {}
            texts = [name for name in Mark._fields if name not in ("owns", "keys")]
            return Mark(**{name: item[name]["S"] for name in texts}, owns=owns, keys=keys)
        except (KeyError, TypeError, AttributeError):
            raise RequestRefused(
                f"an item is not a mark: {item}", code="NotAMark", place=self.table, hint="Name another table as mark."
            ) from None

    def _not_allowed(self, error: PrivilegeError) -> PrivilegeError:
        return PrivilegeError(
            error.message,
            place=self.table,
            hint="Allow DescribeTable, CreateTable, GetItem, Query, UpdateItem and DeleteItem on it, or set "
            'mark = "off" in [target]: then nothing notices a second state folder on the same target.',
        )


def _key(target: str, migration: str) -> Item:
    return {"target": {"S": target}, "migration": {"S": migration}}


def _attributes(mark: Mark) -> Item:
    owns: Item = {"owns": {"M": {name: {"S": text} for name, text in mark.owns.items()}}}
    owns |= {"keys": {"M": {name: {"S": text} for name, text in mark.keys.items()}}} if mark.keys else {}
    names = ("holder", "table_id", "source", "place", "since")
    return owns | {name: {"S": getattr(mark, name)} for name in names}
