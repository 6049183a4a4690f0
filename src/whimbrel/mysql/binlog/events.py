"""Binlog events, apart from rows: the header, and the bodies of those that say where we are and what is coming.

Sources: mysql-server libs/mysql/binlog/event/*.h, MariaDB sql/log_event.h and sql/rpl_gtid.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import zstandard

from whimbrel.errors import UndecodableEvent
from whimbrel.mysql.binlog import codes
from whimbrel.mysql.binlog.compressed import LARGEST_EVENT, inflated
from whimbrel.mysql.binlog.gtid import uuid_text

HEADER = struct.Struct("<IBIIIH")  # timestamp, type, server id, size, end position, flags
HEADER_SIZE = 19
CRC32_OF_INTACT = 0x2144DF1C  # of anything that its own CRC32 follows
ARTIFICIAL = 0x20
IGNORABLE = 0x80

QUERY = 2
ROTATE = 4
FORMAT_DESCRIPTION = 15
XID = 16
EXECUTE_LOAD = 18
TABLE_MAP = 19
WRITE_V1, UPDATE_V1, DELETE_V1 = 23, 24, 25
INCIDENT = 26
HEARTBEAT = 27
WRITE_V2, UPDATE_V2, DELETE_V2 = 30, 31, 32
GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS = 33, 34, 35
XA_PREPARE = 38
PARTIAL_UPDATE = 39
TRANSACTION_PAYLOAD = 40
HEARTBEAT_V2 = 41
GTID_TAGGED = 42
MARIADB_GTID, MARIADB_GTID_LIST = 162, 163
MARIADB_QUERY_COMPRESSED = 165
HEARTBEATS = (HEARTBEAT, HEARTBEAT_V2)  # say where the last event ended, and are none themselves
# Without meaning here: stop, intvar, append block, delete file, rand, user var, begin load query (the statement that
# they belong to is judged); ignorable, rows query, transaction context, view change.
SILENT = (3, 5, 9, 11, 13, 14, 17, 28, 29, 36, 37)
SILENT_IN_MARIADB = (160, 161, 164)  # annotate rows, checkpoint, start encryption


@dataclass(frozen=True, slots=True)
class TableMap:
    """What the server says about a table before its rows. The optional parts are None without row metadata."""

    table_id: int
    schema: str
    name: str
    types: bytes
    metadata: tuple[int, ...]
    nullable: tuple[bool, ...]
    optional: dict[int, bytes] = field(default_factory=dict)  # by the type of the TLV field


def checksum_length(event: bytes) -> int:
    """4 if the binlog that this format description begins has CRC32 checksums, else 0."""
    if event[-5] == 0:
        return 0
    if event[-5] == 1:
        return 4
    raise UndecodableEvent(f"an unknown checksum algorithm: {event[-5]}")


def check_format(event: bytes) -> None:
    """The fixed parts of events must have the sizes that the rest of this package takes for granted."""
    version, header_size = event[19] | event[20] << 8, event[75]
    sizes = {kind: event[75 + kind] for kind in (QUERY, TABLE_MAP, WRITE_V2)}
    if (version, header_size, sizes) != (4, HEADER_SIZE, {QUERY: 13, TABLE_MAP: 8, WRITE_V2: 10}):
        raise UndecodableEvent(
            f"a binlog format of another kind: version {version}, header {header_size} bytes, {sizes}",
            hint="Write a new binlog with the current server: FLUSH BINARY LOGS.",
        )


def writer_version(event: bytes) -> str:
    """Of the server that wrote the binlog which this format description begins, in its own words."""
    return event[21:71].partition(b"\0")[0].decode("ascii", "replace")


def parse_rotate(event: bytes) -> tuple[str, int]:
    """The next file and the offset in it."""
    return event[27:].decode(), int.from_bytes(event[19:27], "little")


def parse_heartbeat_v2(event: bytes) -> tuple[str, int]:
    """File and offset (Heartbeat_event_v2: type, length, value)."""
    file, offset, at = "", 0, HEADER_SIZE
    while at < len(event) and event[at]:
        kind, length = event[at], event[at + 1]
        value = event[at + 2 : at + 2 + length]
        if kind == 1:
            file = value.decode()
        elif kind == 2:
            offset, _ = length_encoded(value, 0)
        at += 2 + length
    return file, offset


_QUERY_HEAD = struct.Struct("<IIBHH")
_STATUS_SIZES = {0: 4, 1: 8, 3: 4}  # flags2, sql_mode, auto_increment: all that may stand before the charset


class Query(NamedTuple):
    """``schema`` is the session's default one, ``collation`` the id of its client's collation (0: unknown)."""

    schema: str
    statement: bytes
    collation: int
    sql_mode: int


def is_begin(event: bytes) -> bool:
    """Whether the statement is BEGIN and nothing else: what begins nearly every transaction."""
    return event.endswith(b"\0BEGIN") and len(event) == 38 + event[27] + (event[30] | event[31] << 8)


def parse_query(event: bytes) -> Query:
    _, _, schema_length, _, status_length = _QUERY_HEAD.unpack_from(event, HEADER_SIZE)
    at = HEADER_SIZE + 13
    status = event[at : at + status_length]
    at += status_length
    schema = event[at : at + schema_length].decode("utf-8", "replace")
    return Query(schema, event[at + schema_length + 1 :], *_read_status(status))


def _read_status(status: bytes) -> tuple[int, int]:
    """Collation and sql_mode; servers write them in this order, before all that is not known here."""
    at, sql_mode = 0, 0
    while at < len(status):
        kind = status[at]
        if kind == 4:
            return status[at + 1] | status[at + 2] << 8, sql_mode
        if kind == 1:
            sql_mode = int.from_bytes(status[at + 1 : at + 9], "little")
        if kind == 6:
            at += 2 + status[at + 1]
        elif kind in _STATUS_SIZES:
            at += 1 + _STATUS_SIZES[kind]
        else:
            break
    return 0, sql_mode


_MARIADB_GTID = struct.Struct("<5xI10xQIB").unpack_from  # server id of the header, sequence, domain, flags
_START_ALTER, _ROLLBACK_ALTER = 2, 8  # of its extra flags


def parse_mariadb_gtid(event: bytes) -> tuple[tuple[int, int, int], bool, bool]:
    """Domain, server and sequence; standalone: one statement without BEGIN and COMMIT; without effect: that statement
    changes nothing here. It begins an ALTER in two phases (binlog_alter_two_phase), which takes effect where it is
    logged again, or ends one that failed. Gtid_log_event in MariaDB sql/log_event.cc.
    """
    server, sequence, domain, flags = _MARIADB_GTID(event)
    if not flags & 1:
        return (domain, server, sequence), False, False
    at = 32 + (8 if flags & 2 else 0)  # an id of a group commit
    if flags & 0xC0:  # an XA transaction: its format, two lengths, and so many bytes
        at += 6 + event[at + 4] + event[at + 5]
    extra = event[at] if at < len(event) else 0
    return (domain, server, sequence), True, bool(extra & (_START_ALTER | _ROLLBACK_ALTER))


def parse_gtid(event: bytes) -> tuple[str, int, float]:
    """MySQL's GTID event: uuid, number, and the time of the commit in seconds (0: not said)."""
    number = int.from_bytes(event[36:44], "little")
    microseconds = int.from_bytes(event[61:68], "little") & ((1 << 55) - 1) if len(event) >= 68 else 0
    return uuid_text(event[20:36]), number, microseconds / 1e6


def parse_tagged_gtid(event: bytes) -> tuple[str, str, int, float]:
    """MySQL's GTID event with a tag, in the form of its library mysql::serialization: uuid, tag, number, time."""
    at = HEADER_SIZE
    for _ in range(3):  # version, size, last field that may not be ignored
        _, at = _varint(event, at)
    uuid, tag, number, microseconds = "", "", 0, 0
    while at < len(event):
        name, at = _varint(event, at)
        if name == 0:
            _, at = _varint(event, at)
        elif name == 1:
            value = bytearray()
            for _ in range(16):
                byte, at = _varint(event, at)
                value.append(byte)
            uuid = uuid_text(bytes(value))
        elif name == 3:
            length, at = _varint(event, at)
            tag = event[at : at + length].decode("ascii")
            at += length
        else:
            plain, at = _varint(event, at)
            if name == 2:
                number = plain >> 1  # signed: the lowest bit is the sign
            elif name == 6:
                microseconds = plain
                break
    if not uuid or not number:
        raise UndecodableEvent(f"a GTID without its uuid or its number: {event[HEADER_SIZE:].hex()}")
    return uuid, tag, number, microseconds / 1e6


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """As many trailing one bits as there are more bytes; little-endian."""
    first = data[at]
    more = (~first & (first + 1)).bit_length() - 1
    if more == 8:
        return int.from_bytes(data[at + 1 : at + 9], "little"), at + 9
    return int.from_bytes(data[at : at + more + 1], "little") >> (more + 1), at + more + 1


def length_encoded(data: bytes, at: int) -> tuple[int, int]:
    """An integer of the client protocol, and where the next thing begins."""
    first = data[at]
    if first < 251:
        return first, at + 1
    size = {252: 2, 253: 3, 254: 8}[first]
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


# Two separate bytes, read here as high and low.
_TWO_BYTES = frozenset((codes.NEWDECIMAL, codes.ENUM, codes.SET, codes.STRING))
_METADATA_SIZES = {
    **dict.fromkeys((codes.FLOAT, codes.DOUBLE, codes.TIMESTAMP2, codes.DATETIME2, codes.TIME2), 1),
    **dict.fromkeys((codes.TINY_BLOB, codes.MEDIUM_BLOB, codes.LONG_BLOB, codes.BLOB, codes.BLOB_COMPRESSED), 1),
    **dict.fromkeys((codes.VECTOR, codes.JSON, codes.GEOMETRY), 1),
    **dict.fromkeys((codes.VARCHAR, codes.BIT, codes.VARCHAR_COMPRESSED, codes.VAR_STRING, *_TWO_BYTES), 2),
}


def table_name(event: bytes) -> tuple[str, str]:
    """Schema and name only: enough to skip a table that is not captured."""
    at = 28
    end = at + event[27]
    return event[at:end].decode(), event[end + 2 : end + 2 + event[end + 1]].decode()


def parse_table_map(event: bytes) -> TableMap:
    schema, name = table_name(event)
    at = 28 + event[27] + 1
    at += 1 + event[at] + 1
    count, at = length_encoded(event, at)
    types = event[at : at + count]
    metadata_length, at = length_encoded(event, at + count)
    metadata, end = [], at + metadata_length
    for kind in types:
        size = _METADATA_SIZES.get(kind, 0)
        order = "big" if kind in _TWO_BYTES else "little"
        metadata.append(int.from_bytes(event[at : at + size], order))  # type: ignore[arg-type]
        at += size
    if at != end:
        raise UndecodableEvent(f"column metadata of {schema}.{name} does not fit its types {list(types)}")
    nulls = int.from_bytes(event[at : at + (count + 7) // 8], "little")
    at += (count + 7) // 8
    optional = {}
    while at < len(event):
        length, value = length_encoded(event, at + 1)
        optional[event[at]] = event[value : value + length]
        at = value + length
    nullable = tuple(bool(nulls >> i & 1) for i in range(count))
    table_id = int.from_bytes(event[19:25], "little")
    return TableMap(table_id, schema, name, types, tuple(metadata), nullable, optional)


def uncompress(data: bytes) -> bytes:
    """MariaDB's binlog_buf_compress: 0x80 | algorithm (0 is zlib) << 4 | size of the length, length, data."""
    if not data[0] & 0x80 or data[0] >> 4 & 7:
        raise UndecodableEvent(f"compressed by an unknown algorithm: {data[0]:#x}")
    size = data[0] & 7
    return inflated(data[1 + size :], int.from_bytes(data[1 : 1 + size], "big"), "event")


def payload_events(event: bytes) -> Iterator[bytes]:
    """The events inside a TRANSACTION_PAYLOAD event, uncompressed a piece at a time; they have no checksums."""
    algorithm, size, at = 255, 0, HEADER_SIZE
    while event[at]:
        kind, at = event[at], at + 1
        length, at = length_encoded(event, at)
        if kind == 1:
            size, _ = length_encoded(event, at)
        elif kind == 2:
            algorithm, _ = length_encoded(event, at)
        at += length
    payload = event[at + 1 :]
    if size != len(payload) or algorithm not in (0, 255):
        raise UndecodableEvent(f"a transaction payload of {len(payload)} bytes, said {size}, algorithm {algorithm}")
    yield from _split(_plain_pieces(payload) if algorithm == 0 else iter([payload]))


def _plain_pieces(payload: bytes) -> Iterator[bytes]:
    try:
        with zstandard.ZstdDecompressor().stream_reader(payload, read_across_frames=True) as reader:
            while piece := reader.read(1 << 18):
                yield piece
    except zstandard.ZstdError as error:
        raise UndecodableEvent(f"a transaction payload that zstd cannot read: {error}") from error


def _split(pieces: Iterator[bytes]) -> Iterator[bytes]:
    data = b""
    while True:
        at = 0
        while len(data) - at >= HEADER_SIZE:
            size = int.from_bytes(data[at + 9 : at + 13], "little")
            if not HEADER_SIZE <= size <= LARGEST_EVENT:
                raise UndecodableEvent(f"an event of {size} bytes in a transaction payload")
            if len(data) - at < size:
                break
            yield data[at : at + size]
            at += size
        wanted = int.from_bytes(data[at + 9 : at + 13], "little") if len(data) - at >= HEADER_SIZE else HEADER_SIZE
        parts, have = [data[at:]], len(data) - at
        while have < wanted:
            piece = next(pieces, b"")
            if not piece:
                if have:
                    raise UndecodableEvent("a transaction payload ends within an event")
                return
            parts.append(piece)
            have += len(piece)
        data = b"".join(parts)
