"""preview: some real rows, and the items that they become."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import orjson

from whimbrel.checks.ask import Asker
from whimbrel.checks.sample import Mapped, mapped_sample
from whimbrel.dynamodb.limits import write_units
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.mappings import read_mappings, refuse
from whimbrel.mysql.connect import connect, server_info
from whimbrel.project import Project, rules_named
from whimbrel.records import Value
from whimbrel.sizes import item_size

ROWS_SHOWN = 10  # of one item
SECONDS = 30.0

Example = tuple[TableMapping, list[Mapped]]


def preview(project: Project, wanted: tuple[str, ...], rows: int) -> list[Example]:
    """``rows`` rows of each table, spread over it, mapped; those of a group with all rows of their item.

    Raises ProjectError for a table that is not in the project, SourceError, PrivilegeError, MappingError.
    """
    examples: list[Example] = []
    with closing(connect(project.source)) as connection:
        named = rules_named(project, wanted)
        found = read_mappings(project, connection)
        refuse(found.faults, project)
        for number, rule in enumerate(project.tables):
            if rule not in named:
                continue
            mapping = found.mappings[found.project.tables[number].source]
            asker = Asker(connection, server_info(connection), SECONDS)
            examples.append((mapping, mapped_sample(asker, mapping, rows)))
    return examples


def as_json(examples: list[Example]) -> dict[str, Any]:
    return {
        "tables": [
            {
                "source": mapping.source,
                "target": mapping.target,
                "items": [_item_as_json(mapping, each) for each in mapped],
            }
            for mapping, mapped in examples
        ]
    }


def _item_as_json(mapping: TableMapping, each: Mapped) -> dict[str, Any]:
    size = item_size(each.put.item) if each.put else None
    return {
        "rows": [_named(mapping, row) for row in each.rows],
        "item": each.put.item if each.put else None,
        "bytes": size,
        "write_units": None if size is None else write_units(size),
        "dead_letters": [fault.reason for fault in each.faults],
    }


def lines(examples: list[Example]) -> Iterator[str]:
    for mapping, mapped in examples:
        yield f"{mapping.source} → {mapping.target}"
        if not mapped:
            yield "  no rows"
        for each in mapped:
            yield ""
            yield from _item_lines(mapping, each)
        yield ""


def _item_lines(mapping: TableMapping, each: Mapped) -> Iterator[str]:
    for row in each.rows[:ROWS_SHOWN]:
        yield f"  row   {_text(_named(mapping, row))}"
    if len(each.rows) > ROWS_SHOWN:
        yield f"        and {len(each.rows) - ROWS_SHOWN:,} more rows"
    if each.put:
        size = item_size(each.put.item)
        units = write_units(size)
        yield f"  item  {_text(each.put.item)}"
        yield f"        {size:,} bytes, {units} write unit{'s' if units > 1 else ''}"
    for fault in each.faults:
        yield f"  dead  {fault.reason}"


def _named(mapping: TableMapping, row: tuple[Value, ...]) -> dict[str, Any]:
    return {
        name: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in zip(mapping.table.names, row, strict=True)
    }


def _text(values: dict[str, Any]) -> str:
    return orjson.dumps(values).decode()
