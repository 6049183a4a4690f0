"""Lists in a stated order: which element is which row's, and where it stands, for what makes and what writes them.

A list's elements are maps, and some of their attributes both tell an element from all others and say where it stands:
so a list can be kept by setting and removing elements, which gives the same list however often it is repeated.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from whimbrel.records import AttributeValue

Order = tuple[tuple[str, bool], ...]  # (attribute of an element, True if descending)


def identity(values: Sequence[AttributeValue]) -> str:
    """One text for the values of an element's ordering attributes; equal exactly if DynamoDB calls them equal."""
    return "|".join(f"{kind}{len(text)}:{text}" for kind, text in map(_plain, values))


def identity_of(element: AttributeValue, order: Order) -> str:
    """Raises KeyError if ``element`` is no map with the attributes of ``order``."""
    return identity([element["M"][name] for name, _ in order])


def in_order(elements: Iterable[AttributeValue], order: Order) -> list[AttributeValue]:
    """By the attributes of ``order``, the first one first: numbers by size, text and binary by their bytes."""
    found = list(elements)
    for name, descending in reversed(order):
        found.sort(key=lambda element: _place(element["M"][name]), reverse=descending)
    return found


def _plain(value: AttributeValue) -> tuple[str, str]:
    [(kind, content)] = value.items()
    if kind == "N":
        text = f"{Decimal(content):f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return kind, "0" if text in ("-0", "") else text
    return kind, str(content)


def _place(value: AttributeValue) -> tuple[int, Any]:
    [(kind, content)] = value.items()
    if kind == "N":
        return 0, Decimal(content)
    if kind == "B":
        return 2, b64decode(content)
    return 1, str(content)
