"""MySQL's binary JSON, to the text that the server prints for it.

Sources: mysql-server sql-common/json_binary.h (the format), sql-common/json_dom.cc (the text), strings/dtoa.cc.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable

from whimbrel.errors import UndecodableEvent
from whimbrel.mysql.binlog import codes
from whimbrel.mysql.binlog.decimal import decimal_text
from whimbrel.mysql.binlog.temporal import date_text, packed_time_text

_LITERALS = ("null", "true", "false")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPES |= {chr(n): f"\\u{n:04x}" for n in range(32) if chr(n) not in _ESCAPES}
_TO_ESCAPE = re.compile(r'["\\\x00-\x1f]')
_INLINE = {False: (4, 5, 6), True: (4, 5, 6, 7, 8)}  # literal, int16, uint16; and int32, uint32 in large documents


def json_text(data: bytes) -> str:
    """A whole document; an empty one is the literal null."""
    if not data:
        return "null"
    try:
        return _value(data[0], data, 1)
    except (IndexError, KeyError, struct.error) as error:
        raise UndecodableEvent(f"a JSON document that cannot be read: {data[:40].hex()}…") from error


def _value(kind: int, data: bytes, at: int) -> str:
    return _READERS[kind](data, at)


def _container(data: bytes, at: int, *, large: bool, keyed: bool) -> str:
    """Count, size, then an entry for each key (offset, length) and each value (type, offset or the value itself)."""
    width = 4 if large else 2
    layout = struct.Struct("<II" if large else "<HH")
    count, _ = layout.unpack_from(data, at)
    entry = at + 2 * width
    keys: list[str] = []
    if keyed:
        for i in range(count):
            key_at = entry + i * (width + 2)
            start = at + int.from_bytes(data[key_at : key_at + width], "little")
            length = int.from_bytes(data[key_at + width : key_at + width + 2], "little")
            keys.append(_quoted(data[start : start + length]))
        entry += count * (width + 2)
    values = [_entry(data, at, entry + i * (width + 1), width, large=large) for i in range(count)]
    if keyed:
        return f"{{{', '.join(f'{key}: {value}' for key, value in zip(keys, values, strict=True))}}}"
    return f"[{', '.join(values)}]"


def _entry(data: bytes, container: int, at: int, width: int, *, large: bool) -> str:
    kind = data[at]
    if kind in _INLINE[large]:
        return _value(kind, data, at + 1)
    return _value(kind, data, container + int.from_bytes(data[at + 1 : at + 1 + width], "little"))


def _quoted(data: bytes) -> str:
    return f'"{_TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], data.decode())}"'


def _integer(size: int, *, signed: bool) -> Callable[[bytes, int], str]:
    def read(data: bytes, at: int) -> str:
        if at + size > len(data):
            raise IndexError
        return str(int.from_bytes(data[at : at + size], "little", signed=signed))

    return read


def _double(data: bytes, at: int) -> str:
    return double_text(struct.unpack_from("<d", data, at)[0])


def double_text(number: float) -> str:
    """my_gcvt: the shortest digits, with an exponent below 1e-15, and for whole numbers from 1e15 on."""
    sign = "-" if str(number).startswith("-") else ""
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))  # where it stands in the digits
    digits = digits.rstrip("0")
    if not digits:
        return f"{sign}0.0"
    if point < -14 or (point > 15 and len(digits) <= point):
        return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{point - 1}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[:point].ljust(point, '0')}.{digits[point:] or '0'}"


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first."""
    length = shift = 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 127) << shift
        if byte < 128:
            return length, at
        shift += 7


def _string(data: bytes, at: int) -> str:
    length, at = _length(data, at)
    return _quoted(data[at : at + length])


def _opaque(data: bytes, at: int) -> str:
    """A value of a column type that JSON has not."""
    kind = data[at]
    length, at = _length(data, at + 1)
    value = data[at : at + length]
    if kind == codes.NEWDECIMAL:
        return decimal_text(value[2:], value[0], value[1])
    if kind in (codes.TIMESTAMP, codes.DATE, codes.TIME, codes.DATETIME):
        packed = int.from_bytes(value, "little", signed=True)
        return f'"{_packed_text(kind, packed)}"'
    encoded = base64.b64encode(value).decode()
    lines = "\\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76))
    return f'"base64:type{kind}:{lines}"'


def _packed_text(kind: int, packed: int) -> str:
    if kind == codes.TIME:
        return packed_time_text(packed)
    whole, fraction = packed >> 24, packed & 0xFFFFFF
    day = date_text(whole >> 17)
    if kind == codes.DATE:
        return day
    return f"{day} {whole >> 12 & 31:02d}:{whole >> 6 & 63:02d}:{whole & 63:02d}.{fraction:06d}"


_READERS: dict[int, Callable[[bytes, int], str]] = {
    0: lambda data, at: _container(data, at, large=False, keyed=True),
    1: lambda data, at: _container(data, at, large=True, keyed=True),
    2: lambda data, at: _container(data, at, large=False, keyed=False),
    3: lambda data, at: _container(data, at, large=True, keyed=False),
    4: lambda data, at: _LITERALS[data[at]],
    5: _integer(2, signed=True),
    6: _integer(2, signed=False),
    7: _integer(4, signed=True),
    8: _integer(4, signed=False),
    9: _integer(8, signed=True),
    10: _integer(8, signed=False),
    11: _double,
    12: _string,
    15: _opaque,
}
