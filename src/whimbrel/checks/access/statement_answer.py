"""The answer to one statement, and what it is measured by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from whimbrel.item import READ_UNIT
from whimbrel.mapping.design import TableMapping

NEEDS_INDEX, SCAN, NOT_SERVED = "needs an index", "Scan", "not served"
NO_GROUPS = (
    "Keep the figures in items of their own, counted up by the writes (UpdateItem with ADD, or from the stream); "
    "or ask the lake: whimbrel export, then whimbrel query"
)


class Sizes(NamedTuple):
    """``per`` says how many items share a value of the columns, None if nobody knows; ``items`` of ``bytes`` each."""

    items: float
    bytes: float
    write_units: float
    per: Callable[[tuple[str, ...]], float | None]


@dataclass
class StatementAnswer:
    """``units`` are read units, or write units if ``writes``; of a list of keys, those of one. None: not known."""

    table: str
    verdict: str
    call: str = ""
    index: str = ""
    units: float | None = None
    writes: bool = False
    notes: list[str] = field(default_factory=list)
    advice: str = ""


def read_units(items: float, item_bytes: float) -> float:
    """Of eventually consistent reads."""
    return max(1, math.ceil(items * item_bytes / READ_UNIT)) / 2


def attribute_of(mapping: TableMapping, column: str) -> str:
    return next((one.attribute for one in mapping.design.carried if one.column.name == column), column)
