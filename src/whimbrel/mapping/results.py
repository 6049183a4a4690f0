"""The texts that an expression may have as its result, where that can be read from it: constants, and CASE over them.

For the proof that keys cannot meet: ``CASE WHEN paid THEN 'PAID' ELSE 'OPEN' END`` has one of two texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Word(Protocol):
    """A token of an expression."""

    kind: str
    text: str


def possible_texts(words: Sequence[Word]) -> tuple[str, ...] | None:
    """NULL is none of them; None where they are not known."""
    while len(words) > 1 and words[0].text == "(" and _closing(words, 0) == len(words) - 1:
        words = words[1:-1]
    if len(words) == 1:
        return _of_constant(words[0])
    if branches := _branches(words):
        return _of_all(branches)
    return None


def _of_constant(word: Word) -> tuple[str, ...] | None:
    if word.kind == "text" and word.text.startswith("'"):
        return (word.text[1:-1].replace("''", "'"),)
    if word.kind == "number" and word.text.isdecimal() and len(word.text) < 19:
        return (str(int(word.text)),)
    return () if word.text.lower() == "null" else None


def _of_all(branches: list[Sequence[Word]]) -> tuple[str, ...] | None:
    found = [possible_texts(each) for each in branches]
    if None in found:
        return None
    return tuple(dict.fromkeys(text for texts in found for text in texts or ()))


def _branches(words: Sequence[Word]) -> list[Sequence[Word]]:
    """The results of one CASE, or of one iif(); empty if the words are not one."""
    lower = [word.text.lower() if word.kind == "name" else word.text for word in words]
    if lower[:2] == ["iif", "("] and _closing(words, 1) == len(words) - 1:
        _, *others = _split(words[2:-1], (",",))
        return others if len(others) == 2 else []
    if not lower or lower[0] != "case" or lower[-1] != "end" or _end_of_case(lower) != len(words) - 1:
        return []
    inside, marks = words[1:-1], ("when", "then", "else")
    pieces = zip(_places(inside, marks), _split(inside, marks)[1:], strict=True)
    return [piece for place, piece in pieces if inside[place].text.lower() != "when"]


def _end_of_case(lower: list[str]) -> int:
    depth = 0
    for at, word in enumerate(lower):
        depth += (word == "case") - (word == "end")
        if depth == 0:
            return at
    return -1


def _closing(words: Sequence[Word], opened: int) -> int:
    """Where the parenthesis at ``opened`` closes."""
    depth = 0
    for at in range(opened, len(words)):
        depth += (words[at].text == "(") - (words[at].text == ")")
        if depth == 0:
            return at
    return -1


def _split(words: Sequence[Word], at: tuple[str, ...]) -> list[Sequence[Word]]:
    places = _places(words, at)
    starts, ends = [0, *(place + 1 for place in places)], [*places, len(words)]
    return [words[start:end] for start, end in zip(starts, ends, strict=True)]


def _places(words: Sequence[Word], at: tuple[str, ...]) -> list[int]:
    """Where one of ``at`` stands that is within no parentheses and no CASE of its own."""
    found, depth = [], 0
    for number, word in enumerate(words):
        lower = word.text.lower() if word.kind in ("name", "other") else ""
        depth += (lower in ("(", "case")) - (lower in (")", "end"))
        if depth == 0 and lower in at:
            found.append(number)
    return found
