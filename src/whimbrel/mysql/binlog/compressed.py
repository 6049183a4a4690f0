"""MariaDB's compressed columns (COLUMN_FORMAT COMPRESSED / COMPRESSED)."""

from __future__ import annotations

import zlib

from whimbrel.errors import UndecodableEvent


def uncompress_column(data: bytes) -> bytes:
    """Nothing, or a byte that says how: 0 is plain, 8 in its upper half is zlib (sql/field_comp.cc, sql/field.cc)."""
    if not data:
        return data
    if data[0] == 0:
        return data[1:]
    if data[0] >> 4 != 8:
        raise UndecodableEvent(f"a column compressed by an unknown method: {data[0]:#x}")
    size = data[0] & 7
    plain = zlib.decompress(data[1 + size :], -15 if data[0] & 8 else 15)
    if len(plain) != int.from_bytes(data[1 : 1 + size], "big"):
        raise UndecodableEvent("a compressed column has another length than it says")
    return plain
