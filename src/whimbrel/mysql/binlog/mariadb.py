"""MariaDB's own types, from the bytes of a record to the text that the server prints.

Sources: MariaDB plugin/type_inet/sql_type_inet.cc, plugin/type_uuid/sql_type_uuid.h.
"""

from __future__ import annotations

import struct


def inet4_text(data: bytes) -> str:
    return ".".join(map(str, data.ljust(4, b"\0")))


def inet6_text(data: bytes) -> str:
    """The first of the longest runs of zeros becomes ``::``, also a single zero; an IPv4 address shows as one."""
    data = data.ljust(16, b"\0")
    words = struct.unpack(">8H", data)
    gap, length = _longest_zeros(words)
    if gap == 0 and (length == 6 or (length == 5 and words[5] == 0xFFFF)):
        return f"::{'ffff:' if length == 5 else ''}{inet4_text(data[12:])}"
    texts = [f"{word:x}" for word in words]
    if not length:
        return ":".join(texts)
    return f"{':'.join(texts[:gap])}::{':'.join(texts[gap + length :])}"


def _longest_zeros(words: tuple[int, ...]) -> tuple[int, int]:
    """Where it begins, and its length, which may be 0."""
    best = start = length = 0
    for i, word in enumerate(words):
        run = 0 if word else i - start + 1
        start = i + 1 if word else start
        if run > length:
            best, length = start, run
    return best, length


def uuid_from_record(data: bytes) -> str:
    text = data.ljust(16, b"\0").hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
