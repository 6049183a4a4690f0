"""Puts and deletes of many rows in few statements, for tables where only equal primary keys can make two rows meet.

Of several changes of one row the last one counts; those of different rows may be carried out in any order.
"""

from __future__ import annotations

from collections.abc import Callable

from whimbrel.mysql.kept_rows import KeptRows
from whimbrel.mysql.row_statements import Destination, delete, delete_rows, guarded, upsert
from whimbrel.records import Row, RowChange

_AT_ONCE = 200  # rows of one statement
_LEAF = 100_000  # characters of values in one statement, about

Execute = Callable[[str], int]
Put = Callable[[Destination, RowChange], None]


class BulkRows:
    """Of one transaction. ``put`` writes a single row, with what was kept of it."""

    def __init__(self, kept: KeptRows, execute: Execute, put: Put) -> None:
        self._kept, self._execute, self._put = kept, execute, put
        self._puts: dict[str, dict[Row, RowChange]] = {}
        self._deletes: dict[str, dict[Row, list[RowChange]]] = {}
        self._to: dict[str, Destination] = {}

    def add(self, to: Destination, change: RowChange) -> None:
        name = to.table.full_name
        self._to[name] = to
        puts = self._puts.setdefault(name, {})
        deletes = self._deletes.setdefault(name, {})
        if change.values is not None:
            earlier = puts.get(change.key)
            kept = change.kept & earlier.kept if earlier else change.kept
            # A row that is deleted only to be put again stays, with what its items do not say of it; and of a change
            # that keeps a column nothing is said, so it must find the row as it was.
            if change.key in deletes and change.kept:
                self._flush_table(name)
            deletes.pop(change.key, None)
            self._puts[name][change.key] = change._replace(kept=kept)
            return
        earlier = puts.get(change.key)
        if earlier is None:
            deletes.setdefault(change.key, []).append(change)
        elif (is_its := _is_guarded(earlier, change)) is None:
            self._flush_table(name)
            self._deletes[name].setdefault(change.key, []).append(change)
        elif is_its:
            del puts[change.key]
            deletes[change.key] = [change._replace(guard=())]  # whatever the row still says: it was to be put before

    def flush(self) -> None:
        for name in self._to:
            self._flush_table(name)

    def _flush_table(self, name: str) -> None:
        to = self._to[name]
        deletes = [change for several in self._deletes[name].values() for change in several]
        puts = list(self._puts[name].values())
        self._deletes[name], self._puts[name] = {}, {}
        for some in _parts(deletes):
            if not to.unmapped(some[0].columns):
                self._execute(delete(to, some))
            elif found := self._kept.keep(to, guarded(to.table, some), aside=False):
                self._execute(delete_rows(to, found))
        for alike in _alike(puts):
            for some in _parts(alike):
                self._put_some(to, some)

    def _put_some(self, to: Destination, puts: list[RowChange]) -> None:
        kept = self._kept.find(to.table, [put.key for put in puts])
        for put in puts:
            if put.key in kept:
                self._put(to, put)
        if plain := [put for put in puts if put.key not in kept]:
            self._execute(upsert(to, plain))


def _is_guarded(put: RowChange, change: RowChange) -> bool | None:
    """Whether the row that ``put`` leaves is the one that ``change`` deletes; None if it does not say."""
    assert put.values is not None
    said = dict(zip(put.columns, put.values, strict=True))
    if any(name not in said for name, _ in change.guard):
        return None
    return all(said[name] == value for name, value in change.guard)


def _alike(puts: list[RowChange]) -> list[list[RowChange]]:
    found: dict[object, list[RowChange]] = {}
    for put in puts:
        found.setdefault((put.columns, put.kept), []).append(put)
    return list(found.values())


def _parts(changes: list[RowChange]) -> list[list[RowChange]]:
    """At most so many rows, and about so many characters, a statement."""
    parts: list[list[RowChange]] = []
    size = 0
    for change in changes:
        length = sum(len(value) for value in change.values or () if isinstance(value, str | bytes))
        if not parts or len(parts[-1]) == _AT_ONCE or size + length > _LEAF:
            parts.append([])
            size = 0
        parts[-1].append(change)
        size += length
    return parts
