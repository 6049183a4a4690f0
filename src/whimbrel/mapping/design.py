"""From rows and changes of one source table to items and operations on items: pure, compiled once for each table."""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from whimbrel.errors import MappingError, SchemaDrift
from whimbrel.item import item_size, normal_item, oversize_reason
from whimbrel.mapping import guard, unique, values
from whimbrel.mapping.attributes import Key, Sharing
from whimbrel.mapping.columns import Columns
from whimbrel.mapping.expressions import FILTER, UNKNOWN
from whimbrel.mapping.fold import (
    Compiled,
    fold_groups,
    fold_of_change,
    fold_parts,
    fold_records,
    made,
    part,
    row_fault,
    within,
)
from whimbrel.mapping.forms import Refused, shown
from whimbrel.mapping.generate import GeneratedCode, generate
from whimbrel.mapping.provenance import ChangeMetadata, by_operation, mark_path, paths, unplaced
from whimbrel.mapping.rules import all_faults, resolve
from whimbrel.mapping.templates import Literal
from whimbrel.nested import own_entries
from whimbrel.project import TableRule
from whimbrel.records import (
    AttributeValue,
    Change,
    Delete,
    Fault,
    Item,
    ItemOperation,
    Provenance,
    Put,
    Row,
    Table,
    Update,
    Value,
)

MAX_SOURCE_KEYS = 10_000


def compile_mapping(rule: TableRule, table: Table, sharing: Sharing | None = None) -> TableMapping:
    """Raises MappingError, with all faults at once, if ``rule`` does not fit ``table``.

    ``sharing`` is what a shared item demands of the rule, see ``mapping.family``.
    """
    return TableMapping(rule, table, sharing or Sharing())


class TableMapping:
    """One table's way from rows to items. Safe in threads: it only ever notes the last table definition that it saw.

    ``source`` is the rule's name: the full name of its table, and a number where that is in several rules.
    ``group_columns`` determine a row's item; ``lookup_columns`` find its rows.
    ``aligned``: an item's rows are together in primary-key order, as they are
    one row, or the group columns are, as a set, a prefix of the key. ``frame``: the attributes that are not entries.
    ``regrouped``: the load brings the rows together on disk first, and if ``spread`` writes the items in no order.
    ``change_metadata`` has the attributes with change metadata. ``condition`` is what changes are written under.
    ``split``: a group's rows are in several items, which of them a lossy format says; ``lookup_columns`` find them all.
    ``invertible``: ``source_keys`` can be asked; not if an expression makes the key. ``shared``: what ``put_items``
    gives is only a part of the item, to be written with ``load_operations``; the other parts are other tables' rows.
    ``as_placed`` gives a row as the mapping sees it, as far as its place depends on it; None if it has none.
    """

    def __init__(self, rule: TableRule, table: Table, sharing: Sharing) -> None:
        self._sharing = sharing
        self.design, self._columns = resolve(rule, table, sharing)
        if found := guard.faults(rule, self.design):
            raise all_faults(found, rule)
        self.condition = guard.condition_of(rule.condition)
        self.rule = rule
        self.table = table
        self.source = replace(rule, source=table.full_name).name
        self.target = rule.target
        self.shape = rule.shape
        self.shared = rule.item == "shared"
        self.key_attributes: tuple[tuple[str, str], ...] = tuple((key.name, key.type) for key in self.design.keys)
        self.group_columns = self.design.group_columns
        self.aligned = self.design.aligned
        self.spread = rule.load_order == "spread"
        self.regrouped = self.spread or not self.aligned
        self.lookup_columns = self.design.lookup_columns
        self.split = self.shape == "group" and self.lookup_columns != self.group_columns
        self.invertible = self.design.invertible
        self.frame = self.design.frame
        looked_up = [column.looked_up for column in table.columns if column.looked_up]
        self.looks_up = bool(looked_up)  # or another rule of the table does
        alone = looked_up and not self.placed_by_others
        self.as_placed = self._columns.made_alone if alone else self._columns.made
        self.change_metadata = self._located()
        self._blanks: Row = tuple("" if one.orphans else None for one in looked_up)
        self._same = table

    @cached_property
    def _code(self) -> GeneratedCode:
        """Made when it is first needed: who weighs thousands of designs maps no row."""
        return generate(self.design)

    @cached_property
    def _compiled(self) -> Compiled:
        return Compiled(self.design, self._columns, self._code, self.table, self.source, self.as_placed)

    def __reduce__(self) -> tuple[type[TableMapping], tuple[TableRule, Table, Sharing]]:
        """Compiled again, in another process."""
        return TableMapping, (self.rule, self.table, self._sharing)

    def put_items(
        self, rows: Sequence[Row], provenance: Provenance = UNKNOWN, before: Row | None = None
    ) -> tuple[list[Put], list[Fault]]:
        """``rows`` are all rows of whole items, in any order. ``provenance`` is their change metadata, and ``before``
        the row that an update changed.

        Of rows that want the same place, the first by primary key has it and the others are Faults.
        """
        faults: list[Fault] = []
        if self._columns.changed:
            rows, origins = self._seen(rows, faults, provenance, self._columns.made(before))
        else:
            origins = {}
        mapped = self._code.put_items(rows)
        if mapped is None:  # rare: again, in an order that does not depend on that of the rows
            mapped = self._code.put_clashing_items(sorted(rows, key=self._primary_key_order))
        puts, refused, large = mapped
        faults += [row_fault(self._compiled, origins.get(id(row), row), reason) for row, reason in refused]
        return puts, faults + [self._large(item) for item in large]

    def load_operations(self, puts: Sequence[Put]) -> Sequence[ItemOperation]:
        """What writes ``puts`` into a store that may have other tables' parts of the same items."""
        if self.shared:
            return [part(self.design, put.key, put.item) for put in puts]
        if self.rule.condition and self.rule.condition.load:
            return [guard.guarded(put, self.condition) for put in puts]
        return puts

    def replacing(self, put: Put, found: Item) -> ItemOperation:
        """What brings the item to ``put`` where the store has ``found``: of a shared item, only this table's part."""
        if not self.shared:
            return guard.guarded(put, self.condition)
        update = part(self.design, put.key, put.item)
        if update.inside:
            removed = tuple(name for name in self._parts_within(found) if name not in update.inside.set)
            return update._replace(inside=update.inside._replace(remove=removed))
        gone = (name for name in self._entries(found) if name not in update.set)
        return update._replace(remove=(*update.remove, *gone))

    def is_written(self, put: Put, found: Item | None) -> bool:
        """Whether the store has the item of ``put``, whatever its change metadata, as ``found``."""
        if found is None or self.change_metadata.is_deleted(found):
            return False
        rest = self.change_metadata.rest
        return normal_item(rest(found)) == normal_item(rest(put.item))

    def removing(self, key: Item, found: Item) -> ItemOperation | None:
        """What takes all of the table's rows out of the item that the store has as ``found``; None if nothing must."""
        if self.change_metadata.mark:
            put = Put(self.target, key, self.change_metadata.marked(found))
            return guard.guarded(put, self.condition) if found else None
        if not self.shared:
            return guard.guarded(Delete(self.target, key), self.condition)
        if self.design.path or self.design.beside:
            inside = within(self.design, {}, tuple(self._parts_within(found)))
            return Update(self.target, key, {}, (), self.frame, inside)
        names = [name for name in (*self.design.own, *self._entries(found)) if name in found]
        return Update(self.target, key, {}, tuple(names), self.frame)

    def _parts_within(self, found: Item) -> Item:
        """The table's entries in a map that other tables have parts of; none where the map is no such thing."""
        try:
            entries = found.get(self.design.into, {"M": {}})["M"]
            return own_entries(entries, self.design.path, self.design.order, self.design.beside)
        except KeyError:
            return {}

    def _entries(self, found: Item) -> list[str]:
        """The names of the table's entries among the attributes of a shared item."""
        if self.shape != "group" or self.design.inside or self.design.sharing is None:
            return []
        first = self.design.entry_name.parts[0]
        begin = first.text if isinstance(first, Literal) else ""
        others = self.frame | self.design.sharing.taken
        return [name for name in found if name not in others and name.startswith(begin)]

    def fold(
        self, changes: Sequence[Change], provenance: Callable[[Change], Provenance] = unplaced
    ) -> tuple[list[ItemOperation], list[Fault]]:
        """``changes`` of this table, in log order, as at most one operation an item: the rules are in ``mapping.fold``.

        ``provenance`` is asked where the mapping has change metadata.
        Raises SchemaDrift if a change was written with other columns than this mapping was compiled for.
        """
        self._check_tables(changes)
        operations, faults = self._folded(changes, provenance)
        if self.condition:
            operations = [guard.guarded(each, self.condition) for each in operations]
        return operations, faults

    def _folded(
        self, changes: Sequence[Change], provenance: Callable[[Change], Provenance]
    ) -> tuple[list[ItemOperation], list[Fault]]:
        if self.change_metadata:
            return fold_of_change(self._compiled, changes, provenance)
        if self.shape == "group":
            return fold_groups(self._compiled, changes)
        return (fold_parts if self.shared else fold_records)(self._compiled, changes)

    @property
    def seen(self) -> Columns:
        """The columns as the mapping sees them."""
        return self._columns

    @property
    def placed_by_others(self) -> list[str]:
        """The columns by which another table's row decides where the row's item or entry is; FILTER where the filter
        lets one decide whether there is any.
        """
        order = (one.column.name for one in self.design.ordering)
        names = (*self.design.key_columns, *self.design.entry_name.columns, *order, FILTER)
        return [name for name in dict.fromkeys(names) if name in self._columns.from_others]

    def unjoined(self, row: Row) -> Row:
        """A row of the table alone, or its part of a joined one: as if it found what it must, of which nothing is
        known. It has the place of the row, if no other table has a say in that (``placed_by_others``).
        """
        return (*row[: len(self.table.columns) - len(self._blanks)], *self._blanks)

    def entry_name(self, row: Row) -> str | None:
        """What tells the row's entry from the group's others; None if the row cannot have one."""
        return made(self._code.entry_name, self.as_placed(row))

    def item_key(self, row: Row) -> Item | None:
        """The key of the row's item; None if the row cannot have one."""
        key = made(self._code.key, self.as_placed(row))
        return None if key is None else self._code.key_item(key)

    def group_key(self, row: Row) -> bytes:
        """Equal for two rows exactly if their items' keys are; empty if the row cannot have a key."""
        key = made(self._code.key, self.as_placed(row))
        if isinstance(key, tuple):
            key = f"{len(key[0])}:{key[0]}{key[1]}"
        return (key or "").encode("utf-8", "surrogatepass")

    def source_keys(self, item_key: Item) -> list[tuple[Value, ...]]:
        """Every tuple of ``lookup_columns`` values whose rows could belong to the item; perhaps some that no row has.

        Only for a mapping that is ``invertible``.
        Empty for a key that no row could give. Raises MappingError if there are more than MAX_SOURCE_KEYS.
        """
        found = [
            list(_bounded(self._assignments(key, item_key.get(key.name, {})), item_key)) for key in self.design.keys
        ]
        joined = found[0] if len(found) == 1 else _bounded(_join(found[0], found[1]), item_key)
        return list(dict.fromkeys(tuple(values[name] for name in self.lookup_columns) for values in joined))

    def may_be_looked_up(self, place: tuple[Value, ...]) -> bool:
        """Whether rows with these values of ``lookup_columns`` can have an item: not with a NULL that has no text."""
        needed = {name for key in self.design.keys for name in key.template.needed}
        return not any(value is None and name in needed for name, value in zip(self.lookup_columns, place, strict=True))

    def doubts(self, unique_keys: Iterable[tuple[str, ...]] = ()) -> list[str]:
        """How different rows could come to the same place in the target; empty if they cannot.

        ``unique_keys`` are the source's, without NULLs, beside the primary key.
        """
        return unique.doubts(self.design, self._columns.uses, unique_keys)

    def _assignments(self, key: Key, value: AttributeValue) -> Iterator[dict[str, Value]]:
        content = value.get(key.type)
        if content is None:
            return iter(())
        if key.type == "S":
            return key.template.splits(content, self.design.columns)
        column = self.design.columns[key.template.alone]
        found = values.values_of_number(column, content) if key.type == "N" else _bytes(content)
        return ({column.name: one} for one in found)

    def _seen(
        self, rows: Sequence[Row], faults: list[Fault], provenance: Provenance, before: Row | None
    ) -> tuple[list[Row], dict[int, Row]]:
        """The rows as the mapping sees them, without those that the filter leaves out, and which is which."""
        seen: list[Row] = []
        origins: dict[int, Row] = {}
        for row in rows:
            try:
                made = self._columns.row(row, provenance, before)
            except Refused as refusal:
                faults.append(row_fault(self._compiled, row, str(refusal)))
                continue
            if made is not None:
                seen.append(made)
                origins[id(made)] = row
        return seen, origins

    def _located(self) -> ChangeMetadata:
        """Raises MappingError if the mark of a deleted item is that of another too."""
        design, path = self.design, mark_path(self.design)
        if not path:
            return ChangeMetadata(paths(design))
        at, row = design.table.index(design.indicator), [None] * len(design.table.columns)
        try:
            texts = by_operation(self.rule.columns[design.indicator], self.table)
            deleted, *others = [self._code.indicator((*row[:at], text, *row[at + 1 :])) for text in texts]
        except Refused as refusal:
            deleted, others = None, []
            reason = f"operation_indicator has a value that cannot be written: {refusal}"
        else:
            reason = (
                f"operation_indicator gives a deleted item {deleted}, by which it cannot be told from one that is not"
            )
        if deleted is None or deleted == {"NULL": True} or deleted in others:
            hint = "Give deleted rows a string or a number that no other row has."
            raise MappingError(reason, place=f"table {self.rule.source}", hint=hint)
        return ChangeMetadata(paths(design), (path, deleted))

    def _primary_key_order(self, row: Row) -> list[str]:
        return [repr(row[self.table.index(name)]) for name in self.table.primary_key]

    def _large(self, item: Item) -> Fault:
        return Fault(
            self.source,
            oversize_reason(item_size(item)),
            {},
            {name: item[name] for name, _ in self.key_attributes},
            None,
        )

    def _check_tables(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.table is not self._same:
                self._check_table(change)
                self._same = change.table

    def _check_table(self, change: Change) -> None:
        if _layout(change.table) == _layout(self.table):
            return
        here, there = _layout(self.table), _layout(change.table)
        differing = [_words(one) for one in [*there, *here] if one not in there or one not in here]
        what = "; ".join(differing) or "their order"
        raise SchemaDrift(
            f"a change at {change.position} has other columns than the mapping ({what})",
            place=self.source,
            hint="The table was altered: stop here, adapt the mapping and start the table again.",
        )


class _ColumnLayout(NamedTuple):
    name: str
    kind: str
    unsigned: bool
    scale: int


def _layout(table: Table) -> list[_ColumnLayout]:
    return [_ColumnLayout(one.name, one.kind, one.unsigned, one.scale) for one in table.columns]


def _words(column: _ColumnLayout) -> str:
    return f"{column.name} {column.kind}{' unsigned' if column.unsigned else ''}"


def _bounded(found: Iterable[dict[str, Value]], item_key: Item) -> Iterator[dict[str, Value]]:
    several = iter(found)
    yield from islice(several, MAX_SOURCE_KEYS)
    if next(several, None) is not None:
        raise MappingError(
            f"more than {MAX_SOURCE_KEYS} different rows could give the key {shown(item_key)}",
            hint="Use a separator that does not occur in the columns' values.",
        )


def _join(left: list[dict[str, Value]], right: list[dict[str, Value]]) -> Iterator[dict[str, Value]]:
    """Pairs of assignments that agree on the columns that both have."""
    shared = tuple(sorted(left[0].keys() & right[0].keys())) if left and right else ()
    by_shared: dict[tuple[Value, ...], list[dict[str, Value]]] = {}
    for one in right:
        by_shared.setdefault(tuple(one[name] for name in shared), []).append(one)
    for one in left:
        for other in by_shared.get(tuple(one[name] for name in shared), ()):
            yield {**one, **other}


def _bytes(content: str | bytes) -> tuple[Value, ...]:
    try:
        return (a2b_base64(content) if isinstance(content, str) else bytes(content),)
    except Base64Error:
        return ()
