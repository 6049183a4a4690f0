"""Selection rules against what is there: which tables are moved, in which order, and by which filters.

A table is selected if an include or explicit rule means it and no exclude rule does. Names are compared with regard to
case. Tables with a higher load-order come first, those of one load-order by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from whimbrel.dms.patterns import is_literal, literal, matches
from whimbrel.dms.rules import DmsRules, Filter, Locator, Selection

SYSTEM_SCHEMAS = ("information_schema", "mysql", "performance_schema", "sys")


class SourceObject(NamedTuple):
    """A table or view of the source, as information_schema has it."""

    schema: str
    name: str
    is_view: bool = False


class Selected(NamedTuple):
    """``rule`` is the selection rule that filters it, or that selected it first."""

    table: SourceObject
    rule: Selection
    filters: tuple[Filter, ...]


def select(
    rules: DmsRules,
    found: Iterable[SourceObject],
    faults: list[str],
    notes: list[str],
    *,
    begun: bool = False,
    joined: Callable[[str, str], str] = lambda schema, name: "",
) -> list[Selected]:
    """The tables to move in the order to load them. What cannot be meant goes to ``faults``.

    ``joined`` says of a view what else does the same, "" if nothing does.
    ``begun``: only the tables that were selected once are ``found``, so a rule that means none of them is not wrong.
    """
    candidates = sorted(table for table in found if table.schema.lower() not in SYSTEM_SCHEMAS)
    chosen: list[tuple[int, Selected]] = []
    for table in candidates:
        including = [rule for rule in rules.selections if rule.action != "exclude" and _means(rule, table)]
        excluding = [rule for rule in rules.selections if rule.action == "exclude" and _means(rule, table)]
        if not including or excluding:
            continue
        including.sort(key=lambda rule: rule.order)
        if table.is_view:
            faults.append(_a_view(including[0], table, joined))
            continue
        order = max(rule.load_order for rule in including)
        chosen.append((order, Selected(table, including[0], _filters(including, table, faults))))
    if not begun:
        _selects_nothing(rules, candidates, faults, notes, joined)
    if not chosen and not faults:
        faults.append("the selection rules select no table of the source")
    chosen.sort(key=lambda one: (-one[0], one[1].table))
    return [selected for _, selected in chosen]


def _a_view(rule: Selection, view: SourceObject, joined: Callable[[str, str], str]) -> str:
    what = f"{view.schema}.{view.name} is a view, whose changes no log has: select tables only"
    return f"{rule}: {what}{joined(view.schema, view.name)}"


def is_meant(locator: Locator, schema: str, table: str) -> bool:
    """Whether the locator of a transformation, an object mapping or a setting means the table."""
    return matches(locator.schema, schema) and matches(locator.table, table)


def _means(rule: Selection, table: SourceObject) -> bool:
    kind = rule.locator.kind
    if kind != "all" and (kind == "view") != table.is_view:
        return False
    if rule.action == "explicit":  # the one table of this name; an underscore is an underscore
        return (literal(rule.locator.schema), literal(rule.locator.table)) == (table.schema, table.name)
    return is_meant(rule.locator, table.schema, table.name)


def _filters(including: list[Selection], table: SourceObject, faults: list[str]) -> tuple[Filter, ...]:
    """The filters that hold for the table: rules that select it by different ones cannot both be right."""
    if len({rule.filters for rule in including if rule.sound}) > 1:
        faults.append(
            f"{' and '.join(map(str, including))} select {table.schema}.{table.name} with different filters: which "
            "rows are meant cannot be said"
        )
    return including[0].filters


def _selects_nothing(
    rules: DmsRules,
    candidates: list[SourceObject],
    faults: list[str],
    notes: list[str],
    joined: Callable[[str, str], str],
) -> None:
    """A rule for one table that is not there is a slip, and so is one with wildcards that would mean a table if case
    did not matter; else one with wildcards may have nothing to select today. An exclude that is misspelt moves a table.
    """
    for rule in rules.selections:
        if not rule.sound or any(_means(rule, table) for table in candidates):
            continue
        name = f"{literal(rule.locator.schema)}.{literal(rule.locator.table)}"
        one_table = rule.action == "explicit" or (is_literal(rule.locator.schema) and is_literal(rule.locator.table))
        # A name with an underscore is a pattern to DMS, but who wrote it meant that one table.
        meant_one = one_table or "%" not in rule.locator.schema + rule.locator.table
        if not meant_one and not _is_meant_but_for_case(rule.locator, candidates):
            notes.append(f"{rule}: its object-locator means no {rule.locator.kind} that is there")
            continue
        there = next((table for table in candidates if name == f"{table.schema}.{table.name}"), None)
        if there:  # but of the other kind
            a_table = f"{rule}: {name} is a table, and its table-type is 'view'"
            faults.append(_a_view(rule, there, joined) if there.is_view else a_table)
            continue
        names = {f"{table.schema}.{table.name}".lower(): f"{table.schema}.{table.name}" for table in candidates}
        nearest = [names[each] for each in difflib.get_close_matches(name.lower(), names, 1)]
        faults.append(
            f"{rule}: there is no {rule.locator.kind if rule.locator.kind != 'all' else 'table'} {name}"
            + (f"; did you mean {nearest[0]}? Case matters" if nearest else ", or it may not be read")
        )


def _is_meant_but_for_case(locator: Locator, candidates: list[SourceObject]) -> bool:
    schema, table = locator.schema.lower(), locator.table.lower()
    return any(matches(schema, one.schema.lower()) and matches(table, one.name.lower()) for one in candidates)
