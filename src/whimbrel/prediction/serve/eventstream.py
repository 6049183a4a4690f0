"""application/vnd.amazon.eventstream, in which InvokeEndpointWithResponseStream answers.

A message is its length and that of its headers, their CRC-32, the headers, the payload, and the CRC-32 of all that;
every number has 32 bits, big-endian. Source: "Event stream encoding" in the documentation of Smithy, and of Amazon
Transcribe.
"""

from __future__ import annotations

import struct
from binascii import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"
PART = 64 << 10  # bytes of payload in one message
_TEXT = 7  # the type of a header's value
_AROUND = 16  # bytes of a message that are neither headers nor payload


def payload_parts(body: bytes) -> bytes:
    """The body as PayloadPart events, which a client puts together again."""
    parts = (body[start : start + PART] for start in range(0, len(body), PART))
    return b"".join(map(_message, parts))


def _message(payload: bytes) -> bytes:
    lengths = struct.pack(">II", _AROUND + len(_HEADERS) + len(payload), len(_HEADERS))
    message = lengths + struct.pack(">I", crc32(lengths)) + _HEADERS + payload
    return message + struct.pack(">I", crc32(message))


def _header(name: str, value: str) -> bytes:
    return struct.pack("B", len(name)) + name.encode() + struct.pack(">BH", _TEXT, len(value)) + value.encode()


_HEADERS = (
    _header(":message-type", "event")
    + _header(":event-type", "PayloadPart")
    + _header(":content-type", "application/octet-stream")
)
