"""From one value to its feature: the only such code, compiled into training's columns and into every model's scorer.

Every value of an input has a **place**, and every number also an amount:

======== =========================================================== ==========================================
type     places                                                      amount
======== =========================================================== ==========================================
number   one for each quantile bin of the training rows, then        the number, held from ``low`` to ``high``;
         "missing"                                                   ``fill`` where it is missing
category one for each category known from training, then "other",    none
         then "missing"
======== =========================================================== ==========================================

Missing is NULL, an attribute that is not there, and the empty text: CSV cannot tell them apart. A category that
training did not know, or saw too rarely, is "other". Texts are compared exactly, but for white space around them, which
CSV often has by accident; ``true``, ``false`` and whole numbers are the texts that JSON has for them, so a category may
come as 34 or as "34".

A date is a column of the row and several inputs: numbers, each a ``part`` of it (dates.py).

The code is generated for speed. Names and texts never become source: they are bound as constants.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

from whimbrel.errors import RowError
from whimbrel.prediction.model.dates import PARTS, date_part, date_parts
from whimbrel.prediction.model.unknown import Found

NUMBER, CATEGORY = "number", "category"
DATE = "date"  # of a column, whose inputs are numbers
Encode = Callable[[Any], tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a model. ``shares``: what part of the training rows had each place.

    ``low`` and ``high`` are where a number is held, ``seen`` the least and the largest that the training rows had: not
    the same where a learner lets an outlier pull no further. ``part`` of the date in the column ``source``; both are
    "" for an input that is a column itself.
    """

    name: str
    type: str  # number | category
    categories: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()  # a number's bin is how many edges are at or below it
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    scale: float = 1.0
    shares: tuple[float, ...] = ()
    seen: tuple[float, float] | None = None
    source: str = ""
    part: str = ""
    rare: tuple[str, ...] = ()  # categories that training saw too rarely: "other", but not unknown

    @property
    def column(self) -> str:
        """The row's column that it is read from."""
        return self.source or self.name

    @property
    def known(self) -> int:
        """How many places are bins or known categories."""
        return len(self.categories) if self.type == CATEGORY else len(self.edges) + 1

    @property
    def missing(self) -> int:
        """The place of a missing value: the last."""
        return self.known + (self.type == CATEGORY)

    @property
    def places(self) -> int:
        return self.missing + 1


def columns_of(inputs: Sequence[Input]) -> list[str]:
    """The columns of a row, in order: the inputs of one date are one column, where the first of them stands."""
    return list(dict.fromkeys(each.column for each in inputs))


def unpack_source(inputs: Sequence[Input], constants: dict[str, Any]) -> list[str]:
    """Lines of Python that take ``row`` apart into ``v0``, ``v1`` and so on, a value for each input."""
    numbers: dict[str, list[int]] = {}
    for number, each in enumerate(inputs):
        numbers.setdefault(each.column, []).append(number)
    dated = {column: found for column, found in numbers.items() if inputs[found[0]].part}
    names = [f"d{found[0]}" if column in dated else f"v{found[0]}" for column, found in numbers.items()]
    lines = [f"{', '.join(names)}, = row"]
    for found in dated.values():
        constants["date_parts"] = date_parts
        lines.append(f"p = date_parts(d{found[0]})")
        lines += [f"v{number} = p[{PARTS.index(inputs[number].part)}]" for number in found]
    return lines


def place_source(number: int, each: Input, constants: dict[str, Any], *, fill: float) -> list[str]:
    """Lines of Python that take ``v<number>`` to its place ``k<number>``, and a number to its amount ``x<number>`` too.

    They raise ValueError, TypeError or OverflowError on a value that is not of the input's type, and tell ``unknown``,
    a list or None, of a category that training never saw.
    """
    v, x, k = f"v{number}", f"x{number}", f"k{number}"
    if each.type == CATEGORY:
        constants[f"PLACES{number}"], constants[f"NAME{number}"] = _places(each), each.name
        return [
            f"if {v}.__class__ is not str and {v} is not None: {v} = as_text({v})",
            f"{k} = PLACES{number}.get({v})",
            f"if {k} is None: {k} = other(PLACES{number}, {v}, {each.known}, NAME{number}, unknown)",
        ]
    constants[f"EDGES{number}"] = each.edges
    constants[f"LOW{number}"], constants[f"HIGH{number}"], constants[f"FILL{number}"] = each.low, each.high, fill
    return [
        f"if {v}.__class__ is str: {v} = float({v}) if {v} and '_' not in {v} else no_number({v})",
        f"elif {v}.__class__ is int: {v} = float({v})",
        f"elif {v}.__class__ is not float and {v} is not None: {v} = as_number({v})",
        f"if {v} is None: {x} = FILL{number}; {k} = {each.missing}",
        "else:",
        f"    {x} = {v} if LOW{number} <= {v} <= HIGH{number} else held({v}, LOW{number}, HIGH{number})",
        f"    {k} = bisect_right(EDGES{number}, {x})",
    ]


def _places(each: Input) -> dict[str | None, int]:
    places: dict[str | None, int] = {text: place for place, text in enumerate(each.categories)}
    places |= dict.fromkeys(each.rare, each.known)
    without_space = {text.strip(): place for text, place in places.items() if text}
    return without_space | places | {None: each.missing, "": each.missing}


def other(places: dict[str | None, int], text: str, known: int, name: str, unknown: list[Found] | None) -> int:
    """The place of a text that is not in ``places`` as it is: perhaps it is without the white space around it."""
    place = places.get(text.strip())
    if place is None:
        if unknown is not None:
            unknown.append((name, text))
        return known
    return place


def compile_function(name: str, lines: Sequence[str], constants: dict[str, Any]) -> Callable[..., Any]:
    """The function ``name`` of ``lines``, with ``constants`` and the helpers of this module as its globals."""
    scope = constants | {
        "as_text": as_text,
        "as_number": as_number,
        "no_number": no_number,
        "held": held,
        "other": other,
        "bisect_right": bisect_right,
    }
    exec(compile("\n".join(lines), f"<{name}>", "exec"), scope)
    function: Callable[..., Any] = scope[name]
    return function


def encoder(each: Input, *, fill: float) -> Encode:
    """The place and the amount of one value (0.0 for a category); training makes its columns with it."""
    constants: dict[str, Any] = {"unknown": None}
    lines = place_source(0, each, constants, fill=fill)
    if each.part:
        constants["date_part"] = date_part
        lines.insert(0, f"v0 = date_part(v0, {each.part!r})")
    amount = "0.0" if each.type == CATEGORY else "x0"
    return compile_function(
        "encode", ["def encode(v0):", *indented(lines), f"    return float({amount}), k0"], constants
    )


def indented(lines: Sequence[str], by: int = 4) -> list[str]:
    return [" " * by + line for line in lines]


def as_text(value: Any) -> str:
    """A category as the text that JSON has for it. Raises ValueError for anything but a string, number or boolean."""
    if isinstance(value, str):
        return str(value).strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (float, Decimal)) and math.isfinite(value):
        return str(int(value)) if value == int(value) else str(float(value))
    raise ValueError("must be a string")


def as_number(value: Any) -> float | None:
    """A number of some other type. Raises ValueError when it is none."""
    if isinstance(value, (Real, Decimal)) and not isinstance(value, bool):
        return float(value)
    raise ValueError("must be a number")


def no_number(value: str) -> None:
    """The empty text is a missing number; an underscore is Python's, not CSV's."""
    if value:
        raise ValueError("must be a number")


def held(value: float, low: float, high: float) -> float:
    """A number outside the range of the training rows counts as the nearest that they had."""
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return min(max(value, low), high)


def row_reader(inputs: Sequence[Input], ignored: Sequence[str] = ()) -> Callable[[Any, int], Sequence[Any]]:
    """A function from a row (a list in the order of the columns, or a dict by name) and its number to its values.

    A dict may lack columns (they are missing) and may have ``ignored`` names; any other name is refused, since it may
    be an input misspelt. The values of a dict in it are columns too: ``{"a": {"b": 1}}`` has the column ``a.b``.
    Raises RowError.
    """
    names = columns_of(inputs)
    allowed = set(names) | set(ignored)

    def read(row: Any, number: int) -> Sequence[Any]:
        if isinstance(row, (list, tuple)):
            if len(row) == len(names):
                return row
            raise _wrong_count(row, names, number)
        if not isinstance(row, dict):
            raise RowError(
                f"{shown(row)} is not a row", column="", place=f"row {number}", hint="Send a list or an object."
            )
        if not row.keys() <= allowed:
            row = flat(row, allowed, number)
        for name in row.keys() - allowed:
            raise RowError(
                f"column {name!r} is not an input of the model",
                column=str(name),
                place=f"row {number}",
                hint=f"The inputs are {', '.join(names)}.",
            )
        return [row.get(name) for name in names]

    return read


def flat(row: dict[str, Any], known: Collection[str], number: int) -> dict[str, Any]:
    """The row with the values of maps in it as columns of their own, unless the map's name is known itself. Raises
    RowError where two would have one name.
    """
    found: dict[str, Any] = {}
    for name, value in row.items():
        inner = {name: value}
        if isinstance(value, dict) and name not in known:
            inner = flat({f"{name}.{key}": each for key, each in value.items()}, known, number)
        for twice in inner.keys() & found.keys():
            message = f"column {twice!r} appears twice, by its own name and in a map"
            raise RowError(message, column=twice, place=f"row {number}", hint="Send it once.")
        found |= inner
    return found


def value_fault(inputs: Sequence[Input], values: Sequence[Any], number: int) -> RowError:
    """Which column of a row that could not be encoded is at fault."""
    by_column = dict(zip(columns_of(inputs), values, strict=True))
    for each in inputs:
        value = by_column[each.column]
        try:
            encoder(each, fill=0.0)(value)
        except (ValueError, TypeError, OverflowError):
            wanted = "an ISO date" if each.part else "a finite number" if each.type == NUMBER else "a string"
            return RowError(
                f"column {each.column!r} must be {wanted}, not {shown(value)}",
                column=each.column,
                place=f"row {number}",
                hint="An empty value is a missing one.",
            )
    raise AssertionError("every value of the row can be encoded")


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _wrong_count(row: Sequence[Any], names: list[str], number: int) -> RowError:
    if len(row) < len(names):
        column, fault = names[len(row)], f"column {names[len(row)]!r} is missing"
    else:
        column, fault = names[-1], f"there are values after the last column, {names[-1]!r}"
    return RowError(
        f"{fault}: {len(row)} values, not {len(names)}",
        column=column,
        place=f"row {number}",
        hint=f"The columns, in order, are {', '.join(names)}.",
    )
