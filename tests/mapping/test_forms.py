"""The rarer forms of columns: JSON as a tree, SET as a set, times as numbers; and attributes made as typed trees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from whimbrel.errors import MappingError
from whimbrel.mapping.design import compile_mapping
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Table, Value

RULE = TableRule("shop.t", "things", "record", KeyRule("pk", "${id}"), exclude=("id",))


def made(kind: str, form: str, value: Value) -> Any:
    table = Table("shop", "t", (Column("id", "int", nullable=False), Column("c", kind)), ("id",))
    puts, faults = compile_mapping(replace(RULE, types={"c": form}), table).put_items([(1, value)])
    return puts[0].item["c"] if puts else faults[0].reason


@pytest.mark.parametrize(
    ("kind", "form", "value", "attribute"),
    [
        ("json", "JSON", '{"a": [1, 2.50, -0, 1e3, "x", true, null, {}]}', {"M": {"a": {"L": [
            {"N": "1"}, {"N": "2.5"}, {"N": "0"}, {"N": "1000"}, {"S": "x"}, {"BOOL": True}, {"NULL": True}, {"M": {}},
        ]}}}),
        ("json", "JSON", '"é"', {"S": "é"}),
        ("json", "JSON", "12345678901234567890123456789012345678", {"N": "12345678901234567890123456789012345678"}),
        ("text", "JSON", "[]", {"L": []}),
        ("json", "JSON", None, {"NULL": True}),
        ("set", "SS", "a,b", {"SS": ["a", "b"]}),
        ("set", "SS", "", {"L": []}),
        ("date", "EPOCH", "1970-01-02", {"N": "86400"}),
        ("datetime", "EPOCH", "1970-01-01 00:00:01.500000", {"N": "1.5"}),
        ("timestamp", "EPOCH", "1969-12-31 23:59:59.25", {"N": "-0.75"}),
        ("datetime", "EPOCH_MS", "2026-01-02 03:04:05.678", {"N": "1767323045678"}),
        ("time", "SECONDS", "-838:59:59.5", {"N": "-3020399.5"}),
        ("uuid", "B", "00112233-4455-6677-8899-aabbccddeeff", {"B": "ABEiM0RVZneImaq7zN3u/w=="}),
    ],
)  # fmt: skip
def test_a_form(kind: str, form: str, value: Value, attribute: Any) -> None:
    assert made(kind, form, value) == attribute


@pytest.mark.parametrize(
    ("kind", "form", "value", "reason"),
    [
        ("json", "JSON", "{", "column 'c' is not JSON that can be read"),
        ("json", "JSON", "NaN", "NaN is not JSON"),
        ("json", "JSON", '{"a": 1, "a": 2}', "has the name 'a' twice"),
        ("json", "JSON", '{"": 1}', "has the name '' which DynamoDB does not allow"),
        ("json", "JSON", "1" * 39, "more than the 38 digits"),
        ("json", "JSON", '"\\ud800"', "half of a surrogate pair"),
        ("json", "JSON", "[" * 40 + "]" * 40, "nested more than 32 levels"),
        ("json", "JSON", "[" * 100_000, "is not JSON that can be read"),
        ("date", "EPOCH", "0000-00-00", "is 0000-00-00, which is not a calendar date"),
        ("date", "EPOCH", "2026-00-00", "which is not a calendar date"),
        ("datetime", "EPOCH_MS", "2026-01-02 03:04:05.678901", "not a whole number of milliseconds"),
    ],
)
def test_what_has_no_such_form_is_a_dead_letter(kind: str, form: str, value: Value, reason: str) -> None:
    assert reason in made(kind, form, value)


TABLE = Table(
    "shop",
    "t",
    (
        Column("id", "int", nullable=False),
        Column("name", "text"),
        Column("total", "decimal", precision=9, scale=2),
        Column("ok", "int"),
    ),
    ("id",),
)
TREE = {"M": {"name": {"S": "Mr ${name}"}, "all": {"L": [{"N": "${total}"}, {"BOOL": "${ok}"}]}}}


def test_an_attribute_may_be_a_typed_tree() -> None:
    rule = replace(RULE, exclude=TABLE.names, attributes={"a": TREE, "n": {"N": "${total}"}, "kind": "ORDER"})
    mapping = compile_mapping(rule, TABLE)
    [put], [] = mapping.put_items([(1, "X", "1.50", 0)])
    assert put.item == {
        "pk": {"S": "1"},
        "a": {"M": {"name": {"S": "Mr X"}, "all": {"L": [{"N": "1.5"}, {"BOOL": False}]}}},
        "n": {"N": "1.5"},
        "kind": {"S": "ORDER"},
    }
    [], [fault] = mapping.put_items([(1, "X", "1.50", 2)])
    assert "attribute 'a' is '2', and its type is BOOL" in fault.reason
    [put], [] = mapping.put_items([(1, None, None, 1)])
    assert put.item == {
        "pk": {"S": "1"},
        "a": {"M": {"name": {"NULL": True}, "all": {"L": [{"NULL": True}, {"BOOL": True}]}}},
        "n": {"NULL": True},
        "kind": {"S": "ORDER"},
    }


def test_leaves_with_a_null_are_left_out_where_nulls_are() -> None:
    rule = replace(RULE, exclude=TABLE.names, attributes={"a": TREE, "n": {"N": "${total}"}}, nulls="omit")
    [put], [] = compile_mapping(rule, TABLE).put_items([(1, None, None, 1)])
    assert put.item == {"pk": {"S": "1"}, "a": {"M": {"all": {"L": [{"BOOL": True}]}}}}


def test_names_of_attributes() -> None:
    rule = replace(
        RULE, rename={"name": "called"}, attribute_prefix="x_", attribute_suffix="_y", attribute_case="upper"
    )
    [put], [] = compile_mapping(rule, TABLE).put_items([(1, "X", "1.50", 0)])
    assert put.item.keys() == {"pk", "called", "x_TOTAL_y", "x_OK_y"}


def test_a_document_has_its_columns_in_one_map_also_those_of_the_key() -> None:
    rule = replace(RULE, shape="document", document="row", exclude=("ok",), attributes={"kind": "t"}, nulls="omit")
    [put], [] = compile_mapping(rule, TABLE).put_items([(1, "X", None, 0)])
    assert put.item == {"pk": {"S": "1"}, "kind": {"S": "t"}, "row": {"M": {"id": {"N": "1"}, "name": {"S": "X"}}}}


GROUP = TableRule("shop.t", "things", "group", KeyRule("pk", "${name}"), entry_into="in", entry_as="list")
ROWS = {"entry_name": "${id}", "entry_rows": "rows"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"entry_order": ("total",)}, "'id' of the primary key is not in the key or ordered by"),
        ({"entry_order": ("id up",)}, "'id up' is neither a column nor a column with ' desc'"),
        ({"entry_order": ("idd",)}, "entry_order names column 'idd'"),
        ({"entry_order": ()}, "a list needs an order"),
        ({"entry_order": ("id",), "exclude": ("id",)}, "orders the list and cannot be excluded"),
        ({"entry_order": ("id",), "types": {"id": "BOOL"}}, "of type BOOL cannot order a list"),
        ({"entry_order": ("id",), "entry_value": "total"}, "entry_value is not for a list"),
        ({"entry_as": "string-set", "entry_value": "total", "exclude": ("ok",)}, "'id' of the primary key is not in"),
        ({"entry_as": "number-set", "entry_value": "name"}, "(text) cannot be the member of a number-set"),
        ({"entry_as": "string-set", "entry_value": "id", "types": {"id": "S"}}, "types is not for 'id'"),
        ({"entry_as": "string-set", "entry_value": "id", "codes": {"id": {"1": "a"}}}, "codes is not for 'id'"),
        ({"entry_as": "string-set", "entry_value": "id"}, "nothing carries columns 'total', 'ok'"),
        ({"entry_as": "string-set", "entry_value": "name", "exclude": ("ok",)}, "says which row gives what: rows ="),
        ({"entry_as": "string-set", "entry_value": "id", "entry_name": "${id}"}, "without a map of its rows"),
        ({"entry_as": "number-set", "entry_value": "name", **ROWS}, "(text) cannot be the member of a number-set"),
        ({"entry_as": "string-set", "entry_value": "name", **ROWS, "entry_rows": "in"}, "would both be attribute 'in'"),
        ({"entry_as": "string-set", "entry_value": "name", **ROWS}, "nothing carries columns 'total', 'ok'"),
        ({"entry_as": "string-set", "entry_value": "ok", **ROWS, "types": {"ok": "BOOL"}}, "types is not for 'ok'"),
        ({"entry_value": "total", **ROWS, "exclude": ("ok",)}, "a list needs an order"),
        ({"entry_as": "map", "entry_name": "${id}", "entry_into": ""}, "entry_into must name the map"),
        ({"entry_as": "map", "entry_name": "${id}", "entry_into": "pk"}, "would both be attribute 'pk'"),
        ({"entry_as": "attribute", "entry_name": "${id}"}, "entry_into is for entries in a map"),
    ],
)
def test_a_fault_of_an_entry_is_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(MappingError) as caught:
        compile_mapping(replace(GROUP, **changes), TABLE)
    assert reason in str(caught.value)


@pytest.mark.parametrize("tree", [{"M": "${name} x"}, {"L": "${total}"}, {"M": {"a": {"L": "x"}}}])
def test_an_object_is_of_one_column_of_json(tree: dict[str, Any]) -> None:
    with pytest.raises(MappingError, match="one JSON column alone"):
        compile_mapping(
            TableRule("shop.t", "things", "record", KeyRule("id", "${id}"), attributes={"doc": tree}), TABLE
        )
