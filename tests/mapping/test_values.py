"""One column of each kind as an attribute, in a template and compared; and the numbers that DynamoDB cannot hold."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.item import item_size, normal, normal_item
from whimbrel.mapping.design import compile_mapping
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Fault, Item, Put, Table, Value


def N(text: str) -> dict[str, Any]:  # noqa: N802 - as DynamoDB calls it
    return {"N": text}


def S(text: str) -> dict[str, Any]:  # noqa: N802
    return {"S": text}


def B(text: str) -> dict[str, Any]:  # noqa: N802
    return {"B": text}


def mapped(column: Column, value: Value, **rule: Any) -> Put | Fault:
    table = Table("shop", "t", (Column("id", "int", nullable=False), column), ("id",))
    settings = {"partition_key": KeyRule("id", "${id}", "N"), **rule}
    puts, faults = compile_mapping(TableRule("t", "ttt", "record", **settings), table).put_items([(1, value)])
    [only] = [*puts, *faults]  # type: ignore[misc]
    return only


def attribute(kind: str, value: Value, as_type: str = "", **column: Any) -> Any:
    types = {"v": as_type} if as_type else {}
    only = mapped(Column("v", kind, **column), value, types=types)
    return only.item["v"] if isinstance(only, Put) else only.reason


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("int", 0, {"N": "0"}),
        ("int", -(2**63), {"N": "-9223372036854775808"}),
        ("int", 1024, {"N": "1024"}),
        ("int", 2**64 - 1, {"N": "18446744073709551615"}),
        ("year", 2026, {"N": "2026"}),
        ("bit", 5, {"N": "5"}),
        ("decimal", "-12.50", {"N": "-12.50"}),
        ("float", 1.5, {"N": "1.5"}),
        ("double", 0.1, {"N": "0.1"}),
        ("double", -0.0, {"N": "-0.0"}),
        ("text", "", {"S": ""}),
        ("text", "a ", {"S": "a "}),
        ("enum", "x", {"S": "x"}),
        ("set", "x,y", {"S": "x,y"}),
        ("json", '{"a": 1}', {"S": '{"a": 1}'}),
        ("date", "0000-00-00", {"S": "0000-00-00"}),
        ("time", "-838:59:59", {"S": "-838:59:59"}),
        ("datetime", "2026-01-02 03:04:05.120", {"S": "2026-01-02T03:04:05.120"}),
        ("datetime", "0000-00-00 00:00:00", {"S": "0000-00-00T00:00:00"}),
        ("timestamp", "2026-01-02 03:04:05", {"S": "2026-01-02T03:04:05Z"}),
        ("uuid", "1-2", {"S": "1-2"}),
        ("inet4", "127.0.0.1", {"S": "127.0.0.1"}),
        ("inet6", "::1", {"S": "::1"}),
        ("binary", b"", {"B": ""}),
        ("binary", b"a\x00\x00", {"B": "YQAA"}),
        ("geometry", b"\xff", {"B": "/w=="}),
        ("text", None, {"NULL": True}),
        ("int", None, {"NULL": True}),
        ("binary", None, {"NULL": True}),
        ("timestamp", None, {"NULL": True}),
    ],
)
def test_each_kind_has_its_form(kind: str, value: Value, expected: dict[str, Any]) -> None:
    assert attribute(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value", "as_type", "expected"),
    [
        ("int", 7, "S", {"S": "7"}),
        ("int", 1, "BOOL", {"BOOL": True}),
        ("bit", 0, "BOOL", {"BOOL": False}),
        ("int", None, "BOOL", {"NULL": True}),
        ("decimal", "1.50", "S", {"S": "1.50"}),
        ("double", 1e22, "S", {"S": "1e+22"}),
        ("text", "é", "B", {"B": "w6k="}),
        ("text", "+01.50", "N", {"N": "1.5"}),
        ("text", ".5e1", "N", {"N": "5"}),
        ("text", "-0", "N", {"N": "0"}),
        ("text", None, "N", {"NULL": True}),
    ],
)
def test_a_type_may_be_chosen(kind: str, value: Value, as_type: str, expected: dict[str, Any]) -> None:
    assert attribute(kind, value, as_type) == expected


@pytest.mark.parametrize(
    ("kind", "value", "as_type", "wrong"),
    [
        ("int", 2, "BOOL", "column 'v' is 2, and its type is BOOL: only 0 and 1 are"),
        ("text", "12a", "N", "column 'v' is '12a', which is not a number"),
        ("text", "", "N", "column 'v' is '', which is not a number"),
        ("text", " 1", "N", "is not a number"),
        ("text", "1_000", "N", "is not a number"),
        ("text", "nan", "N", "is not a number"),
        ("text", "\u0661", "N", "is not a number"),
        ("text", "1e99999999", "N", "outside the range"),
        ("text", "1e126", "N", "outside the range of a DynamoDB number"),
        ("double", 1e126, "N", "outside the range of a DynamoDB number"),
        ("double", -1.7e308, "N", "outside the range"),
        ("double", 1e-131, "N", "outside the range"),
        ("double", 5e-324, "N", "outside the range"),
        ("decimal", "1" * 39, "N", "more than the 38 digits of a DynamoDB number"),
        ("decimal", "0." + "1" * 30 + "0" * 8 + "1", "N", "more than the 38 digits"),
    ],
)
def test_what_the_type_cannot_hold_is_a_fault_with_the_value(kind: str, value: Value, as_type: str, wrong: str) -> None:
    reason = attribute(kind, value, as_type, precision=65 if kind == "decimal" else 0)
    assert isinstance(reason, str)
    assert wrong in reason


@pytest.mark.parametrize("text", ["1" * 38, "0." + "0" * 29 + "1" * 30, "1" * 38 + "0" * 20, "-" + "9" * 38, "0" * 40])
def test_38_digits_are_held_whatever_zeros_surround_them(text: str) -> None:
    assert attribute("decimal", text, precision=65) == {"N": text}


@pytest.mark.parametrize("value", [1e-130, -1e-130, 9.99e125])
def test_the_ends_of_the_range_are_held(value: float) -> None:
    assert attribute("double", value) == {"N": repr(value)}


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("int", 7, "7"), ("decimal", "1.50", "1.50"), ("double", 1e22, "1e+22"), ("double", -0.0, "-0.0"),
        ("text", '{"\\', '{"\\'),
        ("datetime", "2026-01-02 03:04:05", "2026-01-02T03:04:05"),
        ("timestamp", "2026-01-02 03:04:05", "2026-01-02T03:04:05Z"),
        ("bit", 9, "9"), ("json", "[1]", "[1]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("template", ["${v}", "<${v}>", '{"\\$$\n😀${v}}'])
def test_a_template_renders_the_canonical_text(kind: str, value: Value, text: str, template: str) -> None:
    put = mapped(Column("v", kind), value, attributes={"added": template})
    assert isinstance(put, Put)
    assert put.item["added"] == {"S": template.replace("$$", "$").replace("${v}", text)}


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        ("decimal", "1.50", N("1.5")),
        ("decimal", "100.00", N("100")),
        ("double", -0.0, N("0")),
        ("double", 1e22, N("1" + "0" * 22)),
        ("int", -3, N("-3")),
        ("binary", b"a\x00", B("YQA=")),
    ],
)
def test_a_key_has_one_text_for_one_value(kind: str, value: Value, key: dict[str, str]) -> None:
    put = mapped(Column("v", kind), value, partition_key=KeyRule("pk", "${v}", next(iter(key))))
    assert isinstance(put, Put)
    assert put.key == {"pk": key}


@pytest.mark.parametrize("value", [1e126, 1e-131])
def test_a_number_that_is_no_key_is_a_fault(value: float) -> None:
    fault = mapped(Column("v", "double"), value, partition_key=KeyRule("pk", "${v}", "N"))
    assert isinstance(fault, Fault)
    assert "partition key 'pk' is" in fault.reason
    assert fault.item_key is None


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3), st.integers(0, 9))
def test_equal_numbers_have_one_normal_form(number: Decimal, zeros: int) -> None:
    forms = [f"{number:f}", f"{number:e}", f"{number:f}{'0' * zeros}", f"+{number:f}".replace("+-", "-")]
    assert len({normal({"N": form})["N"] for form in forms}) == 1
    assert Decimal(normal({"N": forms[0]})["N"]) == number


@pytest.mark.parametrize("text", ["0", "-0", "0.00", "-0.0", "0e5", "-0E-130"])
def test_zero_is_zero(text: str) -> None:
    assert normal({"N": text}) == {"N": "0"}


def test_different_numbers_have_different_normal_forms() -> None:
    texts = ["0", "1", "10", "1.0000000000000000000000000000000000001", "-1", "0.1", "0.01", "1e-130", "12", "120"]
    assert len({normal({"N": text})["N"] for text in texts}) == len(texts)


def test_sets_maps_lists_and_binary_are_compared_by_value() -> None:
    one: Item
    other: Item
    one = {
        "s": {"NS": ["1.0", "2"]},
        "t": {"SS": ["b", "a"]},
        "m": {"M": {"l": {"L": [N("1.50"), {"BOOL": True}]}}},
    }
    other = {
        "s": {"NS": ["2.00", "1"]},
        "t": {"SS": ["a", "b"]},
        "m": {"M": {"l": {"L": [N("1.5"), {"BOOL": True}]}}},
    }
    assert normal_item(one) == normal_item(other)
    assert normal_item(one) != normal_item(other | {"t": {"SS": ["a"]}})
    assert normal({"B": b"a\x00"}) == normal({"B": "YQA="}) != normal({"B": "YQ=="})
    assert normal({"BS": ["YQ==", "Yg=="]}) == normal({"BS": ["Yg==", "YQ=="]})
    assert normal({"L": [N("1"), N("2")]}) != normal({"L": [N("2"), N("1")]})
    assert len({str(normal(value)) for value in ({"NULL": True}, S(""), B(""), N("0"), {"BOOL": False})}) == 5


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"a": S("é")}, 3),
        ({"é": S("")}, 2),
        ({"a": B("YWI=")}, 3),
        ({"a": B("")}, 1),
        ({"a": {"NULL": True}}, 2),
        ({"a": {"BOOL": False}}, 2),
        ({"a": N("0.00")}, 2),
        ({"a": N("12")}, 4),
        ({"a": {"M": {}}}, 4),
        ({"a": {"L": [S("xy")]}}, 7),
        ({"a": {"M": {"b": S("xy")}}}, 8),
        ({"a": {"SS": ["xy", "z"]}}, 4),
        ({"a": N("1" * 38)}, 22),
        ({"a": N("-" + "1" * 38)}, 22),
        ({"a": N("1e125")}, 3),
    ],
)
def test_sizes_follow_the_guide(item: dict[str, Any], size: int) -> None:
    assert item_size(item) == size
