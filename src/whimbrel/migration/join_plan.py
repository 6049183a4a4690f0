"""Which tables look what up where: what there is to keep for it, and how a row is joined with what is kept. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.versions import Versions
from whimbrel.migration.regroup import record_of
from whimbrel.records import Column, Row, Table, Value

Bys = Sequence[bytes | None]  # what each of a table's look-ups looks up for a row; None where a column is NULL
Found = tuple[Value, ...] | None  # of a row that is looked up, what is kept of it; None: there is no such row


class Kept(NamedTuple):
    """Of the table ``source``, the ``columns`` by ``key``."""

    source: str
    key: tuple[str, ...]
    columns: list[Column]

    def key_of(self, table: Table, row: Row) -> bytes | None:
        return key_of(row, [table.index(name) for name in self.key])

    def packed(self, table: Table, row: Row) -> bytes:
        return record_of(tuple(row[table.index(column.name)] for column in self.columns))


class LookUp(NamedTuple):
    """One way from a row to another: by its columns ``by`` to what is ``kept`` under that number."""

    kept: int
    by: tuple[str, ...]


class Child(NamedTuple):
    """A table that looks up. ``versions`` are those of one of its rules: all of them have the same columns. ``picked``
    says for each column that is looked up which of the ``looks`` has it, and where in what that gives. ``placed``: what
    is looked up has a say in where items are, or whether (but for orphans): of one rule at most, whose export is the
    one ``exported``. ``several``: there are other rules, whose exports have the rows as of other times.
    """

    number: int
    source: str
    versions: Versions
    looks: list[LookUp]
    picked: list[tuple[int, int]]
    placed: bool
    exported: str
    several: bool

    @property
    def whole(self) -> int:
        """Of a table with one look: how many values it gives, if these are all columns, in their order; else 0."""
        straight = self.picked == [(0, place) for place in range(len(self.picked))]
        return len(self.picked) if len(self.looks) == 1 and straight else 0

    def joined(self, row: Row, found: Sequence[Found]) -> Row:
        return (*row, *[None if (there := found[look]) is None else there[place] for look, place in self.picked])


class Version:
    """A table that looks up, as it was when some of its rows were written; ``joined`` is the table of joined rows.

    A row with ``blanks`` stands for one whose place is its own, whatever it finds. ``reads``: what each of the looks
    reads. ``whole`` is the child's, and ``nothing`` what a row has then that finds nothing.
    """

    def __init__(self, child: Child, table: Table, number: int) -> None:
        self.child, self.table, self.number = child, table, number
        mapping = child.versions.of(table)
        self.joined, own = mapping.table, len(table.columns)
        self.blanks = mapping.unjoined((None,) * len(self.joined.columns))[own:]
        self.reads = [look.kept for look in child.looks]
        self.whole, self.nothing = child.whole, (None,) * child.whole
        self._key = _getter([table.index(name) for name in table.primary_key])
        self._by = [_getter([table.index(name) for name in look.by]) for look in child.looks]

    def keys(self, before: Row | None, after: Row | None) -> list[bytes]:
        """The row's keys, as it was and as it is; once if they are one."""
        last = self._key(after or before or ())
        if before and after and (first := self._key(before)) != last:
            return [record_of(first), record_of(last)]
        return [record_of(last)]

    def by(self, row: Row) -> Bys:
        return [None if None in (values := of(row)) else record_of(values) for of in self._by]

    def stored(self, row: Row) -> tuple[bytes | int | None, ...]:
        return (record_of(self._key(row)), self.number, record_of(row), *self.by(row))


def plan(mappings: Mapping[str, TableMapping], versions: Mapping[str, Versions]) -> tuple[list[Kept], list[Child]]:
    kept: dict[tuple[str, tuple[str, ...]], Kept] = {}
    children: list[Child] = []
    several: dict[str, list[str]] = {}  # the rules of each table that looks up
    for name, mapping in mappings.items():
        if mapping.looks_up:
            several.setdefault(mapping.table.full_name, []).append(name)
    for source, rules in several.items():
        placed = [name for name in rules if mappings[name].placed_by_others]
        exported = (placed or rules)[0]
        child = Child(len(children), source, versions[exported], [], [], bool(placed), exported, len(rules) > 1)
        for column in mappings[rules[0]].table.columns:
            if (looked := column.looked_up) is None:
                continue
            key = tuple(one.name for one in looked.key)
            one = kept.setdefault((".".join(looked.parent), key), Kept(".".join(looked.parent), key, []))
            if looked.column not in one.columns:
                one.columns.append(looked.column)
            look = LookUp(list(kept.values()).index(one), looked.by)
            if look not in child.looks:
                child.looks.append(look)
            child.picked.append((child.looks.index(look), one.columns.index(looked.column)))
        children.append(child)
    return list(kept.values()), children


def layout(kept: Iterable[Kept], children: Iterable[Child]) -> list[object]:
    """What the numbers in a store mean."""
    return [
        [(one.source, one.key, [column.name for column in one.columns]) for one in kept],
        [(one.source, [tuple(look) for look in one.looks], one.picked) for one in children],
    ]


def _getter(places: list[int]) -> Callable[[Row], Row]:
    if len(places) == 1:
        [place] = places
        return lambda row: (row[place],)
    return itemgetter(*places)


def key_of(row: Row, places: list[int]) -> bytes | None:
    values = tuple([row[place] for place in places])
    return None if None in values else record_of(values)
