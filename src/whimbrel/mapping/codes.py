"""``codes``: each value of a column as a boolean, a number or a text of the user's, and back.

A value without a code makes its row a dead letter; a member of an ENUM without one is refused beforehand.
"""

from __future__ import annotations

from collections.abc import Callable

from whimbrel.item import normal
from whimbrel.mapping.formats import Reference, text_function
from whimbrel.mapping.forms import Refused, shown
from whimbrel.mapping.values import INTEGER_KINDS, values_of_text
from whimbrel.project import TableRule
from whimbrel.records import AttributeValue, Column, Value

Codes = tuple[tuple[str, AttributeValue], ...]  # the texts of values, and what stands for each

_KINDS = ("enum", "text", "int", "bit", "year", "computed")
_TYPES = {bool: "BOOL", int: "N", str: "S"}


def codes_of(rule: TableRule, column: Column, faults: list[str]) -> Codes:
    """Empty if the rule has none for the column."""
    said = rule.codes.get(column.name)
    if said is None:
        return ()
    place = f"codes of column {column.name!r}"
    if column.kind not in _KINDS:
        faults.append(f"{place} ({column.kind}): only {', '.join(_KINDS)} have codes")
    if column.name in rule.types:
        faults.append(f"{place}: types says another thing of it; the codes have a type of their own")
    if column.kind in INTEGER_KINDS and (strange := [each for each in said if not values_of_text(column, each)]):
        faults.append(f"{place} have {strange[0]!r}, which is not a number")
    if column.kind == "enum" and (left_out := [each for each in column.members if each not in said]):
        faults.append(f"{place} leave out {', '.join(map(repr, left_out))} of the ENUM")
    if column.kind == "enum" and (unknown := [each for each in said if each not in (*column.members, "")]):
        faults.append(f"{place} have {unknown[0]!r}, which is not a member of the ENUM")
    return tuple((text, _value(code)) for text, code in said.items())


def _value(code: bool | int | str) -> AttributeValue:
    kind = _TYPES[type(code)]
    return {kind: str(code) if kind == "N" else code}


def type_of(codes: Codes) -> str:
    [kind] = codes[0][1]
    return kind


def are_told(codes: Codes) -> bool:
    """Whether each code is one value's only."""
    return len({str(value) for _, value in codes}) == len(codes)


def coder(column: Column, codes: Codes) -> Callable[[Value], AttributeValue]:
    """From a value that is not NULL to its code; raises Refused."""
    text, table = text_function(Reference(column.name), column), dict(codes)

    def code(value: Value) -> AttributeValue:
        try:
            return table[text(value)]
        except KeyError:
            raise Refused(f"column {column.name!r} is {shown(value)}, which has no code") from None

    return code


def decoder(column: Column, codes: Codes) -> Callable[[AttributeValue], Value]:
    """From a code to its value; raises Refused."""
    values = {str(normal(value)): int(text) if column.kind in INTEGER_KINDS else text for text, value in codes}

    def back(value: AttributeValue) -> Value:
        if "NULL" in value and column.nullable:
            return None
        found = values.get(str(normal(value)))
        if found is None:
            raise Refused(f"column {column.name!r} has no value with the code {shown(value)}")
        return found

    return back
