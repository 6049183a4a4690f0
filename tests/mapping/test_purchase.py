"""The post's table and mapping: items made by hand here, and every way in which a row of it can be refused."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from whimbrel.errors import SchemaDrift
from whimbrel.item import MAX_ITEM_BYTES, item_size
from whimbrel.mapping.design import compile_mapping
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Column, Delete, Item, Position, Put, Row, Table, Update

PURCHASE = Table(
    "shop",
    "purchase",
    (
        Column("customerid", "int", nullable=False),
        Column("orderid", "int", nullable=False),
        Column("productid", "text", nullable=False, length=40),
        Column("quantity", "int"),
    ),
    ("customerid", "orderid", "productid"),
)
GROUP = TableRule(
    "purchase",
    "purchase",
    "group",
    KeyRule("customerid", "${customerid}", "N"),
    KeyRule("orderid", "order-${orderid}"),
    entry_name="${productid}",
    entry_value="quantity",
    attributes={"customer": "customer ${customerid}"},
)
RECORD = TableRule(  # the post's DMS rule
    "purchase",
    "purchase",
    "record",
    KeyRule("customer_orderid", "${customerid}|${orderid}"),
    KeyRule("productid", "${productid}"),
    exclude=("customerid", "orderid"),
)
FRAME = frozenset({"customerid", "orderid", "customer"})
AT = Position("bin.000001", 4)


def by_hand(rows: list[Row]) -> dict[tuple[Any, Any], Item]:
    items: dict[tuple[Any, Any], Item] = {}
    for customer, order, product, quantity in rows:
        if (customer, order) not in items:
            items[customer, order] = {
                "customerid": {"N": str(customer)},
                "orderid": {"S": "order-" + str(order)},
                "customer": {"S": "customer " + str(customer)},
            }
        items[customer, order][str(product)] = {"NULL": True} if quantity is None else {"N": str(quantity)}
    return items


def test_a_group_of_rows_is_one_item_with_an_attribute_for_each_product() -> None:
    dice = random.Random(1)
    rows: list[Row] = list({(c, o, p): (c, o, p, q) for c, o, p, q in _purchases(dice, 2_000)}.values())
    dice.shuffle(rows)
    puts, faults = compile_mapping(GROUP, PURCHASE).put_items(rows)
    made = {(put.item["customerid"]["N"], put.item["orderid"]["S"]): put.item for put in puts}
    assert made == {(str(c), f"order-{o}"): item for (c, o), item in by_hand(rows).items()}
    assert len(made) == len(puts)
    assert not faults
    assert all(put.key == {name: put.item[name] for name in ("customerid", "orderid")} for put in puts)
    assert {put.table for put in puts} == {"purchase"}


def _purchases(dice: random.Random, count: int) -> list[tuple[int, int, str, int | None]]:
    quantities = [None, 0, 1, 1023, 1024, -5, 2**64 - 1]
    return [
        (dice.randint(1, 50), dice.randint(1, 9), f"p{dice.randint(1, 30)}", dice.choice(quantities))
        for _ in range(count)
    ]


def test_the_rule_of_the_post_for_dms_gives_its_item() -> None:
    [put], faults = compile_mapping(RECORD, PURCHASE).put_items([(1, 2, "p1", 100)])
    key = {"customer_orderid": {"S": "1|2"}, "productid": {"S": "p1"}}
    assert put == Put("purchase", key, {**key, "quantity": {"N": "100"}})
    assert not faults


def test_rows_that_the_collation_calls_equal_are_told_apart_by_their_bytes() -> None:
    """In primary-key order of a case-insensitive collation 'a', 'A' and 'a ' come in any order among each other."""
    table = replace(PURCHASE, columns=(Column("customerid", "text", nullable=False, length=9), *PURCHASE.columns[1:]))
    rule = replace(GROUP, partition_key=KeyRule("customerid", "${customerid}"))
    rows: list[Row] = [("a", 1, "x", 1), ("A", 1, "x", 2), ("a ", 1, "x", 3), ("a", 1, "y", 4), ("A", 1, "y", 5)]
    puts, faults = compile_mapping(rule, table).put_items(rows)
    made = {put.item["customerid"]["S"]: put.item for put in puts}
    assert len(puts) == 3
    assert {name: (item["x"]["N"], item.get("y", {}).get("N")) for name, item in made.items()} == {
        "a": ("1", "4"),
        "A": ("2", "5"),
        "a ": ("3", None),
    }
    assert not faults


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((1, 1, "", 1), "the entry's name is empty"),
        ((1, 1, "customer", 1), "'customer' is the name of an attribute of the whole item"),
        ((1, 1, "orderid", 1), "'orderid' is the name of an attribute of the whole item"),
        ((None, 1, "x", 1), "partition key 'customerid' needs column 'customerid', which is NULL"),
        ((1, None, "x", 1), "sort key 'orderid' needs column 'orderid', which is NULL"),
        ((1, 1, None, 1), "the entry's name needs column 'productid', which is NULL"),
    ],
)
def test_a_row_without_a_place_is_a_fault_and_the_others_are_put(row: Row, reason: str) -> None:
    mapping = compile_mapping(GROUP, PURCHASE)
    good: list[Row] = [(1, 1, "good", 7), (2, 1, "good", 8)]
    puts, [fault] = mapping.put_items([good[0], row, good[1]])
    assert [put.item for put in puts] == list(by_hand(good).values())
    assert reason in fault.reason
    assert (fault.table, fault.change) == ("shop.purchase", None)
    assert fault.source_key == dict(zip(PURCHASE.primary_key, row[:3], strict=True))
    assert fault.item_key == mapping.item_key(row)


def test_an_item_that_no_row_could_enter_is_not_put() -> None:
    puts, faults = compile_mapping(GROUP, PURCHASE).put_items([(1, 1, "", 1), (1, 1, "customer", 1)])
    assert (puts, len(faults)) == ([], 2)


def test_two_rows_of_one_entry_never_overwrite_each_other_and_the_order_does_not_matter() -> None:
    """The entry is named by a column outside the key: the first row by primary key has it, the others are Faults."""
    rule = replace(GROUP, entry_name="${quantity}", entry_value="productid")
    mapping = compile_mapping(rule, PURCHASE)
    rows: list[Row] = [(1, 1, "a", 5), (1, 1, "b", 5), (1, 1, "c", 6), (1, 1, "d", 5)]
    outcomes = []
    for _ in range(10):
        random.shuffle(rows)
        [put], faults = mapping.put_items(rows)
        assert {"already" in fault.reason for fault in faults} == {True}
        outcomes.append((put.item, sorted(str(fault.source_key["productid"]) for fault in faults)))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    item, refused = outcomes[0]
    assert (item["5"], item["6"], refused) == ({"S": "a"}, {"S": "c"}, ["b", "d"])
    assert mapping.doubts() == [
        "productid of the primary key is not in the key and entry_name: different rows could be one"
    ]


@pytest.mark.parametrize("kind", ["double", "float"])
@pytest.mark.parametrize("template", ["${a}", "A#${a}#", "${a:-none}"])
@pytest.mark.parametrize("place", ["partition key 'pk'", "sort key 'sk'", "the entry's name", "a set's member"])
def test_a_zero_with_a_sign_is_refused_where_its_text_tells_items_apart(kind: str, template: str, place: str) -> None:
    """To the source it is 0.0: with both texts, one row would have two items on the way back."""
    table = Table(
        "shop", "t", (Column("a", kind, nullable=":-" in template), Column("n", "int", nullable=False)), ("n",)
    )
    rule = TableRule("t", "ttt", "record", KeyRule("pk", "${n}"), exclude=("a",))
    if place.startswith("partition"):
        rule = replace(rule, partition_key=KeyRule("pk", template), assert_unique=True)
    elif place.startswith("sort"):
        rule = replace(rule, sort_key=KeyRule("sk", template))
    else:
        rule = replace(rule, shape="group", entry_name=template, entry_value="n", exclude=("a",), assert_unique=True)
    if place.startswith("a set"):
        table = replace(table, primary_key=("n", "a"))
        rule = replace(rule, entry_as="string-set", entry_into="as", entry_name="", entry_value="a", exclude=())
    mapping = compile_mapping(rule, table)
    puts, faults = mapping.put_items([(0.0, 1), (-0.0, 2), (-1.5, 3)])
    assert [fault.source_key["n"] for fault in faults] == [2]
    assert "column 'a' is -0.0, which the source takes for 0.0" in faults[0].reason
    assert len(puts) == 2
    change = Change(table, (-0.0, 2), (0.0, 2), Position("bin.000001", 4))
    operations, faults = mapping.fold([change])
    assert (len(operations), faults) == (1, [])


def test_a_zero_with_a_sign_is_a_zero_where_a_key_is_a_number() -> None:
    table = Table("shop", "t", (Column("a", "double", nullable=False), Column("n", "int", nullable=False)), ("n",))
    rule = TableRule("t", "ttt", "group", KeyRule("pk", "${a}", "N"), entry_name="${n}", entry_value="n")
    [put], _ = compile_mapping(rule, table).put_items([(0.0, 1), (-0.0, 2)])
    assert put.key == {"pk": {"N": "0"}}


def test_the_keys_of_different_items_are_partitioned_by_different_bytes() -> None:
    rule = replace(GROUP, sort_key=KeyRule("orderid", "${orderid}"))
    rows: list[Row] = [(1, 12, "a", 1), (11, 2, "a", 1), (1, 12, "b", 2)]
    first, second, again = map(compile_mapping(rule, PURCHASE).group_key, rows)
    assert first == again != second


def test_rows_of_another_group_that_an_ambiguous_key_brings_in_are_refused() -> None:
    """('ab', 'c') and ('a', 'bc') share a key, but not what the whole item has: whoever comes first has it."""
    columns = tuple(Column(name, "text", nullable=False, length=9) for name in ("a", "b", "n"))
    table = Table("shop", "t", columns, ("a", "b", "n"))
    key = KeyRule("pk", "${a}${b}")
    rule = TableRule("t", "ttt", "group", key, entry_name="${n}", attributes={"a": "${a}"})
    rows: list[Row] = [("ab", "c", "1"), ("x", "y", "2"), ("a", "bc", "3"), ("x", "y", "4"), ("ab", "c", "5")]
    puts, [fault] = compile_mapping(rule, table).put_items(rows)
    assert [sorted(put.item) for put in puts] == [["1", "5", "a", "pk"], ["2", "4", "a", "pk"]]
    assert fault.source_key == {"a": "a", "b": "bc", "n": "3"}
    assert "differs in the attributes of the whole item" in fault.reason


def test_two_records_of_one_key_never_overwrite_each_other() -> None:
    mapping = compile_mapping(replace(RECORD, sort_key=None), PURCHASE)
    rows: list[Row] = [(1, 1, "b", 2), (1, 1, "a", 1)]
    for order in (rows, rows[::-1]):
        [put], [fault] = mapping.put_items(order)
        assert (put.item["productid"], fault.source_key["productid"]) == ({"S": "a"}, "b")
        assert "another row has the same item key" in fault.reason


def test_an_item_over_400_kb_is_one_fault_for_the_whole_item() -> None:
    table = replace(
        PURCHASE, columns=(*PURCHASE.columns[:2], Column("productid", "text", length=200), *PURCHASE.columns[3:])
    )
    mapping = compile_mapping(GROUP, table)
    small: list[Row] = [(1, 1, f"{n:0150}", 1) for n in range(2_600)]
    large: list[Row] = [(1, 2, f"{n:0150}", 1) for n in range(2_800)]
    [put], [fault] = mapping.put_items(small + large)
    assert 0 < MAX_ITEM_BYTES - item_size(put.item) < 30_000
    assert fault.item_key == {"customerid": {"N": "1"}, "orderid": {"S": "order-2"}}
    assert (fault.source_key, fault.change) == ({}, None)
    assert "more than the 409600 that DynamoDB allows" in fault.reason


def test_a_record_over_400_kb_is_a_fault_in_load_and_in_fold() -> None:
    table = Table("shop", "note", (Column("id", "int", nullable=False), Column("body", "text")), ("id",))
    mapping = compile_mapping(TableRule("note", "note", "record", KeyRule("id", "${id}", "N")), table)
    fits, large = (1, "é" * ((MAX_ITEM_BYTES - 8) // 2)), (1, "é" * (MAX_ITEM_BYTES // 2))
    [put], [fault] = mapping.put_items([fits, (2, large[1])])
    assert item_size(put.item) == MAX_ITEM_BYTES
    assert fault.source_key == {"id": 2}
    operations, [fault] = mapping.fold([Change(table, fits, large, AT)])
    assert operations == [Delete("note", {"id": {"N": "1"}})]
    assert "409" in fault.reason


@pytest.mark.parametrize(
    ("partition", "sort", "wrong"),
    [("é" * 1024, "x", ""), ("é" * 1024 + "x", "x", "partition key 'pk' has 2049 bytes"),
     ("x", "é" * 512, ""), ("x", "é" * 512 + "x", "sort key 'sk' has 1025 bytes"),
     ("", "x", "partition key 'pk' is empty"), ("x", "", "sort key 'sk' is empty")],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["text", "binary"])
def test_keys_are_within_the_limits_of_dynamodb(kind: str, partition: str, sort: str, wrong: str) -> None:
    table = Table("shop", "t", (Column("a", kind), Column("b", kind)), ("a", "b"))
    of_type = "S" if kind == "text" else "B"
    rule = TableRule("t", "ttt", "record", KeyRule("pk", "${a}", of_type), KeyRule("sk", "${b}", of_type))
    row: Row = (partition, sort) if kind == "text" else (partition.encode(), sort.encode())
    puts, faults = compile_mapping(rule, table).put_items([row])
    assert (len(puts), [fault.reason[: len(wrong)] for fault in faults]) == ((1, []) if not wrong else (0, [wrong]))


def test_a_change_folds_into_the_items_that_it_touches() -> None:
    mapping = compile_mapping(GROUP, PURCHASE)
    changes = [
        Change(PURCHASE, None, (1, 1, "a", 1), AT),
        Change(PURCHASE, (1, 1, "a", 1), (1, 1, "b", 2), AT),  # the entry gets another name
        Change(PURCHASE, (1, 1, "b", 2), (1, 2, "b", 2), AT),  # and moves to another item
        Change(PURCHASE, (1, 1, "gone", 1), None, AT),
        Change(PURCHASE, None, (1, 1, "gone", 3), AT),  # removed, then set: it is set
    ]
    (first, second), faults = mapping.fold(changes)
    assert not faults
    added = {"customer": {"S": "customer 1"}}
    key = {"customerid": {"N": "1"}, "orderid": {"S": "order-1"}}
    assert first == Update("purchase", key, {**added, "gone": {"N": "3"}}, ("a", "b"), FRAME)
    assert second == Update("purchase", key | {"orderid": {"S": "order-2"}}, {**added, "b": {"N": "2"}}, (), FRAME)


def test_an_update_that_only_removes_brings_no_attribute_with_it() -> None:
    [update], _ = compile_mapping(GROUP, PURCHASE).fold([Change(PURCHASE, (1, 1, "a", 1), None, AT)])
    assert isinstance(update, Update)
    assert (update.set, update.remove) == ({}, ("a",))


def test_an_after_image_that_cannot_be_mapped_is_a_fault_and_its_entry_is_removed() -> None:
    change = Change(PURCHASE, (1, 1, "a", 1), (1, 1, "customer", 1), AT)
    [update], [fault] = compile_mapping(GROUP, PURCHASE).fold([change])
    assert isinstance(update, Update)
    assert (update.set, update.remove) == ({}, ("a",))
    assert fault.change is change
    assert fault.item_key == {"customerid": {"N": "1"}, "orderid": {"S": "order-1"}}


def test_a_before_image_without_a_place_never_touches_the_attributes_of_the_whole_item() -> None:
    operations, faults = compile_mapping(GROUP, PURCHASE).fold([Change(PURCHASE, (1, 1, "customer", 1), None, AT)])
    assert (operations, faults) == ([], [])


def test_a_record_whose_key_moves_is_deleted_and_put() -> None:
    operations, _ = compile_mapping(RECORD, PURCHASE).fold([Change(PURCHASE, (1, 1, "a", 1), (1, 1, "b", 1), AT)])
    assert [(type(one), one.key["productid"]["S"]) for one in operations] == [(Delete, "a"), (Put, "b")]


def test_a_swap_of_two_keys_in_one_batch_leaves_both() -> None:
    a, b = (1, 1, "a", 1), (1, 1, "b", 2)
    steps = [(a, (1, 1, "-", 1)), (b, (1, 1, "a", 2)), ((1, 1, "-", 1), (1, 1, "b", 1))]
    operations, _ = compile_mapping(RECORD, PURCHASE).fold([Change(PURCHASE, *step, AT) for step in steps])
    assert {one.key["productid"]["S"]: one.item["quantity"]["N"] for one in operations if isinstance(one, Put)} == {
        "a": "2",
        "b": "1",
    }
    assert [one.key["productid"]["S"] for one in operations if isinstance(one, Delete)] == ["-"]


def test_a_change_written_with_other_columns_stops_by_name() -> None:
    altered = replace(PURCHASE, columns=(*PURCHASE.columns, Column("note", "text")))
    with pytest.raises(SchemaDrift, match=r"shop\.purchase: a change at bin\.000001:4 has other columns .*note text"):
        compile_mapping(GROUP, PURCHASE).fold([Change(altered, None, (1, 1, "a", 1, "x"), AT)])


def test_an_equal_table_from_elsewhere_is_no_drift() -> None:
    again = replace(PURCHASE)
    assert again is not PURCHASE
    operations, _ = compile_mapping(GROUP, PURCHASE).fold([Change(again, None, (1, 1, "a", 1), AT)])
    assert len(operations) == 1


def test_a_giant_group_takes_no_more_than_its_rows() -> None:
    mapping = compile_mapping(GROUP, PURCHASE)
    rows: list[Row] = [(1, 1, f"product{n:030}", n) for n in range(15_000)]
    tracemalloc.start()
    puts, [fault] = mapping.put_items(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (puts, fault.source_key) == ([], {})
    assert peak < 700 * len(rows)
