"""The wildcards of DMS in names of schemas, tables and columns: ``%`` ``_`` ``[_]`` ``[ab]`` ``[a-d]``."""

from __future__ import annotations

import re


def pattern_fault(text: str) -> str:
    """What is wrong with the pattern, "" if nothing is."""
    outside = re.sub(r"\[[^\]]+\]", "", text)
    if "[" in outside:
        return f"{text!r} has a [ that is not closed around at least one character"
    for inside in re.findall(r"\[([^\]]+)\]", text):
        for first, last in _members(inside):
            if first > last:
                return f"{text!r} has the range {first}-{last}, which is empty"
    return ""


def is_literal(text: str) -> bool:
    """Whether the pattern can mean one name only."""
    return re.search(r"[%_]", re.sub(r"\[.\]", "", text)) is None and not re.search(r"\[..+\]", text)


def literal(text: str) -> str:
    """The one name that a literal pattern means."""
    return re.sub(r"\[(.)\]", r"\1", text)


def matches(text: str, name: str) -> bool:
    """Whether the name is one that the pattern means. Case matters."""
    return re.fullmatch(_expression(text), name, re.DOTALL) is not None


def _expression(text: str) -> str:
    parts = re.split(r"(%|_|\[[^\]]+\])", text)
    return "".join(map(_part, parts))


def _part(part: str) -> str:
    if part == "%":
        return ".*"
    if part == "_":
        return "."
    if len(part) > 2 and part.startswith("[") and part.endswith("]"):
        return f"[{''.join(f'{re.escape(first)}-{re.escape(last)}' for first, last in _members(part[1:-1]))}]"
    return re.escape(part)


def _members(inside: str) -> list[tuple[str, str]]:
    """The ranges of characters between the brackets; a single character is a range of itself."""
    return [(one[0], one[-1]) for one in re.findall(r".-.|.", inside, re.DOTALL)]
