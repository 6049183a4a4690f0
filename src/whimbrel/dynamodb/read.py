"""Items read back: single ones consistently, or a whole table in parallel and in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from decimal import Context
from itertools import islice
from queue import Full, Queue
from typing import Any

import orjson

from whimbrel.dynamodb.calls import Calls
from whimbrel.dynamodb.limits import MAX_BATCH_GET
from whimbrel.dynamodb.pace import Backoff, Pace
from whimbrel.dynamodb.wire import Wire
from whimbrel.dynamodb.workers import Limit
from whimbrel.records import Condition, Item

_EXACT = Context(prec=40)  # DynamoDB's numbers have 38 digits
_LOOK = 0.1  # seconds between looks at the end of a scan while the queue is full

OnPage = Callable[[list[Item]], None]
_Pages = Queue[list[Item] | BaseException | None]  # a page, a segment's error, or a segment's end


def key_id(key: Item) -> bytes:
    """A key's identity: equal for keys that DynamoDB takes for the same ("1" and "1.0" are one number).

    It is the key's JSON, so ``orjson.loads`` makes it a key again.
    """
    plain = {name: {"N": _number(value["N"])} if "N" in value else value for name, value in key.items()}
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)


def get_items(
    wire: Wire, table: str, keys: Iterable[Item], *, pace: Pace | None = None, stop: threading.Event | None = None
) -> dict[bytes, Item]:
    """The items with these ``keys`` as they stand now (consistent reads), by ``key_id``; a missing item is absent.

    What DynamoDB leaves out or throttles is asked for again until it comes. ``pace`` caps read units.
    Raises Stopped, RequestRefused, PrivilegeError.
    """
    calls = Calls(wire, pace or Pace(0), Limit(1), stop or threading.Event())
    wanted = {key_id(key): key for key in keys}  # DynamoDB refuses a key that occurs twice
    found: dict[bytes, Item] = {}
    left = iter(wanted.values())
    while part := list(islice(left, MAX_BATCH_GET)):
        names = tuple(part[0])
        for item in _get_batch(calls, table, part):
            found[key_id({name: item[name] for name in names})] = item
    return found


def meets(wire: Wire, table: str, key: Item, condition: Condition, *, stop: threading.Event | None = None) -> bool:
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
    calls = Calls(wire, Pace(0), Limit(1), stop or threading.Event())
    return bool(calls.call("Query", orjson.dumps(request))["Items"])


def scan(
    wire: Wire,
    table: str,
    segments: int,
    on_page: OnPage,
    *,
    consistent: bool = False,
    pace: Pace | None = None,
    page_items: int = 0,
    stop: threading.Event | None = None,
) -> int:
    """Read the whole table with ``segments`` threads; hand each page to ``on_page`` in the calling thread.

    At most two pages a segment are in memory; a page has 1 MB at most, and ``page_items`` items (0: any number).
    ``pace`` caps read units. Items written while the scan runs may be seen or not. Returns how many items were read.
    Raises Stopped, RequestRefused, PrivilegeError, and whatever ``on_page`` raises.
    """
    over = threading.Event()  # ends the other segments when ``on_page`` or one of them fails
    calls = Calls(wire, pace or Pace(0), Limit(segments), stop or threading.Event(), over)
    request = {"TableName": table, "TotalSegments": segments, "ConsistentRead": consistent}
    request |= {"ReturnConsumedCapacity": "TOTAL"} | ({"Limit": page_items} if page_items else {})
    pages: _Pages = Queue(maxsize=segments)
    threads = [
        threading.Thread(
            target=_read_segment, args=(calls, request | {"Segment": number}, pages, over), name=f"scan-{number}"
        )
        for number in range(segments)
    ]
    for thread in threads:
        thread.start()
    try:
        return _drain(pages, segments, on_page)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def scan_segment(
    calls: Calls, table: str, segment: int, segments: int, *, consistent: bool = False, page_items: int = 0
) -> Iterator[list[Item]]:
    """One segment of a table that is read in ``segments`` of them, page by page, for a caller with its own threads.

    Raises what ``calls`` raise: Stopped, RequestRefused, PrivilegeError.
    """
    request = {"TableName": table, "Segment": segment, "TotalSegments": segments, "ConsistentRead": consistent}
    request |= {"ReturnConsumedCapacity": "TOTAL"} | ({"Limit": page_items} if page_items else {})
    return _segment_pages(calls, request)


def _get_batch(calls: Calls, table: str, keys: list[Item]) -> Iterator[Item]:
    backoff = Backoff()
    request: dict[str, Any] = {table: {"Keys": keys, "ConsistentRead": True}}
    while request:
        body = orjson.dumps({"RequestItems": request, "ReturnConsumedCapacity": "TOTAL"})
        units = len(request[table]["Keys"])  # one each at least; what it was is known afterwards
        answer = calls.call("BatchGetItem", body, units)
        items: list[Item] = answer["Responses"].get(table, [])
        yield from items
        request = answer.get("UnprocessedKeys") or {}
        if items:
            backoff.reset()
        if request:
            calls.wait(backoff.next())


def _read_segment(calls: Calls, request: dict[str, Any], pages: _Pages, over: threading.Event) -> None:
    last: BaseException | None = None
    try:
        for page in _segment_pages(calls, request):
            _put(pages, page, over)  # when the scan is over, the next call says Stopped
    except BaseException as error:  # handed to the thread that called scan
        last = error
    _put(pages, last, over)


def _segment_pages(calls: Calls, request: dict[str, Any]) -> Iterator[list[Item]]:
    while True:
        answer = calls.call("Scan", orjson.dumps(request), 1.0)
        yield answer["Items"]
        following = answer.get("LastEvaluatedKey")
        if not following:
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


def _drain(pages: _Pages, segments: int, on_page: OnPage) -> int:
    items = 0
    while segments:
        page = pages.get()
        if page is None:
            segments -= 1
        elif isinstance(page, BaseException):
            raise page
        else:
            items += len(page)
            on_page(page)
    return items


def _number(text: str) -> str:
    """One spelling for each number: the plain one, that every server knows; there is no negative zero."""
    return format(_EXACT.plus(_EXACT.normalize(_EXACT.create_decimal(text))), "f")
