"""One value there and back: every kind of column by every type that an attribute may have; and what is refused."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.mapping.back_values import json_text, loses, reader, same_value
from whimbrel.mapping.design import compile_mapping
from whimbrel.mapping.forms import Refused
from whimbrel.mapping.inverse import inverse_of
from whimbrel.mapping.items_back import ItemInverse
from whimbrel.mapping.values import TYPES
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Filled, Table, Value

MEMBERS = ("small", "large", "7", "7.50")
# Of each kind, as the server prints them.
COLUMNS: dict[str, tuple[Column, list[Value]]] = {
    "int": (Column("v", "int"), [0, 1, -5, 2**63]),
    "bit": (Column("v", "bit", precision=12), [0, 1, 4095]),
    "year": (Column("v", "year"), [0, 1999]),
    "decimal": (Column("v", "decimal", precision=12, scale=3), ["0.000", "-12.500", "123456789.001"]),
    "float": (Column("v", "float"), [0.0, -1.5, 0.1]),
    "double": (Column("v", "double"), [0.0, 0.1, -1.5e-7, 1e100]),
    "text": (Column("v", "text"), ["a", "é 😀", "", '{"x"}']),
    "enum": (Column("v", "enum", members=MEMBERS), ["small", "large"]),
    "set": (Column("v", "set", members=("x", "y", "z")), ["", "x", "x,z", "x,y,z"]),
    "json": (Column("v", "json"), ["{}", '{"a": [1, null, true, "é"]}', "null", "[1.50, -2e3]"]),
    "date": (Column("v", "date"), ["2026-01-31", "1969-12-31", "0100-03-01"]),
    "time": (Column("v", "time", scale=2), ["00:00:01.00", "-838:59:59.00", "12:00:00.50"]),
    "datetime": (Column("v", "datetime", scale=3), ["2026-01-31 12:00:00.125", "1969-12-31 23:59:59.999"]),
    "timestamp": (Column("v", "timestamp"), ["2026-01-31 12:00:00", "1970-01-01 00:00:01"]),
    "uuid": (Column("v", "uuid"), ["123e4567-e89b-12d3-a456-426655440000"]),
    "inet4": (Column("v", "inet4"), ["127.0.0.1"]),
    "inet6": (Column("v", "inet6"), ["::1"]),
    "binary": (Column("v", "binary"), [b"", b"a\x00\xff"]),
    "geometry": (Column("v", "geometry"), [b"\x00\x00\x00\x00\x01"]),
}
ONLY: dict[tuple[str, str], list[Value]] = {  # where the type has no more values
    ("int", "BOOL"): [0, 1],
    ("bit", "BOOL"): [0, 1],
    ("text", "N"): ["0", "-12.5", "1e3"],
    ("enum", "N"): ["7", "7.50"],
    ("text", "JSON"): ['{"a": 1}', "[]", '"é"', "null"],
}
CASES = [(kind, form) for kind in COLUMNS for form in TYPES[kind]]


@pytest.mark.parametrize(("kind", "form"), CASES, ids=["-".join(case) for case in CASES])
def test_a_value_comes_back(kind: str, form: str) -> None:
    column, values = COLUMNS[kind]
    table = Table("shop", "things", (Column("id", "int", nullable=False), column), ("id",))
    rule = TableRule("shop.things", "things", "record", KeyRule("id", "${id}", "N"), types={"v": form})
    mapping = compile_mapping(rule, table)
    inverse = inverse_of(mapping, Filled())
    assert not inverse.obstacles
    rows = [(n, value) for n, value in enumerate([*ONLY.get((kind, form), values), None])]
    puts, faults = mapping.put_items(rows)
    assert not faults
    for (number, value), put in zip(rows, puts, strict=True):
        [back], reasons = ItemInverse([inverse]).changes(None, put.item)
        assert not reasons
        assert back.values is not None
        found = dict(zip(back.columns, back.values, strict=True))
        assert found["id"] == number
        if "v" in inverse.lossy or kind == "json":
            assert loses(column, form) or kind == "json"
            row = (number, value)
            assert same_value("v", found["v"], row=row, table=table, lossy=inverse.lossy), (put.item, found)
        else:
            assert found["v"] == value, put.item


REFUSED: list[tuple[Column, str, dict[str, Any], str]] = [
    (Column("v", "int", nullable=False), "N", {"NULL": True}, "is NOT NULL, and the attribute is NULL"),
    (Column("v", "int"), "N", {"N": "1.5"}, "is an integer, and cannot be '1.5'"),
    (Column("v", "int"), "N", {"S": "1"}, "takes N, and the attribute is S"),
    (Column("v", "decimal", precision=4, scale=1), "N", {"N": "1.25"}, "1 digits after the point, and 1.25 has more"),
    (Column("v", "double"), "N", {"N": "0.12345678901234567890123"}, "has too many digits for"),
    (Column("v", "text", type_name="char(5)"), "S", {"S": "a "}, "drops the blanks at the end"),
    (Column("v", "text"), "B", {"B": b64encode(b"\xff").decode()}, "is text, and the attribute is not UTF-8"),
    (Column("v", "enum", members=MEMBERS), "S", {"S": "huge"}, "cannot be 'huge'"),
    (Column("v", "enum", members=("7", "7.0")), "N", {"N": "7"}, "2 names that are the number '7'"),
    (Column("v", "set", members=("x", "y")), "SS", {"SS": ["x", "w"]}, "without a member 'w'"),
    (Column("v", "uuid"), "B", {"B": b64encode(b"short").decode()}, "a UUID of 16 bytes, and the attribute has 5"),
    (Column("v", "binary", type_name="binary(4)", length=4), "B", {"B": "YQ=="}, "always has 4 bytes"),
    (Column("v", "binary"), "B", {"B": "%"}, "is not base64"),
    (Column("v", "binary"), "B", {"B": None}, "is not base64"),
    (Column("v", "date"), "EPOCH", {"N": "1"}, "is not the beginning of one"),
    (Column("v", "date"), "EPOCH", {"N": "1e18"}, "cannot be"),
    (Column("v", "datetime"), "EPOCH", {"N": "1e30"}, "is a time, which '1e30' cannot be"),
    (Column("v", "datetime"), "EPOCH", {"N": "0.0000001"}, "is a time, which"),
    (Column("v", "datetime", scale=3), "EPOCH_MS", {"N": "0.5"}, "has 3 digits after the second"),
    (Column("v", "time"), "SECONDS", {"N": "0.5"}, "has 0 digits after the second"),
    (Column("v", "time"), "S", {"S": "noon"}, "cannot be 'noon'"),
    (Column("v", "json"), "JSON", {"M": {"a": {"SS": ["x"]}}}, "a JSON document, which cannot have a SS"),
]


@pytest.mark.parametrize(("column", "form", "value", "reason"), REFUSED)
def test_what_the_column_could_not_hold_is_refused(
    column: Column, form: str, value: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Refused) as refused:
        reader(column, form)(value)
    assert reason in str(refused.value)
    assert "column 'v'" in str(refused.value)


def test_numbers_in_another_spelling() -> None:
    assert reader(Column("v", "int"), "N")({"N": "1e3"}) == 1000
    assert reader(Column("v", "decimal", precision=9, scale=2), "N")({"N": "-0"}) == "0.00"
    assert reader(Column("v", "uuid"), "S")({"S": "123E4567-E89B-12D3-A456-426655440000"}) == (
        "123e4567-e89b-12d3-a456-426655440000"
    )
    assert reader(Column("v", "set", members=("x", "y")), "SS")({"L": []}) == ""
    assert reader(Column("v", "set", members=("x", "y")), "SS")({"SS": ["y", "x"]}) == "x,y"


DOCUMENTS = st.recursive(
    st.one_of(
        st.just({"NULL": True}),
        st.booleans().map(lambda value: {"BOOL": value}),
        st.integers(-(10**20), 10**20).map(lambda value: {"N": str(value)}),
        st.text(st.characters(exclude_categories=["Cs"])).map(lambda value: {"S": value}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda value: {"L": value}),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), inner, max_size=3).map(
            lambda value: {"M": value}
        ),
    ),
    max_leaves=8,
)


@given(DOCUMENTS)
def test_any_document_is_json(value: Any) -> None:
    table = Table("shop", "things", (Column("id", "int", nullable=False), Column("v", "json")), ("id",))
    rule = TableRule("shop.things", "things", "record", KeyRule("id", "${id}", "N"), types={"v": "JSON"})
    [put], faults = compile_mapping(rule, table).put_items([(1, json_text(value, "v"))])
    assert not faults
    assert put.item["v"] == value
