"""Keys that meet where they should not, and keys that the collation takes for one and DynamoDB does not.

Whether there are such is told by counting distinct values, which is cheap; examples are looked for only then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from whimbrel.checks.ask import OutOfTime, TimedQueries
from whimbrel.checks.findings import Finding, finding
from whimbrel.checks.scope import Scope
from whimbrel.checks.sql import as_bytes, in_sql, template_text
from whimbrel.mapping.design import TableMapping
from whimbrel.mysql.connect import quoted
from whimbrel.mysql.schema import unique_keys
from whimbrel.records import Column

SHOWN = 3


class KeyCounts(NamedTuple):
    """What there is in a Scope. ``items`` is 0 if it was not asked for."""

    items: int
    findings: list[Finding]


class _Question(NamedTuple):
    """Two numbers that should be equal, and how to find what makes them differ."""

    many: str
    few: str
    code: str
    what: str
    examples: str


def key_findings(queries: TimedQueries, mapping: TableMapping, scope: Scope) -> KeyCounts:
    """One query for all doubts; one more for each that is confirmed."""
    doubts = mapping.doubts() and mapping.doubts(unique_keys(queries.connection, mapping.table, queries.facts))
    questions = [*(_shared_keys(mapping, scope) if doubts else []), *_collation_equals(mapping, scope)]
    items = [_distinct(_item(mapping))] if mapping.shape == "group" else []
    asked = items + [each for question in questions for each in (question.many, question.few)]
    if not asked:
        return KeyCounts(0, [])
    row = [int(count) for count in queries.row(f"SELECT {', '.join(asked)} FROM {scope.sql}", mapping.source)]
    counts = row[len(items) :]
    found = []
    for question, many, few in zip(questions, counts[::2], counts[1::2], strict=True):
        if many > few:
            reason = f"{question.what.format(many - few)}{_examples(queries, mapping, question)}"
            found.append(finding(question.code, mapping.source, reason))
    if not any(each.code == "key-shared" for each in found):
        part = "all rows" if scope.whole else "the rows that were read"
        code = "key-asserted" if mapping.rule.assert_unique else "key-unproven"
        found += [finding(code, mapping.source, f"{doubt}. In {part}, none do") for doubt in doubts]
    return KeyCounts(row[0] if items else 0, found)


def uncounted_findings(queries: TimedQueries, mapping: TableMapping) -> list[Finding]:
    """Where the server cannot count: what the mapping alone leaves in doubt."""
    doubts = mapping.doubts() and mapping.doubts(unique_keys(queries.connection, mapping.table, queries.facts))
    code = "key-asserted" if mapping.rule.assert_unique else "key-unproven"
    return [finding(code, mapping.source, doubt) for doubt in doubts]


def _shared_keys(mapping: TableMapping, scope: Scope) -> Iterator[_Question]:
    design = mapping.design
    item, shown = _item(mapping), [_shown(template_text(key.template, design), key.type) for key in design.keys]
    if design.shape == "group":
        # Rows of different groups under one key: whole items would overwrite each other in the load.
        groups = ", ".join(_digest(as_bytes(quoted(name))) for name in mapping.lookup_columns)
        groups += f", {item}" if mapping.split else ""
        met = _meeting(scope, item, f"COUNT(DISTINCT {groups})", shown, "groups")
        yield _Question(
            f"COUNT(DISTINCT {groups})", _distinct(item), "key-shared", "{:,} groups share the item of another", met
        )
    if design.shape != "group":
        met = _meeting(scope, item, "COUNT(*)", shown, "rows")
        yield _Question("COUNT(*)", _distinct(item), "key-shared", "{:,} rows share the item of another", met)
    elif design.entry_name.parts and in_sql(mapping, design.entry_name):
        entry = template_text(design.entry_name, design)
        place = f"{item}, {_digest(entry)}"
        met = _meeting(scope, place, "COUNT(*)", [*shown, f"MIN({entry})"], "rows")
        yield _Question("COUNT(*)", _distinct(place), "key-shared", "{:,} rows share the entry of another", met)


def _collation_equals(mapping: TableMapping, scope: Scope) -> Iterator[_Question]:
    """For each text column of the key: values of which the server sees one, and DynamoDB several."""
    design = mapping.design
    for name in dict.fromkeys(name for key in design.keys for name in key.template.columns):
        column = design.columns[name]
        if column.kind != "text" or _by_bytes(column) or (name,) == mapping.table.primary_key:
            continue
        value = as_bytes(quoted(name))
        examples = (
            f"SELECT {_printed(column, f'MIN({value})')}, {_printed(column, f'MAX({value})')} FROM {scope.sql} "
            f"GROUP BY {quoted(name)} HAVING MIN({value}) <> MAX({value}) LIMIT {SHOWN}"
        )
        what = f"{{:,}} values of {name} differ as bytes from one that they are equal to under {column.collation}"
        yield _Question(f"COUNT(DISTINCT {value})", f"COUNT(DISTINCT {quoted(name)})", "key-collation", what, examples)


def _examples(queries: TimedQueries, mapping: TableMapping, question: _Question) -> str:
    """Texts of a question's examples; "" if they are not found in time."""
    try:
        rows = queries.rows(question.examples, mapping.source)
    except OutOfTime:
        return ""
    if question.code == "key-collation":
        return ": " + "; ".join(" and ".join(map(repr, row)) for row in rows)
    return ": " + "; ".join(f"{met} {what} at {' / '.join(map(str, texts))}" for *texts, met, what in rows)


def _meeting(scope: Scope, place: str, count: str, shown: list[str], what: str) -> str:
    return (
        f"SELECT {', '.join(shown)}, {count} AS met, '{what}' FROM {scope.sql} "
        f"GROUP BY {place} HAVING met > 1 LIMIT {SHOWN}"
    )


def _item(mapping: TableMapping) -> str:
    return ", ".join(_digest(template_text(key.template, mapping.design)) for key in mapping.design.keys)


def _distinct(values: str) -> str:
    return f"COUNT(DISTINCT {values})"


def _digest(text: str) -> str:
    """Short, for the server keeps all of them; and no server compares long texts in full when it sorts."""
    return f"UNHEX(SHA2({text}, 256))"


def _shown(text: str, kind: str) -> str:
    return f"MIN(HEX({text}))" if kind == "B" else f"MIN({text})"


def _printed(column: Column, value: str) -> str:
    return f"CONVERT(CAST({value} AS CHAR CHARACTER SET {column.charset}) USING utf8mb4)"


def _by_bytes(column: Column) -> bool:
    """Collations that only take equal bytes for equal: without padding, and by code point."""
    return not column.charset or column.collation == "utf8mb4_0900_bin" or column.collation.endswith("_nopad_bin")
