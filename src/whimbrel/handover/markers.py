"""Marker items: one in every open shard of a table's stream says that what was acknowledged before it can be read.

An item's key decides its shard, and nobody can say how. So items with keys like random ones are put, and deleted, until
each open shard has shown one. They carry an attribute of their own by which every reader knows them; a condition keeps
them from replacing anything else. The keys are the same each time: a marker that a killed process left is replaced, and
deleted, by the next one.
"""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

import orjson

from whimbrel.dynamodb.answers import acknowledged
from whimbrel.dynamodb.calls import RetryingClient
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.refusals import CONDITION_FAILED
from whimbrel.dynamodb.shards import leaves, without_children
from whimbrel.dynamodb.streams import MARKER, Shard, iterator_of, page, shards
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused, Stopped, TargetError, WhimbrelError
from whimbrel.item import base64
from whimbrel.records import Item

PATIENCE = 60.0  # seconds
_PAUSE = 0.2  # seconds between looks: a record may be shown a moment after its write
_MOST = 2_000  # marker items of one call

Keys = tuple[tuple[str, str], ...]  # (name, S, N or B) of a table's key attributes


def mark_shards(
    wire: DynamoClient,
    streams: Any,
    stream: str,
    table: str,
    keys: Keys,
    nonce: str,
    stop: threading.Event,
    patience: float = PATIENCE,
) -> dict[str, str]:
    """Put markers until every open shard has shown one, and no shard came meanwhile; its sequence number by shard.

    ``streams`` is a client of ``open_streams``, ``nonce`` tells these markers from those of other calls.
    Raises TargetError when that takes longer than ``patience`` seconds, Stopped, and what the calls raise.
    """
    marking = _Marking(streams, stream, nonce)
    marking.look()  # first: an iterator at a shard's end shows what is written from here on
    put = _Putting(wire, table, keys, nonce, stop)
    end = time.monotonic() + patience
    while True:
        for _ in range(min(4 * marking.missing(), _MOST - put.count)):
            put.one()
        found = marking.read(stop)
        if found is not None:
            return found
        if time.monotonic() > end or put.count >= _MOST:
            raise TargetError(
                "the stream has a closed shard, and does not list its children"
                if not marking.missing()
                else f"{marking.missing()} of the stream's {len(marking.shown) + marking.missing()} open shards showed "
                f"no marker within {patience:g} s ({put.count} were written)",
                place=stream,
                hint="Run the same command again; if it happens again, look at the stream's shards and its throttling.",
            )


class _Marking:
    """The open shards, and what each has shown."""

    def __init__(self, streams: Any, stream: str, nonce: str) -> None:
        self._client, self._stream, self._nonce = streams, stream, nonce
        self._iterators: dict[str, tuple[Shard, str]] = {}
        self._first = True
        self.shown: dict[str, str] = {}

    def look(self) -> bool:
        """List the open shards; whether one came, or closed."""
        listed = shards(self._client, self._stream)
        open_now = {shard.id: shard for shard in leaves(listed)}
        same = open_now.keys() == self._iterators.keys() and not without_children(listed)
        first, self._first = self._first, False
        self.shown = {name: sequence for name, sequence in self.shown.items() if name in open_now}
        kept = {name: each for name, each in self._iterators.items() if name in open_now}
        for name, shard in open_now.items():
            if name not in kept:  # a shard that came after the first look has only what was written since
                kind = "LATEST" if first else "TRIM_HORIZON"
                kept[name] = shard, iterator_of(self._client, self._stream, shard, kind=kind)
        self._iterators = kept
        return not same

    def missing(self) -> int:
        return len(self._iterators) - len(self.shown)

    def read(self, stop: threading.Event) -> dict[str, str] | None:
        """Read on in each shard; the markers, once each shard has one and a look *after* that finds no other shard."""
        for name, (shard, iterator) in list(self._iterators.items()):
            if name not in self.shown:
                self._read_shard(name, shard, iterator)
        if not self.missing() and not self.look():
            return dict(self.shown)
        if stop.wait(_PAUSE):
            raise Stopped("asked to stop before every shard had a marker")
        if self.missing():
            self.look()
        return None

    def _read_shard(self, name: str, shard: Shard, iterator: str) -> None:
        records, following = page(self._client, self._stream, shard, iterator)
        for record in records:
            if record.new is not None and record.new.get(MARKER) == {"S": self._nonce}:
                self.shown.setdefault(name, record.sequence)
        if following is not None:  # else the shard has closed, which the next look sees
            self._iterators[name] = shard, following


class _Putting:
    def __init__(self, wire: DynamoClient, table: str, keys: Keys, nonce: str, stop: threading.Event) -> None:
        self._wire = wire
        self._calls = RetryingClient(wire, RateLimiter(0), ConcurrencyLimit(1), stop)
        self._table, self._keys, self._nonce = table, keys, nonce
        self.count = 0

    def one(self) -> None:
        """A marker that nothing else can be, put and deleted: both changes are in its shard."""
        key = {name: _like_random(f"{self.count} {name}", kind) for name, kind in self._keys}
        ours = {"ConditionExpression": "attribute_exists(#marker)", "ExpressionAttributeNames": {"#marker": MARKER}}
        free = {
            "ConditionExpression": "attribute_not_exists(#key) OR attribute_exists(#marker)",
            "ExpressionAttributeNames": {"#key": self._keys[0][0], "#marker": MARKER},
        }
        try:
            self._call("PutItem", {"Item": key | {MARKER: {"S": self._nonce}}} | free)
            self._call("DeleteItem", {"Key": key} | ours)
        except Stopped:  # between the two, perhaps
            with suppress(WhimbrelError):
                self._wire.call("DeleteItem", orjson.dumps({"TableName": self._table, "Key": key} | ours))
            raise
        self.count += 1

    def _call(self, operation: str, body: dict[str, Any]) -> None:
        """A condition that fails speaks of an earlier try of the same call, whose answer was lost."""
        body = {"TableName": self._table, "ReturnConsumedCapacity": "TOTAL"} | body
        try:
            self._calls.call(operation, orjson.dumps(body), partial(acknowledged, self._table))
        except RequestRefused as error:
            if error.code != CONDITION_FAILED:
                raise


def _like_random(text: str, kind: str) -> Item | dict[str, str]:
    data = hashlib.blake2b(text.encode(), digest_size=15).digest()
    if kind == "N":
        return {"N": str(-int.from_bytes(data))}
    return {"B": base64(b"whimbrel" + data)} if kind == "B" else {"S": f"whimbrel-marker-{data.hex()}"}
