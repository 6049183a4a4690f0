"""What generated code calls when a row cannot be mapped: each raises Refused with the reason."""

from __future__ import annotations

from typing import NoReturn

from whimbrel.item import (
    MAX_NAME_BYTES,
    text_size,
)
from whimbrel.mapping.forms import Refused, shown
from whimbrel.nested import DEEP
from whimbrel.records import AttributeValue


def absent(*_: object) -> NoReturn:
    raise AssertionError("this shape of mapping has no such function")


def refuse_null(column: str, place: str) -> NoReturn:
    raise Refused(f"{place} needs column {column!r}, which is NULL")


def refuse_default(column: str, text: str, place: str) -> NoReturn:
    raise Refused(
        f"{place}: column {column!r} is {shown(text)}, which stands for NULL there: another row could have it"
    )


def refuse_negative_zero(column: str, place: str) -> NoReturn:
    raise Refused(
        f"{place}: column {column!r} is -0.0, which the source takes for 0.0, and the text would be another's"
    )


def refuse_separator(column: str, text: str, separator: str, place: str) -> NoReturn:
    raise Refused(
        f"{place} has {separator!r} beside column {column!r}, whose own text {shown(text)} runs into it: "
        f"another row could have the same text"
    )


def check_key(place: str, text: str | bytes, limit: int) -> None:
    if not text:
        raise Refused(f"{place} is empty, which DynamoDB does not allow")
    size = len(text) if isinstance(text, bytes) else text_size(text)
    if size > limit:
        raise Refused(f"{place} has {size} bytes, more than the {limit} that DynamoDB allows: {shown(text)}")


def check_name(name: str) -> None:
    if not name:
        raise Refused("the entry's name is empty, which DynamoDB does not allow")
    size = text_size(name)
    if size > MAX_NAME_BYTES:
        raise Refused(f"the entry's name has {size} bytes, more than the {MAX_NAME_BYTES} of a DynamoDB attribute name")


def check_deep_name(name: str) -> None:
    for each in name.split(DEEP, 1):
        check_name(each)
        if DEEP in each:
            raise Refused(f"the entry's name {shown(each)} has U+001F, which stands between the names of two levels")


def refuse_clash(name: str, frame: frozenset[str]) -> NoReturn:
    if name in frame:
        raise Refused(
            f"the entry's name {shown(name)} is the name of an attribute of the whole item or of another table"
        )
    raise Refused(f"another row of the same item has the entry {shown(name)} already")


def present_members(members: dict[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    return {name: value for name, value in members.items() if value is not None}
