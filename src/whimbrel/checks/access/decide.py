"""What serves a statement under the mapping: a request of DynamoDB, an index that is wanted, a Scan, or nothing."""

from __future__ import annotations

import math
from itertools import islice, product

from whimbrel.checks.access.parse import ParsedStatement
from whimbrel.checks.access.reads import read
from whimbrel.checks.access.several import several
from whimbrel.checks.access.statement_answer import (
    NEEDS_INDEX,
    NO_GROUPS,
    NOT_SERVED,
    SCAN,
    Sizes,
    StatementAnswer,
)
from whimbrel.checks.access.ways import best_match
from whimbrel.checks.access.writes import change, insert
from whimbrel.mapping.design import TableMapping

_WORSE = {NEEDS_INDEX: 1, SCAN: 2, NOT_SERVED: 3}
_MOST = 64  # choices of rules, of a statement over several tables


def decide_best(
    statement: ParsedStatement, rules: dict[str, list[TableMapping]], sizes: dict[str, Sizes]
) -> StatementAnswer:
    """A table may be in several rules: what is read is read from the items that serve it best, and what is written is
    written to all of them. ``rules`` are by source table, ``sizes`` by rule.
    """
    names = dict.fromkeys(each.table.full_name for each in statement.tables)
    choices = product(*(rules[name] for name in names))
    answers = [decide(statement, dict(zip(names, choice, strict=True)), sizes) for choice in islice(choices, _MOST)]
    best = min(answers, key=lambda each: (_WORSE.get(each.verdict, 0), math.inf if each.units is None else each.units))
    if best.writes and len(answers) > 1:
        units = [each.units for each in answers]
        best.units = None if None in units else sum(each or 0.0 for each in units)
        best.notes.append(f"it is written to the items of {len(answers)} rules")
    return best


def decide(statement: ParsedStatement, mappings: dict[str, TableMapping], sizes: dict[str, Sizes]) -> StatementAnswer:
    """``mappings`` are by source table, one of the rules of each."""
    asked = statement.tables[0]
    if statement.why or statement.others or len(statement.tables) > 1:
        return several(statement, mappings)
    mapping = mappings[asked.table.full_name]
    size = sizes[mapping.source]
    if statement.verb in ("insert", "replace"):
        return insert(statement, asked, mapping, size)
    if statement.grouped:
        what = f"groups by {', '.join(statement.grouped)}"
        return StatementAnswer(mapping.source, NOT_SERVED, notes=[what], advice=NO_GROUPS)
    match = best_match(asked, mapping)
    if statement.verb != "select":
        return change(statement, asked, mapping, size, match)
    return read(statement, asked, mapping, size, match)
