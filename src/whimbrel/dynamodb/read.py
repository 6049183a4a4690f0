"""Items read back: single ones consistently, or a whole table in parallel and in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from queue import Empty, Full, Queue
from typing import Any

import orjson

from whimbrel.dynamodb.answers import filtered, items_found, page
from whimbrel.dynamodb.calls import RetryingClient
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.loop import AtOnce
from whimbrel.dynamodb.pace import Backoff, RateLimiter
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import TargetError
from whimbrel.item import key_id
from whimbrel.records import Condition, Item
from whimbrel.threads import Thread

MAX_BATCH_GET = 100  # keys: DynamoDB's limit
_LOOK = 0.1  # seconds between looks at the end of a scan while the queue is full

OnPage = Callable[[list[Item]], None]
_Pages = Queue[list[Item] | BaseException | None]  # a page, a segment's error, or a segment's end


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
    """Read the whole table with ``segments`` threads; hand each page to ``on_page`` in the calling thread.

    At most two pages a segment are in memory; a page has 1 MB at most, and ``page_items`` items (0: any number).
    ``pace`` caps read units. Items written while the scan runs may be seen or not. Returns how many items were read.
    Raises Stopped, RequestRefused, PrivilegeError, and whatever ``on_page`` raises.
    """
    over = threading.Event()  # ends the other segments when ``on_page`` or one of them fails
    calls = RetryingClient(wire, pace or RateLimiter(0), ConcurrencyLimit(segments), stop or threading.Event(), over)
    request = {"TableName": table, "TotalSegments": segments, "ConsistentRead": consistent}
    request |= {"ReturnConsumedCapacity": "TOTAL"} | ({"Limit": page_items} if page_items else {})
    pages: _Pages = Queue(maxsize=segments)
    threads = [
        Thread(partial(_read_segment, calls, request | {"Segment": number}, pages, over), f"scan-{number}")
        for number in range(segments)
    ]
    try:
        for thread in threads:
            thread.start()
        return _drain(pages, threads, on_page)
    finally:
        over.set()
        for thread in threads:
            thread.join()


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


def _read_segment(calls: RetryingClient, request: dict[str, Any], pages: _Pages, over: threading.Event) -> None:
    last: BaseException | None = None
    try:
        for page in _segment_pages(calls, request):
            _put(pages, page, over)  # when the scan is over, the next call says Stopped
    except BaseException as error:  # handed to the thread that called scan
        last = error
    _put(pages, last, over)


def _segment_pages(calls: RetryingClient, request: dict[str, Any]) -> Iterator[list[Item]]:
    table, limit = request["TableName"], request.get("Limit", 0)
    following: Item | None = None
    while True:
        read = partial(page, table, following, limit)
        items, following = calls.call("Scan", orjson.dumps(request), read, 1.0)
        yield items
        if following is None:
            return
        request = request | {"ExclusiveStartKey": following}


def _put(pages: _Pages, page: list[Item] | BaseException | None, over: threading.Event) -> None:
    while not over.is_set():
        try:
            pages.put(page, timeout=_LOOK)
        except Full:
            continue  # ``on_page`` is slower than we are
        else:
            return


def _drain(pages: _Pages, threads: list[Thread], on_page: OnPage) -> int:
    items, segments = 0, len(threads)
    while segments:
        try:
            page = pages.get(timeout=_LOOK)
        except Empty:
            if any(thread.is_alive() for thread in threads) or not pages.empty():
                continue
            hint = "Give the process more memory, and run the same command again."
            raise TargetError("a thread that read the table ended without an answer", hint=hint) from None
        if page is None:
            segments -= 1
        elif isinstance(page, BaseException):
            raise page
        else:
            items += len(page)
            on_page(page)
    return items
