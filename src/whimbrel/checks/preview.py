"""preview: some real rows, and the items that they become."""

from __future__ import annotations

import base64
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from whimbrel.checks.ask import TimedQueries
from whimbrel.checks.sample import Mapped, mapped_sample
from whimbrel.item import item_size, write_units
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.mappings import read_mappings, refuse
from whimbrel.mysql.connect import connect, server_info
from whimbrel.project import Project, select_rules
from whimbrel.records import Item, Value

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class PreviewedItem:
    """Rows by their columns' names (bytes as ``{"base64": …}``), and the item that they make, in DynamoDB's JSON.

    ``item`` is None where they make none, and ``dead_letters`` says why.
    """

    rows: tuple[dict[str, Any], ...]
    item: Item | None
    bytes: int | None
    write_units: int | None
    dead_letters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PreviewedTable:
    source: str
    target: str
    items: tuple[PreviewedItem, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    tables: tuple[PreviewedTable, ...]

    @property
    def dead_letters(self) -> int:
        return sum(len(item.dead_letters) for table in self.tables for item in table.items)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def preview(project: Project, wanted: tuple[str, ...], rows: int) -> Preview:
    """``rows`` rows of each table, spread over it, mapped; those of a group with all rows of their item.

    Raises ProjectError for a table that is not in the project, SourceError, PrivilegeError, MappingError.
    """
    tables: list[PreviewedTable] = []
    with closing(connect(project.source)) as connection:
        named = select_rules(project, wanted)
        found = read_mappings(project, connection)
        refuse(found.faults, project)
        for number, rule in enumerate(project.tables):
            if rule not in named:
                continue
            mapping = found.mappings[found.project.tables[number].name]
            queries = TimedQueries(connection, server_info(connection), SECONDS)
            items = tuple(_item(mapping, each) for each in mapped_sample(queries, mapping, rows))
            tables.append(PreviewedTable(mapping.source, mapping.target, items))
    return Preview(tuple(tables))


def _item(mapping: TableMapping, each: Mapped) -> PreviewedItem:
    size = item_size(each.put.item) if each.put else None
    return PreviewedItem(
        rows=tuple(_named(mapping, row) for row in each.rows),
        item=each.put.item if each.put else None,
        bytes=size,
        write_units=None if size is None else write_units(size),
        dead_letters=tuple(fault.reason for fault in each.faults),
    )


def _named(mapping: TableMapping, row: tuple[Value, ...]) -> dict[str, Any]:
    return {
        name: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in zip(mapping.table.names, row, strict=True)
    }
