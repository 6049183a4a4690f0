"""DynamoDB's values: limits, sizes, equality, and what identifies an item or an element of a list. Pure.

An AttributeValue is in DynamoDB's JSON form, such as ``{"N": "12.5"}``; B is base64 text.

Sources: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html (sizes),
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html (limits) and
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html (numbers).
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

import orjson

from whimbrel.records import AttributeValue, Gathered, Item

MAX_ITEM_BYTES = 400 * 1024  # attribute names included
MAX_PARTITION_KEY_BYTES = 2048
MAX_SORT_KEY_BYTES = 1024
MAX_KEY_NAME_BYTES = 255
MAX_NAME_BYTES = 64 * 1024 - 1
MAX_NUMBER_BYTES = 21
MAX_DEPTH = 32  # levels of maps and lists in one another
WRITE_UNIT = 1024  # bytes
READ_UNIT = 4096  # bytes; of an eventually consistent read, boto3's default, it takes half of one

_OVERSIZE = re.compile(r"the item has \d+ bytes, more than |ValidationException: Item size .*exceeded the maximum")

MAX_DIGITS = 38
SMALLEST_EXPONENT, LARGEST_EXPONENT = -130, 125  # of a number as 9.99E+125

# --- sizes ----------------------------------------------------------------------------------------------------------


def item_size(item: Item) -> int:
    """Bytes of all names and values of ``item``, as its 400 KB limit and its write units count them."""
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


def oversize_reason(size: int | str) -> str:
    return f"the item has {size} bytes, more than the {MAX_ITEM_BYTES} that DynamoDB allows"


def is_oversize(reason: str) -> bool:
    """Whether a reason is ``oversize_reason``'s, or DynamoDB's own of an item that an update makes too large."""
    return bool(_OVERSIZE.match(reason))


def unfit(key: Item, item: Item, index_types: Mapping[str, str]) -> str:
    """Why DynamoDB would not take an item whose values are right in themselves; "" if it does.

    ``key`` has the partition key and then the sort key, ``index_types`` the attributes in keys of secondary indexes.
    """
    for (name, value), most in zip(key.items(), (MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES), strict=False):
        if reason := _unfit_key(value, most):
            return f"the key attribute {name} {reason}"
    for name, kind in index_types.items():
        if name in item and kind not in item[name]:
            return f"{name} is {next(iter(item[name]))}, and an index on it has {kind}"
        if name in item and (reason := _unfit_key(item[name], MAX_PARTITION_KEY_BYTES)):
            return f"{name}, which an index is on, {reason}"
    if "" in item:
        return "an attribute has no name"
    try:
        if too_large(item):
            return oversize_reason(item_size(item))
        orjson.dumps(item)
    except TypeError as error:
        return f"cannot be written as JSON: {error}"
    deepest = max(map(_depth, item.values()), default=0)
    return f"its maps and lists are {deepest} deep, DynamoDB takes {MAX_DEPTH}" if deepest > MAX_DEPTH else ""


def _unfit_key(value: AttributeValue, most: int) -> str:
    size = value_size(value)
    if not size:
        return "is empty"
    return f"has {size} bytes, DynamoDB takes {most} at most" if size > most else ""


def _depth(value: AttributeValue) -> int:
    if "M" in value:
        return 1 + max(map(_depth, value["M"].values()), default=0)
    return 1 + max(map(_depth, value["L"]), default=0) if "L" in value else 0


def write_units(size: int) -> int:
    """Write units for an item of ``size`` bytes: one for each KB begun, and one at least."""
    return max(1, -(-size // WRITE_UNIT))


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
    """The documentation calls its rule approximate: a byte for two significant digits and one more. A sign and an odd
    exponent can each add a byte, so the larger figure is counted.
    """
    digits = text.lower().partition("e")[0].replace(".", "").lstrip("+-").strip("0")
    if not digits:
        return 1
    return min(len(digits) // 2 + 2 + text.startswith("-"), MAX_NUMBER_BYTES)


def _binary_size(content: Any) -> int:
    if isinstance(content, str):  # base64, as on the wire
        return len(content) // 4 * 3 - content.count("=", -2)
    return len(content)


# --- numbers and binary ---------------------------------------------------------------------------------------------

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPELLED = re.compile(r"0|-?[1-9][0-9]*(\.[0-9]*[1-9])?|-?0\.[0-9]*[1-9]")
# In an item's JSON. Nowhere else: a quote within a text is escaped, and a name is followed by a brace.
_SET = b'S":['
_OTHERWISE_SPELLED = re.compile(rb'"N":"(?!(?:0|-?[1-9][0-9]*(?:\.[0-9]*[1-9])?|-?0\.[0-9]*[1-9])")([^"]*)"')
_LONGEST = 400  # digits before or after the point that are written out: more than any number of DynamoDB has


class NotANumber(ValueError):
    """The text is not a number that DynamoDB can hold; ``str()`` says what it is instead."""


def number(text: str) -> Decimal:
    """The number that ``text`` is, exactly. Raises NotANumber if it is none, or none that N can hold."""
    if not NUMBER.fullmatch(text):
        raise NotANumber("not a number")
    try:
        value = Decimal(text)
    except InvalidOperation:  # the exponent alone is beyond what Decimal has
        raise NotANumber("outside the range of a DynamoDB number (1E-130 to 9.99E+125)") from None
    if not value:
        return Decimal(0)  # whatever its exponent is
    if not SMALLEST_EXPONENT <= value.adjusted() <= LARGEST_EXPONENT:
        raise NotANumber("outside the range of a DynamoDB number (1E-130 to 9.99E+125)")
    if len("".join(map(str, value.as_tuple().digits)).strip("0")) > MAX_DIGITS:
        raise NotANumber(f"more than the {MAX_DIGITS} digits of a DynamoDB number")
    return value


def plain(value: Decimal) -> str:
    """All digits, no exponent, no trailing zeros, no negative zero."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def spelled(text: str) -> str:
    """The one spelling of the number ``text``: equal for ``1``, ``1.0`` and ``1e0``. Raises InvalidOperation."""
    if _SPELLED.fullmatch(text):
        return text
    value = Decimal(text)
    return plain(value) if not value or abs(value.adjusted()) <= _LONGEST else str(value)


def base64(content: bytes) -> str:
    return b2a_base64(content, newline=False).decode("ascii")


# --- equality and identity ------------------------------------------------------------------------------------------


def normal_item(item: Item) -> Item:
    """The item in the form in which equal items are equal Python values: see ``normal``."""
    return {name: normal(value) for name, value in item.items()}


def normal(value: AttributeValue) -> AttributeValue:
    """Numbers as their plain text (``1.0`` = ``1`` = ``1e0``, ``-0`` = ``0``), sets in order, binary as base64 text."""
    [(kind, content)] = value.items()
    if kind == "N":
        return value if _SPELLED.fullmatch(content) else {"N": spelled(content)}
    if kind == "M":
        return {"M": normal_item(content)}
    if kind == "L":
        return {"L": [normal(element) for element in content]}
    if kind == "B":
        return {"B": _normal_binary(content)}
    if kind == "NS":
        return {"NS": sorted(map(spelled, content))}
    if kind == "SS":
        return {"SS": sorted(content)}
    if kind == "BS":
        return {"BS": sorted(map(_normal_binary, content))}
    return value


def item_text(item: Item) -> bytes:
    """One text for all items that are equal: JSON, with names and sets in order and each number in its one spelling.

    Like ``normal``, for much less of the CPU: few items have anything that must be written otherwise.
    """
    text = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    if _SET in text:
        text = orjson.dumps(normal_item(item), option=orjson.OPT_SORT_KEYS)
    return _OTHERWISE_SPELLED.sub(_spelled_number, text)


def _spelled_number(found: re.Match[bytes]) -> bytes:
    try:
        return b'"N":"%b"' % spelled(found[1].decode()).encode()
    except InvalidOperation:  # no number: as it is
        return found[0]


def key_id(key: Item) -> bytes:
    """A key's identity: equal for keys that DynamoDB takes for the same ("1" and "1.0" are one number).

    It is the key's JSON, so ``orjson.loads`` makes it a key again. Raises InvalidOperation for an N without a number.
    """
    text = orjson.dumps(key, option=orjson.OPT_SORT_KEYS)
    if not _OTHERWISE_SPELLED.search(text):
        return text
    same = {name: {"N": spelled(value["N"])} if "N" in value else value for name, value in key.items()}
    return orjson.dumps(same, option=orjson.OPT_SORT_KEYS)


def identified_by(key: Sequence[tuple[str, str]]) -> Callable[[Item], bytes]:
    """What gives the ``key_id`` of an item's key, whose attributes ``key`` has as (name, type), for much less of the
    CPU where no number is among them. It raises KeyError for an item without one of them.
    """
    names = sorted(name for name, _ in key)
    if any(kind == "N" for _, kind in key):
        return partial(_id_of_any, names)
    return partial(_id_of_one, names[0]) if len(names) == 1 else partial(_id_of_two, names[0], names[1])


def _id_of_any(names: Sequence[str], item: Item) -> bytes:
    return key_id({name: item[name] for name in names})


def _id_of_one(name: str, item: Item) -> bytes:
    return orjson.dumps({name: item[name]})


def _id_of_two(first: str, second: str, item: Item) -> bytes:
    return orjson.dumps({first: item[first], second: item[second]})


def _normal_binary(content: Any) -> str:
    return base64(a2b_base64(content) if isinstance(content, str) else bytes(content))


# --- lists in a stated order ----------------------------------------------------------------------------------------
# A list's elements are maps, and some of their attributes both tell an element from all others and say where it stands:
# so a list can be kept by setting and removing elements, which gives the same list however often it is repeated.

Order = tuple[tuple[str, bool], ...]  # (attribute of an element, True if descending)


def identity(values: Sequence[AttributeValue]) -> str:
    """One text for the values of an element's ordering attributes; equal exactly if DynamoDB calls them equal."""
    return "|".join(f"{kind}{len(text)}:{text}" for kind, text in map(_kind_and_text, values))


def identity_of(element: AttributeValue, order: Order) -> str:
    """Raises KeyError if ``element`` is not a map with the attributes of ``order``."""
    return identity([element["M"][name] for name, _ in order])


def in_order(elements: Iterable[AttributeValue], order: Order) -> list[AttributeValue]:
    """By the attributes of ``order``, the first one first: numbers by size, text and binary by their bytes."""
    found = list(elements)
    for name, descending in reversed(order):
        found.sort(key=lambda element: _place(element["M"][name]), reverse=descending)
    return found


def gathered(entries: Mapping[str, AttributeValue], of: Gathered) -> AttributeValue | None:
    """What ``of`` is where a map has ``entries``; None if they have no value for it. Only the entries decide, and not
    how they came there. Raises KeyError if one of them is not of the form that ``of`` is made of.
    """
    if of.kind == "L":
        elements = in_order([entries[name] for name in sorted(entries)], of.order)
        values = [element["M"][of.value] for element in elements if of.value in element["M"]]
        return {"L": values} if values else None
    present = [value[of.kind[0]] for value in entries.values() if "NULL" not in value]
    members = {spelled(each) if of.kind == "NS" else each: None for each in present}
    return {of.kind: list(members)} if members else None


def _kind_and_text(value: AttributeValue) -> tuple[str, str]:
    [(kind, content)] = value.items()
    return kind, spelled(content) if kind == "N" else str(content)


def _place(value: AttributeValue) -> tuple[int, Any]:
    [(kind, content)] = value.items()
    if kind == "N":
        return 0, Decimal(content)
    if kind == "B":
        return 2, a2b_base64(content)
    return 1, str(content)
