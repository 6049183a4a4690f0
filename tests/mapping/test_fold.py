"""What a batch of changes says of each item that it touches, operation by operation, and what it says of the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.mapping.test_family import HEAD, LINE, LINES, ORDERS, family
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.project import IndexKey, IndexRule, KeyRule, TableRule
from whimbrel.records import Change, Column, Delete, Fault, Inside, Position, Put, Row, Table, Update

TABLE = Table("shop", "things", (Column("id", "int", nullable=False), Column("name", "text")), ("id",))
RECORD = TableRule("shop.things", "things", "record", KeyRule("id", "${id}", "N"))
GROUP = replace(RECORD, shape="group", target="groups", entry_name="${name}", entry_value="name")
FRAME = frozenset({"pk", "sk"})


def change(table: Table, before: Row | None, after: Row | None, number: int = 1) -> Change:
    return Change(table, before, after, Position("bin.000001", number))


def key(number: int) -> dict[str, Any]:
    return {"id": {"N": str(number)}}


def shared(**changes: Any) -> TableMapping:
    """Of orders, whose items have the lines of another table too."""
    return family((replace(HEAD, **changes), ORDERS), (LINES, LINE))["shop.orders"]


def order(number: int) -> dict[str, Any]:
    return {"pk": {"S": f"ORDER#{number}"}, "sk": {"S": "ORDER"}}


# -- records -----------------------------------------------------------------------------------------------------------


def test_a_record_is_put_deleted_or_moved_in_the_order_of_the_log() -> None:
    made = compile_mapping(RECORD, TABLE)
    changes = [
        change(TABLE, None, (1, "a")),
        change(TABLE, (2, "b"), (2, "c")),
        change(TABLE, (3, "d"), None),
        change(TABLE, (4, "e"), (5, "f")),
        change(TABLE, (1, "a"), (1, "z")),
    ]
    assert made.fold(changes) == (
        [
            Put("things", key(1), key(1) | {"name": {"S": "z"}}),
            Put("things", key(2), key(2) | {"name": {"S": "c"}}),
            Delete("things", key(3)),
            Delete("things", key(4)),
            Put("things", key(5), key(5) | {"name": {"S": "f"}}),
        ],
        [],
    )


@pytest.mark.parametrize("condition", ["", "id > 0"])
@pytest.mark.parametrize("item", ["own", "shared"])
def test_what_cannot_be_mapped_is_a_fault_in_log_order_and_what_it_wrote_before_goes(item: str, condition: str) -> None:
    """With a filter, rows are evaluated first."""
    if item == "own":
        made, table = compile_mapping(replace(RECORD, types={"name": "N"}, filter=condition), TABLE), TABLE
        gone: Any = Delete("things", key(1))
        places = [key(1), key(2)]
    else:
        made, table = shared(types={"status": "N"}, filter=condition), ORDERS
        gone = Update("one", order(1), {}, ("id", "status"), FRAME)
        places = [order(1), order(2)]
    first, second = change(table, (1, "7"), (1, "small"), 7), change(table, None, (2, "large"), 8)
    operations, faults = made.fold([first, second])
    assert operations == [gone]
    assert [(fault.change, fault.source_key, fault.item_key) for fault in faults] == [
        (first, {"id": 1}, places[0]),
        (second, {"id": 2}, places[1]),
    ]
    assert all(fault.table == table.full_name and fault.provenance is None for fault in faults)
    assert ["'small'" in faults[0].reason, "'large'" in faults[1].reason] == [True, True]


@pytest.mark.parametrize("item", ["own", "shared"])
def test_an_expression_that_fails_is_a_fault_too(item: str) -> None:
    fails = {"x": "CASE id WHEN 1 THEN abs(-9223372036854775808) END"}
    made = shared(columns=fails) if item == "shared" else compile_mapping(replace(RECORD, columns=fails), TABLE)
    one, other = change(made.table, (1, "small"), (1, "large"), 3), change(made.table, None, (2, "small"))
    [put], [fault] = made.fold([one, other])
    assert put.key == (order(2) if item == "shared" else key(2))
    assert "integer overflow" in fault.reason
    assert fault == Fault(made.table.full_name, fault.reason, {"id": 1}, None, one)


def test_what_a_filter_leaves_out_was_not_there_and_is_not_written() -> None:
    made = compile_mapping(replace(RECORD, filter="name <> 'hidden'"), TABLE)
    assert made.fold([change(TABLE, (1, "hidden"), None)]) == ([], [])
    assert made.fold([change(TABLE, None, (1, "hidden"))]) == ([], [])
    assert made.fold([change(TABLE, (1, "a"), (1, "hidden"))]) == ([Delete("things", key(1))], [])
    [back], [] = made.fold([change(TABLE, (1, "hidden"), (1, "a"))])
    assert back == Put("things", key(1), key(1) | {"name": {"S": "a"}})


# -- a part of an item -------------------------------------------------------------------------------------------------


def test_a_part_is_set_taken_away_or_moved() -> None:
    made = shared()
    part = {"id": {"N": "1"}, "status": {"S": "small"}}
    assert made.fold([change(ORDERS, None, (1, "small"))]) == ([Update("one", order(1), part, (), FRAME)], [])
    assert made.fold([change(ORDERS, (1, "small"), (1, "large"))]) == (
        [Update("one", order(1), part | {"status": {"S": "large"}}, (), FRAME)],
        [],
    )
    gone = Update("one", order(1), {}, ("id", "status"), FRAME)
    assert made.fold([change(ORDERS, (1, "small"), None)]) == ([gone], [])
    assert made.fold([change(ORDERS, (1, "small"), (2, None))]) == (
        [gone, Update("one", order(2), {"id": {"N": "2"}, "status": {"NULL": True}}, (), FRAME)],
        [],
    )


def test_a_part_without_the_key_of_an_index_takes_that_attribute_away() -> None:
    """NULL is not a key. What an earlier row had there must not stay."""
    index = IndexRule("by-status", IndexKey("status"))
    head, lines = (replace(rule, indexes=(index,)) for rule in (HEAD, LINES))
    made = family((head, ORDERS), (lines, LINE))["shop.orders"]
    [update], [] = made.fold([change(ORDERS, (1, "small"), (1, None))])
    assert update == Update("one", order(1), {"id": {"N": "1"}}, ("status",), FRAME)
    [update], [] = made.fold([change(ORDERS, (1, None), (1, "small"))])
    assert update == Update("one", order(1), {"id": {"N": "1"}, "status": {"S": "small"}}, (), FRAME)


# -- groups ------------------------------------------------------------------------------------------------------------


def test_entries_of_an_item_and_of_a_map_in_it() -> None:
    made = compile_mapping(replace(GROUP, attributes={"kind": "thing"}), TABLE)
    frame = frozenset({"id", "kind"})
    changes = [
        change(TABLE, None, (1, "a")),
        change(TABLE, (1, "b"), (1, "c")),
        change(TABLE, (2, "d"), None),
        change(TABLE, (1, "e"), (3, "e")),
    ]
    entries = {"kind": {"S": "thing"}, "a": {"S": "a"}, "c": {"S": "c"}}
    assert made.fold(changes) == (
        [
            Update("groups", key(1), entries, ("b", "e"), frame),
            Update("groups", key(2), {}, ("d",), frame),
            Update("groups", key(3), {"kind": {"S": "thing"}, "e": {"S": "e"}}, (), frame),
        ],
        [],
    )
    [both], [] = made.fold([change(TABLE, None, (1, "a")), change(TABLE, (1, "a"), None)])
    assert both == Update("groups", key(1), {}, ("a",), frame)  # nothing of an item that is not there
    within = compile_mapping(replace(GROUP, entry_as="map", entry_into="names", attributes={"kind": "thing"}), TABLE)
    inside = Inside("names", "M", {"a": {"S": "a"}}, ("b",), ())
    [update], [] = within.fold([change(TABLE, (1, "b"), (1, "a"))])
    assert update == Update("groups", key(1), {"kind": {"S": "thing"}}, (), frame, inside)


def test_an_entry_without_a_place_is_a_fault_and_the_old_one_goes() -> None:
    made = compile_mapping(GROUP, TABLE)
    one = change(TABLE, (1, "a"), (1, ""), 9)
    operations, [fault] = made.fold([one])
    assert operations == [Update("groups", key(1), {}, ("a",), frozenset({"id"}))]
    assert (fault.table, fault.change, fault.source_key, fault.item_key) == ("shop.things", one, {"id": 1}, key(1))
    assert "empty" in fault.reason
