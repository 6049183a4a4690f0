"""Items in DynamoDB's JSON, checked to the last value: what is not exactly an item is refused with the reason.

The tags and their contents: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Any

import orjson

from whimbrel.item import MAX_DEPTH, NUMBER, NotANumber, normal, number
from whimbrel.records import Item

EXACT = Context(prec=60, Emax=10_000, Emin=-10_000, traps=[InvalidOperation, Overflow, Inexact])
_SURELY_FITS = 38  # characters without an exponent: so many digits at most


class BadLine(ValueError):
    """Why a line is not an item; its place is known where it is caught."""


def load_json(line: bytes) -> Any:
    """The JSON in ``line``; a name that occurs twice in one object is refused, since one of the two would be lost."""
    try:
        value = orjson.loads(line)
        if len(orjson.dumps(value)) == len(line.strip()):
            return value  # nothing went missing, so no name occurs twice (numbers, which can grow, are in no item)
        return json.loads(line, object_pairs_hook=_without_repeats)
    except BadLine:
        raise
    except (ValueError, TypeError, RecursionError) as error:  # TypeError: of orjson, nested too deeply to be written
        raise BadLine(f"not JSON: {error}") from None


# Lines of items that have scalars alone, in the JSON that DynamoDB writes: without blanks. Possessive, so that a long
# line is gone through once.
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
NUMBER_TEXT = rb'"-?[0-9]{1,18}+(?:\.[0-9]{1,18}+)?+"'
BASE64 = rb'"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?+"'
_SCALAR = rb'"S":' + _TEXT + rb'|"N":' + NUMBER_TEXT + rb'|"BOOL":(?:true|false)|"NULL":true|"B":' + BASE64
_SCALARS = rb"\{(?:" + _TEXT + rb":\{(?:" + _SCALAR + rb")\}(?:,(?!\})|(?=\})))++\}"
_FLAT = re.compile(rb'\{"Item":' + _SCALARS + rb"\}", re.DOTALL)
_FLAT_CHANGE = re.compile(
    rb'\{"Metadata":\{"WriteTimestampMicros":\{"N":"[0-9]++"\}\},"Keys":'
    + _SCALARS
    + rb'(?:,"OldImage":'
    + _SCALARS
    + rb')?+(?:,"NewImage":('
    + _SCALARS
    + rb"))?+\}",
    re.DOTALL,
)
# A brace follows each name, and nothing within a text looks like that: a quote there is escaped.
_NAME_ENDS = b'":{"'


def flat_item(line: bytes) -> Item | None:
    """The item of a line of a full export, if it is one of the many that have nothing but scalars: then it is exactly
    what ``check_item`` takes, of which the pattern alone is proof. None says nothing.
    """
    if not _FLAT.fullmatch(line):
        return None
    try:
        item: Item = orjson.loads(line)["Item"]
    except orjson.JSONDecodeError:  # its text is not UTF-8, or not JSON's
        return None
    return item if len(item) + 1 == line.count(_NAME_ENDS) else None


def flat_change(line: bytes) -> tuple[dict[str, Any], bytes] | None:
    """The same of a line of an incremental export: the change, and the new image as the line has it (b"": none)."""
    if not (found := _FLAT_CHANGE.fullmatch(line)):
        return None
    try:
        change: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    names = len(change) + sum(map(len, change.values()))
    return (change, found[1] or b"") if names == line.count(_NAME_ENDS) else None


def unchecked_item(line: bytes) -> tuple[Item, bytes] | None:
    """The item of a line of a full export, with its text, names in order: no name occurs twice, but whether its values
    are what DynamoDB has is not checked. None says nothing.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict or value.keys() != {"Item"} or type(item := value["Item"]) is not dict:
        return None
    text = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    return (item, text) if len(text) + len(b'{"Item":}') == len(line) else None


def check_item(item: Any) -> Item:
    """The item, if it is one. Raises BadLine."""
    if not isinstance(item, dict):
        raise BadLine(f"an item must be an object, not {shown(item)}")
    for name, value in item.items():
        _check(value, name, 1)
    return item


def is_item(value: Any) -> bool:
    try:
        check_item(value)
    except BadLine:
        return False
    return True


def shown(value: Any) -> str:
    """A value for a message: no longer than a line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 120 else text[:117] + "…"


def exact_decimal(text: str) -> Decimal:
    """The number, all digits of it. Raises BadLine for one that DynamoDB cannot hold."""
    try:
        return number(text)
    except NotANumber as error:
        raise BadLine(f"{shown(text)} is {error}") from None


def extent(value: Decimal) -> tuple[int, int]:
    """How many digits the number needs before the point and behind it; neither is less than 0."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    plain = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(plain)
    return (max(0, len(plain) + exponent), max(0, -exponent)) if plain else (0, 0)


def _check(value: Any, name: str, level: int) -> None:
    if not isinstance(value, dict) or len(value) != 1:
        raise BadLine(f"attribute {name!r} is {shown(value)}, not one value with its type")
    ((tag, content),) = value.items()
    checker = _CHECKERS.get(tag)
    if checker is None:
        raise BadLine(f"attribute {name!r} has the type {tag!r}, which DynamoDB does not have")
    if tag in ("M", "L"):
        if level > MAX_DEPTH:
            raise BadLine(f"attribute {name[:50]!r} is nested deeper than {MAX_DEPTH} levels")
        checker(content, name, level)
    else:
        checker(content, name)


def _text(content: Any, name: str) -> None:
    if not isinstance(content, str):
        raise BadLine(f"attribute {name!r} has the S {shown(content)}, which is not a string")


def _number(content: Any, name: str) -> None:
    if not isinstance(content, str) or not NUMBER.fullmatch(content):
        raise BadLine(f"attribute {name!r} has the N {shown(content)}, which is not a number in quotes")
    if len(content) > _SURELY_FITS or "e" in content or "E" in content:
        try:
            exact_decimal(content)
        except BadLine as error:
            raise BadLine(f"attribute {name!r}: {error}") from None


def _binary(content: Any, name: str) -> None:
    try:
        base64.b64decode(content, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise BadLine(f"attribute {name!r} has the B {shown(content)}, which is not base64") from None


def _bool(content: Any, name: str) -> None:
    if not isinstance(content, bool):
        raise BadLine(f"attribute {name!r} has the BOOL {shown(content)}")


def _null(content: Any, name: str) -> None:
    if content is not True:
        raise BadLine(f"attribute {name!r} has the NULL {shown(content)}")


def _map(content: Any, name: str, level: int) -> None:
    if not isinstance(content, dict):
        raise BadLine(f"attribute {name!r} has the M {shown(content)}")
    for inner, value in content.items():
        _check(value, f"{name}.{inner}", level + 1)


def _list(content: Any, name: str, level: int) -> None:
    if not isinstance(content, list):
        raise BadLine(f"attribute {name!r} has the L {shown(content)}")
    for position, value in enumerate(content):
        _check(value, f"{name}[{position}]", level + 1)


def _set(tag: str, check: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    def of(content: Any, name: str) -> None:
        if not isinstance(content, list) or not content:
            raise BadLine(f"attribute {name!r} has the set {shown(content)}")
        for member in content:
            check(member, name)
        if len(content) > 1 and len(set(normal({tag: content})[tag])) < len(content):
            raise BadLine(f"attribute {name!r} has a set with a member twice: {shown(content)}")

    return of


_CHECKERS: dict[str, Callable[..., None]] = {
    "S": _text,
    "N": _number,
    "B": _binary,
    "BOOL": _bool,
    "NULL": _null,
    "M": _map,
    "L": _list,
    "SS": _set("SS", _text),
    "NS": _set("NS", _number),
    "BS": _set("BS", _binary),
}
TAGS = tuple(_CHECKERS)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BadLine(f"the name {shown(name)} occurs twice")
        found[name] = value
    return found
