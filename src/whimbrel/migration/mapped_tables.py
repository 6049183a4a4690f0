"""What becomes of captured tables that are altered while rules map them to items: the rules' own versions say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from whimbrel.mapping.family import rules_by_table
from whimbrel.mapping.versions import Versions
from whimbrel.records import Table


class MappedTables:
    """A ``CapturedTables``; ``versions`` are by the rule's name."""

    def __init__(self, versions: Mapping[str, Versions]) -> None:
        self._versions = versions
        self._rules = rules_by_table(versions)

    def follow(self, table: Table, replaced: Collection[str]) -> None:
        for rule in self._rules[table.full_name]:
            self._versions[rule].of(table, replaced)

    def doubts(self, table: Table, keys: Iterable[tuple[str, ...]]) -> Iterator[str]:
        known = list(keys)
        for rule in self._rules[table.full_name]:
            mapping = self._versions[rule].of(table)
            if not mapping.rule.assert_unique:
                yield from mapping.doubts(known)
