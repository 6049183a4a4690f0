"""DynamoDB Streams: a table's changes of the last 24 hours, in order for each item.

A key's changes are in one shard, or in its parent and then in it: shards are read parents first. Source:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NamedTuple

import orjson

from whimbrel.dynamodb.answers import Answer, Undocumented
from whimbrel.dynamodb.session import ask, open_service, translate
from whimbrel.errors import LogGone, Stopped
from whimbrel.project import Target
from whimbrel.records import Item

_QUIET_PAGES = 10  # empty answers of an open shard, one after the other, before it counts as read: some are only gaps
_SECOND = timedelta(seconds=1)
_PAUSE = 0.05  # seconds between them
_SAME_TIME = 2.0  # seconds: an answer's Date has whole ones, and the answer takes a moment
_TIME_TO_LIVE = "dynamodb.amazonaws.com"  # who deleted an item that expired
AS_SENT = "whimbrel as sent"  # in an answer: its records, which botocore has not parsed
MARKER = "whimbrel_marker"  # the attribute of items that whimbrel puts to find a place in a stream


class StreamRecord(NamedTuple):
    """One change. ``old`` and ``new`` are the images that the stream has; ``new`` is None for a deletion.

    ``expired``: DynamoDB's time to live deleted the item.
    """

    shard: str
    sequence: str
    created: datetime
    keys: Item
    old: Item | None
    new: Item | None
    expired: bool = False


class Shard(NamedTuple):
    """A closed shard has an end, which its last answer says; an open one continues. ``start`` is its first sequence
    number, "" where none is said.
    """

    id: str
    parent: str
    closed: bool
    start: str = ""


def is_marker(record: StreamRecord) -> bool:
    """Whether the record is of a marker, of whatever cutover."""
    return any(image is not None and MARKER in image for image in (record.old, record.new))


def open_streams(target: Target) -> Any:
    """A boto3 client for the Target's streams, which are read for hours: with credentials that renew themselves. Raises
    UserError as Session does.
    """
    client = open_service(target, "dynamodbstreams")
    client.meta.events.register("before-parse.dynamodb-streams.GetRecords", _take_records)
    return client


def _take_records(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """botocore makes its own of each value of each image, which takes longer than all the rest of reading a stream. So
    the records of an answer are taken as they are, and it parses what is left.
    """
    with suppress(orjson.JSONDecodeError):  # which is for botocore to say
        answer = orjson.loads(response_dict["body"])
        if response_dict["status_code"] == 200 and isinstance(answer, dict) and isinstance(answer.get("Records"), list):
            customized_response_dict[AS_SENT] = answer.pop("Records")
            response_dict["body"] = orjson.dumps(answer)


def shards(client: Any, stream: str) -> list[Shard]:
    """The stream's shards, parents before their children."""
    found: dict[str, Shard] = {}
    start: dict[str, str] = {}
    while True:
        more, last = _asked(client.describe_stream, _shards, stream, StreamArn=stream, **start)
        found |= {shard.id: shard for shard in more}
        if not last:
            return _in_order(found)
        start = {"ExclusiveStartShardId": last}


def read_stream(
    client: Any, stream: str, after: Mapping[str, str], stop: threading.Event | None = None, *, begun: bool = False
) -> Iterator[StreamRecord]:
    """Every change after the sequence number of its shard in ``after``; of other shards, all that is still there, or,
    where reading has ``begun`` with the shards of ``after``, of those that came from them.

    Ends when each shard is read up to the moment of the call, however fast more comes. That is read the next time.
    Raises LogGone when the stream has forgotten a place in ``after``, Stopped, and the errors of ``translate``.
    """
    stop, now = stop or threading.Event(), _clock(client, stream)
    followed: set[str] = set()
    for shard in shards(client, stream):
        if not begun or shard.id in after or shard.parent in followed:
            followed.add(shard.id)
            yield from _read_shard(client, stream, shard, after.get(shard.id, ""), now, stop)


def _read_shard(
    client: Any, stream: str, shard: Shard, after: str, now: datetime, stop: threading.Event
) -> Iterator[StreamRecord]:
    iterator: str | None = iterator_of(client, stream, shard, after)
    quiet = 0
    while iterator and (shard.closed or quiet < _QUIET_PAGES):
        records, iterator = page(client, stream, shard, iterator)
        yield from records
        if records and records[-1].created > now + _SECOND:
            return
        quiet = 0 if records else quiet + 1
        if stop.wait(_PAUSE if quiet and iterator else 0):
            raise Stopped("asked to stop before the stream was read")


def clock(client: Any, stream: str) -> Callable[[], float]:
    """DynamoDB's clock from now on, in seconds since the epoch; to the second where this machine's is wrong. That this
    machine's jumps makes no difference to it.
    """
    here, began = time.time(), time.monotonic()
    there = _clock(client, stream).timestamp()
    start = there if abs(there - here) > _SAME_TIME else here
    return lambda: start + time.monotonic() - began


def _clock(client: Any, stream: str) -> datetime:
    """The time at DynamoDB, of which the records' times are: to the second, from an answer's Date."""
    now: datetime = _asked(client.describe_stream, _date, stream, StreamArn=stream)
    return now


def _date(answer: Answer) -> datetime:
    metadata: Any = answer.get("ResponseMetadata", {})
    date = metadata.get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)


def iterator_of(client: Any, stream: str, shard: Shard, after: str = "", kind: str = "TRIM_HORIZON") -> str:
    """An iterator after the sequence number ``after``, else one of the ``kind`` that DynamoDB names so."""
    place = {"StreamArn": stream, "ShardId": shard.id}
    if after:
        place |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": after}
    elif kind == "AT_SEQUENCE_NUMBER":
        place |= {"ShardIteratorType": kind, "SequenceNumber": shard.start}
    else:
        place |= {"ShardIteratorType": kind}
    iterator: str = _asked(client.get_shard_iterator, lambda answer: _text(answer, "ShardIterator"), stream, **place)
    return iterator


def page(client: Any, stream: str, shard: Shard, iterator: str) -> tuple[list[StreamRecord], str | None]:
    """The records at ``iterator``, and the iterator to continue with; None at the end of a closed shard."""
    found: tuple[list[StreamRecord], str | None] = _asked(
        client.get_records, partial(_records, shard), stream, ShardIterator=iterator
    )
    return found


def view_type(client: Any, stream: str) -> str:
    """What of an item is in a record: NEW_AND_OLD_IMAGES, or less."""
    found: str = _asked(
        client.describe_stream,
        lambda answer: _text(answer["StreamDescription"], "StreamViewType"),
        stream,
        StreamArn=stream,
    )
    return found


# What the answers say: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_DescribeStream.html,
# API_streams_GetShardIterator.html and API_streams_GetRecords.html


def _shards(answer: Answer) -> tuple[list[Shard], str]:
    """The shards of a DescribeStream, and the last one's id if there are more."""
    description: Any = answer.get("StreamDescription")
    listed = description.get("Shards") if isinstance(description, dict) else None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise Undocumented("Shards is not as documented")
    found = []
    for each in listed:
        parent = _text(each, "ParentShardId") if "ParentShardId" in each else ""
        numbers = each.get("SequenceNumberRange", {})
        closed = "EndingSequenceNumber" in numbers
        found.append(Shard(_text(each, "ShardId"), parent, closed, numbers.get("StartingSequenceNumber", "")))
    last = _text(description, "LastEvaluatedShardId") if description.get("LastEvaluatedShardId") else ""
    if last and (not found or last != found[-1].id):
        raise Undocumented("LastEvaluatedShardId is not the last of its shards")
    return found, last


def _records(shard: Shard, answer: Answer) -> tuple[list[StreamRecord], str | None]:
    """The records of a GetRecords, and the iterator to continue with; None at the end of a closed shard."""
    listed = answer.get(AS_SENT)
    if not isinstance(listed, list):
        raise Undocumented("Records is not as documented")
    following = _text(answer, "NextShardIterator") if answer.get("NextShardIterator") is not None else None
    try:
        return [_record(shard, record) for record in listed], following
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Undocumented(f"a record is not as documented: {error!r}") from error


def _text(fields: Answer, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise Undocumented(f"{name} is {value!r}")
    return value


def _record(shard: Shard, record: dict[str, Any]) -> StreamRecord:
    change = record["dynamodb"]
    return StreamRecord(
        shard=shard.id,
        sequence=_text(change, "SequenceNumber"),
        created=_moment(change["ApproximateCreationDateTime"]),
        keys=_image(change["Keys"]),
        old=_image(change["OldImage"]) if "OldImage" in change else None,
        new=_image(change["NewImage"]) if "NewImage" in change else None,
        expired=record.get("userIdentity", {}).get("PrincipalId") == _TIME_TO_LIVE,
    )


def _moment(sent: Any) -> datetime:
    if isinstance(sent, float | int):
        return datetime.fromtimestamp(sent, UTC)
    from botocore.utils import parse_timestamp

    moment: datetime = parse_timestamp(sent).astimezone(UTC)
    return moment


def _image(sent: Any) -> Item:
    """As it was sent, which is an Item's own form."""
    if not all(isinstance(name, str) and len(value) == 1 and isinstance(value, dict) for name, value in sent.items()):
        raise ValueError("an attribute's value has not one type")
    item: Item = sent
    return item


def _in_order(found: dict[str, Shard]) -> list[Shard]:
    ordered: dict[str, Shard] = {}

    def place(shard: Shard) -> None:
        if shard.parent in found and shard.parent not in ordered:
            place(found[shard.parent])
        ordered.setdefault(shard.id, shard)

    for shard in found.values():
        place(shard)
    return list(ordered.values())


def _asked(call: Any, read: Any, stream: str, **request: Any) -> Any:
    from botocore.exceptions import ClientError

    try:
        return ask(call, read, stream, **request)
    except ClientError as error:
        if error.response["Error"]["Code"] == "TrimmedDataAccessException":
            hint = "Export by comparing (--compare) or in full (--full)."
            raise LogGone("the stream has forgotten the changes asked for", place=stream, hint=hint) from error
        translate(error, stream)
    except Exception as error:
        translate(error, stream)
