"""MySQL's binary DECIMAL: groups of nine digits in four bytes, big-endian.

A negative number is complemented, and the top bit is inverted. Source: mysql-server strings/decimal.cc.
"""

from __future__ import annotations

from functools import cache
from types import CodeType

_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)  # for so many digits


def decimal_size(precision: int, scale: int) -> int:
    return sum(_BYTES[digits] for digits in _groups(precision, scale))


def _groups(precision: int, scale: int) -> list[int]:
    whole = precision - scale
    return [whole % 9, *[9] * (whole // 9), *[9] * (scale // 9), scale % 9]


def decimal_expression(precision: int, scale: int) -> str:
    """Python over ``n``, the number with its top bit inverted and its complement undone: its text without the sign."""
    digits = _groups(precision, scale)
    number, fraction, shift = "0", "", decimal_size(precision, scale) * 8
    for place, count in enumerate(digits):
        shift -= _BYTES[count] * 8
        group = f"(n >> {shift} & {(1 << _BYTES[count] * 8) - 1})"
        if count and place <= (precision - scale) // 9:
            number = group if number == "0" else f"({number} * {10**count} + {group})"
        elif count:
            fraction += f"{{{group}:0{count}d}}"
    return f"f'{{{number}}}{'.' if fraction else ''}{fraction}'"


def decimal_text(data: bytes, precision: int, scale: int) -> str:
    """As the server prints it."""
    size = decimal_size(precision, scale)
    top = 1 << size * 8 - 1
    n = int.from_bytes(data[:size], "big") ^ top
    sign = "-" if n & top else ""
    text: str = eval(_compiled(precision, scale), {"n": n ^ ((top << 1) - 1) if sign else n})
    return sign + text


@cache
def _compiled(precision: int, scale: int) -> CodeType:
    return compile(decimal_expression(precision, scale), "<decimal>", "eval")
