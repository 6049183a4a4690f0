"""Several changes, in log order, as at most one operation for each item that they touch.

The order rules, on which replays and crashes rest:

- of the changes to one record item, and of those to one entry of a group item, the last one decides;
- an update first takes back what its before image wrote, then writes its after image, in one item or in two;
- a before image that has no place in the target wrote nothing: also one that the filter leaves out;
- an after image that cannot be mapped writes nothing, and is a Fault; one that the filter leaves out writes nothing.

An item that an update leaves without an entry is deleted by whoever carries it out: only the store knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, TypeVar

from whimbrel.mapping.attributes import Design
from whimbrel.mapping.columns import Columns
from whimbrel.mapping.forms import Refused
from whimbrel.mapping.generate import GeneratedCode, KeyText
from whimbrel.nested import own_entries
from whimbrel.records import (
    AttributeValue,
    Change,
    Delete,
    Fault,
    Inside,
    Item,
    ItemOperation,
    Provenance,
    Put,
    Row,
    Table,
    Update,
)

Result = TypeVar("Result")
# A change with the rows as the mapping sees them, before and after; None also for a row that the filter leaves out.
Images = tuple[Change, Row | None, Row | None]

_new = tuple.__new__  # a NamedTuple without the cost of its constructor


class Compiled(NamedTuple):
    """A mapping as folding sees it. ``source`` is the table as it is, ``design.table`` as the mapping sees it;
    ``name`` is the rule's, and ``as_placed`` what a before image is seen by: only its place is asked.
    """

    design: Design
    columns: Columns
    code: GeneratedCode
    source: Table
    name: str
    as_placed: Callable[[Row | None], Row | None]


def by_table(changes: list[Change]) -> Iterable[list[Change]]:
    """The changes of each table, in log order; where it was altered between two, those after it come after all those
    before it. Versions of a table are told apart by identity, which the reader keeps.
    """
    lists: list[list[Change]] = []
    latest: dict[str, list[Change]] = {}
    by_identity: dict[int, list[Change]] = {}
    for change in changes:
        mine = by_identity.get(id(change.table))
        if mine is None:
            name = change.table.full_name
            if name in latest:
                del by_identity[id(latest[name][0].table)]
            mine = latest[name] = by_identity[id(change.table)] = []
            lists.append(mine)
        mine.append(change)
    return lists


def fold_records(compiled: Compiled, changes: Iterable[Change]) -> tuple[list[ItemOperation], list[Fault]]:
    target, code = compiled.design.target, compiled.code
    operations: dict[KeyText, ItemOperation] = {}
    faults: list[Fault] = []
    for images in _images(compiled, changes, faults):
        old = made(code.key, images[1])
        new = _made_after(compiled, code.item, images, faults)
        if old is not None and (new is None or new[0] != old):
            operations[old] = Delete(target, code.key_item(old))
        if new is not None:
            key, item = new
            operations[key] = _new(Put, (target, code.key_item(key), item))
    return list(operations.values()), faults


def fold_of_change(
    compiled: Compiled, changes: Iterable[Change], provenance: Callable[[Change], Provenance]
) -> tuple[list[ItemOperation], list[Fault]]:
    """Records with change metadata. Where one says that an item is deleted, its last image stays."""
    target, code, columns = compiled.design.target, compiled.code, compiled.columns
    operations: dict[KeyText, ItemOperation] = {}
    faults: list[Fault] = []
    for change in changes:
        how = provenance(change)
        before, new = _before(columns, change.before, how), None
        old = made(code.key, before)
        if change.after is not None:
            try:
                after = columns.row(change.after, how, before)
                new = None if after is None else code.item(after)
            except Refused as refusal:
                faults.append(row_fault(compiled, change.after, str(refusal), change)._replace(provenance=how))
        if old is not None and (new is None or new[0] != old):
            try:
                operations[old] = _gone(compiled, change, old, how)
            except Refused as refusal:
                if _was_written(compiled, change, how):
                    faults.append(Fault(compiled.name, str(refusal), {}, code.key_item(old), change, how))
        if new is not None:
            operations[new[0]] = Put(target, code.key_item(new[0]), new[1])
    return list(operations.values()), faults


def _before(columns: Columns, row: Row | None, how: Provenance) -> Row | None:
    """As the mapping sees it, for its key and its before images: none of them is made of change metadata, but an
    expression beside them may fail for some of it.
    """
    seen = columns.made(row)
    if seen is None and row is not None:
        seen = next(filter(None, (columns.made(row, each) for each in _earlier(how))), None)
    return seen


def _gone(compiled: Compiled, change: Change, old: KeyText, how: Provenance) -> ItemOperation:
    """What becomes of ``old``, the item of the before image. Raises Refused if it is to stay and cannot be marked."""
    target, code = compiled.design.target, compiled.code
    if not compiled.design.indicator:
        return Delete(target, code.key_item(old))
    last = _item_before(compiled, change, how._replace(operation="DELETE"))
    return Put(target, code.key_item(old), last)


def _was_written(compiled: Compiled, change: Change, how: Provenance) -> bool:
    """Whether the before image could be an item while its row was there."""
    for each in _earlier(how):
        with suppress(Refused):
            _item_before(compiled, change, each)
            return True
    return False


def _item_before(compiled: Compiled, change: Change, how: Provenance) -> Item:
    assert change.before is not None
    row = compiled.columns.row(change.before, how)
    assert row is not None  # the filter let it through before
    return compiled.code.item(row)[1]


def _earlier(how: Provenance) -> list[Provenance]:
    return [how._replace(operation=operation) for operation in ("INSERT", "UPDATE")]


def fold_parts(compiled: Compiled, changes: Iterable[Change]) -> tuple[list[ItemOperation], list[Fault]]:
    """Records that are only a part of their items: their attributes are set and removed together."""
    design, code = compiled.design, compiled.code
    items: dict[KeyText, Item | None] = {}  # None: removed
    faults: list[Fault] = []
    for images in _images(compiled, changes, faults):
        old = made(code.key, images[1])
        new = _made_after(compiled, code.item, images, faults)
        if old is not None and (new is None or new[0] != old):
            items[old] = None
        if new is not None:
            items[new[0]] = new[1]
    return [part(design, code.key_item(key), item) for key, item in items.items()], faults


def part(design: Design, key: Item, item: Item | None) -> Update:
    """``item`` as a part of what is in the store under its key; None takes the part away."""
    if item is None:
        return Update(design.target, key, {}, design.own, design.frame)
    attributes = {name: value for name, value in item.items() if name not in key}
    if design.path or design.beside:  # a part of a map, of which others have parts too
        entries = own_entries(attributes.pop(design.into)["M"], design.path, design.order, ())
        return Update(design.target, key, attributes, (), design.frame, within(design, entries))
    perhaps = design.own if design.omit_nulls or design.gathered else sorted(design.sparse)
    left_out = tuple(name for name in perhaps if name not in attributes)
    return Update(design.target, key, attributes, left_out, design.frame)


def fold_groups(compiled: Compiled, changes: Iterable[Change]) -> tuple[list[ItemOperation], list[Fault]]:
    design, code = compiled.design, compiled.code
    items: dict[KeyText, _Entries] = {}
    faults: list[Fault] = []
    for images in _images(compiled, changes, faults):
        old = _entry_of(code, images[1])
        new = _made_after(compiled, code.entry, images, faults)
        if old is not None and (new is None or new[:2] != old):
            key, name = old
            if (entries := items.get(key)) is None:
                entries = items[key] = _Entries()
            entries.values[name] = None
        if new is not None:
            key, name, value, added = new
            if (entries := items.get(key)) is None:
                entries = items[key] = _Entries()
            entries.values[name] = value
            entries.added = added
    return [entries.update(design, code.key_item(key)) for key, entries in items.items()], faults


def within(design: Design, entries: Item, removed: tuple[str, ...] = ()) -> Inside:
    """Entries that are set and removed, in whatever the entries are inside."""
    kind, order, gathered = design.inside, design.order, design.gathered
    return Inside(design.into, kind, entries, removed, order, gathered, design.path, design.beside)


class _Entries:
    """What a batch does to one group item: for each entry, the last word."""

    __slots__ = ("added", "values")

    def __init__(self) -> None:
        self.values: dict[str, AttributeValue | None] = {}  # None: removed
        self.added: Item = {}

    def update(self, design: Design, key: Item) -> Update:
        """Any entry that is set brings the attributes of the whole item with it: the item may not exist."""
        entries = {name: value for name, value in self.values.items() if value is not None}
        removed = tuple([name for name, value in self.values.items() if value is None])
        added = self.added if entries else {}
        if design.inside:
            inside = within(design, entries, removed)
            return Update(design.target, key, added, (), design.frame, inside)
        return _new(Update, (design.target, key, {**added, **entries}, removed, design.frame, None))


def _images(compiled: Compiled, changes: Iterable[Change], faults: list[Fault]) -> Iterable[Images]:
    columns = compiled.columns
    if not columns.changed:
        return ((change, change.before, change.after) for change in changes)
    return (_seen(compiled, change, faults) for change in changes)  # one by one: faults stay in log order


def _seen(compiled: Compiled, change: Change, faults: list[Fault]) -> Images:
    before, after = compiled.as_placed(change.before), None
    if change.after is not None:
        try:
            after = compiled.columns.row(change.after)
        except Refused as refusal:
            faults.append(row_fault(compiled, change.after, str(refusal), change))
    return change, before, after


def _entry_of(code: GeneratedCode, row: Row | None) -> tuple[KeyText, str] | None:
    if row is None:
        return None
    try:
        return code.key(row), code.entry_name(row)
    except Refused:
        return None


def made(make: Callable[[Row], Result], row: Row | None) -> Result | None:
    """None for a row that is absent, or that cannot be mapped."""
    if row is None:
        return None
    try:
        return make(row)
    except Refused:
        return None


def _made_after(
    compiled: Compiled, make: Callable[[Row], Result], images: Images, faults: list[Fault]
) -> Result | None:
    change, _, after = images
    if after is None:
        return None
    try:
        return make(after)
    except Refused as refusal:
        assert change.after is not None
        faults.append(row_fault(compiled, change.after, str(refusal), change))
        return None


def row_fault(compiled: Compiled, row: Row, reason: str, change: Change | None = None) -> Fault:
    """The dead letter in the making of one row of the source: with its primary key, and its item's if it has one."""
    source = compiled.source
    source_key = {name: row[source.index(name)] for name in source.primary_key}
    key = made(compiled.code.key, compiled.columns.made(row))
    return Fault(compiled.name, reason, source_key, None if key is None else compiled.code.key_item(key), change)
