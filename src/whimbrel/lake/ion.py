"""Amazon Ion as DynamoDB exports it, made the JSON of the same item.

One item a line, in text Ion: ``$ion_1_0 {Item:{Id:103.,Tags:$dynamodb_SS::["a"],…}}``. A string is S, a bool BOOL, a
decimal or an int N, a blob B, a list L, or SS, NS, BS by its annotation, a struct M, null NULL. Anything else (a
symbol, a timestamp, a float, a typed null, other annotations) DynamoDB does not write, and is refused.

Source: "DynamoDB table export output format" in Amazon's developer guide.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from whimbrel.item import base64
from whimbrel.lake.items import BadLine, shown
from whimbrel.lake.need import need

MARK, BINARY_MARK = b"$ion_1_0", b"\xe0\x01\x00\xea"
RECORD = ("Item", "Keys", "OldImage", "NewImage")  # what holds attributes; Metadata has a plain number
_SETS = {"$dynamodb_SS": "SS", "$dynamodb_NS": "NS", "$dynamodb_BS": "BS"}


def read_line(text: bytes) -> dict[str, Any]:
    """The line's record as the JSON export has it. Raises BadLine, UserError when the package is not installed."""
    simpleion = need("amazon.ion.simpleion", "ion")
    try:
        values = simpleion.loads(text, single_value=False)
    except Exception as error:  # the parser has many ways to say that a line is not Ion
        raise BadLine(f"not Ion: {str(error).strip() or type(error).__name__}") from None
    if len(values) != 1 or _kind(values[0]) != "STRUCT":
        raise BadLine(f"{len(values)} values instead of one struct" if len(values) != 1 else "not a struct")
    record: dict[str, Any] = {}
    for name, value in _pairs(values[0]):
        if name in RECORD:
            record[name] = _tagged(value, name).get("M", None)
        else:
            record[name] = _metadata(value) if name == "Metadata" else shown(value)
    return record


def _metadata(value: Any) -> Any:
    """``{WriteTimestampMicros: 1.}``: its numbers as texts."""
    if _kind(value) != "STRUCT":
        return shown(value)
    return {name: _number(each) if _kind(each) in ("INT", "DECIMAL") else shown(each) for name, each in _pairs(value)}


def _pairs(struct: Any) -> list[tuple[str, Any]]:
    pairs = list(struct.items())
    name, times = Counter(name for name, _ in pairs).most_common(1)[0] if pairs else ("", 0)
    if times > 1:
        raise BadLine(f"the name {name!r} occurs twice")
    return pairs


def _tagged(value: Any, name: str) -> dict[str, Any]:
    annotations = [each.text for each in getattr(value, "ion_annotations", ())]
    kind = _kind(value)
    if annotations:
        tag = _SETS.get(annotations[0]) if len(annotations) == 1 and kind == "LIST" else None
        if tag is None:
            raise BadLine(f"attribute {name!r} has the annotation {annotations[0]!r}, which does not belong here")
        return {tag: [_member(each, tag[0], name) for each in value]}
    match kind:
        case "STRING":
            return {"S": str(value)}
        case "BOOL":
            return {"BOOL": bool(value)}
        case "INT" | "DECIMAL":
            return {"N": _number(value)}
        case "BLOB":
            return {"B": base64(value)}
        case "NULL":
            return {"NULL": True}
        case "LIST":
            return {"L": [_tagged(each, f"{name}[{place}]") for place, each in enumerate(value)]}
        case "STRUCT":
            return {"M": {inner: _tagged(each, f"{name}.{inner}") for inner, each in _pairs(value)}}
    raise BadLine(f"attribute {name!r} is a {kind.lower()} of Ion, which DynamoDB does not write")


def _member(value: Any, tag: str, name: str) -> str:
    found = _tagged(value, name)
    if found.keys() != {tag}:
        raise BadLine(f"attribute {name!r} has {shown(found)} in its set of {tag}")
    member: str = found[tag]
    return member


def _kind(value: Any) -> str:
    """Ion's word for the type; a null of another type than null has its own."""
    kind: str = getattr(getattr(value, "ion_type", None), "name", type(value).__name__)
    if value is None or type(value).__name__ == "IonPyNull":
        return "NULL" if kind in ("NULL", "NoneType") else f"null.{kind}"
    return kind


def _number(value: Any) -> str:
    """The digits, in plain writing where that is not long: its exponent may be anything."""
    number = Decimal(value)
    return format(number, "f") if -140 < number.adjusted() < 130 and len(number.as_tuple().digits) < 60 else str(number)
