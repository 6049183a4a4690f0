"""Dates and times as the server prints them, from the bytes of the binlog: also zero dates and long times.

Each reader takes the value's bytes. Sources: mysql-server mysys/my_time.cc, MariaDB sql/field.cc and sql/compat56.cc.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from whimbrel.errors import SchemaDrift
from whimbrel.mysql.binlog import codes
from whimbrel.mysql.binlog.codes import DATE, DATETIME2, NEWDATE, TIME2, TIMESTAMP2
from whimbrel.mysql.binlog.refused import REDEFINED
from whimbrel.records import Column

Read = Callable[[bytes], str]

OLD_TIMESTAMP, OLD_TIME, OLD_DATETIME = codes.TIMESTAMP, codes.TIME, codes.DATETIME
TYPES = (DATE, NEWDATE, OLD_TIMESTAMP, OLD_TIME, OLD_DATETIME, TIMESTAMP2, DATETIME2, TIME2)

_TWO = tuple(f"{n:02d}" for n in range(100))
_EPOCH = date(1970, 1, 1).toordinal()


class _Dates(dict[int, str]):
    """Text of a packed (year * 13 + month) << 5 | day."""

    def __missing__(self, packed: int) -> str:
        year, month = divmod(packed >> 5, 13)
        text = f"{year:04d}-{month:02d}-{packed & 31:02d}"
        if len(self) < 50_000:
            self[packed] = text
        return text


class _Days(dict[int, str]):
    """Text of a number of days since 1970."""

    def __missing__(self, days: int) -> str:
        text = date.fromordinal(_EPOCH + days).isoformat()
        if len(self) < 50_000:
            self[days] = text
        return text


_dates = _Dates()
_days = _Days()


def reader(kind: int, digits: int, column: Column, place: str) -> tuple[int, Read]:
    """Size in bytes and the function. ``digits`` are the fractional digits that the table map names, if it does."""
    if kind in (DATE, NEWDATE):
        return 3, _date
    if kind in (OLD_TIMESTAMP, OLD_TIME, OLD_DATETIME):
        return _old_reader(kind, column.scale)
    if digits != column.scale:
        raise SchemaDrift(
            f"its rows have {digits} fractional digits, and {column.scale} are known",
            place=place,
            hint=REDEFINED,
        )
    size, make = {TIMESTAMP2: (4, _timestamp2), DATETIME2: (5, _datetime2), TIME2: (3, _time2)}[kind]
    return size + (digits + 1) // 2, make(digits)


def _date(data: bytes) -> str:
    n = data[0] | data[1] << 8 | data[2] << 16
    return _dates[((n >> 9) * 13 + (n >> 5 & 15)) << 5 | n & 31]


def date_text(packed: int) -> str:
    """Of (year * 13 + month) << 5 | day."""
    return _dates[packed]


def packed_time_text(packed: int) -> str:
    """Of hours, minutes and seconds over 24 bits of microseconds, all negative together."""
    sign, n = ("-", -packed) if packed < 0 else ("", packed)
    time = n >> 24
    return f"{sign}{time >> 12 & 0x3FF:02d}:{time >> 6 & 63:02d}:{time & 63:02d}.{n & 0xFFFFFF:06d}"


def fraction_text(value: int, digits: int) -> str:
    """``value`` counts in an even number of digits; an odd column has one less."""
    return f".{value // 10 if digits & 1 else value:0{digits}d}" if digits else ""


def _timestamp2(digits: int) -> Read:
    def whole(data: bytes) -> str:
        return seconds_text(int.from_bytes(data, "big"))

    def fractional(data: bytes) -> str:
        seconds, fraction = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big")
        return seconds_text(seconds) + fraction_text(fraction, digits)

    return fractional if digits else whole


def seconds_text(seconds: int) -> str:
    """In UTC; 0 is the zero date."""
    if not seconds:
        return "0000-00-00 00:00:00"
    days, rest = divmod(seconds, 86400)
    minutes, second = divmod(rest, 60)
    return f"{_days[days]} {_TWO[minutes // 60]}:{_TWO[minutes % 60]}:{_TWO[second]}"


def _datetime2(digits: int) -> Read:
    def whole(data: bytes) -> str:
        n = int.from_bytes(data, "big") - 0x8000000000
        return f"{_dates[n >> 17]} {_TWO[n >> 12 & 31]}:{_TWO[n >> 6 & 63]}:{_TWO[n & 63]}"

    def fractional(data: bytes) -> str:
        return whole(data[:5]) + fraction_text(int.from_bytes(data[5:], "big"), digits)

    return fractional if digits else whole


def _time2(digits: int) -> Read:
    bits = (digits + 1) // 2 * 8
    zero = 0x800000 << bits

    def read(data: bytes) -> str:
        n = int.from_bytes(data, "big") - zero
        sign, n = ("-", -n) if n < 0 else ("", n)
        time = n >> bits
        return (
            f"{sign}{time >> 12 & 0x3FF:02d}:{time >> 6 & 63:02d}:{time & 63:02d}"
            f"{fraction_text(n & ((1 << bits) - 1), digits)}"
        )

    return read


def _old_reader(kind: int, digits: int) -> tuple[int, Read]:
    """Before MySQL 5.6, and MariaDB with mysql56_temporal_format=OFF, which has fractions in a format of its own."""
    if kind == OLD_TIMESTAMP:
        return (4, _old_timestamp) if not digits else (4 + (digits + 1) // 2, _hires_timestamp(digits))
    if kind == OLD_DATETIME:
        return (8, _old_datetime) if not digits else ((5, 6, 6, 7, 7, 7, 8)[digits], _hires_datetime(digits))
    return (3, _old_time) if not digits else ((3, 4, 4, 5, 5, 5, 6)[digits], _hires_time(digits))


def _old_timestamp(data: bytes) -> str:
    return seconds_text(int.from_bytes(data, "little"))


def _old_datetime(data: bytes) -> str:
    days, time = divmod(int.from_bytes(data, "little"), 1_000_000)
    year, day = divmod(days, 10_000)
    return f"{year:04d}-{day // 100:02d}-{day % 100:02d} {time // 10000:02d}:{time // 100 % 100:02d}:{time % 100:02d}"


def _old_time(data: bytes) -> str:
    n = int.from_bytes(data, "little", signed=True)
    sign, n = ("-", -n) if n < 0 else ("", n)
    return f"{sign}{n // 10000:02d}:{n // 100 % 100:02d}:{n % 100:02d}"


def _hires_timestamp(digits: int) -> Read:
    def read(data: bytes) -> str:
        fraction = int.from_bytes(data[4:], "big")
        return f"{seconds_text(int.from_bytes(data[:4], 'big'))}.{fraction:0{digits}d}"

    return read


def _hires_datetime(digits: int) -> Read:
    """year, month, day, hour, minute, second, fraction in mixed radix (pack_time)."""

    def read(data: bytes) -> str:
        n, fraction = divmod(int.from_bytes(data, "big"), 10**digits)
        n, second = divmod(n, 60)
        n, minute = divmod(n, 60)
        n, hour = divmod(n, 24)
        n, day = divmod(n, 32)
        year, month = divmod(n, 13)
        return f"{year:04d}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:{second:02d}.{fraction:0{digits}d}"

    return read


def _hires_time(digits: int) -> Read:
    """The time in units of its last digit, plus what makes the smallest one zero (Field_time_hires::zero_point)."""
    zero = (838 * 3600 + 59 * 60 + 60) * 10**digits

    def read(data: bytes) -> str:
        n = int.from_bytes(data, "big") - zero
        sign, n = ("-", -n) if n < 0 else ("", n)
        seconds, fraction = divmod(n, 10**digits)
        minutes, second = divmod(seconds, 60)
        return f"{sign}{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}.{fraction:0{digits}d}"

    return read
