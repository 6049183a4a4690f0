"""Times as digits of fixed length in templates: counted from 1970, or from the end, so that the newest comes first.

``reversed_ms`` is 9999999999999 less the milliseconds since 1970. What does not fit into the digits is refused: a time
before 1970, or after 2286.
"""

from __future__ import annotations

from typing import NamedTuple

from whimbrel.mapping.back_values import time_of_microseconds
from whimbrel.mapping.forms import Refused, microseconds_since_1970
from whimbrel.records import Column, Value


class Unit(NamedTuple):
    """``digits`` after the second are counted; ``width`` is the length of the text."""

    digits: int
    reversed: bool

    @property
    def width(self) -> int:
        return 10 + self.digits


UNITS = {
    "epoch": Unit(0, False),
    "epoch_ms": Unit(3, False),
    "epoch_us": Unit(6, False),
    "reversed": Unit(0, True),
    "reversed_ms": Unit(3, True),
    "reversed_us": Unit(6, True),
}


def epoch_text(text: str, unit: Unit, place: str) -> str:
    """Raises Refused for a time that is not a calendar date, or does not fit."""
    count = microseconds_since_1970(text, place) // 10 ** (6 - unit.digits)
    if not 0 <= count < 10**unit.width:
        raise Refused(f"{place} is {text}, which does not fit into {unit.width} digits: it takes 1970 to 2286")
    return f"{10**unit.width - 1 - count if unit.reversed else count:0{unit.width}d}"


def time_of_epoch(text: str, unit: Unit, column: Column) -> tuple[Value, ...]:
    """The column's value with this text of digits: none or one."""
    count = 10**unit.width - 1 - int(text) if unit.reversed else int(text)
    try:
        return (time_of_microseconds(column, count * 10 ** (6 - unit.digits), "the time"),)
    except Refused:
        return ()
