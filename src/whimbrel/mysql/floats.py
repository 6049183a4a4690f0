"""FLOAT has four bytes: its value is the shortest decimal number that reads back as the same four."""

from __future__ import annotations

import functools
import struct

LARGEST = 3.4028235e38  # that packs into four bytes
SMALLEST = 1.18e-38  # of those that have all their bits; below, fewer digits than six may do
_SINGLE = struct.Struct("<f")


def shortest(number: float) -> float:
    """0.1 for the FLOAT of 0.1, which as a double is 0.10000000149011612. ``number`` is that double."""
    return _shortest(number) or number  # 0.0 and -0.0 are one to the cache


def as_double(number: float) -> float:
    """The double that the server takes a FLOAT for when it compares; the inverse of ``shortest``."""
    return float(_SINGLE.unpack(_SINGLE.pack(number))[0])


@functools.lru_cache(maxsize=65_536)
def _shortest(number: float) -> float:
    data = _SINGLE.pack(number)
    for digits in (6, 7, 8) if abs(number) >= SMALLEST else range(1, 9):
        shorter = float(f"{number:.{digits}g}")
        if abs(shorter) <= LARGEST and _SINGLE.pack(shorter) == data:
            return shorter
    return float(f"{number:.9g}")
