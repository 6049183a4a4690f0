"""Many changes become what is left of each row that they touched: what an analytical table can take in one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from whimbrel.records import Change, Row, Table
from whimbrel.warehouse.stored import key_maker


class RowVersion(NamedTuple):
    """What a row was from ``time`` on, by the source's clock, in seconds; None while there was none, and ``was`` what
    it had been.
    """

    time: float
    row: Row | None
    was: Row | None = None


@dataclass(slots=True)
class Folded:
    """Of one version of one table: the row of each key as it was left."""

    table: Table
    last: dict[Row, RowVersion] = field(default_factory=dict)

    def add(self, key: Row, before: Row | None, version: RowVersion) -> None:
        self.last[key] = version

    @property
    def rows(self) -> list[Row]:
        return [version.row for version in self.last.values() if version.row is not None]

    @property
    def gone(self) -> list[RowVersion]:
        return [version for version in self.last.values() if version.row is None]


@dataclass(slots=True)
class FoldedVersions:
    """Of one version of one table: all that each row was, the last of each transaction. ``before`` is what the row was
    before the first change, None if it was not there.
    """

    table: Table
    before: dict[Row, Row | None] = field(default_factory=dict)
    versions: dict[Row, list[RowVersion]] = field(default_factory=dict)

    def add(self, key: Row, before: Row | None, version: RowVersion) -> None:
        known = self.versions.get(key)
        if known is None:
            self.before[key], self.versions[key] = before, [version]
        elif known[-1].time >= version.time:  # or the source's clock went back
            known[-1] = version._replace(time=known[-1].time)
        else:
            known.append(version)


AnyFolded = Folded | FoldedVersions


class Fold:
    """Changes of any tables, in the order of the log. ``begin`` makes what those of one version of a table become."""

    def __init__(self, begin: Callable[[Table], AnyFolded]) -> None:
        self._begin = begin
        self._found: dict[int, tuple[AnyFolded, Callable[[Row], Row]]] = {}  # by the identity of the Table
        self.changes = 0

    def add(self, changes: Iterable[Change], time: float) -> None:
        """Changes that were committed at ``time``. A row whose key changed is gone at the old key, and is there at the
        new one.
        """
        known: Table | None = None
        for table, before, after, _ in changes:
            if table is not known:
                known = table
                folded, key_of = self._of(table)
                add = folded.add
            old = None if before is None else key_of(before)
            new = None if after is None else key_of(after)
            if old is not None and old != new:
                add(old, before, RowVersion(time, None, before))
            if new is not None:
                add(new, before if old == new else None, RowVersion(time, after))
            self.changes += 1

    def take(self) -> list[AnyFolded]:
        """What was added, each version of a table in the order in which they came."""
        return [folded for folded, _ in self._found.values()]

    def _of(self, table: Table) -> tuple[AnyFolded, Callable[[Row], Row]]:
        if id(table) not in self._found:
            self._found[id(table)] = self._begin(table), key_maker(table)
        return self._found[id(table)]
