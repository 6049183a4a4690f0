"""Several changes, in log order, as at most one operation for each item that they touch.

The order rules, on which replays and crashes rest:

- of the changes to one record item, and of those to one entry of a group item, the last one decides;
- an update first takes back what its before image wrote, then writes its after image, in one item or in two;
- a before image that has no place in the target wrote nothing;
- an after image that cannot be mapped writes nothing, and is a Fault.

An item that a group's update leaves without an entry is deleted by whoever carries it out: only the store knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from whimbrel.mapping.generate import Code, KeyText
from whimbrel.mapping.rules import Design
from whimbrel.mapping.values import Refused
from whimbrel.records import AttributeValue, Change, Delete, Fault, Item, ItemOperation, Put, Row, Update

Result = TypeVar("Result")


def fold_records(design: Design, code: Code, changes: Iterable[Change]) -> tuple[list[ItemOperation], list[Fault]]:
    operations: dict[KeyText, ItemOperation] = {}
    faults: list[Fault] = []
    for change in changes:
        old = made(code.key, change.before)
        new = _made_after(design, code, code.item, change, faults)
        if old is not None and (new is None or new[0] != old):
            operations[old] = Delete(design.target, code.key_item(old))
        if new is not None:
            key, item = new
            operations[key] = Put(design.target, code.key_item(key), item)
    return list(operations.values()), faults


def fold_groups(
    design: Design, code: Code, frame: frozenset[str], changes: Iterable[Change]
) -> tuple[list[ItemOperation], list[Fault]]:
    items: dict[KeyText, _Entries] = {}
    faults: list[Fault] = []
    for change in changes:
        old = _entry_of(code, change.before)
        new = _made_after(design, code, code.entry, change, faults)
        if old is not None and (new is None or new[:2] != old):
            key, name = old
            items.setdefault(key, _Entries()).remove(name)
        if new is not None:
            key, name, value, added = new
            items.setdefault(key, _Entries()).set(name, value, added)
    return [entries.update(design.target, code.key_item(key), frame) for key, entries in items.items()], faults


class _Entries:
    """What a batch does to one group item: for each entry, the last word."""

    __slots__ = ("added", "values")

    def __init__(self) -> None:
        self.values: dict[str, AttributeValue | None] = {}  # None: removed
        self.added: Item = {}

    def set(self, name: str, value: AttributeValue, added: Item) -> None:
        self.values[name] = value
        self.added = added

    def remove(self, name: str) -> None:
        self.values[name] = None

    def update(self, target: str, key: Item, frame: frozenset[str]) -> Update:
        """Any entry that is set brings the attributes of the whole item with it: the item may not exist."""
        entries = {name: value for name, value in self.values.items() if value is not None}
        removed = tuple(name for name, value in self.values.items() if value is None)
        return Update(target, key, {**self.added, **entries} if entries else {}, removed, frame)


def _entry_of(code: Code, row: Row | None) -> tuple[KeyText, str] | None:
    key, name = made(code.key, row), made(code.entry_name, row)
    return None if key is None or name is None else (key, name)


def made(make: Callable[[Row], Result], row: Row | None) -> Result | None:
    """None for a row that is absent, or that cannot be mapped."""
    if row is None:
        return None
    try:
        return make(row)
    except Refused:
        return None


def _made_after(
    design: Design, code: Code, make: Callable[[Row], Result], change: Change, faults: list[Fault]
) -> Result | None:
    if change.after is None:
        return None
    try:
        return make(change.after)
    except Refused as refusal:
        faults.append(row_fault(design, code, change.after, str(refusal), change))
        return None


def row_fault(design: Design, code: Code, row: Row, reason: str, change: Change | None = None) -> Fault:
    """The dead letter in the making of one row: with its primary key, and the item's key where that can be made."""
    table = design.table
    source_key = {name: row[table.index(name)] for name in table.primary_key}
    key = made(code.key, row)
    return Fault(table.full_name, reason, source_key, None if key is None else code.key_item(key), change)
