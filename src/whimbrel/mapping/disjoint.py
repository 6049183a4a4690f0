"""Whether the texts of two templates can ever be equal, by what the texts of their columns may be made of.

``ORDER#${id}`` and ``ORDER#${order_id}#ITEM#${n}`` cannot where ``id`` is an integer: it has no ``#``.
A template is read as a machine that takes texts character by character; two of them have a text in common if both can
be walked to their ends over the same characters. A column of which nothing is known may be any text. A machine may take
more than the column can have, never less: what is said to be apart is.

What is known of a column is what its table has now. An ALTER may give an ENUM more members, and a text more characters:
so this is proved again for every version of a table (see ``Versions``). It is not for those of a table that is looked
up, so its texts may be any. That an ALTER may give an integer a sign is reckoned with from the start.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import NamedTuple, Protocol

from whimbrel.mapping import formats
from whimbrel.mapping.formats import Reference
from whimbrel.mapping.templates import Literal, Template
from whimbrel.records import Column

_DIGITS = frozenset("0123456789")
_NEVER_EMPTY = frozenset({"year", "bit", "float", "double", "time", "inet4", "inet6"})
_LIKED = "1aA0x"  # characters of texts that are shown, where any would do
_A_TIME = "2026-01-31T12:00:00.000000Z"
_SHORT = 40  # characters: the places of two machines are multiplied
_MOST_STEPS = 20_000  # of the search for texts in common
_WAYS = 8  # texts with which a place is reached

Characters = frozenset[str] | None  # None: any


class _Builder(Protocol):
    """What a template's texts are said to, from the left to the right."""

    def one(self, characters: Characters, liked: str = "") -> None: ...
    def many(self, characters: Characters) -> None: ...
    def at_most(self, characters: Characters, number: int) -> None: ...
    def integer(self) -> None: ...
    def one_of(self, texts: tuple[str, ...]) -> None: ...


class _Move(NamedTuple):
    """Over one character to a place; ``free``: over none. ``liked`` is the one to show."""

    characters: Characters
    to: int
    free: bool = False
    liked: str = ""


class _Machine:
    """Its last place is its end."""

    def __init__(self) -> None:
        self.moves: list[list[_Move]] = [[]]

    @property
    def end(self) -> int:
        return len(self.moves) - 1

    def one(self, characters: Characters, liked: str = "") -> None:
        self.moves[-1].append(_Move(characters, len(self.moves), liked=liked))
        self.moves.append([])

    def perhaps(self, characters: Characters) -> None:
        self.moves[-1].append(_Move(None, len(self.moves), free=True))
        self.one(characters)

    def many(self, characters: Characters) -> None:
        """None, one or more."""
        self.moves[-1].append(_Move(characters, self.end))
        self.moves[-1].append(_Move(None, len(self.moves), free=True))
        self.moves.append([])

    def at_most(self, characters: Characters, number: int) -> None:
        for _ in range(number):
            self.perhaps(characters)

    def integer(self) -> None:
        """Without zeros before its first digit, and with a sign that an ALTER may give it."""
        self.perhaps(frozenset("-"))
        start, more, end = self.end, len(self.moves), len(self.moves) + 1
        self.moves[start] += [_Move(_DIGITS - {"0"}, more), _Move(frozenset("0"), end)]
        self.moves += [[_Move(_DIGITS, more), _Move(None, end, free=True)], []]

    def one_of(self, texts: tuple[str, ...]) -> None:
        start, ends = self.end, list[int]()
        for text in texts:
            self.moves[start].append(_Move(None, len(self.moves), free=True))
            self.moves.append([])
            for character in text:
                self.one(frozenset(character))
            ends.append(self.end)
        for each in ends:
            self.moves[each].append(_Move(None, len(self.moves), free=True))
        self.moves.append([])


class _Pattern:
    """A regular expression of the same texts."""

    def __init__(self) -> None:
        self.text = ""

    def one(self, characters: Characters, liked: str = "") -> None:
        self.text += _class_of(characters)

    def many(self, characters: Characters) -> None:
        """None, one or more."""
        self.text += f"{_class_of(characters)}*"

    def at_most(self, characters: Characters, number: int) -> None:
        self.text += f"{_class_of(characters)}{{0,{number}}}"

    def integer(self) -> None:
        self.text += "-?(?:0|[1-9][0-9]*)"

    def one_of(self, texts: tuple[str, ...]) -> None:
        self.text += f"(?:{'|'.join(map(re.escape, texts))})"


def _class_of(characters: Characters) -> str:
    if characters is None:
        return r"[\s\S]"
    return f"[{''.join(map(re.escape, sorted(characters)))}]" if characters else r"[^\s\S]"


def pattern_of(template: Template, columns: Mapping[str, Column]) -> str:
    """A regular expression of all texts that the template may have; of more, where the columns are not known better.
    What is ``apart`` from the template never matches it.
    """
    pattern = _Pattern()
    _build(pattern, template, columns)
    return pattern.text


def apart(one: Template, columns: Mapping[str, Column], other: Template, others: Mapping[str, Column]) -> bool:
    """No text of the one, over ``columns``, is ever a text of the other, over ``others``."""
    left, right = _machine(one, columns), _machine(other, others)
    end = (left.end, right.end)
    seen, waiting = {(0, 0)}, [(0, 0)]
    while waiting:
        at = waiting.pop()
        if at == end:
            return False
        for _, place in _next(left, right, at):
            if place not in seen:
                seen.add(place)
                waiting.append(place)
    return True


def common_texts(
    one: Template, columns: Mapping[str, Column], other: Template, others: Mapping[str, Column]
) -> Iterator[str]:
    """Texts that both may have, short ones first; as far as is known of the columns, so that some may be none's."""
    left, right = _machine(one, columns), _machine(other, others)
    end, found = (left.end, right.end), set[str]()
    waiting = deque([((0, 0), "")])
    seen, ways = set[tuple[tuple[int, int], str]](), Counter[tuple[int, int]]()
    for _ in range(_MOST_STEPS):
        if not waiting:
            return
        at, text = waiting.popleft()
        if at == end and text not in found:
            found.add(text)
            yield text
        for character, place in _next(left, right, at):
            there = (place, text + character)
            if there in seen or ways[place] == _WAYS:  # else the first loop would take all of the steps
                continue
            seen.add(there)
            ways[place] += 1
            (waiting.append if character else waiting.appendleft)(there)


def _next(left: _Machine, right: _Machine, at: tuple[int, int]) -> Iterator[tuple[str, tuple[int, int]]]:
    """The places that can be reached over one character that both take, or over none."""
    a, b = at
    yield from (("", (move.to, b)) for move in left.moves[a] if move.free)
    yield from (("", (a, move.to)) for move in right.moves[b] if move.free)
    for move in left.moves[a]:
        for other in right.moves[b]:
            if not (move.free or other.free) and (character := _common(move, other)):
                yield character, (move.to, other.to)


def _common(one: _Move, other: _Move) -> str:
    """A character of both, "" if there is none."""
    liked = one.liked + other.liked + _LIKED
    if one.characters is None or other.characters is None:
        both = other.characters if one.characters is None else one.characters
        return liked[0] if both is None else _liked(both, liked)
    return _liked(one.characters & other.characters, liked)


def _liked(characters: frozenset[str], liked: str) -> str:
    return next((each for each in liked if each in characters), min(characters, default=""))


def _machine(template: Template, columns: Mapping[str, Column]) -> _Machine:
    machine = _Machine()
    _build(machine, template, columns)
    return machine


def _build(machine: _Builder, template: Template, columns: Mapping[str, Column]) -> None:
    for part in template.parts:
        if isinstance(part, Literal):
            for character in part.text:
                machine.one(frozenset(character))
        else:
            _add(machine, part, columns[part.column])


def _add(machine: _Builder, part: Reference, column: Column) -> None:
    """The texts of a column; where one stands for NULL, that is one of them."""
    characters = formats.characters(part, column)
    most = 0 if column.looked_up else formats.most(part, column)
    if part.plain and column.kind in ("int", "decimal"):
        machine.integer()
        scale = column.scale if column.kind == "decimal" else 0
        for number in range(scale and scale + 1):
            machine.one(_DIGITS if number else frozenset("."))
    elif part.plain and column.kind in ("enum", "computed") and column.members and not column.looked_up:
        machine.one_of((*column.members, "") if column.kind == "enum" else column.members)
    elif part.plain and column.kind == "set" and column.members and not column.looked_up:
        machine.many(frozenset("".join(column.members) + ","))
    elif places := formats.exact(part, column):
        liked = _A_TIME if part.plain and column.kind in ("date", "datetime", "timestamp") else ""
        for each, character in zip_longest(places, liked[: len(places)], fillvalue=""):
            machine.one(frozenset(each), character)
    elif characters is not None and column.kind in _NEVER_EMPTY and part.plain:
        machine.one(characters)
        machine.many(characters)
    elif 0 < most <= _SHORT:
        machine.at_most(characters, most)
    else:
        machine.many(characters)
