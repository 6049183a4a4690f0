"""What of a table does not come back from its items is said before anything is written back, column by column."""

from __future__ import annotations

from typing import Any

import pytest

from whimbrel.mapping.design import compile_mapping
from whimbrel.mapping.inverse import Inverse, inverse_of
from whimbrel.mapping.items_back import ItemInverse
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Filled, Table

CUSTOMER = Table(
    "shop",
    "customer",
    (
        Column("id", "int", nullable=False),
        Column("name", "text"),
        Column("ratio", "double"),
        Column("notes", "json"),
        Column("seen", "int"),
    ),
    ("id",),
)


def customer(new_attributes: str = "stop", filled: Filled = Filled(), **settings: Any) -> Inverse:  # noqa: B008
    rule = TableRule("shop.customer", "customers", "record", KeyRule("id", "${id}", "N"), **settings)
    return inverse_of(compile_mapping(rule, CUSTOMER), filled, new_attributes)


@pytest.mark.parametrize(
    ("into", "settings", "reason"),
    [
        ("nowhere", {}, "new attributes are to go there, and the table has no such column"),
        ("notes", {}, "it must be a JSON or text column that is excluded from the items"),
        ("seen", {"exclude": ("seen",)}, "it must be a JSON or text column that is excluded from the items"),
    ],
)
def test_new_attributes_go_into_a_column_that_can_take_them(into: str, settings: dict[str, Any], reason: str) -> None:
    [found] = customer(f"json:{into}", **settings).obstacles
    assert found.column == into
    assert reason in found.reason
    assert customer("json:notes", exclude=("notes",)).obstacles == ()


def test_what_the_server_fills_by_itself_is_left_to_it() -> None:
    filled = Filled(generated=frozenset({"name"}), updated=frozenset({"seen"}))
    notes = {each.column: each.reason for each in customer(filled=filled, exclude=("seen",)).notes}
    assert notes["name"] == "generated: left to the server"
    assert notes["seen"] == "excluded: an INSERT has what the server sets by itself, an UPDATE sets it"


def test_an_expression_in_the_place_of_a_column_does_not_come_back() -> None:
    notes = {each.column: each.reason for each in customer(columns={"name": "upper(name)"}).notes}
    assert notes["name"].startswith("replaced by an expression: an INSERT has its default or NULL")


def test_a_document_comes_back_without_the_text_that_it_had() -> None:
    notes = {each.column: each.reason for each in customer(types={"notes": "JSON"}).notes}
    assert notes["notes"].startswith("its attribute does not say ")
    assert "notes" in customer(types={"notes": "JSON"}).columns


def test_a_list_of_floats_that_rows_give_is_no_new_attribute() -> None:
    """A zero's sign is not told, so the list is not compared with its rows; but it has rows."""
    key, value = Column("id", "int"), Column("weight", "double", nullable=True)
    table = Table("shop", "part", (Column("box", "int"), key, value), ("box", "id"))
    rule = TableRule(
        source="part",
        target="boxes",
        shape="group",
        partition_key=KeyRule("pk", "${box}", "N"),
        entry_name="${id}",
        entry_value="weight",
        entry_as="list",
        entry_into="weights",
        entry_rows="rows",
        entry_order=("id",),
    )
    mapping = compile_mapping(rule, table)
    [put], faults = mapping.put_items([(1, 2, 0.5)])
    assert not faults
    rows, reasons = ItemInverse([inverse_of(mapping, Filled())]).rows(put.item)
    assert reasons == []
    assert [row.key for row in rows.values()] == [(1, 2)]
    _, reasons = ItemInverse([inverse_of(mapping, Filled())]).rows({"pk": {"N": "1"}, "weights": {"L": [{"N": "7"}]}})
    assert "'weights' does not belong to a column" in reasons[0]
