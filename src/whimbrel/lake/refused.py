"""What could not be carried, and why: named by file and line, or by the item's key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import orjson

from whimbrel.records import Item

_SHOWN_TEXT = 500


class Refused(NamedTuple):
    """An item that could not be carried. ``line`` is 0 where only the key is known, ``key`` {} where only the line."""

    file: str
    line: int
    key: Item
    reason: str
    text: str


def shown_text(text: bytes) -> str:
    return text[:_SHOWN_TEXT].decode("utf-8", "replace")


def refused_lines(refused: Iterable[Refused]) -> bytes:
    return b"".join(orjson.dumps(each._asdict()) + b"\n" for each in refused)
