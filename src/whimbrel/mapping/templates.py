"""Templates such as ``${customerid}|${orderid}``: how keys, entry names and added attributes are made from columns.

``${column}`` stands for the column's canonical text (see ``values``), ``$$`` for a dollar; everything else for itself.
Between the braces a column's name stands as it is, also its dollars. One with a brace in it cannot be named. What
follows the name is a format, and a text for NULL: see ``formats``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from whimbrel.errors import MappingError
from whimbrel.item import text_size
from whimbrel.mapping import formats
from whimbrel.mapping.formats import Reference
from whimbrel.mapping.forms import Refused
from whimbrel.records import Column, Value

MAX_STEPS = 200_000  # of the search for the rows behind one key


class Literal(NamedTuple):
    text: str


Part = Literal | Reference


class Separator(NamedTuple):
    """A literal beside a column, that the column's own text must not run into; ``behind`` the column, or before it."""

    part: Reference
    text: str
    behind: bool


@dataclass(frozen=True, slots=True)
class Template:
    text: str
    parts: tuple[Part, ...]  # no two literals in a row, none empty

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns used, each once, in order of appearance."""
        return tuple(dict.fromkeys(part.column for part in self.parts if isinstance(part, Reference)))

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple(part for part in self.parts if isinstance(part, Reference))

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that must not be NULL."""
        return tuple(dict.fromkeys(part.column for part in self.references if part.default is None))

    @property
    def alone(self) -> str:
        """The column, if the template is just ``${column}``, else ""."""
        [only, *others] = self.parts or (None,)
        return only.column if isinstance(only, Reference) and only.plain and not others else ""

    def over(self, constants: Mapping[str, str]) -> Template:
        """With the texts of ``constants`` in place of these columns."""
        parts: list[Part] = []
        for part in self.parts:
            if isinstance(part, Reference) and part.plain and part.column in constants:
                part = Literal(constants[part.column])
            if isinstance(part, Literal) and parts and isinstance(parts[-1], Literal):
                part = Literal(parts.pop().text + part.text)  # type: ignore[union-attr]
            if part != Literal(""):
                parts.append(part)
        return Template(self.text, tuple(parts))

    def told(self, columns: Mapping[str, Column]) -> frozenset[str]:
        """The columns whose values the text tells, as far as it can be read; not those that a lossy format is of."""
        return frozenset(part.column for part in self.references if formats.tells(part, columns[part.column]))

    def bound(self, columns: Mapping[str, Column]) -> int | None:
        """The most bytes that the text can take, None if unknown."""
        total = 0
        for part in self.parts:
            size = text_size(part.text) if isinstance(part, Literal) else formats.bound(part, columns[part.column])
            if size is None:
                return None
            total += size
        return total

    def ambiguity(self, columns: Mapping[str, Column]) -> str | None:
        """Says how two different tuples of column values could give the same text; None if they cannot, as long as each
        column of ``separators`` keeps clear of its separator.
        """
        doubtful = self._doubtful(columns)
        for left, right in pairwise(doubtful):
            if isinstance(left, Reference) and isinstance(right, Reference) and not _width(left, columns):
                return (
                    f"nothing stands between {left.column} and {right.column} in {self.text!r}: "
                    f"different rows could give the same text"
                )
        return None

    def separators(self, columns: Mapping[str, Column]) -> tuple[Separator, ...]:
        """If each of these columns keeps clear of its literal, the template's text can be read back in one way only.

        A number is rather held to what stands before it than the text there to what stands behind: its text has a
        sign at most.
        """
        parts = list(self._doubtful(columns))
        found = []
        while len(parts) > 1 and isinstance(number := parts[-1], Reference) and isinstance(parts[-2], Literal):
            if formats.characters(number, columns[number.column]) is None:
                break
            found.append(Separator(number, parts[-2].text, behind=False))
            del parts[-2:]
        return tuple(found) + tuple(
            Separator(part, following.text, behind=True)
            for part, following in pairwise(parts)
            if isinstance(part, Reference) and isinstance(following, Literal) and not _ends(part, following, columns)
        )

    def certain(self, columns: Mapping[str, Column]) -> set[str]:
        """The columns that can be read back from every text, whatever the others hold."""
        doubtful = self._doubtful(columns)
        return {
            part.column
            for part in self.references
            if part not in doubtful and formats.tells(part, columns[part.column])
        }

    def _doubtful(self, columns: Mapping[str, Column]) -> tuple[Part, ...]:
        """What remains when the text is read from the left as far as each column's end is certain, then from the right;
        nothing if that is one column, which then takes what is between.
        """
        first = _certain_from_left(self.parts, columns)
        doubtful = self.parts[first : _certain_from_right(self.parts, columns, first)]
        return doubtful if sum(isinstance(part, Reference) for part in doubtful) > 1 else ()

    def text_of(self, values: Mapping[str, Value], columns: Mapping[str, Column]) -> str:
        """The text over these values. Raises Refused where a format cannot carry one."""
        return "".join(
            part.text
            if isinstance(part, Literal)
            else formats.text_function(part, columns[part.column])(values[part.column])
            for part in self.parts
        )

    def splits(self, text: str, columns: Mapping[str, Column]) -> Iterator[dict[str, Value]]:
        """Every assignment of column values that renders to ``text``, found lazily; of the columns that it tells.

        Raises MappingError when the search takes more than MAX_STEPS.
        """
        return _Search(self, text, columns).run(0, 0, {})


class _Search:
    """Backtracking over the places where one column's text may end."""

    def __init__(self, template: Template, text: str, columns: Mapping[str, Column]) -> None:
        self.template = template
        self.parts = template.parts
        self.text = text
        self.columns = columns
        self.steps = 0

    def run(self, number: int, at: int, found: dict[str, Value]) -> Iterator[dict[str, Value]]:
        if number == len(self.parts):
            if at == len(self.text) and self._is_text_of(found):
                yield found
            return
        part = self.parts[number]
        if isinstance(part, Literal):
            if self.text.startswith(part.text, at):
                yield from self.run(number + 1, at + len(part.text), found)
            return
        for end in self._ends(number, at):
            self._count()
            for reading in formats.readings(part, self.columns[part.column], self.text[at:end]):
                if all(found.get(name, value) == value for name, value in reading.items()):
                    yield from self.run(number + 1, end, {**found, **reading})

    def _is_text_of(self, found: dict[str, Value]) -> bool:
        """Whether formats of columns that are told elsewhere say the same."""
        formatted = [part for part in self.template.references if part.form and part.column in found]
        if not formatted:
            return True
        if any(part.column not in found for part in self.template.references):
            return True  # its mapping says which of the rows that are found are of the key
        try:
            return self.template.text_of(found, self.columns) == self.text
        except Refused:
            return False

    def _ends(self, number: int, at: int) -> Iterator[int]:
        part = self.parts[number]
        if isinstance(part, Reference) and part.form and (width := _width(part, self.columns)):
            yield from (at + width,) if at + width <= len(self.text) else ()
            return
        if number + 1 == len(self.parts):
            yield len(self.text)
            return
        following = self.parts[number + 1]
        if isinstance(following, Reference):
            yield from range(at, len(self.text) + 1)
            return
        end = self.text.find(following.text, at)
        while end >= 0:
            yield end
            end = self.text.find(following.text, end + 1)

    def _count(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise MappingError(
                f"the key text {self.text[:200]!r} can be split into columns in too many ways",
                place=self.template.text,
                hint="Use a separator that does not occur in the columns' values.",
            )


def parse(text: str, names: Collection[str] = ()) -> Template:
    """Reads a template; raises MappingError for a ``$`` that is neither ``${column}`` nor ``$$``.

    ``names`` are the columns that there are, so that one with a colon in its name is known.
    """
    parts: list[Part] = []
    literal = ""
    for match in re.finditer(r"\$\$|\$\{([^{}]+)\}|(\$)|[^$]+", text):
        if match[2]:
            raise MappingError(
                f"a '$' at character {match.start() + 1} of {text!r} starts neither ${{column}} nor $$",
                hint="Write ${column} for a column and $$ for a dollar.",
            )
        if match[1] is None:
            literal += "$" if match[0] == "$$" else match[0]
            continue
        if literal:
            parts.append(Literal(literal))
            literal = ""
        parts.append(formats.reference_of(match[1], names))
    if literal:
        parts.append(Literal(literal))
    return Template(text, tuple(parts))


def _certain_from_left(parts: tuple[Part, ...], columns: Mapping[str, Column]) -> int:
    for number, part in enumerate(parts):
        if isinstance(part, Reference) and not _ends(part, next(iter(parts[number + 1 :]), None), columns):
            return number
    return len(parts)


def _ends(part: Reference, following: Part | None, columns: Mapping[str, Column]) -> bool:
    """Whether it is certain where the column's text ends, when it is read from the left."""
    if following is None or _width(part, columns):
        return True  # it takes the rest, or always as much
    return isinstance(following, Literal) and not _after_first(part, columns[part.column], following.text[0])


def _certain_from_right(parts: tuple[Part, ...], columns: Mapping[str, Column], first: int) -> int:
    for number in range(len(parts) - 1, first - 1, -1):
        part = parts[number]
        if isinstance(part, Literal) or _width(part, columns) or number == 0:
            continue
        before = parts[number - 1]
        if isinstance(before, Reference) or _may_contain(part, columns[part.column], before.text[-1]):
            return number + 1
    return first


def _after_first(part: Reference, column: Column, character: str) -> bool:
    """Whether ``character`` may follow the first character of the column's text."""
    if part.plain and column.kind in ("int", "decimal", "time") and character == "-":
        return False  # only as the sign, and a number is never empty
    return _may_contain(part, column, character)


def _may_contain(part: Reference, column: Column, character: str) -> bool:
    if part.plain and column.kind in ("enum", "set") and column.members:
        return any(character in member for member in column.members) or (column.kind == "set" and character == ",")
    if part.plain and column.kind == "int" and column.unsigned and character == "-":
        return False
    known = formats.characters(part, column)
    return known is None or character in known


def _width(part: Reference, columns: Mapping[str, Column]) -> int:
    """The length of every text of the column, 0 if it varies."""
    return len(formats.exact(part, columns[part.column]))
