"""What 0.1.0 left behind is what its phases say, and stands on a source and a target that fit it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.upgrade.conftest import PHASES, PLAIN, STATES, OldState
from whimbrel.errors import StateError
from whimbrel.mapping.design import compile_mapping
from whimbrel.migration.value_forms import same_values
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Table


@pytest.mark.parametrize("phase", PHASES + PLAIN)
def test_the_start_is_still_in_the_binary_log(old_state: Callable[[str], OldState], phase: str) -> None:
    old = old_state(phase)
    checkpoint = json.loads((old.work.state / "checkpoint.json").read_text())
    start = checkpoint["start"]
    events = old.work.source.execute(f"SHOW BINLOG EVENTS IN '{start['file']}' FROM {start['offset']} LIMIT 500")
    logged = [event[2] for event in events if old.work.database in str(event[5])]
    assert any(kind.startswith(("Delete_rows", "Table_map", "Write_rows")) for kind in logged)
    assert checkpoint["version"] == 1
    assert checkpoint["source"] == json.loads((STATES / old.work.source.flavor / "server.json").read_text())["name"]


@pytest.mark.parametrize("phase", PHASES)
def test_another_form_of_values_is_never_mixed_in(old_state: Callable[[str], OldState], phase: str) -> None:
    old = old_state(phase)
    before = everything(old)
    with pytest.raises(AssertionError, match=r"(?s)ended with 3\n.*0\.1\.0 began .*\.person\.mood"):
        old.work.call("migrate", "--until-caught-up")
    assert everything(old) == before


@pytest.mark.parametrize("phase", [PLAIN[0], *(pytest.param(each, marks=pytest.mark.slow) for each in PLAIN[1:])])
def test_a_migration_without_such_values_goes_on(old_state: Callable[[str], OldState], phase: str) -> None:
    old = old_state(phase)
    old.work.call("migrate", "--until-caught-up")
    assert persons(old) == {
        str(number): (f"{first} {last}", born, f"{height.normalize():f}")
        for number, first, last, born, height in old.rows("person")
    }
    baskets = {(each["customerid"]["S"], each["orderid"]["S"]): each for each in old.items("purchase")}
    found = {
        (*key, name, int(value["N"]))
        for key, item in baskets.items()
        for name, value in item.items()
        if name not in ("customerid", "orderid")
    }
    assert found == set(old.rows("purchase"))
    assert old.work.checkpoint()["version"] == 2
    old.work.verify()


def persons(old: OldState) -> dict[str, tuple[str, Any, str]]:
    return {
        each["id"]["S"]: (
            each["full"]["S"],
            datetime.date.fromisoformat(each["born"]["S"]) if "S" in each["born"] else None,
            each["height"]["N"],
        )
        for each in old.items("person")
    }


def test_columns_of_another_form_are_named() -> None:
    columns = (
        Column("id", "int", nullable=False),
        Column("weight", "float"),
        Column("mood", "enum", members=("plain", "😀"), charset="utf8mb4"),
        Column("note", "text", charset="sjis"),
        Column("last", "text", charset="utf8mb4"),
    )
    rule = TableRule(
        source="shop.person",
        target="person",
        shape="record",
        partition_key=KeyRule("id", "${id}"),
        attributes={"full": "Mx ${last}"},
    )
    mapping = compile_mapping(rule, Table("shop", "person", columns, ("id",)))
    same_values([(rule, mapping.table, mapping)], 2, "checkpoint")
    with pytest.raises(StateError) as raised:
        same_values([(rule, mapping.table, mapping)], 1, "checkpoint")
    for name in ("weight (FLOAT)", "mood (ENUM with", "note (sjis)", "full (a template"):
        assert f"shop.person.{name}" in str(raised.value)
    plain = replace(rule, exclude=("weight", "mood", "note"), attributes={})
    same_values([(plain, mapping.table, compile_mapping(plain, mapping.table))], 1, "checkpoint")


def everything(old: OldState) -> dict[str, list[dict[str, Any]]]:
    """What is in the target's tables, as far as 0.1.0 had made them."""
    there = old.work.endpoint.client().list_tables()["TableNames"]
    return {name: old.items(name) for name in ("person", "purchase") if f"{old.work.database}-{name}" in there}
