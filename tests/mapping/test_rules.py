"""A rule that does not fit its table is refused with all its faults at once, each with a name and a remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from whimbrel.errors import MappingError
from whimbrel.mapping.design import compile_mapping
from whimbrel.project import IndexKey, IndexRule, KeyRule, TableRule, TtlRule
from whimbrel.records import Column, Table

TABLE = Table(
    "shop",
    "orders",
    (
        Column("id", "int", nullable=False),
        Column("customer", "text", nullable=False, length=20),
        Column("total", "decimal", precision=10, scale=2),
        Column("token", "binary", length=16),
        Column("placed", "datetime"),
    ),
    ("customer", "id"),
)
RECORD = TableRule("orders", "orders", "record", KeyRule("pk", "${customer}|${id}"))
GROUP = TableRule("orders", "orders", "group", KeyRule("pk", "${customer}"), entry_name="${id}")


def faults(rule: TableRule) -> str:
    with pytest.raises(MappingError) as caught:
        compile_mapping(rule, TABLE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rule", "changes", "wrong"),
    [
        (RECORD, {"shape": "documents"}, "shape 'documents' is not known"),
        (RECORD, {"target": "o"}, "target 'o' is not a valid DynamoDB table name"),
        (RECORD, {"nulls": "drop"}, "nulls 'drop' is not known"),
        (RECORD, {"entry_name": "${id}"}, "entry_name and entry_value are for shape 'group'"),
        (
            RECORD,
            {"partition_key": KeyRule("pk", "${custmer}")},
            "column 'custmer', which shop.orders does not have; the nearest is 'customer'",
        ),
        (RECORD, {"partition_key": KeyRule("pk", "${customer")}, "a '$' at character 1"),
        (RECORD, {"partition_key": KeyRule("pk", "")}, "partition key 'pk' has an empty template"),
        (RECORD, {"partition_key": KeyRule("pk", "all")}, "the key uses no column"),
        (RECORD, {"partition_key": KeyRule("", "${id}")}, "must have a name of 1 to 255 bytes"),
        (RECORD, {"partition_key": KeyRule("p" * 256, "${id}")}, "must have a name of 1 to 255 bytes"),
        (RECORD, {"partition_key": KeyRule("pk", "${id}", "BOOL")}, "has type 'BOOL': a key is S, N or B"),
        (RECORD, {"partition_key": KeyRule("pk", "${customer}", "N")}, "of type N must be one number column alone"),
        (RECORD, {"partition_key": KeyRule("pk", "1${id}", "N")}, "of type N must be one number column alone"),
        (RECORD, {"partition_key": KeyRule("pk", "${id}", "B")}, "of type B must be one binary column alone"),
        (RECORD, {"partition_key": KeyRule("pk", "${token}")}, "uses 'token', a binary column"),
        (RECORD, {"sort_key": KeyRule("pk", "${id}")}, "key 'pk' and key 'pk' would both be attribute 'pk'"),
        (RECORD, {"partition_key": KeyRule("id", "x${id}")}, "column 'id' and key 'id' would both be attribute 'id'"),
        (RECORD, {"rename": {"total": "id"}}, "would both be attribute 'id': rename or exclude one"),
        (RECORD, {"rename": {"total": ""}}, "column 'total' has an attribute name that is empty"),
        (
            RECORD,
            {"rename": {"totl": "x"}},
            "rename names column 'totl', which shop.orders does not have; the nearest is 'total'",
        ),
        (RECORD, {"exclude": ("totals",)}, "exclude names column 'totals'"),
        (RECORD, {"types": {"totale": "S"}}, "types names column 'totale'"),
        (RECORD, {"types": {"total": "BOOL"}}, "column 'total' (decimal) cannot have type 'BOOL': it takes N, S"),
        (RECORD, {"types": {"token": "S"}}, "column 'token' (binary) cannot have type 'S': it takes B"),
        (RECORD, {"attributes": {"total": "${id}"}}, "would both be attribute 'total'"),
        (RECORD, {"attributes": {"x": "${token}"}}, "attribute 'x' uses 'token', a binary column"),
        (GROUP, {"entry_name": ""}, "entry_name has an empty template"),
        (GROUP, {"entry_name": "x"}, "entry_name 'x' uses no column"),
        (GROUP, {"entry_value": "totl"}, "entry_value names column 'totl'"),
        (
            GROUP,
            {"entry_value": "total"},
            "nothing carries columns 'token', 'placed': exclude them, or leave entry_value out",
        ),
        (
            GROUP,
            {"attributes": {"x": "${total}"}},
            "attribute 'x' uses 'total', which may differ between rows of one item",
        ),
        (RECORD, {"ttl": TtlRule("expires", "nowhere")}, "ttl names column 'nowhere'"),
        (
            RECORD,
            {"ttl": TtlRule("expires", "token")},
            "is not a time: it takes date, datetime, timestamp, int",
        ),
        (RECORD, {"ttl": TtlRule("total", "placed")}, "would both be attribute 'total'"),
        (GROUP, {"nulls": "omit", "entry_value": "total"}, "nulls = 'omit' is not for an entry that is one value"),
        (GROUP, {"rename": {"total": "placed"}}, "would both be attribute 'placed'"),
        (RECORD, {"attribute_case": "title"}, "attribute_case 'title' is not known: it is 'lower' or 'upper'"),
        (RECORD, {"item": "common"}, "item 'common' is not known: it is 'own' or 'shared'"),
        (GROUP, {"entry_as": "bag"}, "entry_as 'bag' is not known: it is 'attribute', "),
        (GROUP, {"entry_into": "lines"}, "entry_into is for entries in a map, a set or a list"),
        (
            replace(GROUP, entry_name="", entry_as="list", entry_into="lines"),
            {"entry_order": ("id",), "entry_name": "${id}"},
            "entry_name is not for a list",
        ),
        (
            replace(GROUP, entry_name="", entry_as="string_set", entry_into="tokens"),
            {"entry_value": "tokn"},
            "entry_value names column 'tokn', which shop.orders does not have; the nearest is 'token'",
        ),
        (
            GROUP,
            {"entry_value": "total", "exclude": ("token", "placed"), "attribute_prefix": "x_"},
            "attribute_prefix, _suffix and _case name what is made of columns: here entries have their own names",
        ),
        (RECORD, {"mask": {"customer": "stars"}}, "mask 'stars' of column 'customer' is not known"),
        (RECORD, {"mask": {"token": "digits"}}, "column 'token' (binary) has no text whose digits could be masked"),
        (RECORD, {"columns": {"a}b": "id"}}, "column 'a}b' cannot be named so: no template could use it"),
        (RECORD, {"columns": {"Total": "id"}}, "'Total'"),
        (
            RECORD,
            {"indexes": (IndexRule("by_x", IndexKey("x"), IndexKey("x")),)},
            "index 'by_x' has 'x' as both of its keys",
        ),
        (
            RECORD,
            {"indexes": (IndexRule("by_x", IndexKey("x"), projection=()),)},
            "index 'by_x': projection must name 1 to 20 attributes, each once",
        ),
        (
            RECORD,
            {"indexes": (IndexRule("by_x", IndexKey("x"), projection=("total", "total")),)},
            "index 'by_x': projection must name 1 to 20 attributes, each once",
        ),
        (
            RECORD,
            {"indexes": (IndexRule("by_x", IndexKey("x" * 256)),)},
            "must be a name of 1 to 255 bytes",
        ),
    ],
)
def test_a_fault_is_named(rule: TableRule, changes: dict[str, Any], wrong: str) -> None:
    text = faults(replace(rule, **changes))
    assert wrong in text
    assert text.startswith("table orders: ")


def test_all_faults_are_listed_at_once() -> None:
    rule = replace(
        GROUP,
        partition_key=KeyRule("pk", "${customr}"),
        entry_name="${ids}",
        exclude=("nothing",),
        types={"total": "X"},
        target="!",
    )
    text = faults(rule)
    for wrong in ("customr", "'ids'", "'nothing'", "type 'X'", "target '!'"):
        assert wrong in text
    assert text.startswith("table orders: 5 faults in its mapping:\n  - ")


def test_a_column_of_unknown_kind_must_be_excluded() -> None:
    table = replace(TABLE, columns=(*TABLE.columns, Column("shape", "vector")))
    with pytest.raises(MappingError, match="column 'shape' has kind 'vector', which cannot be mapped: exclude it"):
        compile_mapping(RECORD, table)
    compile_mapping(replace(RECORD, exclude=("shape",)), table)


@pytest.mark.parametrize(
    ("rule", "changes", "columns", "aligned"),
    [
        (RECORD, {}, ("customer", "id"), True),
        (RECORD, {"partition_key": KeyRule("pk", "${total}")}, ("total",), True),
        (GROUP, {}, ("customer",), True),
        (GROUP, {"partition_key": KeyRule("pk", "${id}")}, ("id",), False),
        (GROUP, {"sort_key": KeyRule("sk", "${id}"), "entry_name": "${placed}"}, ("customer", "id"), True),
        (
            GROUP,
            {"partition_key": KeyRule("pk", "${id}-${customer}"), "entry_name": "x${id}"},
            ("customer", "id"),
            True,
        ),
        (GROUP, {"partition_key": KeyRule("pk", "${customer}${total}")}, ("customer", "total"), False),
    ],
)
def test_the_columns_of_the_key_are_known(
    rule: TableRule, changes: dict[str, Any], columns: tuple[str, ...], aligned: bool
) -> None:
    mapping = compile_mapping(replace(rule, **changes), TABLE)
    assert (mapping.group_columns, mapping.aligned) == (columns, aligned)


def test_a_key_that_is_a_column_as_it_stands_is_that_one_attribute() -> None:
    mapping = compile_mapping(replace(RECORD, partition_key=KeyRule("id", "${id}")), TABLE)
    [put], _ = mapping.put_items([(7, "c", "1.50", b"\x00", None)])
    assert put.item == {
        "id": {"S": "7"},
        "customer": {"S": "c"},
        "total": {"N": "1.50"},
        "token": {"B": "AA=="},
        "placed": {"NULL": True},
    }


def test_renames_exclusions_and_nulls_left_out() -> None:
    rule = replace(RECORD, exclude=("token", "customer"), rename={"total": "sum"}, nulls="omit")
    [put], _ = compile_mapping(rule, TABLE).put_items([(7, "c", "1.50", b"\x00", None)])
    assert put.item == {"pk": {"S": "c|7"}, "id": {"N": "7"}, "sum": {"N": "1.50"}}


def test_an_entry_is_a_map_of_what_the_key_and_its_name_do_not_say() -> None:
    rule = replace(GROUP, exclude=("token",), rename={"total": "sum"})
    [put], _ = compile_mapping(rule, TABLE).put_items([(7, "c", "1.50", b"\x00", None)])
    assert put.item == {"pk": {"S": "c"}, "7": {"M": {"sum": {"N": "1.50"}, "placed": {"NULL": True}}}}
