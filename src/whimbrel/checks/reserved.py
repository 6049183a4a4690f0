"""Names of attributes that an expression cannot use as they are. Items take any name: only expressions are concerned.

The words are in reserved_words.txt, from
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html (the misspellings are Amazon's).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib.resources import files

from whimbrel.checks.findings import Finding, finding
from whimbrel.checks.sample import Mapped
from whimbrel.mapping.design import TableMapping

SHOWN = 12


@functools.cache
def reserved_words() -> frozenset[str]:
    return frozenset((files("whimbrel.checks") / "reserved_words.txt").read_text("utf-8").split())


def needs_placeholder(name: str) -> bool:
    """A reserved word in any case, or not a letter followed by letters, digits and ``_``."""
    return name.upper() in reserved_words() or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)


def name_findings(mapping: TableMapping, sample: list[Mapped]) -> Iterator[Finding]:
    """The names are those that real items have: a group's entries are named by the data."""
    attributes = dict.fromkeys(name for each in sample if each.put for name in each.put.item)
    names = dict.fromkeys([name for name, _ in mapping.key_attributes]) | attributes
    concerned = [name for name in names if needs_placeholder(name)]
    if concerned:
        more = f" and {len(concerned) - SHOWN:,} more of those sampled" if len(concerned) > SHOWN else ""
        yield finding("reserved-name", mapping.source, f"{', '.join(concerned[:SHOWN])}{more}")
