"""The definitions of tables that look up, or are looked up, as changes and stored rows have them: one object for each,
found by the identity of a change's table, which the reader keeps, or by the number that a stored row has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from whimbrel.errors import SchemaDrift
from whimbrel.mapping.versions import GO_ON, same_values
from whimbrel.migration.join_plan import Child, Kept, Version
from whimbrel.migration.join_store import JoinStore
from whimbrel.records import Table
from whimbrel.snapshot_files import table_from_json, table_to_json


class Definitions:
    """Called within ``understood``."""

    def __init__(self, store: JoinStore, children: Sequence[Child], kept: Sequence[Kept]) -> None:
        self._store, self._kept = store, kept
        self._children: Mapping[str, Child] = {child.source: child for child in children}
        self._of_table: dict[int, Version] = {}  # by identity
        self._of_number: dict[int, Version] = {}
        self._others: dict[int, Table] = {}  # by identity, tables that look nothing up
        self._fitting: dict[int, Table] = {}  # and those that are looked up and fit what was looked up before

    def of(self, table: Table) -> Version | None:
        """Of changes that have ``table``; None if it looks nothing up."""
        known = self._of_table.get(id(table))
        if known is None and id(table) not in self._others:
            if (child := self._children.get(table.full_name)) is None:
                self._others[id(table)] = table
            else:
                number = self._number(child, table.stored)
                known = self._of_table[id(table)] = Version(child, table, number)
                self._of_number.setdefault(number, known)
        return known

    def numbered(self, child: Child, number: int) -> Version:
        """Of stored rows that have ``number``."""
        if number not in self._of_number:
            [definition] = [text for known, _, text in self._store.versions() if known == number]
            self._of_number[number] = Version(child, table_from_json(orjson.loads(definition)), number)
        return self._of_number[number]

    def check(self, table: Table, numbers: Sequence[int]) -> None:
        """Raises SchemaDrift if columns that are looked up were altered while this process applies changes."""
        if id(table) in self._fitting:
            return
        for column in (column for number in numbers for column in self._kept[number].columns):
            now = table.column(column.name) if column.name in table.names else None
            if now is None or (now != column and not same_values(now, column)):
                raise SchemaDrift(
                    f"was altered, and column {column.name!r} is looked up",
                    place=table.full_name,
                    hint=f"See whether the look-ups still fit {GO_ON}",
                )
        self._fitting[id(table)] = table

    def _number(self, child: Child, table: Table) -> int:
        for number, source, definition in self._store.versions():
            if source == child.source and table_from_json(orjson.loads(definition)) == table:
                return number
        return self._store.add_version(child.source, orjson.dumps(table_to_json(table)))
