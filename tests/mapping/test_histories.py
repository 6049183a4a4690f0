"""The order that makes a migration right, as properties: a snapshot at no one time, the whole log, and any crash."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mapping.oracle import Store, expected, seen
from tests.mapping.oracle_texts import NoPlace
from tests.mapping.tables import Case, History, cases, histories
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Column, Item, Row, Table, Value

MANY = settings(max_examples=80, deadline=None)


def snapshot(history: History, draw: Callable[..., Any]) -> list[Row]:
    """Each primary key read at a time of its own, in no order."""
    keys = sorted({key for state in history.states for key in state}, key=repr)
    found = [draw(st.sampled_from(history.states)).get(key) for key in keys]
    return draw(st.permutations([row for row in found if row is not None]))


def loaded(mapping: TableMapping, rows: list[Row]) -> Store:
    store = Store()
    store.apply(list(mapping.put_items(rows)[0]))
    return store


def play(store: Store, mapping: TableMapping, changes: list[Change], draw: Callable[..., Any]) -> None:
    """In batches of any sizes."""
    cuts = draw(st.lists(st.integers(0, len(changes)), max_size=4))
    for start, end in pairwise(sorted({0, len(changes), *cuts})):
        store.apply(mapping.fold(changes[start:end])[0])


@MANY
@given(st.data())
def test_put_items_gives_what_the_oracle_says(data: st.DataObject) -> None:
    case = data.draw(cases())
    history = data.draw(histories(case))
    final = list(history.states[-1].values())
    assert loaded(compile_mapping(case.rule, case.table), final).plain() == expected(case.rule, case.table, final)


@pytest.mark.parametrize("more", [{}, {"entry_into": "inside", "entry_as": "map"}])
def test_a_row_that_is_refused_has_no_say_in_what_the_item_has(more: dict[str, Any]) -> None:
    """Two rows of one key, as nothing stands between two of its columns; the first has no name for its entry."""
    columns = [Column(name, "enum", members=("small",), nullable=name == "v") for name in ("a", "b", "v")]
    table = Table("shop", "t", (*columns, Column("w", "int", nullable=True)), ("a", "b"))
    key = KeyRule("pk", "${a}${b}")
    rule = TableRule("t", "things", "group", key, entry_name="${v}", attributes={"added": "${a}/${b}"}, **more)
    rows: list[Row] = [("", "small", None, 1), ("small", "", "small", 2)]
    for each in (rows, rows[::-1]):
        found = loaded(compile_mapping(rule, table), each).plain()
        assert found == expected(rule, table, each)
        assert len(found) == 1


@MANY
@given(st.data())
def test_a_snapshot_at_no_one_time_and_the_whole_log_give_the_final_rows(data: st.DataObject) -> None:
    case = data.draw(cases())
    history = data.draw(histories(case))
    mapping = compile_mapping(case.rule, case.table)
    store = loaded(mapping, snapshot(history, data.draw))
    play(store, mapping, history.changes, data.draw)
    assert store.plain() == outcome(case, history)


@MANY
@given(st.data())
def test_crashes_and_replays_change_nothing(data: st.DataObject) -> None:
    case = data.draw(cases())
    history = data.draw(histories(case))
    mapping = compile_mapping(case.rule, case.table)
    store = loaded(mapping, snapshot(history, data.draw))
    reached = 0
    for _ in range(data.draw(st.integers(1, 4))):  # from what the checkpoint says, which may be behind, to a crash
        start = data.draw(st.integers(0, reached))
        reached = data.draw(st.integers(start, len(history.changes)))
        play(store, mapping, history.changes[start:reached], data.draw)
    play(store, mapping, history.changes[data.draw(st.integers(0, reached)) :], data.draw)
    assert store.plain() == outcome(case, history)
    play(store, mapping, history.changes[data.draw(st.integers(0, len(history.changes))) :], data.draw)
    assert store.plain() == outcome(case, history)


@MANY
@given(st.data())
def test_a_crash_in_the_middle_of_a_batch_changes_nothing(data: st.DataObject) -> None:
    """Operations of one batch on different items may be carried out in any order, and any of them may be missing."""
    case = data.draw(cases())
    history = data.draw(histories(case))
    mapping = compile_mapping(case.rule, case.table)
    store = loaded(mapping, snapshot(history, data.draw))
    operations = data.draw(st.permutations(mapping.fold(history.changes)[0]))
    store.apply(operations[: data.draw(st.integers(0, len(operations)))])
    play(store, mapping, history.changes, data.draw)
    assert store.plain() == outcome(case, history)


@MANY
@given(st.data())
def test_rows_partitioned_by_their_item_give_the_same_items(data: st.DataObject) -> None:
    case = data.draw(cases())
    history = data.draw(histories(case))
    mapping = compile_mapping(case.rule, case.table)
    final = list(history.states[-1].values())
    parts: dict[bytes, list[Row]] = {}
    for row in final:
        parts.setdefault(mapping.group_key(row), []).append(row)
    store = Store()
    for part in parts.values():
        puts, _ = mapping.put_items(part)
        assert len(puts) <= 1
        store.apply(list(puts))
    assert store.plain() == outcome(case, history)


@MANY
@given(st.data())
def test_every_row_is_found_again_from_its_key(data: st.DataObject) -> None:
    case = data.draw(cases())
    history = data.draw(histories(case))
    mapping = compile_mapping(case.rule, case.table)
    for state in history.states:
        for row in state.values():
            key = mapping.item_key(row) if mapping.invertible else None
            own = tuple(row[case.table.index(name)] for name in mapping.lookup_columns)
            assert key is None or own in mapping.source_keys(key)


@MANY
@given(st.data())
def test_every_row_is_mapped_or_a_fault(data: st.DataObject) -> None:
    case = data.draw(cases())
    history = data.draw(histories(case))
    mapping = compile_mapping(case.rule, case.table)
    final = list(history.states[-1].values())
    puts, faults = mapping.put_items(final)
    entries = sum(entries_of(case, mapping, put.item) for put in puts)
    assert entries + len(faults) == len([row for row in final if not left_out(case, row)])
    _, from_log = mapping.fold(history.changes)
    written = [one for one in history.changes if one.after and not left_out(case, one.after)]
    assert [fault.change for fault in from_log] == [
        one for one in written if one.after and not expected(case.rule, case.table, [one.after])
    ]
    assert all(fault.change and fault.source_key == key_of(case, fault.change.after or ()) for fault in from_log)


def entries_of(case: Case, mapping: TableMapping, item: Item) -> int:
    if case.rule.shape != "group":
        return 1
    if case.rule.entry_as == "attribute":
        return len(item) - len(mapping.frame)
    [content] = item[case.rule.entry_rows or case.rule.entry_into].values()
    return len(content)


def left_out(case: Case, row: Row) -> bool:
    try:
        return seen(case.rule, case.table, row) is None
    except NoPlace:
        return False


def key_of(case: Case, row: Row) -> dict[str, Value]:
    return {name: row[case.table.index(name)] for name in case.table.primary_key}


def outcome(case: Case, history: History) -> dict[str, object]:
    return expected(case.rule, case.table, list(history.states[-1].values()))
