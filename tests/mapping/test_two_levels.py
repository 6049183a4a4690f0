"""Maps in the entries of a map, whose parts are several tables': the same item in whatever order the parts come.

Judged by a plain nesting of the rows, and written by the Writer itself into a table in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mapping.test_family import faults
from tests.memory import Body, MemoryWire
from whimbrel.dynamodb import calls, write
from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.write import Writer
from whimbrel.item import key_id, normal_item
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import compile_family
from whimbrel.mapping.inverse import inverse_of
from whimbrel.mapping.versions import Versions
from whimbrel.nested import together
from whimbrel.project import KeyRule, TableRule, Target
from whimbrel.records import Change, Column, Item, Position, Row, Table

WHO = Column("customer", "text")
ORDERS = Table("shop", "orders", (Column("id", "int", nullable=False), WHO, Column("note", "text")), ("id",))
LINE = Table(
    "shop",
    "line",
    (Column("order", "text", nullable=False), Column("n", "int", nullable=False), WHO, Column("product", "text")),
    ("order", "n"),
)
EVENT, STEP = replace(LINE, name="event"), replace(LINE, name="step")
KEY = KeyRule("pk", "C#${customer}")


@pytest.fixture(scope="module", autouse=True)
def without_waits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for module in (calls, write):
            patched.setattr(module, "Backoff", lambda: Backoff(0.0, 0.0))
        yield


OUTER = TableRule(
    "shop.orders", "one", "group", KEY, item="shared", entry_as="map", entry_name="${id}", entry_into="orders"
)
INNER = replace(OUTER, source="shop.line", entry_name="${n}", entry_into="orders.${order}.lines")
SECOND = replace(INNER, source="shop.event", entry_into="orders.${order}.events", entry_value="product")
THIRD = replace(OUTER, source="shop.step", entry_name="", entry_as="list", entry_order=("n desc",))
THIRD = replace(THIRD, entry_into="orders.${order}.steps")
PARTS = [(OUTER, ORDERS), (INNER, LINE), (SECOND, EVENT), (THIRD, STEP)]
Rows = dict[tuple[str, Any], Row]  # by the table's name and the primary key


def family(*parts: tuple[TableRule, Table]) -> list[TableMapping]:
    compiled = compile_family([(Versions(rule, table), table) for rule, table in parts])
    assert not compiled.faults, compiled.faults
    return list(compiled.mappings.values())


MAPPINGS = family(*PARTS)


def text(value: Any) -> dict[str, Any]:
    return {"NULL": True} if value is None else {"S": value}


def expected(rows: Rows) -> dict[str, Item]:
    items: dict[str, Any] = {}
    for (table, _), row in rows.items():
        who = row[1] if table == "orders" else row[2]
        if who is None or (table != "orders" and row[0] in ("", "a\x1fb")):
            continue
        orders = items.setdefault("C#" + str(who), {})
        if table == "orders":
            orders.setdefault(str(row[0]), {})["note"] = text(row[2])
            continue
        value = text(row[3]) if table == "event" else {"M": {"product": text(row[3])}}
        orders.setdefault(row[0], {}).setdefault(f"{table}s", {})[str(row[1])] = value
    return {
        key: {"pk": {"S": key}, "orders": {"M": {name: {"M": nested(entry)} for name, entry in orders.items()}}}
        for key, orders in items.items()
    }


def nested(entry: dict[str, Any]) -> dict[str, Any]:
    def inner(name: str, value: dict[str, Any]) -> dict[str, Any]:
        if name == "steps":
            return {"L": [{"M": {"n": {"N": n}, **value[n]["M"]}} for n in sorted(value, reverse=True)]}
        return {"M": value} if name in ("lines", "events") else value

    return {name: inner(name, value) for name, value in entry.items()}


class World:
    """The rows, their changes, and what was written of them."""

    def __init__(self) -> None:
        self.rows: Rows = {}
        self.states: list[Rows] = [{}]
        self.changes: list[Change] = []
        self.wire = MemoryWire(key=("pk",))
        self.writer = Writer(self.wire, Target(endpoint="http://127.0.0.1:1", region="r"))  # type: ignore[arg-type]

    def change(self, table: Table, before: Row | None, after: Row | None) -> None:
        def key(row: Row) -> tuple[str, Any]:
            return table.name, tuple(row[table.index(name)] for name in table.primary_key)

        if after is not None and (before is None or key(before) != key(after)) and key(after) in self.rows:
            return
        if before is not None:
            del self.rows[key(before)]
        if after is not None:
            self.rows[key(after)] = after
        self.changes.append(Change(table, before, after, Position("bin.000001", 4 + len(self.changes))))
        self.states.append(dict(self.rows))

    def load(self, mapping: TableMapping, rows: list[Row]) -> None:
        puts, _ = mapping.put_items(rows)
        assert self.writer.write(mapping.load_operations(puts)) == []

    def apply(self, changes: list[Change], order: list[TableMapping]) -> None:
        for mapping in order:
            mine = [change for change in changes if change.table is mapping.table]
            assert self.writer.write(mapping.fold(mine)[0]) == []

    def items(self) -> dict[str, Item]:
        return {item["pk"]["S"]: normal_item(item) for item in self.wire.table("one").values()}


def rows_of(table: Table) -> st.SearchStrategy[Row]:
    who = st.sampled_from(["ann", "bob", None])
    words = st.sampled_from(["x", "y", None])
    if table is ORDERS:
        return st.tuples(st.integers(1, 3), who, words)
    return st.tuples(st.sampled_from(["1", "2", "3", "", "a\x1fb"]), st.integers(1, 2), who, words)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_parts_may_come_and_go_in_any_order(data: st.DataObject) -> None:
    """A snapshot at no one time, loaded table by table; the log in batches, in each the tables in any order; crashes
    within a batch, answers that are lost, and replays.
    """
    world = World()
    for _ in range(data.draw(st.integers(0, 14))):
        table = data.draw(st.sampled_from([ORDERS, LINE, EVENT, STEP]))
        there = [row for (name, _), row in world.rows.items() if name == table.name]
        before = data.draw(st.sampled_from([None, *there]))
        after = data.draw(st.none() | rows_of(table)) if before else data.draw(rows_of(table))
        world.change(table, before, after)
    for mapping in data.draw(st.permutations(MAPPINGS)):
        keys = {key for state in world.states for key in state if key[0] == mapping.table.name}
        read = [data.draw(st.sampled_from(world.states)).get(key) for key in sorted(keys, key=repr)]
        world.load(mapping, [row for row in read if row])
    losing = data.draw(st.lists(st.booleans(), max_size=20))
    lost = iter(losing)
    world.wire.lose_answer = lambda operation, body: next(lost, False)
    reached = 0
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, reached))
        reached = data.draw(st.integers(start, len(world.changes)))
        order = data.draw(st.permutations(MAPPINGS))
        world.apply(world.changes[start:reached], order[: data.draw(st.integers(0, len(order)))])  # and a crash
        world.apply(world.changes[start:reached], data.draw(st.permutations(MAPPINGS)))
    world.apply(world.changes[data.draw(st.integers(0, reached)) :], data.draw(st.permutations(MAPPINGS)))
    assert world.items() == {key: normal_item(item) for key, item in expected(world.rows).items()}
    together_ = parts_together(world.rows)
    assert together_ == world.items(), "what verify expects"


def parts_together(rows: Rows) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for mapping in MAPPINGS:
        puts, _ = mapping.put_items([row for (name, _), row in rows.items() if name == mapping.table.name])
        for put in puts:
            together(items.setdefault(put.key["pk"]["S"], {}), put.item)
    return {key: normal_item(item) for key, item in items.items()}


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_what_is_written_again_is_a_tables_own_part(data: st.DataObject) -> None:
    """As for dead letters and by ``refill``: whatever of its own was there before, and nothing of the others'."""
    right, wrong = World(), World()
    for world in (right, wrong):
        for _ in range(6):
            table = data.draw(st.sampled_from([ORDERS, LINE, EVENT, STEP]))
            world.change(table, None, data.draw(rows_of(table)))
        for mapping in MAPPINGS:
            world.load(mapping, [row for (name, _), row in world.rows.items() if name == mapping.table.name])
    for mapping in data.draw(st.permutations(MAPPINGS)):
        found = {key_id({"pk": item["pk"]}): item for item in wrong.wire.table("one").values()}
        puts, _ = mapping.put_items([row for (name, _), row in right.rows.items() if name == mapping.table.name])
        kept = {key_id(put.key) for put in puts}
        writes = [mapping.replacing(put, found.get(key_id(put.key), {})) for put in puts]
        gone = [mapping.removing({"pk": item["pk"]}, item) for key, item in found.items() if key not in kept]
        assert wrong.writer.write([*writes, *(each for each in gone if each)]) == []
    assert wrong.items() == right.items()


def test_an_order_that_goes_leaves_its_lines_and_comes_back() -> None:
    world = World()
    world.change(LINE, None, ("1", 1, "ann", "x"))
    world.change(ORDERS, None, (1, "ann", "new"))
    world.apply(world.changes, MAPPINGS[::-1])
    lines = {"M": {"1": {"M": {"product": {"S": "x"}}}}}
    whole = {"pk": {"S": "C#ann"}, "orders": {"M": {"1": {"M": {"note": {"S": "new"}, "lines": lines}}}}}
    assert world.items() == {"C#ann": whole}
    world.change(ORDERS, (1, "ann", "new"), None)
    world.apply(world.changes[2:], MAPPINGS)
    assert world.items() == {"C#ann": whole | {"orders": {"M": {"1": {"M": {"lines": lines}}}}}}
    world.change(ORDERS, None, (1, "ann", "new"))
    world.apply(world.changes[3:], MAPPINGS)
    assert world.items() == {"C#ann": whole}
    world.change(LINE, ("1", 1, "ann", "x"), None)
    world.change(ORDERS, (1, "ann", "new"), None)
    world.apply(world.changes[4:], MAPPINGS)
    assert world.items() == {}


def test_somebody_else_between_the_reading_and_the_writing() -> None:
    """Another table's part, written meanwhile, stays."""
    world = World()
    world.apply([Change(LINE, None, ("1", 1, "ann", "x"), Position("bin.000001", 4))], MAPPINGS)
    order = Change(ORDERS, None, (1, "ann", "new"), Position("bin.000001", 5))
    line = Change(LINE, None, ("1", 2, "ann", "y"), Position("bin.000001", 6))
    meanwhile, other = iter([line]), World()
    other.wire.items = world.wire.items

    def between(operation: str, body: Body) -> None:
        if operation == "UpdateItem" and (change := next(meanwhile, None)):
            other.apply([change], MAPPINGS)

    world.wire.disturb = between
    world.apply([order], MAPPINGS)
    [item] = world.items().values()
    entry = item["orders"]["M"]["1"]["M"]
    assert (entry["note"], set(entry["lines"]["M"])) == ({"S": "new"}, {"1", "2"})


@pytest.mark.parametrize(
    ("outer", "inner", "wrong"),
    [
        ({}, {"entry_into": "orders.${order}.note"}, "has a column 'note' in its entries of 'orders'"),
        ({"entry_value": "note"}, {}, "are not maps of columns"),
        ({"exclude": ("note",)}, {}, "needs a column of its own, which is never left out"),
        ({"nulls": "omit"}, {}, "needs a column of its own, which is never left out"),
        ({}, {"entry_into": "orders.x.lines"}, "one.line"),
        ({}, {"entry_as": "string-set", "entry_name": "", "entry_value": "product"}, "only a map, or a list without"),
        ({"entry_into": "orders.${id}.lines", "entry_name": "${id}"}, {}, "both write the map 'lines' in 'orders'"),
    ],
)
def test_a_fault_is_named(outer: dict[str, Any], inner: dict[str, Any], wrong: str) -> None:
    if wrong == "one.line":  # a name as it stands: an attribute of its own
        assert family((replace(OUTER, **outer), ORDERS), (replace(INNER, **inner), LINE))
        return
    assert wrong in faults((replace(OUTER, **outer), ORDERS), (replace(INNER, **inner), LINE))


def test_it_is_not_read_backwards() -> None:
    for mapping in MAPPINGS:
        assert any("are not read back" in each.reason for each in inverse_of(mapping).obstacles)
