"""Whether the texts of two templates can ever be equal, by what the texts of their columns may be made of.

``ORDER#${id}`` and ``ORDER#${order_id}#ITEM#${n}`` cannot where ``id`` is an integer: it has no ``#``.
A template is read as a row of steps, each a set of characters, once or as often as one likes; two of them have a text
in common if both can be walked to their ends over the same characters. A column of which nothing is known may be any
text. So may an ENUM or SET: an ALTER may add members while the migration runs, as it may give an integer its sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from whimbrel.mapping import formats
from whimbrel.mapping.templates import Literal, Template
from whimbrel.records import Column

_SIGNED = frozenset({"int", "decimal"})
_NEVER_EMPTY = frozenset({"int", "year", "bit", "decimal", "float", "double", "time", "inet4", "inet6"})


class _Step(NamedTuple):
    """``characters``: None for any. ``repeated``: none, one or more of them; else exactly one."""

    characters: frozenset[str] | None
    repeated: bool


def apart(one: Template, columns: Mapping[str, Column], other: Template, others: Mapping[str, Column]) -> bool:
    """No text of the one, over ``columns``, is ever a text of the other, over ``others``."""
    left, right = list(_steps(one, columns)), list(_steps(other, others))
    seen = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        at, beside = waiting.pop()
        if at == len(left) and beside == len(right):
            return False
        for place in _next(left, right, at, beside):
            if place not in seen:
                seen.add(place)
                waiting.append(place)
    return True


def _next(left: list[_Step], right: list[_Step], at: int, beside: int) -> Iterator[tuple[int, int]]:
    """The places after a step that may be left out, and after one more character that both take."""
    a = left[at] if at < len(left) else None
    b = right[beside] if beside < len(right) else None
    if a and a.repeated:
        yield at + 1, beside
    if b and b.repeated:
        yield at, beside + 1
    if a and b and _common(a, b):
        yield at + (not a.repeated), beside + (not b.repeated)


def _common(one: _Step, other: _Step) -> bool:
    if one.characters is None or other.characters is None:
        return True
    return not one.characters.isdisjoint(other.characters)


def _steps(template: Template, columns: Mapping[str, Column]) -> Iterator[_Step]:
    for part in template.parts:
        if isinstance(part, Literal):
            yield from (_Step(frozenset(character), False) for character in part.text)
            continue
        column = columns[part.column]
        characters = formats.characters(part, column)
        if (part.form or column.kind in ("date", "uuid")) and (places := formats.exact(part, column)):
            yield from (_Step(each, False) for each in places)
        elif characters is not None and column.kind in _NEVER_EMPTY and part.plain:
            yield _Step(characters, False)
            yield _Step(characters - {"-"} if column.kind in _SIGNED else characters, True)
        else:
            yield _Step(characters, True)
