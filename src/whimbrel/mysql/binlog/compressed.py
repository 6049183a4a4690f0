"""What MariaDB compresses with zlib: columns (COMPRESSED) and events."""

from __future__ import annotations

import zlib

from whimbrel.errors import UndecodableEvent

LARGEST_EVENT = (1 << 30) + (1 << 24)  # bytes: a server's max_allowed_packet is 1 GiB at most, and a head comes on top


def uncompress_column(data: bytes) -> bytes:
    """Nothing, or a byte that says how: 0 is plain, 8 in its upper half is zlib (sql/field_comp.cc, sql/field.cc)."""
    if not data:
        return data
    if data[0] == 0:
        return data[1:]
    if data[0] >> 4 != 8:
        raise UndecodableEvent(f"a column compressed by an unknown method: {data[0]:#x}")
    size = data[0] & 7
    said = int.from_bytes(data[1 : 1 + size], "big")
    return inflated(data[1 + size :], said, "column", -15 if data[0] & 8 else 15)


def inflated(data: bytes, size: int, what: str, wbits: int = 15) -> bytes:
    """What zlib makes of ``data``, which must be ``size`` bytes: a few bytes could become gigabytes."""
    if size > LARGEST_EVENT:
        raise UndecodableEvent(f"a compressed {what} of {size:,} bytes")
    stream = zlib.decompressobj(wbits)
    plain = stream.decompress(data, size + 1)
    if len(plain) != size or not stream.eof:
        raise UndecodableEvent(f"a compressed {what} has another length than it says")
    return plain
