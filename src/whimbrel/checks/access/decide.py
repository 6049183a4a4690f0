"""What serves a statement under the mapping: a request of DynamoDB, an index that is wanted, a Scan, or nothing."""

from __future__ import annotations

from whimbrel.checks.access.parse import ParsedStatement
from whimbrel.checks.access.reads import read
from whimbrel.checks.access.several import several
from whimbrel.checks.access.statement_answer import NO_GROUPS, NOT_SERVED, Sizes, StatementAnswer
from whimbrel.checks.access.ways import best_match
from whimbrel.checks.access.writes import change, insert
from whimbrel.mapping.design import TableMapping


def decide(statement: ParsedStatement, mappings: dict[str, TableMapping], sizes: dict[str, Sizes]) -> StatementAnswer:
    """``mappings`` and ``sizes`` are by source table."""
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
