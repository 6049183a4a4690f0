"""DynamoDB's documented limits, and the size of an item by its documented rules.

Sources: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html (sizes) and
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html (limits).
"""

from __future__ import annotations

from typing import Any

from whimbrel.records import AttributeValue, Item

MAX_ITEM = 400 * 1024  # bytes, attribute names included
MAX_BATCH_WRITE = 25  # items
MAX_BATCH_GET = 100  # keys
MAX_REQUEST = 16 * 1024 * 1024 - 64 * 1024  # bytes of a body: the documented 16 MB, less room for what we do not count
MAX_UPDATE_ATTRIBUTES = 100  # ours: 300 operators and a 4 KB expression are DynamoDB's, neither is reached by these
WRITE_UNIT = 1024  # bytes
READ_UNIT = 4096  # bytes


def item_size(item: Item) -> int:
    """The size of ``item`` in bytes, as DynamoDB counts it for its 400 KB limit (a number's size is approximate)."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def write_units(size: int) -> int:
    """Write units for an item of ``size`` bytes: one for each KB begun, and one at least."""
    return max(1, -(-size // WRITE_UNIT))


def _value_size(value: AttributeValue) -> int:
    ((kind, content),) = value.items()
    return _scalar_or_container_size(kind, content)


def _scalar_or_container_size(kind: str, content: Any) -> int:
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return _number_size(content)
        case "B":
            return _binary_size(content)
        case "BOOL" | "NULL":
            return 1
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_size(value) for name, value in content.items())
        case "L":
            return 3 + sum(1 + _value_size(value) for value in content)
        case _:  # SS, NS, BS: the members, without overhead
            return sum(_scalar_or_container_size(kind[0], member) for member in content)


def _number_size(text: str) -> int:
    """A byte for two significant digits and a byte more; leading and trailing zeros do not count."""
    mantissa = text.lstrip("+-").lower().partition("e")[0]
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).strip("0")
    return (len(digits) + 1) // 2 + 1


def _binary_size(base64: str) -> int:
    return len(base64) * 3 // 4 - base64[-2:].count("=")
