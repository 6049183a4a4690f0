"""The proposal as a commented project file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from whimbrel.dms.toml import value
from whimbrel.project import IndexKey, IndexRule, KeyRule, TableRule
from whimbrel.proposal.result import DesignedStatement, DesignedTable
from whimbrel.setup.project_file import one_line

SHOWN_STATEMENTS = 200


def sections(
    rules: Sequence[TableRule], tables: Mapping[str, DesignedTable], statements: Iterable[DesignedStatement]
) -> str:
    """All ``[[table]]`` sections, each with what it is and why; then how each statement is served."""
    written = [f"{_comment(_told(tables[rule.source]))}{section_of(rule)}" for rule in rules]
    return "\n".join([*written, _served(statements)])


def section_of(rule: TableRule) -> str:
    """One rule as it is proposed."""
    lines = [
        "[[table]]",
        f"source = {value(rule.source)}",
        f"target = {value(rule.target)}",
        *([f"item = {value(rule.item)}"] if rule.item != "own" else []),
        f"shape = {value(rule.shape)}",
        f"partition_key = {_key(rule.partition_key)}",
        *([f"sort_key = {_key(rule.sort_key)}"] if rule.sort_key else []),
    ]
    if rule.shape == "group":
        lines.append(f"entry = {value({'name': rule.entry_name, 'as': rule.entry_as, 'into': rule.entry_into})}")
    if rule.attributes:
        attributes: dict[str, Any] = dict(rule.attributes)
        lines.append(f"attributes = {value(attributes)}")
    for index in rule.indexes:
        lines += _index(index)
    return "\n".join(lines) + "\n"


def _key(key: KeyRule) -> str:
    return value({"name": key.name, "value": key.value, "type": key.type})


def _index(index: IndexRule) -> list[str]:
    projection = index.projection if isinstance(index.projection, str) else list(index.projection)
    return [
        "[[table.index]]",
        f"name = {value(index.name)}",
        f"partition_key = {_index_key(index.partition_key)}",
        *([f"sort_key = {_index_key(index.sort_key)}"] if index.sort_key else []),
        *([f"projection = {value(projection)}"] if projection != "all" else []),
    ]


def _index_key(key: IndexKey) -> str:
    return value({"name": key.name, "type": key.type})


def _told(table: DesignedTable) -> list[str]:
    lines = [f"{table.source}: {table.place}", *table.indexes]
    lines += [f"why: {each}" for each in table.why]
    lines += [f"weighed: ${dollars:,.2f} a month in all with {words}" for words, dollars in table.weighed]
    return lines + [f"assumed: {each}" for each in table.assumed]


def _served(statements: Iterable[DesignedStatement]) -> str:
    lines = ["How the statements are served: dollars a month, units each time, and before that with one table each"]
    for each in list(statements)[:SHOWN_STATEMENTS]:
        units = f"{each.read_units:g} read, {each.write_units:g} write units"
        lines.append(f"${each.dollars:,.2f}  {each.how}, {units} (${each.plain_dollars:,.2f} {each.plain})")
        lines.append(f"    {each.statement}")
    return _comment(lines)


def _comment(lines: Iterable[str]) -> str:
    return "".join(f"# {one_line(line) if not line.startswith(' ') else '    ' + one_line(line)}\n" for line in lines)
