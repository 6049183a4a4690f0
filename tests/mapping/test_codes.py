"""Codes for the values of a column: what they are made into, what is refused, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from whimbrel.errors import MappingError, ProjectError
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.inverse import inverse_of
from whimbrel.mapping.items_back import ItemInverse
from whimbrel.project import KeyRule, TableRule, load_project
from whimbrel.records import Column, Filled, Table

TABLE = Table(
    "shop",
    "t",
    (
        Column("id", "int"),
        Column("status", "enum", members=("new", "paid")),
        Column("active", "text", nullable=True),
        Column("level", "int", nullable=True),
        Column("price", "decimal", nullable=True, precision=5, scale=2),
    ),
    ("id",),
)
CODES: dict[str, dict[str, Any]] = {
    "status": {"new": 1, "paid": 2},
    "active": {"Y": True, "N": False},
    "level": {"0": "basic", "10": "gold"},
}


def mapping_of(codes: dict[str, dict[str, Any]], **settings: Any) -> TableMapping:
    rule = TableRule(
        "shop.t", "ttt", "record", KeyRule("id", "${id}", "N"), codes=codes, exclude=("price",), **settings
    )
    return compile_mapping(rule, TABLE)


def test_each_value_becomes_its_code_and_comes_back() -> None:
    mapping = mapping_of(CODES)
    rows = [(1, "paid", "N", 10, None), (2, "new", None, None, None), (3, "new", "Y", 0, None)]
    puts, faults = mapping.put_items(rows)
    assert not faults
    assert [{name: put.item[name] for name in CODES} for put in puts] == [
        {"status": {"N": "2"}, "active": {"BOOL": False}, "level": {"S": "gold"}},
        {"status": {"N": "1"}, "active": {"NULL": True}, "level": {"NULL": True}},
        {"status": {"N": "1"}, "active": {"BOOL": True}, "level": {"S": "basic"}},
    ]
    inverse = inverse_of(mapping, Filled())
    assert not inverse.obstacles
    back = [change.values for put in puts for change in ItemInverse([inverse]).rows(put.item)[0].values()]
    assert back == [row[:4] for row in rows]
    assert ItemInverse([inverse]).rows({**puts[0].item, "status": {"N": "2.0"}})[1] == []
    _, reasons = ItemInverse([inverse]).rows({**puts[0].item, "status": {"N": "3"}})
    assert reasons == ["column 'status' has no value with the code {'N': '3'}"]


def test_a_value_without_a_code_is_a_dead_letter() -> None:
    _, faults = mapping_of(CODES).put_items([(1, "", "Y", 0, None), (2, "new", "y", 0, None), (3, "new", "Y", 1, None)])
    assert [fault.reason for fault in faults] == [
        "column 'status' is '', which has no code",
        "column 'active' is 'y', which has no code",
        "column 'level' is 1, which has no code",
    ]


def test_a_code_that_two_values_have_does_not_come_back() -> None:
    inverse = inverse_of(mapping_of({"active": {"Y": True, "y": True, "N": False}}), Filled())
    assert "active" not in inverse.columns
    notes = {each.column: each.reason for each in inverse.notes}
    assert notes["active"].startswith("several of its values have one code: an INSERT has its default")


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        ({"status": {"new": 1}}, "codes of column 'status' leave out 'paid' of the ENUM"),
        ({"status": {"new": 1, "paid": 2, "old": 3}}, "have 'old', which is not a member of the ENUM"),
        ({"level": {"00": "x"}}, "have '00', which is not a number"),
        ({"price": {"1.00": 1}}, "only enum, text, int, bit, year, computed have codes"),
        ({"colour": {"red": 1}}, "codes names column 'colour', which shop.t does not have"),
    ],
)
def test_codes_that_do_not_fit_are_refused_beforehand(codes: dict[str, dict[str, Any]], reason: str) -> None:
    rule = TableRule("shop.t", "ttt", "record", KeyRule("id", "${id}", "N"), codes=codes)
    with pytest.raises(MappingError) as refused:
        compile_mapping(rule, TABLE)
    assert reason in str(refused.value)


def test_types_beside_codes_are_refused() -> None:
    with pytest.raises(MappingError, match="types says another thing of it"):
        mapping_of(CODES, types={"active": "N"})


@pytest.mark.parametrize("codes", ["{ a = 1, b = true }", "{ a = 1.5 }", "{}", "1", "{ a = [1] }"])
def test_codes_of_no_one_kind_are_refused_with_the_project_file(codes: str, tmp_path: Path) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(
        '[source]\nurl = "mysql://user@127.0.0.1/shop"\n[[table]]\nsource = "t"\ntarget = "ttt"\n'
        f'partition_key = {{ name = "id" }}\ncodes = {{ status = {codes} }}\n'
    )
    with pytest.raises(ProjectError, match=r"codes\.status: must be one table of true and false"):
        load_project(file)


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("2026-01-31", "1769817600"),
        ("2026-01-31 12:00:00", "1769860800"),
        ("1969-12-31 23:59:59.5", "-0.5"),
        ("20260131", ""),
        ("2026-W05-6", ""),
        ("2026-02-30", ""),
        ("2026-01-31 24:00:00", ""),
        ("12", ""),
    ],
)
def test_a_computed_time_as_seconds_since_1970(text: str, epoch: str) -> None:
    rule = TableRule(
        "shop.t", "ttt", "record", KeyRule("id", "${id}", "N"), columns={"at": "active"}, types={"at": "EPOCH"}
    )
    puts, faults = compile_mapping(rule, TABLE).put_items([(1, "new", text, None, None)])
    assert [put.item["at"] for put in puts] == ([{"N": epoch}] if epoch else [])
    assert bool(faults) is not bool(epoch)
