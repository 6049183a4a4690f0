"""Lines that look up the customer of their order, which is in their item's key: what is looked up decides the place. Or
their place is their own, and what is looked up is only beside it. The applier's order in small: batches, portions,
saves, a crash before any of its steps, and a store that is lost and made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.mapping.oracle import Store
from whimbrel.changelog.record import LogPoint
from whimbrel.checkpoint import Checkpoint
from whimbrel.mapping.family import rules_by_table
from whimbrel.mapping.fold import by_table
from whimbrel.mapping.lookups import Parent
from whimbrel.mapping.versions import Versions
from whimbrel.migration.join_store import AsOf, remove_store
from whimbrel.migration.joins import Joins
from whimbrel.migration.state import CheckpointStore
from whimbrel.project import KeyRule, LookupRule, TableRule
from whimbrel.records import Change, Column, Commit, Item, ItemOperation, Position, Row, Table

ORDERS = Table("shop", "orders", (Column("id", "int", False), Column("customer", "text")), ("id",))
LINE = Table(
    "shop",
    "line",
    (Column("order_id", "int"), Column("id", "int", False), Column("product", "text"), Column("again", "int")),
    ("id",),
)
ORDERS_RULE = TableRule("shop.orders", "orders", "record", KeyRule("id", "${id}", "N"))
LOOKUPS = (
    LookupRule("customer", "shop.orders", "customer", ("order_id",), orphans="omit"),
    LookupRule("other", "shop.orders", "customer", ("again",)),
)
LINE_RULE = TableRule(
    "shop.line", "line", "record", KeyRule("pk", "${customer}"), KeyRule("sk", "${id}"), lookups=LOOKUPS
)
GROUP_RULE = TableRule(
    "shop.line",
    "line",
    "group",
    KeyRule("pk", "${customer}"),
    entry_name="${id}",
    entry_as="map",
    entry_into="lines",
    exclude=("customer",),
    lookups=LOOKUPS,
)
RULES = {
    "record": LINE_RULE,
    "group": GROUP_RULE,
    "own": replace(LINE_RULE, partition_key=KeyRule("pk", "line"), sort_key=KeyRule("sk", "${id}")),
    "own group": replace(GROUP_RULE, partition_key=KeyRule("pk", "${product}"), exclude=()),
}
# An expression that fails where the customer is NULL: then the line is a dead letter, and has no item.
FAILS = "CASE WHEN customer IS NULL AND product IS NOT NULL THEN abs(-9223372036854775807 - 1) ELSE customer END"
RULES |= {
    f"{name} that fails": replace(
        RULES[name], columns={"told": FAILS}, exclude=("customer",), rename={"told": "customer"}
    )
    for name in ("own", "own group")
}


class Crash(Exception):
    """Before a step."""


class Rows:
    """What the source has, as changes make it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[Any, Row]] = {"orders": {}, "line": {}}
        self.changes: list[Change] = []
        self.history: list[dict[str, dict[Any, Row]]] = [{"orders": {}, "line": {}}]

    def put(self, table: Table, row: Row) -> None:
        key = row[table.index("id")]
        self._note(Change(table, self.rows[table.name].get(key), row, self._at()), key, row)

    def delete(self, table: Table, key: Any) -> None:
        if row := self.rows[table.name].get(key):
            self._note(Change(table, row, None, self._at()), key, None)

    def _at(self) -> Position:
        return Position("bin.000001", len(self.changes) + 1)

    def _note(self, change: Change, key: Any, row: Row | None) -> None:
        self.changes.append(change)
        mine = self.rows[change.table.name]
        if row is None:
            del mine[key]
        else:
            mine[key] = row
        self.history.append({name: dict(rows) for name, rows in self.rows.items()})


def expected(rows: dict[str, dict[Any, Row]], shape: str) -> dict[tuple[str, str], Any]:
    """The lines' items, by a join that shares nothing with what is tested: (customer, line) and what it says."""
    found: dict[tuple[str, str], Any] = {}
    for order_id, number, product, again in rows["line"].values():
        order, other = rows["orders"].get(order_id), rows["orders"].get(again)
        said = (product, None if other is None else other[1])
        if order and shape.startswith("own"):
            if order[1] is not None or not shape.endswith("fails"):
                found[product if "group" in shape else "line", str(number)] = (*said, order[1])
        elif order and order[1] is not None:
            found[str(order[1]), str(number)] = said
    return found


def held(store: Store, shape: str) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    for item in store.items.values():
        if "group" not in shape:
            found[item["pk"]["S"], item["sk"]["S"]] = _said(item, shape)
        else:
            assert item["lines"]["M"], "an empty group stays"
            entries = item["lines"]["M"].items()
            found |= {
                (item["pk"]["S"], name): _said({"product": item["pk"], **entry["M"]}, shape) for name, entry in entries
            }
    return found


def _said(fields: Item, shape: str) -> tuple[str | None, ...]:
    names = ("product", "other", "customer") if shape.startswith("own") else ("product", "other")
    return tuple(fields[name].get("S") for name in names)


class Applying:
    """The target, the store and the checkpoint of a migration of ``log``; ``crash_at`` numbers the steps from 0."""

    saves_first = False  # a mistake: before what was made is written

    def __init__(self, folder: Path, log: Sequence[Change], shape: str = "record") -> None:
        self.folder, self.log, self.shape = folder, log, shape
        shapes = {"shop.line#1": "own", "shop.line#2": "record"} if shape == "several" else {"shop.line": shape}
        numbers = [int(name.partition("#")[2] or 0) for name in shapes]
        rules = [replace(RULES[each], number=number) for number, each in zip(numbers, shapes.values(), strict=True)]
        parents = {
            "shop.orders": Parent((ORDERS_RULE,), ORDERS, ORDERS),
            "shop.line": Parent(tuple(rules), LINE, LINE),
        }
        self.shapes = shapes
        self.versions = {
            "shop.orders": Versions(ORDERS_RULE, ORDERS),
            **{rule.name: Versions(rule, LINE, parents=parents) for rule in rules},
        }
        self.targets = {name: Store() for name in self.versions}
        self.checkpoints = CheckpointStore(folder / "checkpoint.json")
        self.steps = 0

    def load(self, orders: Iterable[Row], *lines: Iterable[Row]) -> None:
        """``lines`` are those of each export: of each rule. What look-ups keep is that of the rule they ask for."""
        joins, exports = self._new(), dict(zip(self.shapes, map(list, lines), strict=True))
        [exported] = set(joins.rules) & set(exports)
        with joins.filling({"orders": "1"}):
            joins.fill(ORDERS, list(orders))
            joins.fill(LINE, exports[exported])
        assert joins.open()
        for name, export in exports.items():
            [(rows, _)] = joins.joined_parts(LINE, [(export, 1)])
            self.targets[name].apply(list(self.versions[name].of(LINE).put_items(rows)[0]))
        joins.close()

    def lose_and_make_again(self, orders: Iterable[Row], lines: Iterable[Row]) -> None:
        """The store, of rows that are as new as the checkpoint or newer."""
        remove_store(self.folder / "lookups.sqlite")
        joins, at = self._new(), self.applied
        position = self.log[at - 1].position.as_fields() if at else None
        with joins.filling_again(AsOf((1, at) if at else None, at, position)):
            joins.fill(ORDERS, list(orders))
            joins.fill(LINE, list(lines))

    def run(self, batch: int, crash_at: int = -1, save_every: int = 1) -> None:
        """From the checkpoint to the end of the log, or to a crash, after which this is called again."""
        self.steps = 0
        joins = self._new()
        try:
            assert joins.open()
            joins.agree(self.checkpoints)
            for number, _ in enumerate(self._stepwise(joins, batch, save_every)):
                self.steps = number + 1
                if number == crash_at:
                    raise Crash
        finally:
            joins.close()

    def _stepwise(self, joins: Joins, batch: int, save_every: int) -> Iterator[None]:
        at = self.applied
        position = joins.waited_for.position if joins.waited_for else None
        while joins.waiting:
            yield from self._written(joins.more())
            if position:
                yield from self._save(joins, at, position)
        for number, start in enumerate(range(at, len(self.log), batch), 1):
            at = min(start + batch, len(self.log))
            position = self.log[at - 1].position
            for portion in joins.of(self.log[start:at]):
                if self.saves_first:
                    joins.save(LogPoint(1, at), at, Commit(position, 0.0))
                yield from self._written(portion)
            while joins.waiting:
                if number % save_every == 0:
                    yield from self._save(joins, at, position)
                yield from self._written(joins.more())
            if number % save_every == 0:
                yield from self._save(joins, at, position)

    def _written(self, changes: list[Change]) -> Iterator[None]:
        for mine in by_table(changes):
            for name in rules_by_table(self.versions)[mine[0].table.full_name]:
                operations, _ = self.versions[name].of(mine[0].table).fold(mine)
                for operation in reversed(operations):  # in any order
                    yield
                    self._write(name, operation)

    def _write(self, source: str, operation: ItemOperation) -> None:
        self.targets[source].apply([operation])

    def _save(self, joins: Joins, at: int, position: Position | None) -> Iterator[None]:
        assert position is not None
        yield
        joins.save(LogPoint(1, at), at, Commit(position, 0.0))
        yield
        now = self.checkpoints.now
        fresh = Checkpoint(applied=LogPoint(1, at), counters={"applied": at}, applied_position=now.applied_position)
        if not joins.waiting:
            fresh = fresh.with_applied(LogPoint(1, at), position, 0.0)
        self.checkpoints.save(fresh)

    @property
    def applied(self) -> int:
        point = self.checkpoints.now.applied
        return point.offset if point else 0

    def _new(self) -> Joins:
        mappings = {source: each.of(each.first) for source, each in self.versions.items()}
        return Joins(self.folder / "lookups.sqlite", mappings, self.versions)

    def held(self) -> dict[tuple[str, str], Any]:
        [(name, shape)] = self.shapes.items()
        return held(self.targets[name], shape)

    def is_right(self, rows: Rows) -> bool:
        """Of each rule."""
        return all(held(self.targets[name], each) == expected(rows.rows, each) for name, each in self.shapes.items())
