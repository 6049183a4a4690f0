"""The access patterns of a project: all statements, what serves each, and what there is to say about them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whimbrel.checks.access.decide import decide_best
from whimbrel.checks.access.parse import ParsedStatement, Unparsed, is_session, parse
from whimbrel.checks.access.statement_answer import NEEDS_INDEX, NOT_SERVED, SCAN, Sizes, StatementAnswer
from whimbrel.checks.access.statements import PERFORMANCE_SCHEMA, SeenStatement, from_digests, from_file
from whimbrel.checks.ask import OutOfTime, TimedQueries
from whimbrel.checks.findings import Finding, finding
from whimbrel.checks.scope import Scope
from whimbrel.errors import WhimbrelError
from whimbrel.mapping.design import TableMapping
from whimbrel.mysql.connect import quoted
from whimbrel.records import Table

_CODES = {NEEDS_INDEX: "access-index", SCAN: "access-scan", NOT_SERVED: "access-not-served"}
SHOWN = 140  # characters of a statement in a finding


@dataclass
class Pattern:
    """One statement without its values. ``share`` is of the statements about mapped tables, those unread included."""

    statement: str
    count: int
    share: float
    answer: StatementAnswer


@dataclass
class Access:
    """``unread``: (statement, count, why), for what was not understood. ``other``: statements about other tables."""

    origin: str
    patterns: list[Pattern] = field(default_factory=list)
    unread: list[tuple[str, int, str]] = field(default_factory=list)
    other: int = 0
    session: int = 0

    @property
    def read_units(self) -> float:
        """Of all statements together, as far as they are known."""
        return sum(each.count * (each.answer.units or 0.0) for each in self.patterns if not each.answer.writes)


def spoken(origin: str, queries: TimedQueries, database: str) -> tuple[Counter[SeenStatement], list[Finding]]:
    """The statements of ``origin``, a file or ``performance_schema``. Raises ProjectError for a file."""
    if origin != PERFORMANCE_SCHEMA:
        return from_file(Path(origin), database), []
    try:
        [(on,)] = queries.rows("SELECT @@performance_schema", PERFORMANCE_SCHEMA)
        if not on:
            return Counter(), [finding("access-statements", origin, "performance_schema is off on this server")]
        found = from_digests(queries)
    except (WhimbrelError, OutOfTime) as error:
        grant = "GRANT SELECT ON performance_schema.* TO the account, or give a log with --statements FILE"
        return Counter(), [finding("access-statements", origin, str(error) or "took too long", grant)]
    return found, [] if found else [finding("access-statements", origin, "the server has gathered no digests")]


@dataclass
class Heard:
    """Statements without their values, each with how often it came; the rest is as in Access."""

    counts: Counter[str] = field(default_factory=Counter)
    parsed: dict[str, ParsedStatement] = field(default_factory=dict)
    unread: list[tuple[str, int, str]] = field(default_factory=list)
    other: int = 0
    session: int = 0


def heard_of(said: Counter[SeenStatement], tables: Mapping[str, Table]) -> Heard:
    """What is said of ``tables``. Statements that differ in spelling only are one."""
    found = Heard()
    for each, count in said.items():
        if is_session(each.text):
            found.session += count
            continue
        try:
            statement = parse(each, tables)
        except Unparsed as reason:
            found.unread.append((each.text, count, str(reason)))
            continue
        if statement is None:
            found.other += count
            continue
        found.counts[statement.text] += count
        found.parsed.setdefault(statement.text, statement)
    return found


def access_of(
    origin: str, said: Counter[SeenStatement], mappings: list[TableMapping], sizes: dict[str, Sizes]
) -> Access:
    """Statements that differ in spelling only are one pattern."""
    by_table: dict[str, list[TableMapping]] = {}
    for each_mapping in mappings:
        by_table.setdefault(each_mapping.table.full_name, []).append(each_mapping)
    tables = {name: several[0].table for name, several in by_table.items()}
    heard = heard_of(said, tables)
    counts = heard.counts
    found = Access(origin, unread=heard.unread, other=heard.other, session=heard.session)
    answers = {text: decide_best(statement, by_table, sizes) for text, statement in heard.parsed.items()}
    total = sum(counts.values()) + sum(count for _, count, _ in found.unread)
    found.patterns = [Pattern(text, count, count / total, answers[text]) for text, count in counts.most_common()]
    found.unread.sort(key=lambda one: -one[1])
    return found


def sizes_of(queries: TimedQueries, mapping: TableMapping, scope: Scope, facts: Any) -> Sizes:
    """From what check knows of the table. How many items have a value is asked when it is wanted, once."""
    known: dict[tuple[str, ...], float | None] = {}

    def per(columns: tuple[str, ...]) -> float | None:
        if columns not in known:
            known[columns] = _per(queries, mapping, scope, columns)
        rows = known[columns]
        each = facts.sizes.rows if facts.sizes else 1.0
        return None if rows is None else max(1.0, rows / each)

    if facts.sizes is None:
        return Sizes(0.0, 0.0, 1.0, per)
    return Sizes(facts.items, facts.sizes.bytes, facts.sizes.write_units, per)


def _per(queries: TimedQueries, mapping: TableMapping, scope: Scope, columns: tuple[str, ...]) -> float | None:
    """Rows for each of the columns' values; None for computed columns, or where it takes too long."""
    if set(columns) >= set(mapping.table.primary_key):
        return 1.0
    if not columns or not set(columns) <= set(mapping.table.names) - set(mapping.seen.uses):
        return None
    names = ", ".join(map(quoted, columns))
    try:
        rows, values = queries.row(f"SELECT COUNT(*), COUNT(DISTINCT {names}) FROM {scope.sql}", mapping.source)
    except OutOfTime:
        return None
    return rows / values if values else 1.0


def access_findings(access: Access) -> Iterator[Finding]:
    for each in access.patterns:
        code = _CODES.get(each.answer.verdict)
        if code:
            notes = f" ({'; '.join(each.answer.notes)})" if each.answer.notes else ""
            reason = f"{each.share:.1%} of the statements: {_short(each.statement)}{notes}"
            yield finding(code, each.answer.table, reason, each.answer.advice)
    by_reason: dict[str, int] = defaultdict(int)
    for _, count, _ in access.unread:
        by_reason["all"] += count
    if access.unread:
        examples = "; ".join(_short(text) for text, _, _ in access.unread[:3])
        yield finding("access-unread", access.origin, f"{by_reason['all']:,} statements: {examples}")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def access_json(access: Access) -> dict[str, Any]:
    return {
        "origin": access.origin,
        "read_units": access.read_units,
        "patterns": [
            {
                "statement": each.statement,
                "count": each.count,
                "share": each.share,
                "table": each.answer.table,
                "served_by": each.answer.verdict,
                "index": each.answer.index,
                "call": each.answer.call,
                "units": each.answer.units,
                "units_are": "write" if each.answer.writes else "read",
                "notes": each.answer.notes,
                "advice": each.answer.advice,
            }
            for each in access.patterns
        ],
        "unread": [{"statement": text, "count": count, "why": why} for text, count, why in access.unread],
        "other_tables": access.other,
        "session": access.session,
    }
