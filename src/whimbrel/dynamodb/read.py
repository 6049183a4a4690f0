"""Items read back: single ones consistently, or a whole table in parallel and in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import orjson

from whimbrel.dynamodb.answers import Page, filtered, items_found, page
from whimbrel.dynamodb.calls import RetryingClient
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.loop import AtOnce, complete
from whimbrel.dynamodb.pace import Backoff, RateLimiter
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.item import key_id
from whimbrel.records import Condition, Item

MAX_BATCH_GET = 100  # keys: DynamoDB's limit

OnPage = Callable[[list[Item]], None]


def get_items(
    wire: DynamoClient,
    table: str,
    keys: Iterable[Item],
    *,
    pace: RateLimiter | None = None,
    readers: int = 1,
    stop: threading.Event | None = None,
) -> dict[bytes, Item]:
    """The items with these ``keys`` as they stand now (consistent reads), by ``key_id``; a missing item is absent.

    What DynamoDB leaves out or throttles is asked for again until it comes. ``pace`` caps read units. ``readers`` is
    how many calls may be under way. Raises Stopped, RequestRefused, PrivilegeError.
    """
    wanted = {key_id(key): key for key in keys}  # DynamoDB refuses a key that occurs twice
    left = iter(wanted.values())
    parts = list(iter(lambda: list(islice(left, MAX_BATCH_GET)), []))
    limit = ConcurrencyLimit(readers)
    calls = RetryingClient(wire, pace or RateLimiter(0), limit, stop or threading.Event())
    found: dict[bytes, Item] = {}
    for some in AtOnce(partial(_get_batch, calls, table), limit).do_all(parts):
        found |= some
    return found


def meets(
    wire: DynamoClient, table: str, key: Item, condition: Condition, *, stop: threading.Event | None = None
) -> bool:
    """Whether the item of ``key`` is there and meets ``condition``, says DynamoDB itself: a Query that filters by it,
    which may not name the key's attributes.

    Raises Stopped, RequestRefused, PrivilegeError.
    """
    names = {f"#whimbrel_{n}": name for n, name in enumerate(key)}
    values = {f":whimbrel_{n}": value for n, value in enumerate(key.values())}
    request: dict[str, Any] = {
        "TableName": table,
        "ConsistentRead": True,
        "KeyConditionExpression": " AND ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True)),
        "FilterExpression": condition.expression,
        "ExpressionAttributeNames": condition.names | names,
        "ExpressionAttributeValues": condition.values | values,
        "ReturnConsumedCapacity": "TOTAL",
    }
    calls = RetryingClient(wire, RateLimiter(0), ConcurrencyLimit(1), stop or threading.Event())
    return calls.call("Query", orjson.dumps(request), partial(filtered, table, key))


def scan(
    wire: DynamoClient,
    table: str,
    segments: int,
    on_page: OnPage,
    *,
    consistent: bool = False,
    pace: RateLimiter | None = None,
    page_items: int = 0,
    stop: threading.Event | None = None,
) -> int:
    """Read the whole table in ``segments`` at once; hand each page to ``on_page``, in this thread.

    A page has 1 MB at most, and ``page_items`` items (0: any number); one of each segment is under way meanwhile.
    ``pace`` caps read units. Items written while the scan runs may be seen or not. Returns how many items were read.
    Raises Stopped, RequestRefused, PrivilegeError, and whatever ``on_page`` raises.
    """
    over = threading.Event()  # ends the other segments when ``on_page`` or one of them fails
    limit = ConcurrencyLimit(segments, segments)
    calls = RetryingClient(wire, pace or RateLimiter(0), limit, stop or threading.Event(), over)
    request = {"TableName": table, "TotalSegments": segments, "ConsistentRead": consistent}
    request |= {"ReturnConsumedCapacity": "TOTAL"} | ({"Limit": page_items} if page_items else {})

    async def read(segment: int) -> int:
        items, following = 0, None
        try:
            while True:
                found, following = await _next_page(calls, request | {"Segment": segment}, following)
                on_page(found)
                items += len(found)
                if following is None:
                    return items
        except BaseException:
            over.set()
            raise

    return sum(AtOnce(read, limit).do_all(range(segments)))


def scan_segment(
    calls: RetryingClient, table: str, segment: int, segments: int, *, consistent: bool = False, page_items: int = 0
) -> Iterator[list[Item]]:
    """One segment of a table that is read in ``segments`` of them, page by page, for a caller with its own threads.

    Raises what ``calls`` raise: Stopped, RequestRefused, PrivilegeError.
    """
    request = {"TableName": table, "Segment": segment, "TotalSegments": segments, "ConsistentRead": consistent}
    request |= {"ReturnConsumedCapacity": "TOTAL"} | ({"Limit": page_items} if page_items else {})
    return _segment_pages(calls, request)


async def _get_batch(calls: RetryingClient, table: str, keys: list[Item]) -> dict[bytes, Item]:
    backoff = Backoff()
    found: dict[bytes, Item] = {}
    while keys:
        request = {table: {"Keys": keys, "ConsistentRead": True}}
        body = orjson.dumps({"RequestItems": request, "ReturnConsumedCapacity": "TOTAL"})
        units = len(keys)  # one each at least; what it was is known afterwards
        items, keys = await calls.ask("BatchGetItem", body, partial(items_found, table, keys), units)
        found |= items
        if items:
            backoff.reset()
        if keys:
            await calls.wait(backoff.next())
    return found


def _segment_pages(calls: RetryingClient, request: dict[str, Any]) -> Iterator[list[Item]]:
    following: Item | None = None
    while True:
        items, following = complete(_next_page(calls, request, following))
        yield items
        if following is None:
            return


async def _next_page(calls: RetryingClient, request: dict[str, Any], following: Item | None) -> Page:
    """The page of a Scan that comes after the key ``following``, None: the first one."""
    read = partial(page, request["TableName"], following, request.get("Limit", 0))
    start = {"ExclusiveStartKey": following} if following else {}
    return await calls.ask("Scan", orjson.dumps(request | start), read, 1.0)
