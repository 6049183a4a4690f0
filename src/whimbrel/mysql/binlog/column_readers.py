"""What the bytes of each column type mean: for each type the lines of Python that read one value (``decoders.py``).

Sources: mysql-server sql/log_event.cc (log_event_print_value), strings/decimal.cc, mysys/my_time.cc; MariaDB
sql/field.cc, sql/compat56.cc, sql/field_comp.cc.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from whimbrel.errors import SchemaDrift
from whimbrel.mysql.binlog import codes, temporal
from whimbrel.mysql.binlog.compressed import uncompress_column
from whimbrel.mysql.binlog.decimal import decimal_expression, decimal_size
from whimbrel.mysql.binlog.json import json_text
from whimbrel.mysql.binlog.mariadb import inet4_text, inet6_text, uuid_from_record
from whimbrel.mysql.binlog.metadata import real_type
from whimbrel.mysql.binlog.refused import REDEFINED
from whimbrel.mysql.charsets import python_codec
from whimbrel.mysql.floats import shortest
from whimbrel.records import Column

Lines = Callable[[str, dict[str, Any]], list[str]]


class Reader(NamedTuple):
    """``lines(target, constants)`` reads ``target`` from ``data`` at ``pos`` and moves ``pos``.

    ``code`` is struct's letter for the type, or "" if it has none.
    """

    lines: Lines
    code: str = ""


_INTEGERS = {codes.TINY: "b", codes.SHORT: "h", codes.LONG: "i", codes.LONGLONG: "q"}
_KINDS = {
    **dict.fromkeys(codes.INTEGERS, ("int",)),
    codes.FLOAT: ("float",),
    codes.DOUBLE: ("double",),
    codes.TIMESTAMP: ("timestamp",),
    codes.TIMESTAMP2: ("timestamp",),
    codes.DATE: ("date",),
    codes.NEWDATE: ("date",),
    codes.TIME: ("time",),
    codes.TIME2: ("time",),
    codes.DATETIME: ("datetime",),
    codes.DATETIME2: ("datetime",),
    codes.YEAR: ("year",),
    codes.BIT: ("bit",),
    codes.VARCHAR: ("text", "binary"),
    codes.VAR_STRING: ("text", "binary"),
    codes.VARCHAR_COMPRESSED: ("text", "binary"),
    codes.BLOB_COMPRESSED: ("text", "binary", "json"),
    codes.VECTOR: ("binary",),
    codes.JSON: ("json",),
    codes.NEWDECIMAL: ("decimal",),
    codes.ENUM: ("enum",),
    codes.SET: ("set",),
    codes.BLOB: ("text", "binary", "json"),
    codes.STRING: ("text", "binary", "uuid", "inet4", "inet6"),
    codes.GEOMETRY: ("geometry",),
}


def column_reader(kind: int, metadata: int, column: Column, *, place: str) -> Reader:
    """``kind`` and ``metadata`` as the table map has them. Raises SchemaDrift if ``column`` is of another type."""
    length = metadata
    if kind == codes.STRING:  # the bits of a length over 255 hide in the real type
        kind, length = real_type(kind, metadata), metadata & 0xFF | (~metadata >> 4 & 0x300)
    if column.kind not in _KINDS.get(kind, ()):
        raise SchemaDrift(
            f"its rows hold type {kind}, and the column is known as {column.type_name or column.kind}",
            place=place,
            hint=REDEFINED,
        )
    return _reader(kind, length, column, place)


def _reader(kind: int, length: int, column: Column, place: str) -> Reader:
    if kind in _INTEGERS:
        code = _INTEGERS[kind]
        return _packed(code.upper() if column.unsigned else code)
    if kind == codes.INT24:
        signed = "" if column.unsigned else ", signed=True"
        return _fixed(3, f"from_bytes(data[pos : pos + 3], 'little'{signed})", from_bytes=int.from_bytes)
    if kind == codes.FLOAT:
        return Reader(_float)
    if kind == codes.DOUBLE:
        return _packed("d")
    if kind == codes.YEAR:
        return _fixed(1, "years[data[pos]]", years=(0, *range(1901, 2156)))
    if kind == codes.BIT:
        size = (length >> 8) + (1 if length & 0xFF else 0)
        _same(place, "bits", (length >> 8) * 8 + (length & 0xFF), column.precision)
        return _fixed(size, f"from_bytes(data[pos : pos + {size}], 'big')", from_bytes=int.from_bytes)
    if kind == codes.NEWDECIMAL:
        _same(place, "digits", (length >> 8, length & 0xFF), (column.precision, column.scale))
        return _decimal(length >> 8, length & 0xFF)
    if kind == codes.ENUM:
        names = ("", *column.members)
        index = "data[pos]" if length == 1 else "data[pos] | data[pos + 1] << 8"
        return _fixed(length, f"names[{index}]", names=names)
    if kind == codes.SET:
        return _fixed(length, f"sets[data[pos : pos + {length}]]", sets=_Sets(column.members))
    if kind in temporal.TYPES:
        size, function = temporal.reader(kind, length, column, place)
        return _fixed(size, f"read(data[pos : pos + {size}])", read=function)
    if kind == codes.STRING and column.kind in _MARIADB_TYPES:
        size, function = _MARIADB_TYPES[column.kind]
        return _sized(1, through=function)
    if kind == codes.STRING and column.kind == "binary":
        _same(place, "bytes", length, column.length)
        return _sized(1 if length < 256 else 2, after=f".ljust({length}, zero)", zero=b"\0")
    if kind in (codes.VARCHAR, codes.VAR_STRING, codes.STRING):
        return _string(1 if length < 256 else 2, column)
    if kind in (codes.BLOB_COMPRESSED, codes.VARCHAR_COMPRESSED):
        size = length if kind == codes.BLOB_COMPRESSED else (1 if length < 256 else 2)
        if column.kind == "binary":
            return _sized(size, through=uncompress_column)
        decode = python_codec(column.charset).decode
        return _sized(size, through=lambda data: decode(uncompress_column(data)))
    if kind == codes.JSON:
        return _sized(length, through=json_text)
    if kind in (codes.VECTOR, codes.BLOB, codes.GEOMETRY):
        return _string(length, column)
    raise SchemaDrift(f"type {kind} cannot be decoded", place=place, hint="Leave the table out.")


def _same(place: str, what: str, found: object, known: object) -> None:
    if found != known:
        raise SchemaDrift(
            f"its rows have {found} {what}, and {known} are known",
            place=place,
            hint=REDEFINED,
        )


def _name(constants: dict[str, Any], base: str, value: object) -> str:
    """A name for ``value`` in the generated module; the same value twice has one name."""
    for number in range(len(constants) + 1):
        name = f"{base}_{number}"
        if constants.setdefault(name, value) is value:
            return name
    raise AssertionError


def _packed(code: str) -> Reader:
    layout = struct.Struct("<" + code)

    def lines(target: str, constants: dict[str, Any]) -> list[str]:
        constants[f"unpack_{code}"] = layout.unpack_from
        return [f"{target}, = unpack_{code}(data, pos)", f"pos += {layout.size}"]

    return Reader(lines, code)


def _float(target: str, constants: dict[str, Any]) -> list[str]:
    constants |= {"unpack_f": struct.Struct("<f").unpack_from, "shortest": shortest}
    return [f"{target}, = unpack_f(data, pos)", "pos += 4", f"{target} = shortest({target})"]


def _fixed(size: int, expression: str, **constants: Any) -> Reader:
    """``expression`` is over ``data``, ``pos`` and the names of ``constants``."""

    def lines(target: str, module: dict[str, Any]) -> list[str]:
        return [f"{target} = {_bound(expression, constants, module)}", f"pos += {size}"]

    return Reader(lines)


def _sized(
    prefix: int, *, through: Callable[[bytes], object] | None = None, after: str = "", **constants: Any
) -> Reader:
    """A value after its length in ``prefix`` bytes, passed ``through`` a function if given, and then ``after``."""

    def lines(target: str, module: dict[str, Any]) -> list[str]:
        value = f"{_name(module, 'through', through)}(data[start:pos])" if through else "data[start:pos]"
        return [*_bounds(prefix), f"{target} = {value}{_bound(after, constants, module)}"]

    return Reader(lines)


def _bounds(prefix: int) -> list[str]:
    length = {1: "data[pos]", 2: "(data[pos] | data[pos + 1] << 8)"}.get(
        prefix, f"int.from_bytes(data[pos : pos + {prefix}], 'little')"
    )
    return [f"start = pos + {prefix}", f"pos = start + {length}"]


def _bound(expression: str, constants: dict[str, Any], module: dict[str, Any]) -> str:
    for base, value in constants.items():
        expression = re.sub(rf"\b{base}\b", _name(module, base, value), expression)
    return expression


def _string(prefix: int, column: Column) -> Reader:
    if column.kind in ("binary", "geometry"):
        return _sized(prefix)
    decode = python_codec(column.charset).decode
    if decode is bytes.decode:
        return _sized(prefix, after=".decode()")
    return _sized(prefix, through=decode)


class _Sets(dict[bytes, str]):
    """The text of a SET by its bytes, made when first seen."""

    def __init__(self, members: Sequence[str]) -> None:
        self._members = members

    def __missing__(self, data: bytes) -> str:
        bits = int.from_bytes(data, "little")
        text = ",".join(member for i, member in enumerate(self._members) if bits >> i & 1)
        if len(self) < 10_000:
            self[data] = text
        return text


def _decimal(precision: int, scale: int) -> Reader:
    size = decimal_size(precision, scale)
    text, top = decimal_expression(precision, scale), 1 << size * 8 - 1

    def lines(target: str, constants: dict[str, Any]) -> list[str]:
        return [
            f"n = int.from_bytes(data[pos : pos + {size}], 'big') ^ {top}",
            f"pos += {size}",
            f"if n & {top}:",
            f"    n ^= {(top << 1) - 1}",
            f"    {target} = '-' + {text}",
            "else:",
            f"    {target} = {text}",
        ]

    return Reader(lines)


_MARIADB_TYPES: dict[str, tuple[int, Callable[[bytes], str]]] = {
    "uuid": (16, uuid_from_record),
    "inet6": (16, inet6_text),
    "inet4": (4, inet4_text),
}
