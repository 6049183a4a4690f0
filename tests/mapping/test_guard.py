"""Conditions that items are written under: which can be kept, and what is written under them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.errors import MappingError, ProjectError
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.family import family_faults
from whimbrel.project import ConditionRule, KeyRule, TableRule, load_project
from whimbrel.records import Change, Column, Condition, Guarded, Item, Position, Put, Table

TABLE = Table("shop", "things", (Column("id", "int", nullable=False), Column("name", "text")), ("id",))
RULE = TableRule("shop.things", "things", "record", KeyRule("pk", "T#${id}"))
NOT_OWNED = ConditionRule("attribute_not_exists(#o)", {"#o": "owner"})


def mapping(condition: ConditionRule, **changes: Any) -> TableMapping:
    return compile_mapping(replace(RULE, condition=condition, **changes), TABLE)


def test_changes_and_the_load_are_written_under_it() -> None:
    made = mapping(NOT_OWNED)
    condition = Condition("attribute_not_exists(#o)", {"#o": "owner"}, {})
    at = Position("bin.000001", 4)
    operations, _ = made.fold([Change(TABLE, None, (1, "a"), at), Change(TABLE, (2, "b"), None, at)])
    puts, _ = made.put_items([(3, "c")])
    one, gone = made.replacing(puts[0], {}), made.removing(puts[0].key, {})
    for each in (*operations, *made.load_operations(puts), one, gone):
        assert isinstance(each, Guarded)
        assert each.condition == condition
        assert (each.table, each.key) == (each.operation.table, each.operation.key)
    changes_only = mapping(replace(NOT_OWNED, load=False))
    assert all(isinstance(each, Put) for each in changes_only.load_operations(puts))
    assert isinstance(changes_only.fold([Change(TABLE, None, (1, "a"), at)])[0][0], Guarded)


@pytest.mark.parametrize(
    ("condition", "changes", "reason"),
    [
        (ConditionRule("attribute_not_exists(pk)"), {}, "two runs would end in different items"),
        (ConditionRule("attribute_not_exists(name)"), {}, "two runs would end in different items"),
        (ConditionRule("attribute_not_exists(name) OR name <= :v", {}, {":v": {"S": "x"}}), {}, "two runs would end"),
        (ConditionRule("attribute_exists(owner)"), {}, "may not hold where no item is"),
        (ConditionRule("attribute_not_exists(owner) OR pk = :v", {}, {":v": {"S": "x"}}), {}, "names 'pk' of the key"),
        (ConditionRule("attribute_not_exists(#o)"), {}, "uses #o, which is not defined"),
        (NOT_OWNED, {"shape": "group", "entry_name": "${name}"}, "is for items of one row"),
        (NOT_OWNED, {"item": "shared"}, "is for items of one row"),
        (ConditionRule("attribute_not_exists(kind)"), {"attributes": {"kind": "thing"}}, "two runs would end"),
    ],
)
def test_what_cannot_be_kept_is_refused(condition: ConditionRule, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(MappingError, match="condition") as raised:
        mapping(condition, **changes)
    assert reason in raised.value.message


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "is empty"),
        ("owner ! :v", "cannot be read at ' ! :v'"),
        ("attribute_not_exists(owner", "has its end where ')' was expected"),
        ("attribute_not_exists(owner))", "')' stands where it should have ended"),
        ("owner", "has its end where a comparison was expected"),
        ("owner BETWEEN :v OR :v", "has 'OR' where 'AND' was expected"),
        ("owner IN :v", "has ':v' where '(' was expected"),
        ("owner = AND", "has 'AND' where a name or a value was expected"),
        ("size(owner = :v", "has '=' where ')' was expected"),
        (":v = :v", "compares constants only, which DynamoDB refuses"),
        ("NOT " * 101 + "owner = :v", "is nested too deeply"),
    ],
)
def test_a_condition_that_cannot_be_read_is_refused_with_the_place(expression: str, reason: str) -> None:
    with pytest.raises(MappingError, match="condition") as raised:
        mapping(ConditionRule(expression, {}, {":v": {"S": "x"}}))
    assert reason in raised.value.message


@pytest.mark.parametrize(
    "expression",
    [
        "NOT owner = :v",
        "NOT owner IN (:v, :w)",
        "NOT (owner BETWEEN :v AND :w)",
        "NOT size(owner) > :v",
        "NOT begins_with(owner, :v)",
        "attribute_not_exists(owner) OR owner <> :v",
        "owner.name <> :v AND attribute_not_exists(owner)",
    ],
)
def test_a_condition_that_holds_of_what_is_ours_and_of_what_is_not_there_is_kept(expression: str) -> None:
    values = {name: {"S": name} for name in (":v", ":w") if name in expression}
    assert mapping(ConditionRule(expression, {}, values)).put_items([(3, "c")])[1] == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from([None, "a", "b"])), max_size=8),
    st.sets(st.integers(1, 3)),
    st.data(),
)
def test_whatever_is_replayed_only_what_others_wrote_is_held_back(
    steps: list[tuple[int, str | None]], owned: set[int], data: st.DataObject
) -> None:
    made, at = mapping(NOT_OWNED), Position("bin.000001", 4)
    state: dict[int, str] = {}
    changes = []
    for key, name in steps:
        before = (key, state[key]) if key in state else None
        if before or name:
            changes.append(Change(TABLE, before, (key, name) if name else None, at))
        state.pop(key, None)
        state |= {key: name} if name else {}
    items: dict[str, Item] = {f"T#{key}": {"pk": {"S": f"T#{key}"}, "owner": {"S": "us"}} for key in owned}

    def play(start: int, end: int) -> None:
        for operation in made.fold(changes[start:end])[0]:
            assert isinstance(operation, Guarded)
            key = operation.key["pk"]["S"]
            if "owner" in items.get(key, {}):
                continue
            items.pop(key, None)
            if isinstance(operation.operation, Put):
                items[key] = operation.operation.item

    reached = 0
    for _ in range(3):
        start = data.draw(st.integers(0, reached))
        reached = data.draw(st.integers(start, len(changes)))
        play(start, reached)
    play(data.draw(st.integers(0, reached)), len(changes))
    puts, _ = made.put_items([(key, name) for key, name in state.items() if key not in owned])
    wanted = {put.key["pk"]["S"]: put.item for put in puts}
    assert {key: item for key, item in items.items() if "owner" not in item} == wanted
    assert {key for key, item in items.items() if "owner" in item} == {f"T#{key}" for key in owned}


def test_tables_of_one_target_have_the_same() -> None:
    table = replace(TABLE, name="others")
    rule = replace(RULE, source="shop.others", partition_key=KeyRule("pk", "O#${id}"))
    mine = mapping(NOT_OWNED)
    assert family_faults([mine, compile_mapping(replace(rule, condition=NOT_OWNED), table)]) == []
    [fault] = family_faults([mine, compile_mapping(rule, table)])
    assert "are written under different conditions" in fault


def test_a_project_file_says_it(tmp_path: Path) -> None:
    path = tmp_path / "whimbrel.toml"
    head = (
        '[source]\nurl = "mysql://someone@127.0.0.1/shop"\n[[table]]\nsource = "things"\ntarget = "things"\n'
        'shape = "record"\npartition_key = { name = "id", type = "N" }\n[table.condition]\n'
    )
    path.write_text(head + 'expression = "a <> :v"\nvalues = { ":v" = { N = "1" } }\nload = false\n')
    [rule] = load_project(path).tables
    assert rule.condition == ConditionRule("a <> :v", {}, {":v": {"N": "1"}}, load=False)
    path.write_text(head + 'names = { "#o" = 1 }\nvalues = { ":v" = "1" }\nlod = true\n')
    with pytest.raises(ProjectError) as raised:
        load_project(path)
    for fault in ("expression: is missing", "names.#o: must be", "values.:v: must be", "did you mean 'load'"):
        assert fault in raised.value.message
