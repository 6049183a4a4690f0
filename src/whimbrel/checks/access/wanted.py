"""The index that would serve a statement which no key does."""

from __future__ import annotations

from typing import NamedTuple

from whimbrel.checks.access.parse import AskedOfTable, ParsedStatement
from whimbrel.checks.access.ways import attributes_of
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.values import NUMBER_KINDS


class Wanted(NamedTuple):
    """An index that would serve; ``name`` is "" where the mapping has no attribute that it could be of."""

    name: str
    columns: tuple[str, ...]
    condition: str
    advice: str


def index_wanted(statement: ParsedStatement, asked: AskedOfTable, mapping: TableMapping) -> Wanted | None:
    """Partition key: the columns that are one value; sort key: the one of a range, else of the order."""
    single = sorted(asked.equal) or sorted(asked.among)[:1]
    if not single:
        return None
    columns = mapping.design.columns
    allowed = set(mapping.design.key_columns) if mapping.shape == "group" else set(columns)
    if not set(single) <= allowed:
        inner = ", ".join(one for one in single if one not in allowed)
        advice = f"{inner} is inside the item, where no index reaches: map {mapping.source} a second time, keyed by it"
        return Wanted("", tuple(single), "", advice)
    ordered = [name for _, name, _ in statement.order]
    sort = next((name for name in (*asked.ranges, *ordered) if name in allowed and name not in single), "")
    lines: list[str] = []
    partition, kind = _index_attribute(single, mapping, lines)
    written = f'partition_key = {{ name = "{partition}", type = "{kind}" }}'
    condition = f"Key({partition!r}).eq(…)"
    if sort:
        name, kind = _index_attribute([sort], mapping, lines)
        written += f', sort_key = {{ name = "{name}", type = "{kind}" }}'
        condition += f" & Key({name!r})…" if sort in asked.ranges else ""
    index = "by_" + "_".join([*single, *([sort] if sort else [])])
    attributes = f"attributes = {{ {', '.join(lines)} }}, and " if lines else ""
    nulls = [name for name in [*single, *([sort] if sort else [])] if columns[name].nullable]
    hint = f' ({", ".join(nulls)} may be NULL: nulls = "omit")' if nulls else ""
    return Wanted(index, tuple(single), condition, f'Add {attributes}[[table.index]] name = "{index}", {written}{hint}')


def _index_attribute(names: list[str], mapping: TableMapping, lines: list[str]) -> tuple[str, str]:
    """The attribute made of ``names`` and its type; what must be added for it goes to ``lines``."""
    wanted = list(names)
    for part in attributes_of(mapping).values():
        if list(part.template.columns) == wanted and part.type in ("S", "N", "B") and part.template.alone:
            return part.name, part.type
    name = "_".join(names)
    if name in mapping.design.columns or name in mapping.design.frame:
        name += "_key"
    template = "|".join(f"${{{one}}}" for one in names)
    [number] = [mapping.design.columns[one].kind in NUMBER_KINDS for one in names[:1]]
    if number and len(names) == 1:
        lines.append(f'{name} = {{ N = "{template}" }}')
        return name, "N"
    lines.append(f'{name} = "{template}"')
    return name, "S"
