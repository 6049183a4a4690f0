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
    return all(part not in ("%", "_") and (not _is_class(part) or len(part) == 3) for part in _parts(text))


def literal(text: str) -> str:
    """The one name that a literal pattern means; of another, its text."""
    return "".join(part[1] if _is_class(part) and len(part) == 3 else part for part in _parts(text))


def matches(text: str, name: str) -> bool:
    """Whether the name is one that the pattern means. Case matters."""
    return re.fullmatch(_expression(text), name, re.DOTALL) is not None


def _parts(text: str) -> list[str]:
    return re.split(r"(%|_|\[[^\]]+\])", text)


def _is_class(part: str) -> bool:
    return len(part) > 2 and part.startswith("[") and part.endswith("]")


def _expression(text: str) -> str:
    return "".join(map(_expression_of, _parts(text)))


def _expression_of(part: str) -> str:
    if part in ("%", "_"):
        return {"%": ".*", "_": "."}[part]
    if _is_class(part):
        return f"[{''.join(f'{re.escape(first)}-{re.escape(last)}' for first, last in _members(part[1:-1]))}]"
    return re.escape(part)


def _members(inside: str) -> list[tuple[str, str]]:
    """The ranges of characters between the brackets; a single character is a range of itself."""
    return [(one[0], one[-1]) for one in re.findall(r".-.|.", inside, re.DOTALL)]
