"""Keys that meet where they should not, and keys that the collation takes for one and DynamoDB does not."""

from __future__ import annotations

from collections.abc import Iterator

from whimbrel.check.ask import Asker
from whimbrel.check.findings import Finding, finding
from whimbrel.check.scope import Scope
from whimbrel.check.sql import as_bytes, in_sql, template_text
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.values import BINARY_KINDS
from whimbrel.mysql.connect import quoted
from whimbrel.mysql.types import python_codec
from whimbrel.records import Column

SHOWN = 3


def key_findings(asker: Asker, mapping: TableMapping, scope: Scope) -> Iterator[Finding]:
    yield from _shared_keys(asker, mapping, scope)
    yield from _collation_equals(asker, mapping, scope)


def _shared_keys(asker: Asker, mapping: TableMapping, scope: Scope) -> Iterator[Finding]:
    """Only if a template leaves a doubt are the keys themselves counted."""
    doubts = mapping.ambiguities()
    if not doubts:
        return
    design = mapping.design
    item = ", ".join(_digest(template_text(key.template, design)) for key in design.keys)
    shown = [_shown(template_text(key.template, design), key.type) for key in design.keys]
    place, named = item, design.shape == "group" and bool(design.entry_name.parts)
    if named and not in_sql(mapping, design.entry_name):
        return
    if named:
        entry = template_text(design.entry_name, design)
        place, shown = f"{item}, {_digest(entry)}", [*shown, f"MIN({entry})"]
    found: list[Finding] = []
    if named or design.shape != "group":
        meant = "one entry of one item" if named else "one item"
        found += _meeting(asker, mapping, scope, place, "COUNT(*)", shown, f"rows share {meant}")
    if design.shape == "group":
        # Rows of different groups under one key: whole items would overwrite each other in the load.
        groups = ", ".join(_digest(as_bytes(quoted(name))) for name in mapping.group_columns)
        groups = f"COUNT(DISTINCT {groups})"
        found += _meeting(asker, mapping, scope, item, groups, shown[: len(design.keys)], "groups share one item")
    yield from found
    if not found:
        part = "all rows" if scope.whole else "the rows that were read"
        for doubt in doubts:
            yield finding("key-ambiguous", mapping.source, f"{doubt}. In {part}, none do")


def _meeting(
    asker: Asker, mapping: TableMapping, scope: Scope, place: str, count: str, shown: list[str], what: str
) -> Iterator[Finding]:
    statement = (
        f"SELECT {', '.join(shown)}, {count} AS met, COUNT(*) OVER () AS places FROM {scope.sql} "
        f"GROUP BY {place} HAVING met > 1 LIMIT {SHOWN}"
    )
    rows = asker.rows(statement, mapping.source)
    if rows:
        examples = "; ".join(f"{met} {what}: {' / '.join(map(str, texts))}" for *texts, met, _ in rows)
        yield finding("key-shared", mapping.source, f"{rows[0][-1]:,} times: {examples}")


def _digest(text: str) -> str:
    """Long texts are not compared in full by every server when it sorts."""
    return f"UNHEX(SHA2({text}, 256))"


def _shown(text: str, kind: str) -> str:
    return f"MIN(HEX({text}))" if kind == "B" else f"MIN({text})"


def _collation_equals(asker: Asker, mapping: TableMapping, scope: Scope) -> Iterator[Finding]:
    """For each text column of the key: values of which the server sees one, and DynamoDB several."""
    design = mapping.design
    used = dict.fromkeys(name for key in design.keys for name in key.template.columns)
    for name in used:
        column = design.columns[name]
        if not column.collation or _by_bytes(column) or column.kind != "text" or (name,) == mapping.table.primary_key:
            continue
        value = as_bytes(quoted(name))
        statement = (
            f"SELECT MIN({value}) AS low, MAX({value}) AS high, COUNT(*) OVER () AS several FROM {scope.sql} "
            f"GROUP BY {quoted(name)} HAVING low <> high LIMIT {SHOWN}"
        )
        rows = asker.rows(statement, mapping.source)
        if rows:
            examples = "; ".join(f"{_decoded(column, low)!r} and {_decoded(column, high)!r}" for low, high, _ in rows)
            reason = (
                f"{rows[0][2]:,} values of {name} are equal under {column.collation} and differ as bytes: {examples}"
            )
            yield finding("key-collation", mapping.source, reason)


def _by_bytes(column: Column) -> bool:
    """Collations that only take equal bytes for equal: ``_bin`` without padding."""
    return (
        column.kind in BINARY_KINDS
        or column.collation in ("binary", "utf8mb4_0900_bin")
        or (column.collation.endswith("_nopad_bin"))
    )


def _decoded(column: Column, value: bytes | str) -> str:
    return value if isinstance(value, str) else python_codec(column.charset).decode(value)
