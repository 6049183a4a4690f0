"""How many bytes an item counts for in DynamoDB: the rule behind the 400 KB limit and the write units.

Source: "DynamoDB item sizes and formats" in Amazon's developer guide. It calls its number rule approximate (a byte for
two significant digits and one more); a sign and an odd exponent can each add a byte, so we count the larger figure.
"""

from __future__ import annotations

from typing import Any

import orjson

from whimbrel.records import AttributeValue, Item

MAX_ITEM_BYTES = 400 * 1024
MAX_PARTITION_KEY_BYTES = 2048
MAX_SORT_KEY_BYTES = 1024
MAX_KEY_NAME_BYTES = 255
MAX_NAME_BYTES = 64 * 1024 - 1
MAX_NUMBER_BYTES = 21


def item_size(item: Item) -> int:
    """Bytes of all names and values of ``item`` (in DynamoDB's JSON form)."""
    size = 0
    for name, value in item.items():
        size += text_size(name) + value_size(value)
    return size


def too_large(item: Item) -> bool:
    """Whether ``item`` has more than MAX_ITEM_BYTES. Quick for most: JSON is never shorter than what it says."""
    try:
        if len(orjson.dumps(item)) <= MAX_ITEM_BYTES:
            return False
    except TypeError:
        pass  # a lone surrogate
    return item_size(item) > MAX_ITEM_BYTES


def value_size(value: AttributeValue) -> int:
    """Bytes of one attribute value, without its name."""
    [(kind, content)] = value.items()
    if kind == "S":
        return text_size(content)
    if kind == "N":
        return _number_size(content)
    if kind == "B":
        return _binary_size(content)
    if kind == "M":
        return 3 + len(content) + item_size(content)
    if kind == "L":
        return 3 + len(content) + sum(value_size(element) for element in content)
    if kind in ("SS", "NS", "BS"):
        return sum(value_size({kind[0]: member}) for member in content)
    return 1  # BOOL, NULL


def text_size(text: str) -> int:
    """Bytes of ``text`` in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _number_size(text: str) -> int:
    digits = text.lower().partition("e")[0].replace(".", "").lstrip("+-").strip("0")
    if not digits:
        return 1
    return min(len(digits) // 2 + 2 + text.startswith("-"), MAX_NUMBER_BYTES)


def _binary_size(content: Any) -> int:
    if isinstance(content, str):  # base64, as on the wire
        return len(content) // 4 * 3 - content.count("=", -2)
    return len(content)
