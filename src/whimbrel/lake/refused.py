"""What could not be carried, and why: named by file and line, or by the item's key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.errors import LogCorrupt
from whimbrel.lake.datasets import home
from whimbrel.lake.manifest import Manifest
from whimbrel.records import Item

FILE = "refused.jsonl"  # in each data set's folder: what is not in it, since its base was made
_SHOWN_TEXT = 500
_MOST_REASONS = 10


class Refused(NamedTuple):
    """An item that could not be carried. ``line`` is 0 where only the key is known, ``key`` {} where only the line."""

    file: str
    line: int
    key: Item
    reason: str
    text: str


def shown_text(text: bytes) -> str:
    return text[:_SHOWN_TEXT].decode("utf-8", "replace")


def where(refused: Refused) -> str:
    """The file and line for a person; the key where only that is known."""
    return f"{refused.file}, line {refused.line}" if refused.line else f"{refused.file}, item {refused.key}"


def reasons_of(refused: Sequence[Refused]) -> str:
    """Every reason with how often it is given and where it is found first; the most frequent ones first."""
    first: dict[str, Refused] = {}
    for each in refused:
        first.setdefault(each.reason, each)
    counted = Counter(each.reason for each in refused).most_common()
    told = [f"  {count:,} times: {reason} (first: {where(first[reason])})" for reason, count in counted[:_MOST_REASONS]]
    more = [f"  and {len(counted) - _MOST_REASONS:,} more reasons"] if len(counted) > _MOST_REASONS else []
    return "\n".join(told + more)


def read_refused(folder: Path, manifest: Manifest) -> list[Refused]:
    """What is not in the data set, as far as it is named. Raises LogCorrupt."""
    path = home(folder, manifest.name) / manifest.id / FILE
    try:
        return [Refused(**orjson.loads(line)) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise LogCorrupt(f"cannot be read: {error}", place=str(path), hint="Convert the exports again.") from error


def refused_lines(refused: Iterable[Refused]) -> bytes:
    return b"".join(orjson.dumps(each._asdict()) + b"\n" for each in refused)
