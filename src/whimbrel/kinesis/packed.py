"""The records of the stream: an interval of the change log, for one lane. docs/kinesis.md has the format.

A record says of one lane: here are all changes with numbers after ``after`` and up to ``to``. A change's number is its
place in the change log, so it is the same whoever sends it and however often. A record without changes is a marker.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

import orjson

from whimbrel.changelog.record import change_decoder
from whimbrel.durable import TAIL, is_sound, sealed, sealed_json
from whimbrel.errors import UserError
from whimbrel.records import Change, Table

FORMAT = 1
MAGIC = b"WHK1"
MOST_BYTES = 64 << 20  # of a record when it is unpacked; what claims to be more is not ours
PACKED, POST = FORMATS = ("packed", "post")
_MARKER, _KEPT = "Marker", "Kept"
_EVENTS, _EVENT = ("WriteRowsEvent", "UpdateRowsEvent", "DeleteRowsEvent"), {"schema", "table", "type", "row"}
_LEVEL = 1


class Interval(NamedTuple):
    """What a record says of itself. ``sending`` tells apart the times that a sender began, and grows.

    ``settings`` is the digest of what the function works by, ``tables`` have those of the tables' definitions.
    """

    migration: str
    settings: str
    sending: int
    lane: int
    after: int
    to: int
    numbers: Sequence[int] = ()
    times: Sequence[float] = ()  # when each was committed, seconds since the epoch by the source's clock
    tables: dict[str, str] = {}  # noqa: RUF012  # never changed; by "schema.name"


class KeptLine(NamedTuple):
    """A change that no record takes, as a record refers to it: the SHA-256 and the bytes of its line."""

    sha256: str
    size: int


class Packed(NamedTuple):
    """``lines`` are those of the change log, without their newlines; none where the one change is ``kept`` elsewhere
    (kept.py).
    """

    head: Interval
    lines: list[bytes]
    kept: KeptLine | None = None

    @property
    def size(self) -> int:
        """Bytes of its changes, wherever they are."""
        return self.kept.size if self.kept else sum(map(len, self.lines))


class Numbered(NamedTuple):
    number: int
    time: float
    change: Change


class Unreadable(Exception):
    """These bytes are not a whole record of whimbrel; ``str()`` says why."""


def pack(head: Interval, lines: Sequence[bytes]) -> bytes:
    """``lines`` are those of the change log, without their newlines."""
    body = zlib.compress(b"\n".join([orjson.dumps(_fields(head)), *lines, b""]), _LEVEL)
    return b"%b%b%b" % (MAGIC, zlib.crc32(body).to_bytes(4, "big"), body)


def post_event(head: Interval, line: bytes) -> bytes:
    """One change, as the event of the AWS post with a field more; without a line, a marker."""
    body = line[:-TAIL] if line else orjson.dumps({"type": _MARKER})[:-1]
    return sealed(b'%b,"whimbrel":%b' % (body, orjson.dumps(_fields(head))))[:-1]


def reference(head: Interval, kept: KeptLine) -> bytes:
    """Of a record's one change, in either form of records."""
    return sealed_json({"type": _KEPT, "kept": kept._asdict(), "whimbrel": _fields(head)})[:-1]


def unpack(data: bytes) -> Packed:
    """Either form. Raises Unreadable; UserError for what nobody may pass over: a record of another version, or a change
    that another sender put.
    """
    try:
        return _of_lines(data) if data.startswith(MAGIC) else _of_event(data)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise Unreadable(f"it does not have the documented form: {error}") from error


def changes_of(packed: Packed, passed: int, table: Callable[[str], Table], most: int = sys.maxsize) -> list[Numbered]:
    """Those with numbers greater than ``passed``, the first ``most`` of them; ``table`` gives a definition by its
    digest. Raises Unreadable.
    """
    head, found = packed.head, list[Numbered]()
    decoders: dict[tuple[str, str], Callable[[dict[str, Any]], Change]] = {}
    try:
        for number, time, line in zip(head.numbers, head.times, packed.lines, strict=True):
            if number <= passed:
                continue
            if len(found) == most:
                break
            if not is_sound(line):
                raise Unreadable("a change does not match its checksum")
            fields = orjson.loads(line)
            name = fields["schema"], fields["table"]
            decode = decoders.get(name)
            if decode is None:
                decode = decoders[name] = change_decoder(table(head.tables[".".join(name)]))
            found.append(Numbered(number, time, decode(fields)))
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"a change does not have the documented form: {error!r}") from error
    return found


def _fields(head: Interval) -> dict[str, Any]:
    return {"format": FORMAT, **head._asdict()}


def _of_lines(data: bytes) -> Packed:
    if zlib.crc32(data[8:]) != int.from_bytes(data[4:8], "big"):
        raise Unreadable("it does not match its checksum")
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(data[8:], MOST_BYTES)
    if not unpacking.eof or unpacking.unused_data:
        raise Unreadable(f"it is cut off, or more than {MOST_BYTES} bytes")
    first, *lines = text.split(b"\n")
    if lines.pop() != b"":
        raise Unreadable("its last line is cut off")
    return Packed(_head(orjson.loads(first)), lines)


def _of_event(data: bytes) -> Packed:
    if not is_sound(data):
        if change := change_of_others(data):
            _refuse(change)
        raise Unreadable("it does not match its checksum")
    fields = orjson.loads(data)
    head = _head(fields.pop("whimbrel"))
    if fields["type"] == _MARKER:
        return Packed(head, [])
    if fields["type"] == _KEPT:
        return Packed(head, [], _kept(fields["kept"], head))
    del fields["crc"]
    return Packed(head, [sealed_json(fields)[:-1]])


def _kept(fields: dict[str, Any], head: Interval) -> KeptLine:
    kept = KeptLine(**fields)
    if type(kept.sha256) is not str or type(kept.size) is not int or len(head.numbers) != 1:
        raise ValueError("it does not refer to one change")
    return kept


def change_of_others(data: bytes) -> dict[str, Any] | None:
    """An event as the AWS post's own sender puts it; None for anything else."""
    try:
        fields = orjson.loads(data)
    except ValueError:
        return None
    is_event = isinstance(fields, dict) and fields.get("type") in _EVENTS and fields.keys() == _EVENT
    return fields if is_event else None


def _refuse(change: dict[str, Any]) -> NoReturn:
    """It says neither where it belongs among the changes, nor which table it was made for, nor of which types its
    values are: it cannot be applied, and whoever expects that must know.
    """
    raise UserError(
        f"a record is a {change['type']} of {change['schema']}.{change['table']} that another sender put",
        place="stream",
        hint="whimbrel's own sender sends each change with its place: let the function skip those of others "
        "(WHIMBREL_OTHER_SENDERS=skip), or give that sender a stream of its own.",
    )


def _head(fields: dict[str, Any]) -> Interval:
    if (form := fields.pop("format")) != FORMAT:
        raise UserError(
            f"a record has format {form!r}; this version reads format {FORMAT}",
            place="stream",
            hint="Deploy the function of the version of whimbrel that sends the changes.",
        )
    head = Interval(**fields)
    counts = [head.after, *head.numbers]
    if not all(type(each) is int for each in (*counts, head.to, head.sending, head.lane)):
        raise ValueError("a number is not one")
    if any(one >= other for one, other in pairwise(counts)) or counts[-1] > head.to:
        raise ValueError("its numbers do not grow")
    if len(head.times) != len(head.numbers):
        raise ValueError("it has other times than changes")
    return head
