"""What rules of a DMS file mean by names, and what they make of them. Case matters."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from whimbrel.dms import expressions
from whimbrel.dms.patterns import is_literal, matches
from whimbrel.dms.rules import MASKING, Transformation
from whimbrel.dms.type_names import dms_type
from whimbrel.records import Column, Table


def renamed(rule: Transformation, name: str, table: Table, faults: list[str], column: Column | None = None) -> str:
    """What the rule makes of a name, of a table or a column; one without the prefix or suffix stays as it is."""
    if rule.expression:
        what = f"{table.full_name}.{column.name}" if column else table.full_name
        return expressions.name_by(rule.expression, table, faults, f"{rule}: name of {what}", column) or name
    value, old = rule.value, rule.old_value
    made: dict[str, Callable[[], str]] = {
        "rename": lambda: value,
        "convert-lowercase": name.lower,
        "convert-uppercase": name.upper,
        "add-prefix": lambda: value + name,
        "add-suffix": lambda: name + value,
        "remove-prefix": lambda: name.removeprefix(value),
        "remove-suffix": lambda: name.removesuffix(value),
        "replace-prefix": lambda: value + name.removeprefix(old) if name.startswith(old) else name,
        "replace-suffix": lambda: name.removesuffix(old) + value if name.endswith(old) else name,
    }
    return made[rule.action]()


def unknown(name: str, names: tuple[str, ...], place: str) -> str:
    nearest = difflib.get_close_matches(name.lower(), {each.lower(): each for each in names}, 1, cutoff=0.0)
    near = next((each for each in names if nearest and each.lower() == nearest[0]), "")
    return f"{place} has no column {name!r}" + (f"; the nearest is {near!r}, and case matters" if near else "")


def might_mean_others(rule: Transformation) -> bool:
    """Whether columns that are not there yet might be meant; by an underscore only where that hides their values."""
    column = rule.locator.column
    if rule.action in (*MASKING, "remove-column", "include-column"):
        return bool(column) and (rule.action == "include-column" or not is_literal(column))
    if rule.before_image:
        return rule.before_image.columns != "pk-only"
    return not is_literal(column.replace("_", ""))


def means_column(rule: Transformation, name: str, column: Column | None = None) -> bool:
    """Whether the rule means the column of this name, by its type too where the locator has one."""
    named = bool(rule.locator.column) and matches(rule.locator.column, name)
    return named and (not rule.locator.data_type or column is None or dms_type(column) == rule.locator.data_type)


def _says(rule: Transformation) -> tuple[object, ...]:
    return rule.action, rule.value, rule.expression, rule.data_type


def winner(meant: list[Transformation], notes: list[str]) -> Transformation | None:
    if not meant:
        return None
    first, *others = sorted(meant, key=lambda rule: rule.order)
    for other in others:
        if _says(other) != _says(first):
            notes.append(f"{other}: {other.action} has no effect where {first} meets it, which has the lower id")
    return first
