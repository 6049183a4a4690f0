"""What the sender and the functions tell each other, as items of the table of marks.

==============================  ===============  ============================================================
``target``                      ``migration``    what it is
==============================  ===============  ============================================================
``whimbrel stream STREAM``      ``current``      the migration whose records count
``whimbrel stream STREAM``      ``settings …``   what the function works by, by its digest; never changed
``whimbrel stream STREAM``      ``table …``      a table's definition, by its digest; never changed
``whimbrel lanes MIGRATION``    ``lane 07``      how far the lane is, and who works on it
``whimbrel lanes MIGRATION``    ``letter …``     a dead letter, until the sender has it in its file
==============================  ===============  ============================================================

The first two words have a blank in them, so none is the name of a table.
"""

from __future__ import annotations

import threading
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from whimbrel.dynamodb.answers import acknowledged, item_found, page
from whimbrel.dynamodb.calls import RetryingClient
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.loop import AtOnce, complete
from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.refusals import CONDITION_FAILED
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused, StateError
from whimbrel.kinesis.lanes import LANES
from whimbrel.records import Item

MOST_BYTES = 390_000  # of what one item holds
_KEY = ("target", "migration")


class LaneState(NamedTuple):
    """``passed``: every change of the lane up to this number is in the target. ``gap``: the sending in which the
    record after it did not come, 0 if none is missing. ``until``: when the lease of whoever works on it ends, in
    milliseconds since the epoch. ``held``: how many writes conditions have skipped. ``begun`` counts leases, ``ended``
    is that of the last one that was given back: a lease between the two was not, as its invocation was killed.
    ``unanswered``: how many invocations made a call that may not have been answered.
    """

    passed: int = 0
    gap: int = 0
    until: int = 0
    held: int = 0
    begun: int = 0
    ended: int = 0
    unanswered: int = 0

    def given_back(self, *, astray: bool) -> LaneState:
        """Its lease is over. Whether a call may still arrive, of whoever had the lane (``astray``) or of an invocation
        that had it before and was killed, is said with how far the lane is: so it is known before the Checkpoint passes
        the changes.
        """
        unsure = astray or self.begun != self.ended + 1
        return self._replace(ended=self.begun, unanswered=self.unanswered + unsure)


class Lease(NamedTuple):
    holder: str
    now: int  # milliseconds since the epoch, as are all of these
    until: int


class ControlTable:
    """Of one stream; thread-safe but for ``lease`` and ``release``, which one thread calls."""

    def __init__(self, wire: DynamoClient, table: str, stream: str, stop: threading.Event) -> None:
        self._table = table
        self._stream = f"whimbrel stream {stream}"
        self._limit = ConcurrencyLimit(LANES, first=LANES)
        self._calls = RetryingClient(wire, RateLimiter(0), self._limit, stop)

    # what is said once

    def current(self) -> str:
        """The migration whose records count, "" if there is none."""
        item = self._get(self._stream, "current")
        return str(item["name"]["S"]) if item else ""

    def take(self, migration: str) -> bool:
        """Make it the current one, for good; False if there is another."""
        body = {
            "TableName": self._table,
            "Key": _key(self._stream, "current"),
            "UpdateExpression": "SET #name = :name",
            "ConditionExpression": "attribute_not_exists(#name) OR #name = :name",
            "ExpressionAttributeNames": {"#name": "name"},
            "ExpressionAttributeValues": {":name": {"S": migration}},
        }
        return complete(self._if_met(body)) is not None

    def put_settings(self, data: bytes) -> str:
        """Its digest."""
        return self._put_once("settings", data)

    def settings(self, digest: str) -> bytes:
        return self._said("settings", digest)

    def put_table(self, line: bytes) -> str:
        """Its digest."""
        return self._put_once("table", line)

    def table(self, digest: str) -> bytes:
        return self._said("table", digest)

    # lanes

    def lease(self, migration: str, lanes: Iterable[int], lease: Lease) -> dict[int, LaneState]:
        """The lanes that are ours now, until the lease ends; those that somebody else holds are not among them."""

        async def take(lane: int) -> tuple[int, LaneState | None]:
            return lane, await self._lease(migration, lane, lease)

        found = AtOnce(take, self._limit).do_all(lanes)
        return {lane: state for lane, state in found if state is not None}

    def release(self, migration: str, states: dict[int, LaneState], holder: str) -> bool:
        """Write how far our lanes are, with what is left of their leases; False if one was not ours any more."""

        async def give(pair: tuple[int, LaneState]) -> bool:
            return await self._release(migration, *pair, holder)

        return all(AtOnce(give, self._limit).do_all(states.items()))

    def lanes(self, migration: str) -> list[LaneState]:
        """Of all lanes, by their numbers."""
        found = {item["migration"]["S"]: item for item in self._all(_lanes(migration), "lane ")}
        return [_state(found.get(_lane(lane), {})) for lane in range(LANES)]

    def raise_to(self, migration: str, passed: int) -> None:
        """Every lane has passed this number, whoever applied what is before it."""

        async def lift(lane: int) -> None:
            await self._raise(migration, lane, passed)

        AtOnce(lift, self._limit).do_all(range(LANES))

    # dead letters

    def put_letter(self, migration: str, name: str, letter: bytes) -> None:
        """Durable on return; again under the same name is the same letter."""
        self._put(_lanes(migration), f"letter {name}", {"data": _packed(letter)})

    def letters(self, migration: str) -> dict[str, bytes]:
        items = self._all(_lanes(migration), "letter ")
        return {item["migration"]["S"].removeprefix("letter "): _unpacked(item) for item in items}

    def remove_letter(self, migration: str, name: str) -> None:
        self._call("DeleteItem", {"Key": _key(_lanes(migration), f"letter {name}")})

    # how

    async def _lease(self, migration: str, lane: int, lease: Lease) -> LaneState | None:
        body = {
            "TableName": self._table,
            "Key": _key(_lanes(migration), _lane(lane)),
            "UpdateExpression": "SET #holder = :holder, #until = :until ADD #begun :one",
            "ConditionExpression": "attribute_not_exists(#until) OR #until < :now OR #holder = :holder",
            "ExpressionAttributeNames": {"#holder": "holder", "#until": "until", "#begun": "begun"},
            "ExpressionAttributeValues": {
                ":one": _number(1),
                ":holder": {"S": lease.holder},
                ":until": _number(lease.until),
                ":now": _number(lease.now),
            },
            "ReturnValues": "ALL_NEW",
        }
        answer = await self._if_met(body)
        return None if answer is None else _state(answer["Attributes"])

    async def _release(self, migration: str, lane: int, state: LaneState, holder: str) -> bool:
        body = {
            "TableName": self._table,
            "Key": _key(_lanes(migration), _lane(lane)),
            "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in LaneState._fields),
            "ConditionExpression": "#holder = :holder",
            "ExpressionAttributeNames": {f"#{name}": name for name in ("holder", *LaneState._fields)},
            "ExpressionAttributeValues": {
                ":holder": {"S": holder},
                **{f":{name}": _number(value) for name, value in state._asdict().items()},
            },
        }
        return await self._if_met(body) is not None

    async def _raise(self, migration: str, lane: int, passed: int) -> None:
        body = {
            "TableName": self._table,
            "Key": _key(_lanes(migration), _lane(lane)),
            "UpdateExpression": "SET #passed = :passed",
            "ConditionExpression": "attribute_not_exists(#passed) OR #passed < :passed",
            "ExpressionAttributeNames": {"#passed": "passed"},
            "ExpressionAttributeValues": {":passed": _number(passed)},
        }
        await self._if_met(body)

    async def _if_met(self, body: dict[str, Any]) -> dict[str, Any] | None:
        read = partial(acknowledged, self._table)
        try:
            return await self._calls.ask("UpdateItem", _dumps(body), read)
        except RequestRefused as error:
            if error.code == CONDITION_FAILED:
                return None
            raise

    def _put_once(self, kind: str, data: bytes) -> str:
        digest = blake2b(data, digest_size=12).hexdigest()
        self._put(self._stream, f"{kind} {digest}", {"data": _packed(data)})
        return digest

    def _said(self, kind: str, digest: str) -> bytes:
        item = self._get(self._stream, f"{kind} {digest}")
        if item is None:
            hint = "Restore the table of marks, or begin the migration again."
            raise StateError(f"{kind} {digest} of {self._stream!r} is missing", place=self._table, hint=hint)
        return _unpacked(item)

    def _get(self, first: str, second: str) -> Item | None:
        key = _key(first, second)
        read = partial(item_found, self._table, key)
        body = {"TableName": self._table, "Key": key, "ConsistentRead": True}
        return self._calls.call("GetItem", _dumps(body), read)

    def _put(self, first: str, second: str, rest: Item) -> None:
        self._call("PutItem", {"Item": _key(first, second) | rest})

    def _call(self, operation: str, body: dict[str, Any]) -> None:
        self._calls.call(operation, _dumps({"TableName": self._table, **body}), partial(acknowledged, self._table))

    def _all(self, first: str, begin: str) -> list[Item]:
        found: list[Item] = []
        after: Item | None = None
        while True:
            body: dict[str, Any] = {
                "TableName": self._table,
                "ConsistentRead": True,
                "KeyConditionExpression": "#first = :first AND begins_with(#second, :begin)",
                "ExpressionAttributeNames": dict(zip(("#first", "#second"), _KEY, strict=True)),
                "ExpressionAttributeValues": {":first": {"S": first}, ":begin": {"S": begin}},
            } | ({"ExclusiveStartKey": after} if after else {})
            items, after = self._calls.call("Query", _dumps(body), partial(page, self._table, after, 0))
            found += items
            if after is None:
                return found


def _lanes(migration: str) -> str:
    return f"whimbrel lanes {migration}"


def _lane(lane: int) -> str:
    return f"lane {lane:02}"


def _key(first: str, second: str) -> Item:
    return dict(zip(_KEY, ({"S": first}, {"S": second}), strict=True))


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def _state(item: Item) -> LaneState:
    return LaneState(**{name: int(item[name]["N"]) for name in LaneState._fields if name in item})


def fits(data: bytes) -> bool:
    """Whether an item can hold it."""
    return len(zlib.compress(data)) <= MOST_BYTES


def _packed(data: bytes) -> dict[str, str]:
    packed = zlib.compress(data)
    if len(packed) > MOST_BYTES:
        message = f"{len(packed):,} bytes do not fit into an item: {data[:60]!r}…"
        raise StateError(message, place="table of marks", hint="Please report this.")
    return {"B": b64encode(packed).decode()}


def _unpacked(item: Item) -> bytes:
    return zlib.decompress(b64decode(item["data"]["B"]))


def _dumps(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body | {"ReturnConsumedCapacity": "TOTAL"})
