"""The target tables: made when they are missing, never dropped, never taken for ours when they are not."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from whimbrel.dynamodb.answers import described, made, page
from whimbrel.dynamodb.calls import RetryingClient
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.loop import AtOnce
from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.session import ask, translate
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused, TargetError, TargetNotEmpty, TargetUnreachable
from whimbrel.project import IndexRule, Target
from whimbrel.records import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KeyAttributes = Sequence[tuple[str, str]]  # (name, type S, N or B): the partition key, and the sort key if there is one
BOTH_IMAGES = "NEW_AND_OLD_IMAGES"
ACTIVE = ("ACTIVE", "UPDATING")
ACTIVE_SECONDS = 600.0
_AT_ONCE = 16  # questions
_TRIES = 9  # where no answer comes: with the pauses between them, six seconds on average


def ensure_table(
    client: DynamoDBClient,
    name: str,
    key_attributes: KeyAttributes,
    target: Target,
    *,
    allow_items: bool = False,
    indexes: Sequence[IndexRule] = (),
) -> bool:
    """Make the table with its ``indexes`` if there is none; True if it was made. Waits until it is ACTIVE.

    Raises RequestRefused when a table of that name has another key or lacks an index, TargetNotEmpty when it has items
    and ``allow_items`` (a resumed run, or the person said so) is False, and the errors of ``translate``.
    """
    try:
        description = describe(client, name)
        created = description is None
        if description is None:
            with suppress(client.exceptions.ResourceInUseException):  # made by another process of ours in this moment
                client.create_table(**new_table(name, key_attributes, target, indexes))
        _wait_active(client, name)
        description = describe(client, name)
        assert description is not None
        check_key(description, name, key_attributes)
        check_indexes(description, name, indexes)
        if not (created or allow_items):
            refuse_items(client, name)
    except Exception as error:
        translate(error, name)
    return created


def make_tables(wire: DynamoClient, bodies: Sequence[dict[str, Any]], stop: threading.Event) -> None:
    """Make the tables of these requests, many at once, without waiting until they are there; one that is there by now
    is another process's of ours, whose key is checked like any other's.
    """
    limit = ConcurrencyLimit(_AT_ONCE)
    calls = RetryingClient(wire, RateLimiter(0), limit, stop)
    AtOnce(partial(_made, calls), limit).do_all(bodies)


async def _made(calls: RetryingClient, body: dict[str, Any]) -> None:
    try:
        await calls.ask("CreateTable", orjson.dumps(body), partial(made, body["TableName"]))
    except RequestRefused as error:
        if error.code != "ResourceInUseException":
            error.place = error.place or body["TableName"]
            raise


def refuse_items(client: DynamoDBClient, name: str) -> None:
    """Raises TargetNotEmpty for a table that has an item."""
    if not is_empty(client, name):
        raise TargetNotEmpty(
            "the table has items that this migration did not write",
            place=name,
            hint="Name another target table, empty this one, or pass --into-existing.",
        )


def describe_all(wire: DynamoClient, names: Sequence[str], stop: threading.Event) -> dict[str, Any]:
    """What DynamoDB says of each table, None where there is none: as ``describe``, many at once. An outage ends it
    after some seconds: the endpoint may be wrong. Raises TargetUnreachable.
    """
    limit = ConcurrencyLimit(_AT_ONCE)
    calls = RetryingClient(wire, RateLimiter(0), limit, stop, tries=_TRIES)
    return dict(AtOnce(partial(_described, calls), limit).do_all(names))


async def _described(calls: RetryingClient, name: str) -> tuple[str, Any]:
    try:
        found = await calls.ask("DescribeTable", orjson.dumps({"TableName": name}), partial(described, name))
    except RequestRefused as error:
        if error.code != "ResourceNotFoundException":
            error.place = error.place or name
            raise
        return name, None
    return name, found


def id_of(description: Any) -> str:
    """What tells this table from a later one of the same name: its TableId, else when it was made; "" if gone."""
    if not description:
        return ""
    if found := description.get("TableId"):
        return str(found)
    from botocore.utils import parse_timestamp  # the one form in which state folders have it

    return str(parse_timestamp(description["CreationDateTime"]))


def table_exists(client: DynamoDBClient, name: str) -> bool:
    """True if there is a table of that name in any state."""
    try:
        return describe(client, name) is not None
    except Exception as error:
        translate(error, name)


def is_empty(client: DynamoDBClient, name: str) -> bool:
    """True if the table has no item. Reads as little as it can: DescribeTable's count is hours old."""
    try:
        after: Item | None = None
        while True:
            start = {"ExclusiveStartKey": after} if after else {}
            read = partial(page, name, after, 1)
            request = {"ConsistentRead": True, "Limit": 1, "ReturnConsumedCapacity": "TOTAL"}
            items, after = ask(client.scan, read, name, TableName=name, **request, **start)
            if items or after is None:
                return not items
    except Exception as error:
        translate(error, name)


def check_key(description: Any, name: str, key_attributes: KeyAttributes) -> None:
    """Raise RequestRefused unless the described table has exactly this key."""
    types = {each["AttributeName"]: each["AttributeType"] for each in description["AttributeDefinitions"]}
    has = [(each["AttributeName"], types[each["AttributeName"]]) for each in description["KeySchema"]]
    if has != list(key_attributes):
        raise RequestRefused(
            f"the table has the key {_spelled(has)}, the mapping needs {_spelled(key_attributes)}",
            code="KeySchemaMismatch",
            place=name,
            hint="Change the mapping's key, or name another target table.",
        )


def check_indexes(description: Any, name: str, indexes: Sequence[IndexRule]) -> None:
    """Raise RequestRefused unless the described table has each of ``indexes`` as it is here; it may have more."""
    described = {
        kind: {each["IndexName"]: each for each in description.get(kind, [])}
        for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
    }
    for index in indexes:
        wanted = _index(index)
        has = described["LocalSecondaryIndexes" if index.local else "GlobalSecondaryIndexes"].get(index.name, {})
        same = has.get("KeySchema") == wanted["KeySchema"] and _projected(has) == _projected(wanted)
        if not same:
            raise RequestRefused(
                f"the table {'has another' if has else 'has no'} index {index.name!r}",
                code="IndexMismatch",
                place=name,
                hint="Create the index as the project file has it, remove it there, or name another target table.",
            )


def _projected(index: dict[str, Any]) -> tuple[str, list[str]]:
    projection = index.get("Projection", {})
    return projection.get("ProjectionType", ""), sorted(projection.get("NonKeyAttributes", []))


def describe(client: DynamoDBClient, name: str) -> Any:
    """What DynamoDB says of the table; None if there is none. Raises UnexpectedAnswer, and boto3's own errors."""
    try:
        return ask(client.describe_table, partial(described, name), name, TableName=name)
    except client.exceptions.ResourceNotFoundException:
        return None


def stream_of(client: DynamoDBClient, name: str) -> str:
    """The ARN of the stream that is on and has both images; "" where none is on. Raises TargetError for another one,
    and the errors of ``translate``.
    """
    try:
        description: Any = describe(client, name) or {}
    except Exception as error:
        translate(error, name)
    specification = description.get("StreamSpecification", {})
    if not specification.get("StreamEnabled"):
        return ""
    if (view := specification.get("StreamViewType")) != BOTH_IMAGES:
        raise TargetError(
            f"the table's stream has {view}, and the way back needs {BOTH_IMAGES}",
            place=name,
            hint="A stream's view cannot be changed: turn the stream off, if nobody reads it, and start again.",
        )
    return str(description["LatestStreamArn"])


def turn_stream_on(client: DynamoDBClient, name: str) -> None:
    """On, with both images, when this returns. Raises TargetUnreachable, and what ``translate`` makes of the rest."""
    _update_stream(client, name, {"StreamEnabled": True, "StreamViewType": BOTH_IMAGES})
    _wait_active(client, name)
    deadline = time.monotonic() + ACTIVE_SECONDS
    while not stream_of(client, name):
        if time.monotonic() > deadline:
            raise TargetUnreachable("the table's stream is not on yet", place=name, hint="Check it in the AWS console.")
        time.sleep(0.1)


def turn_stream_off(client: DynamoDBClient, name: str) -> bool:
    """False where it was off already, or the table is gone."""
    description: Any = describe(client, name) or {}
    if not description.get("StreamSpecification", {}).get("StreamEnabled"):
        return False
    _update_stream(client, name, {"StreamEnabled": False})
    return True


def _update_stream(client: DynamoDBClient, name: str, specification: Any) -> None:
    try:
        client.update_table(TableName=name, StreamSpecification=specification)
    except Exception as error:
        translate(error, name)


def new_table(name: str, key_attributes: KeyAttributes, target: Target, indexes: Sequence[IndexRule]) -> dict[str, Any]:
    """The request that makes the table."""
    billing: dict[str, Any] = {"BillingMode": "PAY_PER_REQUEST"}
    throughput: dict[str, Any] = {}
    if target.billing == "provisioned":
        units = {"ReadCapacityUnits": target.read_capacity, "WriteCapacityUnits": target.write_capacity}
        throughput = {"ProvisionedThroughput": units}
        billing = {"BillingMode": "PROVISIONED", **throughput}
    types = dict(key_attributes)
    types |= {key.name: key.type for index in indexes for key in (index.partition_key, index.sort_key) if key}
    global_ = [{**_index(index), **throughput} for index in indexes if not index.local]
    local = [_index(index) for index in indexes if index.local]
    more: dict[str, Any] = {"GlobalSecondaryIndexes": global_} if global_ else {}
    more |= {"LocalSecondaryIndexes": local} if local else {}
    return {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": each, "AttributeType": kind} for each, kind in types.items()],
        "KeySchema": _key_schema([each for each, _ in key_attributes]),
        **billing,
        **more,
    }


def _key_schema(names: Sequence[str]) -> Any:
    return [{"AttributeName": each, "KeyType": role} for each, role in zip(names, ("HASH", "RANGE"), strict=False)]


def _index(index: IndexRule) -> dict[str, Any]:
    """A secondary index as CreateTable takes it."""
    projection: dict[str, Any] = {"ProjectionType": "KEYS_ONLY" if index.projection == "keys" else "ALL"}
    if isinstance(index.projection, tuple):
        projection = {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(index.projection)}
    keys = [key.name for key in (index.partition_key, index.sort_key) if key]
    return {"IndexName": index.name, "KeySchema": _key_schema(keys), "Projection": projection}


def _wait_active(client: DynamoDBClient, name: str) -> None:
    deadline, pause = time.monotonic() + ACTIVE_SECONDS, 0.02
    while True:
        description = describe(client, name)
        status = description["TableStatus"] if description else "missing"
        if status in ACTIVE:
            return
        if time.monotonic() > deadline:
            raise TargetUnreachable(f"the table is still {status}", place=name, hint="Check it in the AWS console.")
        time.sleep(pause)
        pause = min(2.0, pause * 1.5)


def _spelled(key: KeyAttributes) -> str:
    return "(" + ", ".join(f"{name} {kind}" for name, kind in key) + ")"
