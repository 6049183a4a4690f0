"""Rules that look columns up, and what is refused of them by name. That they are right is shown with real servers in
tests/cases, and by schedules in tests/migration/test_joins.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from whimbrel.errors import MappingError, SchemaDrift
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.inverse import inverse_of
from whimbrel.mapping.lookups import Parent, joined
from whimbrel.mapping.versions import Versions
from whimbrel.project import KeyRule, LookupRule, TableRule
from whimbrel.records import Column, Item, Row, Table

CUSTOMER = Table(
    "shop",
    "customer",
    (
        Column("id", "int", False, type_name="int(11)"),
        Column("name", "text", charset="utf8mb4", length=40, type_name="varchar(40)"),
        Column("code", "text", False, charset="utf8mb4", collation="utf8mb4_bin"),
    ),
    ("id",),
)
ORDERS = Table(
    "shop",
    "orders",
    (
        Column("id", "int", False),
        Column("customer_id", "int", type_name="int(11)"),
        Column("code", "text", charset="utf8mb4", collation="utf8mb4_general_ci"),
        Column("status", "text"),
    ),
    ("id",),
)
ITEM: Item = {"id": {"N": "1"}, "customer_id": {"N": "7"}, "code": {"NULL": True}, "status": {"S": "x"}}
NAME = LookupRule("customer_name", "shop.customer", "name", ("customer_id",))
CUSTOMERS = TableRule("shop.customer", "customer", "record", KeyRule("id", "${id}", "N"))
RULE = TableRule("shop.orders", "orders", "record", KeyRule("id", "${id}", "N"), lookups=(NAME,))


def versions(rule: TableRule, customer: Table = CUSTOMER, customers: TableRule = CUSTOMERS) -> Versions:
    parents = {
        "shop.customer": Parent((customers,), CUSTOMER, customer),
        "shop.orders": Parent((rule,), ORDERS, ORDERS),
    }
    return Versions(rule, ORDERS, parents=parents)


def refusal(rule: TableRule, customers: TableRule = CUSTOMERS) -> str:
    with pytest.raises(MappingError) as raised:
        versions(rule, customers=customers).of(ORDERS)
    return str(raised.value)


def looking(lookup: LookupRule, **settings: object) -> TableRule:
    return replace(RULE, lookups=(lookup,), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lookup", "reason"),
    [
        (replace(NAME, parent="shop.client"), "table shop.client, which has no [[table]] of its own"),
        (replace(NAME, column="nom"), "'nom', which shop.customer does not have"),
        (replace(NAME, by=("client_id",)), "'client_id', which shop.orders does not have"),
        (replace(NAME, by=("customer_id", "id")), "the key of shop.customer is (id), and by has 2 columns"),
        (replace(NAME, by=("status",)), "they are text and int"),
        (replace(NAME, name="status"), "there is another column 'status'"),
        (replace(NAME, by=("code",), key=("code",)), "collations are utf8mb4_general_ci and utf8mb4_bin"),
    ],
)
def test_what_cannot_be_looked_up_is_refused_by_name(lookup: LookupRule, reason: str) -> None:
    assert reason in refusal(looking(lookup))


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        (
            Column("ref", "double"),
            Column("id", "double", False),
            "double is not a kind of key that can be looked up by",
        ),
        (
            Column("ref", "decimal", precision=6, scale=2),
            Column("id", "decimal", False, precision=6, scale=3),
            "they have 2 and 3 fractional digits",
        ),
        (
            Column("ref", "binary", length=4, type_name="varbinary(4)"),
            Column("id", "binary", False, length=4, type_name="binary(4)"),
            "they are varbinary(4) and binary(4)",
        ),
    ],
)
def test_columns_that_are_not_read_alike_are_not_looked_up_by(one: Column, other: Column, reason: str) -> None:
    """Equal values of them would not be the same value."""
    customer = replace(CUSTOMER, columns=(other, *CUSTOMER.columns[1:]))
    orders = replace(ORDERS, columns=(*ORDERS.columns, one))
    rule = looking(replace(NAME, by=("ref",)))
    parents = {
        "shop.customer": Parent((CUSTOMERS,), customer, customer),
        "shop.orders": Parent((rule,), orders, orders),
    }
    with pytest.raises(MappingError, match=r"'ref' and shop\.customer\.id cannot be compared") as raised:
        Versions(rule, orders, parents=parents).of(orders)
    assert reason in str(raised.value)


def test_look_ups_do_not_chain() -> None:
    by = replace(NAME, name="more", by=("customer_name",))
    assert "'customer_name', which shop.orders looks up itself: look-ups do not chain" in refusal(
        replace(RULE, lookups=(NAME, by))
    )
    region = LookupRule("region", "shop.region", "name", ("id",))
    customers = replace(CUSTOMERS, lookups=(region,), columns={"upper": "UPPER(name)"})
    of_another = looking(replace(NAME, column="region"))
    assert "'region', which shop.customer looks up itself: look-ups do not chain" in refusal(of_another, customers)
    assert "'upper', which is computed" in refusal(looking(replace(NAME, column="upper")), customers)


@pytest.mark.parametrize("name", ["customer_name", "upper"])
def test_a_computed_key_that_is_looked_up_has_no_way_back_either(name: str) -> None:
    rule = replace(
        RULE,
        columns={"upper": "UPPER(customer_name)"},
        partition_key=KeyRule("pk", f"${{{name}:-none}}"),
        sort_key=KeyRule("id", "${id}", "N"),
    )
    mapping = versions(rule).of(ORDERS)
    assert mapping.placed_by_others == [name]
    assert any(each.column == name for each in inverse_of(mapping).obstacles)


def test_a_filter_that_asks_for_what_is_looked_up_decides_on_places() -> None:
    mapping = versions(replace(RULE, filter="customer_name IS NOT NULL")).of(ORDERS)
    assert mapping.placed_by_others
    assert any("the filter asks for it" in each.reason for each in inverse_of(mapping).obstacles)
    assert versions(replace(RULE, filter="status = 'new'")).of(ORDERS).placed_by_others == []


def test_a_masked_column_is_not_looked_up_as_it_is() -> None:
    customers = replace(CUSTOMERS, mask={"name": "hash"})
    assert "mask 'customer_name' here" in refusal(RULE, customers)
    masked = versions(replace(RULE, mask={"customer_name": "hash"}), customers=customers).of(ORDERS)
    [put], _ = masked.put_items([(1, 7, None, None, "Ann")])
    assert put.item["customer_name"]["S"] != "Ann"


def test_change_metadata_is_not_for_a_table_that_looks_up() -> None:
    assert "change metadata and before images" in refusal(replace(RULE, before_image={"was": "status"}))


def mapped(rule: TableRule, row: Row) -> tuple[list[dict[str, object]], list[str]]:
    puts, faults = versions(rule).of(ORDERS).put_items([row])
    return [dict(put.item) for put in puts], [fault.reason for fault in faults]


def test_an_orphan_is_what_the_rule_says() -> None:
    there, orphan = (1, 7, None, "new", None, 7), (2, 8, None, "new", None, None)
    omit, dead = looking(replace(NAME, orphans="omit")), looking(replace(NAME, orphans="dead"))
    assert mapped(RULE, orphan[:5])[0][0]["customer_name"] == {"NULL": True}
    assert mapped(omit, orphan) == ([], [])
    assert mapped(dead, orphan) == ([], ["no row of shop.customer has what is in 'customer_id'"])
    for rule in (omit, dead):
        [item], _ = mapped(rule, there)
        assert set(item) == {"id", "customer_id", "code", "status", "customer_name"}


def test_what_is_looked_up_is_not_written_back() -> None:
    inverse = inverse_of(versions(RULE).of(ORDERS))
    assert inverse.columns == ("id", "customer_id", "code", "status")
    assert inverse.obstacles == ()
    reading = inverse.read(ITEM | {"customer_name": {"S": "somebody else"}})
    assert not reading.reasons
    assert reading.unknown == reading.differing == {}
    assert [row.values for row in reading.rows.values()] == [(1, 7, None, "x")]


@pytest.mark.parametrize("orphans", ["omit", "dead"])
def test_an_item_whose_row_must_not_be_an_orphan_is_read_back(orphans: str) -> None:
    inverse = inverse_of(versions(looking(replace(NAME, orphans=orphans))).of(ORDERS))
    assert [row.values for row in inverse.read(ITEM).rows.values()] == [(1, 7, None, "x")]


def test_a_key_that_is_looked_up_has_no_way_back() -> None:
    rule = replace(RULE, partition_key=KeyRule("pk", "${customer_name:-none}"), sort_key=KeyRule("id", "${id}", "N"))
    [obstacle] = inverse_of(versions(rule).of(ORDERS)).obstacles
    assert (obstacle.column, "looked up in another table" in obstacle.reason) == ("customer_name", True)


def altered(name: str, **changes: object) -> Table:
    columns = [replace(one, **changes) if one.name == name else one for one in CUSTOMER.columns]  # type: ignore[arg-type]
    return replace(CUSTOMER, columns=tuple(columns))


def test_columns_that_are_looked_up_may_become_longer_and_nothing_else() -> None:
    longer = versions(RULE, altered("name", length=80, type_name="varchar(80)")).of(ORDERS)
    assert longer.table.column("customer_name").length == 80
    with pytest.raises(SchemaDrift, match="looks up, has other values"):
        versions(RULE, altered("name", length=10, type_name="varchar(10)")).of(ORDERS)


def test_a_column_that_came_later_is_not_carried() -> None:
    wider = replace(ORDERS, columns=(*ORDERS.columns, Column("more", "int")))
    with pytest.raises(SchemaDrift, match="new column 'more' of a table that looks columns up"):
        versions(replace(RULE, new_columns="include")).of(wider)
    assert versions(replace(RULE, new_columns="ignore")).of(wider).table.names[-2:] == ("more", "customer_name")


def test_a_mapping_is_compiled_again_from_its_joined_table() -> None:
    """As another process does it."""
    table = joined(RULE, ORDERS, versions(RULE).parents)
    assert table.stored == ORDERS
    mapping: TableMapping = compile_mapping(RULE, table)
    assert mapping.design.carried[-1].attribute == "customer_name"


def several(one: TableRule, other: TableRule) -> list[Versions]:
    """The two as sections of one table."""
    rules = replace(one, number=1), replace(other, number=2)
    parents = {
        "shop.customer": Parent((CUSTOMERS,), CUSTOMER, CUSTOMER),
        "shop.orders": Parent(rules, ORDERS, ORDERS),
    }
    return [Versions(rule, ORDERS, parents=parents) for rule in rules]


def test_sections_of_a_table_are_joined_once_and_carry_what_they_look_up() -> None:
    one, other = (each.of(ORDERS) for each in several(RULE, replace(RULE, lookups=(replace(NAME, orphans="omit"),))))
    plain = several(RULE, replace(RULE, lookups=()))[1].of(ORDERS)
    assert one.table == other.table
    assert plain.table == several(RULE, replace(RULE, lookups=()))[0].of(ORDERS).table
    row = (1, 7, None, "x")
    found, orphan = (*row, "Ann", 7), (*row, None, None)
    assert [each.put_items([found])[0][0].item["customer_name"] for each in (one, other)] == [{"S": "Ann"}] * 2
    assert one.put_items([orphan])[0][0].item == {**ITEM, "customer_name": {"NULL": True}}
    assert other.put_items([orphan]) == ([], [])
    assert plain.put_items([(*row, "Ann")])[0][0].item == ITEM


def test_a_name_means_one_look_up_in_all_sections() -> None:
    for each in several(RULE, looking(replace(NAME, by=("id",)))):
        with pytest.raises(MappingError, match="there is another column 'customer_name'"):
            each.of(ORDERS)
    with pytest.raises(MappingError, match="there is another column 'customer_name'"):
        several(RULE, replace(RULE, lookups=(), columns={"customer_name": "status"}))[1].of(ORDERS)
