"""Items read backwards: every row comes back as it was, whatever the mapping; what cannot come back is named before."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from tests.mapping.oracle import NoValue, added, entry, place_of, record, seen
from tests.mapping.oracle_texts import NoPlace
from tests.mapping.tables import VALUES, Case, Source, cases
from whimbrel.mapping.back_values import same_document
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.family import compile_family
from whimbrel.mapping.inverse import Inverse, inverse_of
from whimbrel.mapping.items_back import ItemInverse
from whimbrel.mapping.versions import Versions
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Filled, Item, Row, RowChange, Table, Value

MANY = settings(max_examples=40, deadline=None)
NOTHING_REQUIRED = Filled()


@st.composite
def canonical_rows(draw: st.DrawFn, table: Table) -> Row:
    """As a server has them: no column here has digits after the second."""

    def one(column: Column) -> Value:
        values = [value for value in VALUES[column.kind] if column.kind not in TIMES or "." not in str(value)]
        return draw(st.sampled_from([*values, *([None] * column.nullable)]))

    return tuple(one(column) for column in table.columns)


TIMES = ("time", "datetime", "timestamp")


def can_be_items(case: Case, row: Row) -> bool:
    """By the oracle: the row has a place, and values that can be written."""
    try:
        if place_of(case.rule, case.table, row) is None:
            return False
        table, made = seen(case.rule, case.table, row) or (case.table, row)
        (entry if case.rule.shape == "group" else record)(case.rule, table, made)
        added(case.rule, table, made)
    except (NoPlace, NoValue):
        return False
    return True


def readable(case: Case) -> tuple[TableMapping, Inverse]:
    mapping = compile_mapping(case.rule, case.table)
    inverse = inverse_of(mapping, NOTHING_REQUIRED)
    event("obstacle" if inverse.obstacles else f"comes back: {case.rule.shape} {case.rule.entry_as}")
    assume(not inverse.obstacles)
    return mapping, inverse


def same(column: Column, one: Value, other: Value, lossy: bool) -> bool:
    if lossy and column.kind == "text" and one is not None and other is not None:
        try:
            return Decimal(str(one)) == Decimal(str(other))
        except ArithmeticError:
            return same_document(one, other)
    return same_document(one, other) if lossy else one == other


def items_of(mapping: TableMapping, rows: list[Row]) -> dict[str, Item]:
    puts, faults = mapping.put_items(rows)
    assert not faults
    return {repr(put.key): put.item for put in puts}


@MANY
@given(st.data())
def test_rows_come_back_from_their_items(data: st.DataObject) -> None:
    case = data.draw(cases())
    mapping, inverse = readable(case)
    source = Source(case)
    for row in data.draw(st.lists(canonical_rows(case.table), max_size=8)):
        if can_be_items(case, row):
            source.write(None, row)
    found = [put for item in items_of(mapping, list(source.now.values())).values() for put in rows_back(inverse, item)]
    assert {put.key for put in found} == source.now.keys()
    for put in found:
        assert put.values is not None
        for name, value in zip(put.columns, put.values, strict=True):
            expected = source.now[put.key][case.table.index(name)]
            assert same(case.table.column(name), value, expected, name in inverse.lossy), name


def rows_back(inverse: Inverse, item: Item) -> list[RowChange]:
    rows, reasons = ItemInverse([inverse]).rows(item)
    assert not reasons
    return list(rows.values())


@MANY
@given(st.data())
def test_changes_of_items_in_any_order_give_the_rows_of_the_end(data: st.DataObject) -> None:
    """The rows are changed, and their items with them; only the items are shown to the inverse, those of one
    transaction in any order: a row that moves may be put before it is deleted, or after.
    """
    case = data.draw(cases())
    mapping, inverse = readable(case)
    source = Source(case)
    for row in data.draw(st.lists(canonical_rows(case.table), max_size=5)):
        if can_be_items(case, row):
            source.write(None, row)
    table = dict(source.now)
    for _ in range(data.draw(st.integers(1, 5))):
        before = items_of(mapping, list(source.now.values()))
        for _ in range(data.draw(st.integers(1, 3))):
            change(case, source, data)
        after = items_of(mapping, list(source.now.values()))
        for key in data.draw(st.permutations(sorted(before.keys() | after.keys()))):
            changes, reasons = ItemInverse([inverse]).changes(before.get(key), after.get(key))
            assert not reasons
            for each in changes:
                write(table, case.table, each)
    # What a row had in columns that do not come back went with it, when it moved by way of a deletion.
    assert table.keys() == source.now.keys()
    for place, row in table.items():
        for name in inverse.columns:
            at = case.table.index(name)
            assert same(case.table.columns[at], row[at], source.now[place][at], name in inverse.lossy), name


def change(case: Case, source: Source, data: st.DataObject) -> None:
    row = data.draw(canonical_rows(case.table))
    before = data.draw(st.sampled_from([None, *sorted(source.now.values(), key=repr)]))
    if before is not None and data.draw(st.integers(0, 3)) == 0:
        source.write(before, None)
    elif can_be_items(case, row):
        source.write(before, row)


def write(rows: dict[tuple[Value, ...], Row], table: Table, change: RowChange) -> None:
    """As the server carries it out: an update by primary key, else an insert; a delete under the guard."""
    there = rows.get(change.key)
    if change.values is None:
        if there is not None and all(there[table.index(name)] == value for name, value in change.guard):
            del rows[change.key]
        return
    row = list(there or (None,) * len(table.columns))
    for name, value in zip(change.columns, change.values, strict=True):
        if there is None or name not in change.kept:
            row[table.index(name)] = value
    rows[change.key] = tuple(row)


# --- what does not come back is named -------------------------------------------------------------------------------

CUSTOMER = Table(
    "shop",
    "customer",
    (
        Column("id", "int", nullable=False),
        Column("name", "text"),
        Column("price", "decimal", precision=10, scale=2),
        Column("seen", "datetime", scale=3),
        Column("notes", "json"),
        Column("extra", "json"),
    ),
    ("id",),
)


def customer(**settings: Any) -> Inverse:
    rule = TableRule("shop.customer", "customers", "record", KeyRule("id", "${id}", "N"), **settings)
    filled = settings.pop("filled", NOTHING_REQUIRED)
    return inverse_of(compile_mapping(rule, CUSTOMER), filled)


def obstacles(**settings: Any) -> dict[str, str]:
    return {each.column: each.reason for each in customer(**settings).obstacles}


def test_what_is_left_out_is_told_and_forbids_nothing() -> None:
    inverse = customer(exclude=("notes",), mask={"name": "hash"})
    assert not inverse.obstacles
    assert {each.column: each.reason for each in inverse.notes if each.column} == {
        "notes": "excluded: an INSERT has its default or NULL, an UPDATE leaves it",
        "name": "masked: an INSERT has its default or NULL, an UPDATE leaves it",
    }
    assert inverse.columns == ("id", "price", "seen", "extra")


def test_a_column_that_no_insert_can_leave_out_is_an_obstacle() -> None:
    rule = TableRule("shop.customer", "customers", "record", KeyRule("id", "${id}", "N"), exclude=("name",))
    inverse = inverse_of(compile_mapping(rule, CUSTOMER), Filled(required=frozenset({"id", "name"})))
    [found] = inverse.obstacles
    assert (found.column, found.reason) == (
        "name",
        "excluded, NOT NULL and without a default: no row could be inserted",
    )


def test_a_key_that_is_only_computed_is_an_obstacle() -> None:
    rule = TableRule(
        "shop.customer",
        "customers",
        "record",
        KeyRule("pk", "${hidden}"),
        columns={"hidden": "hash_sha256(id)"},
        exclude=("id", "hidden"),
        assert_unique=True,
    )
    inverse = inverse_of(compile_mapping(rule, CUSTOMER), NOTHING_REQUIRED)
    assert [each.column for each in inverse.obstacles] == ["id"]


def test_a_filter_of_what_does_not_come_back_is_an_obstacle() -> None:
    assert "the filter asks for it" in obstacles(filter="notes IS NOT NULL", exclude=("notes",))["notes"]


# --- values that no column could hold exactly, and new attributes ---------------------------------------------------

ITEM: Item = {
    "id": {"N": "7"},
    "name": {"S": "Ann"},
    "price": {"N": "12.5"},
    "seen": {"S": "2026-01-31T12:00:00"},
    "notes": {"NULL": True},
    "extra": {"NULL": True},
}


def test_values_get_their_column_s_form() -> None:
    [put] = rows_back(customer(), ITEM)
    assert put.values == (7, "Ann", "12.50", "2026-01-31 12:00:00.000", None, None)


def test_a_missing_attribute_is_null() -> None:
    [put] = rows_back(customer(), {"id": {"N": "7"}})
    assert put.values == (7, None, None, None, None, None)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("price", {"N": "12.505"}, "2 digits after the point, and 12.505 has more"),
        ("price", {"S": "x"}, "takes N, and the attribute is S"),
        ("seen", {"S": "2026-01-31T12:00:00.1234"}, "3 digits after the second"),
        ("seen", {"S": "yesterday"}, "cannot be 'yesterday'"),
        ("name", {"N": "1"}, "takes S, and the attribute is N"),
        ("colour", {"S": "red"}, "attribute 'colour' does not belong to a column"),
    ],
)
def test_what_no_column_could_hold_is_refused(name: str, value: dict[str, Any], reason: str) -> None:
    changes, [said] = ItemInverse([customer()]).changes(None, ITEM | {name: value})
    assert not changes
    assert reason in said


def test_new_attributes_are_ignored_or_kept_by_rule() -> None:
    item = ITEM | {"colour": {"S": "red"}}
    [ignored], _ = ItemInverse([customer()], "ignore").changes(None, item)
    assert "red" not in str(ignored.values)
    inverse = customer(exclude=("extra",))
    [kept], _ = ItemInverse([inverse], "json:extra").changes(None, {n: v for n, v in item.items() if n != "extra"})
    assert dict(zip(kept.columns, kept.values or (), strict=True))["extra"] == '{"colour":{"S":"red"}}'


def test_an_attribute_that_the_row_would_not_give_is_a_new_one() -> None:
    inverse = customer(attributes={"kind": "customer", "by_name": "N#${name}"})
    assert rows_back(inverse, ITEM | {"kind": {"S": "customer"}, "by_name": {"S": "N#Ann"}})
    _, reasons = ItemInverse([inverse]).changes(None, ITEM | {"kind": {"S": "ghost"}, "by_name": {"S": "N#Ann"}})
    assert reasons == ["attribute 'kind' does not belong to a column: see new_attributes in [cutover]"]


def test_after_an_image_that_could_not_be_read_the_whole_item_is_put() -> None:
    """What was refused is not in the table: the difference to it says nothing."""
    bad = ITEM | {"colour": {"S": "red"}}
    [put], _ = ItemInverse([customer()]).changes(bad, ITEM)
    assert put.values


def test_an_unchanged_document_is_left_as_it_is() -> None:
    inverse = customer(types={"notes": "JSON"})
    old = ITEM | {"notes": {"M": {"a": {"N": "1"}}}}
    [put], _ = ItemInverse([inverse]).changes(old, old | {"name": {"S": "Bob"}})
    assert put.kept == {"notes"}
    [put], _ = ItemInverse([inverse]).changes(old, old | {"notes": {"L": []}})
    assert not put.kept


# --- several tables in one target ------------------------------------------------------------------------------------

ORDERS = Table("shop", "orders", (Column("id", "int", nullable=False), Column("status", "text")), ("id",))
LINES = Table(
    "shop",
    "line",
    (
        Column("order_id", "int", nullable=False),
        Column("line_no", "int", nullable=False),
        Column("product", "text"),
    ),
    ("order_id", "line_no"),
)
TAGS = Table(
    "shop",
    "tag",
    (Column("order_id", "int", nullable=False), Column("tag", "text", nullable=False)),
    ("order_id", "tag"),
)
CUSTOMERS = Table("shop", "customer", (Column("id", "int", nullable=False), Column("name", "text")), ("id",))


def shop(**more: Any) -> ItemInverse:
    """An order, its lines and its tags in one item, and customers beside them in the same table."""
    shared: dict[str, Any] = {"item": "shared", "attributes": {"kind": "order"}}
    group: dict[str, Any] = {"shape": "group", "partition_key": KeyRule("pk", "ORDER#${order_id}"), **shared}
    rules = [
        (TableRule("shop.orders", "shop", "record", KeyRule("pk", "ORDER#${id}"), **shared), ORDERS),
        (
            TableRule("shop.line", "shop", **group, entry_as="map", entry_into="lines", entry_name="${line_no}"),
            LINES,
        ),
        (TableRule("shop.tag", "shop", **group, entry_as="string-set", entry_into="tags", entry_value="tag"), TAGS),
        (TableRule("shop.customer", "shop", "record", KeyRule("pk", "CUSTOMER#${id}")), CUSTOMERS),
    ]
    family = compile_family([(Versions(rule, table), table) for rule, table in rules])
    assert not family.faults
    return ItemInverse([inverse_of(each, NOTHING_REQUIRED) for each in family.mappings.values()], **more)


ORDER: Item = {
    "pk": {"S": "ORDER#1"},
    "kind": {"S": "order"},
    "id": {"N": "1"},
    "status": {"S": "new"},
    "lines": {"M": {"1": {"M": {"product": {"S": "p7"}}}, "2": {"M": {"product": {"NULL": True}}}}},
    "tags": {"SS": ["gift", "urgent"]},
}


def by_table(puts: list[RowChange]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for put in puts:
        found.setdefault(put.table.name, []).append(put.values if put.values is not None else ("gone", *put.key))
    return found


def test_a_shared_item_is_rows_of_several_tables() -> None:
    changes, reasons = shop().changes(None, ORDER)
    assert not reasons
    assert by_table(changes) == {
        "orders": [(1, "new")],
        "line": [(1, 1, "p7"), (1, 2, None)],
        "tag": [(1, "gift"), (1, "urgent")],
    }


def test_only_what_changed_in_a_shared_item_is_written() -> None:
    new = {name: value for name, value in ORDER.items() if name not in ("id", "status")}  # the order's own row went
    new |= {"tags": {"SS": ["gift"]}, "lines": {"M": {"1": {"M": {"product": {"S": "p8"}}}}}}
    changes, reasons = shop().changes(ORDER, new)
    assert not reasons
    assert by_table(changes) == {
        "orders": [("gone", 1)],
        "line": [("gone", 1, 2), (1, 1, "p8")],
        "tag": [("gone", 1, "urgent")],
    }


def test_an_item_of_another_kind_belongs_to_its_own_table() -> None:
    customer = {"pk": {"S": "CUSTOMER#7"}, "id": {"N": "7"}, "name": {"S": "Ann"}}
    changes, _ = shop().changes(None, customer)
    assert by_table(changes) == {"customer": [(7, "Ann")]}
    session: Item = {"pk": {"S": "SESSION#1"}}
    assert shop().changes(None, session) == ([], ["its key is that of no table: no row could be this item"])
    assert shop(new_attributes="ignore").changes(None, session) == ([], [])


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"colour": {"S": "red"}}, "attribute 'colour' does not belong to a column"),
        ({"kind": {"S": "ghost"}}, "attribute 'kind' does not belong to a column"),
        ({"lines": {"M": {"x": {"M": {}}}}}, "lines.x: its place cannot be read back"),
        ({"lines": {"M": {"01": {"M": {}}}}}, "lines.01: its place cannot be read back"),
        (
            {"lines": {"M": {"1": {"M": {"colour": {"S": "red"}}}}}},
            "attribute 'lines.colour' does not belong to a column",
        ),
        ({"lines": {"S": "none"}}, "attribute 'lines' must be M, and is S"),
        ({"id": {"N": "2"}}, "another place"),
    ],
)
def test_what_a_shared_item_says_beyond_its_rows_is_refused(more: Item, reason: str) -> None:
    changes, reasons = shop().changes(None, ORDER | more)
    assert not changes
    assert reason in "; ".join(reasons)
