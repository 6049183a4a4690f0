"""Values of one attribute as a typed Arrow column: exactly, or the positions of those that do not fit.

Values are strings: of a plain column the content of its one tag ("56" of {"N": "56"}), of any other the value in
DynamoDB's JSON. Whole columns are converted at once where that is exact, and one by one where it is not.
"""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from whimbrel.lake.items import EXACT, BadLine, check_item, exact_decimal, extent, load_json, shown
from whimbrel.lake.types import TAGS_OF, Type, arrow_type, prints_back
from whimbrel.records import AttributeValue

if TYPE_CHECKING:
    import pyarrow

_DECIMAL_DIGITS = 38
_SAFE_DIGITS = 15  # of which every double prints back all
_INT64 = 2**63
_NUMBER = r"^-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"


class Misfit(ValueError):
    """A value that the type cannot hold exactly."""


def is_plain(kind: Type) -> bool:
    """True if a column of this type has values of one scalar type only."""
    return kind.kind not in ("list", "struct", "json")


def plain_column(texts: pyarrow.Array, kind: Type) -> pyarrow.Array | None:
    """The whole column at once; None if a value does not fit, or if it cannot be told in this way."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        if kind.kind == "string":
            return texts
        if kind.kind == "number":
            digits = pc.all(pc.match_substring_regex(texts, _NUMBER)).as_py() is not False
            return texts if digits and _are_short(texts, _DECIMAL_DIGITS) else None
        if kind.kind == "int64":
            # Arrow reads 0x1F as a number, DynamoDB does not.
            return None if pc.any(pc.match_substring(texts, "x", ignore_case=True)).as_py() else texts.cast(pa.int64())
        if kind.kind == "decimal":
            # Where a number with the type's scale has more digits than fit, Arrow makes another number of it without a
            # word; and it takes a plus sign.
            plus = pc.any(pc.match_substring(texts, "+")).as_py()
            fit = _longest(texts) + kind.scale <= _DECIMAL_DIGITS
            return texts.cast(arrow_type(kind)) if fit and not plus else None
        if kind.kind in ("double", "approximate"):
            return texts.cast(pa.float64()) if _are_short(texts, _SAFE_DIGITS) else None
        return None
    except pa.ArrowInvalid:
        return None


def _are_short(texts: pyarrow.Array, most: int) -> bool:
    """True if none has more than ``most`` digits, or any other sign than a point and a minus."""
    import pyarrow.compute as pc

    return _longest(texts) <= most and not pc.any(pc.match_substring_regex(texts, "[^0-9.-]")).as_py()


def _longest(texts: pyarrow.Array) -> int:
    import pyarrow.compute as pc

    return pc.max(pc.binary_length(texts)).as_py() or 0


def column(texts: pyarrow.Array, kind: Type) -> tuple[pyarrow.Array, dict[str, str]]:
    """The column text by text, and why a text does not fit (it is NULL in the column)."""
    import pyarrow as pa

    values: dict[str | None, Any] = {None: None}
    faults: dict[str, str] = {}
    listed = texts.to_pylist()
    for text in listed:
        if text not in values:
            try:
                values[text] = typed(tagged(text, kind), kind)
            except Misfit as error:
                values[text], faults[text] = None, str(error)
    return pa.array([values[text] for text in listed], arrow_type(kind)), faults


def widens(kind: Type, wider: Type) -> bool:
    """True if Arrow can make a column of the one type one of the other, with every value as it was."""
    return kind.kind in ("int64", "decimal") and wider.kind == "decimal"


def tagged(text: str, kind: Type) -> AttributeValue:
    """The value that a column's text stands for."""
    tag = TAGS_OF[kind.kind][0] if is_plain(kind) else ""
    try:
        value = {tag: text == "true" if tag == "BOOL" else text} if tag else load_json(text.encode())
        check_item({"": value})
    except BadLine as error:
        raise Misfit(str(error)) from None
    known: AttributeValue = value
    return known


def text_of(value: AttributeValue, kind: Type) -> str | None:
    """The text that stands for the value in a column of this type; ``tagged`` makes it a value again. Raises Misfit."""
    ((tag, content),) = value.items()
    if tag == "NULL":
        return None
    if not is_plain(kind):
        return orjson.dumps(value).decode()
    if tag not in TAGS_OF[kind.kind]:
        raise Misfit(f"{shown(value)} does not fit {kind}")
    return ("false", "true")[content] if tag == "BOOL" else str(content)


def typed(value: AttributeValue, kind: Type) -> Any:
    """A Python value that Arrow takes for the type, or None for NULL. Raises Misfit."""
    ((tag, content),) = value.items()
    if tag == "NULL":
        return None
    if kind.kind == "json":
        return orjson.dumps(value).decode()
    if kind.kind == "list" and tag in ("L", "SS", "NS", "BS"):
        members = content if tag == "L" else [{tag[0]: member} for member in content]
        return [typed(member, kind.inner[0]) for member in members]
    if tag not in TAGS_OF.get(kind.kind, ()):
        raise Misfit(f"{shown(value)} does not fit {kind}")
    if tag == "N":
        return _number(content, kind)
    if tag == "M":
        unknown = content.keys() - set(kind.names)
        if unknown:
            raise Misfit(f"the map has {min(unknown)!r}, which {kind} does not have")
        inner = dict(zip(kind.names, kind.inner, strict=True))
        return {name: typed(each, inner[name]) for name, each in content.items()}
    return base64.b64decode(content) if tag == "B" else content


def _number(text: str, kind: Type) -> Any:
    if kind.kind == "number":
        return text
    value = exact_decimal(text)
    if kind.kind == "approximate":
        return float(value)
    if kind.kind == "double":
        if prints_back(text):
            return float(value)
    elif kind.kind == "int64":
        if value == value.to_integral_value() and -_INT64 <= value < _INT64:
            return int(value)
    elif _fits(value, kind):
        return value.normalize(EXACT)  # zeros at the end of a fraction may be more than the type's scale
    raise Misfit(f"{text} does not fit {kind}")


def _fits(value: Decimal, kind: Type) -> bool:
    whole, scale = extent(value)
    return scale <= kind.scale and whole <= kind.precision - kind.scale
