"""A stream followed live: which of its shards are read, from where, and when. Parents come before their children.

Reading begins in the shards of ``starts``, each after its start marker: what is before is not ours. From there on
every shard is read, from its first record, once its parent has ended. A record is kept for 24 hours: a shard that was
to be read, and is not listed any more, or begins with a record that is gone, is a gap, and the way back is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from whimbrel.dynamodb.session import translate
from whimbrel.dynamodb.streams import Shard, StreamRecord, iterator_of, page
from whimbrel.dynamodb.tables import describe
from whimbrel.errors import LogGone, RequestRefused

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_EXPIRED = "ExpiredIteratorException"
GONE = "Changes of items are missing: the way back is gone. DynamoDB stays open, and MySQL is not equal to it any more."


def stream_now(client: DynamoDBClient, table: str) -> str:
    """The ARN of the table's stream, "" where it is off. Raises LogGone where the table is gone, and the errors of
    ``translate``.
    """
    try:
        found: Any = describe(client, table)
    except Exception as error:
        translate(error, table)
    if found is None:
        hint = "What was written there and had not come back is lost: docs/cutover.md, if the target is gone."
        raise LogGone("the table is gone", place=table, hint=hint)
    return str(found["LatestStreamArn"]) if found.get("StreamSpecification", {}).get("StreamEnabled") else ""


def refuse_other_stream(client: DynamoDBClient, table: str, stream: str) -> None:
    """Raises LogGone where ``stream`` is not the table's any more: it was switched off, and perhaps on again. What was
    written meanwhile is in no stream.
    """
    if (now := stream_now(client, table)) != stream:
        what = "was switched off, and another one on," if now else "was switched off"
        raise LogGone(f"the table's stream {what} since it was first read", place=table, hint=GONE)


class StreamPage(NamedTuple):
    """``ended``: the shard has no more."""

    records: list[StreamRecord]
    ended: bool


def to_read(
    listed: Sequence[Shard], starts: Mapping[str, str], ended: Collection[str], begun: Collection[str], stream: str
) -> list[Shard]:
    """The shards that may be read now. ``ended`` were read to their end, ``begun`` in part; all durably.

    Raises LogGone for a shard that is not listed any more, and for one whose parent is not known.
    """
    before = _ancestors(listed, starts)
    followed: dict[str, Shard] = {}
    for shard in listed:
        if shard.id in starts or shard.parent in followed or shard.parent in ended:
            followed[shard.id] = shard
        elif shard.id not in before:
            raise LogGone(f"shard {shard.id} has a parent that is not known", place=stream, hint=GONE)
    there = {shard.id for shard in listed}
    for each in sorted({*starts, *begun} - there - set(ended)):
        raise LogGone(f"the stream has forgotten shard {each}, which was not read to its end", place=stream, hint=GONE)
    return [
        shard for shard in followed.values() if shard.id not in ended and (shard.id in starts or shard.parent in ended)
    ]


def leaves(listed: Sequence[Shard]) -> list[Shard]:
    """The open shards: what is written now goes to one of them."""
    parents = {shard.parent for shard in listed}
    return [shard for shard in listed if not shard.closed and shard.id not in parents]


def without_children(listed: Sequence[Shard]) -> list[str]:
    """The closed shards whose children are not listed, which comes to pass for a moment while they are made: nobody can
    tell yet where what was written last is to be found.
    """
    parents = {shard.parent for shard in listed}
    return [shard.id for shard in listed if shard.closed and shard.id not in parents]


class ShardReader:
    """One shard, read page by page by one thread at a time."""

    def __init__(self, client: Any, stream: str, shard: Shard, after: str) -> None:
        """``after`` is a sequence number, "" for the shard's first record."""
        self.shard = shard
        self._client, self._stream = client, stream
        self._after = after
        self._iterator: str | None = None

    def page(self) -> StreamPage:
        """The next records, if there are any. Raises LogGone, Throttled, TargetUnreachable."""
        try:
            return self._page()
        except RequestRefused as error:
            if error.code != _EXPIRED:
                raise
        self._iterator = None  # a quarter of an hour old: another one, after what was read last
        return self._page()

    def _page(self) -> StreamPage:
        if self._iterator is None:
            self._iterator = self._begun()
        records, following = page(self._client, self._stream, self.shard, self._iterator)
        if records:
            self._after = records[-1].sequence
        self._iterator = following
        return StreamPage(records, following is None)

    def _begun(self) -> str:
        """A shard is read from the number that it begins with: from its oldest record, one that is gone would not be
        noticed.
        """
        kind = "AT_SEQUENCE_NUMBER" if self.shard.start else "TRIM_HORIZON"
        try:
            return iterator_of(self._client, self._stream, self.shard, self._after, kind)
        except LogGone as error:
            raise LogGone(f"shard {self.shard.id}: {error.message}", place=error.place, hint=GONE) from error


def _ancestors(listed: Sequence[Shard], starts: Mapping[str, str]) -> set[str]:
    parent = {shard.id: shard.parent for shard in listed}
    found: set[str] = set()
    for each in starts:
        while (each := parent.get(each, "")) and each not in found:
            found.add(each)
    return found
