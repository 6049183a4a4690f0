"""Attributes that say how a row came: what they say, that no replay changes them, and what stays of deleted rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mapping.oracle import Store
from whimbrel.errors import MappingError
from whimbrel.item import MAX_ITEM_BYTES
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.family import family_faults
from whimbrel.mapping.provenance import of_change, of_snapshot
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Column, Delete, Item, Position, Provenance, Put, Row, Table

TABLE = Table(
    "shop",
    "things",
    (Column("id", "int", nullable=False), Column("name", "text"), Column("price", "decimal", precision=9, scale=2)),
    ("id",),
)
RULE = TableRule("shop.things", "things", "record", KeyRule("id", "${id}", "N"), nulls="omit")
HEADERS = {
    "op": "change_operation()",
    "at": "change_position()",
    "seq": "change_sequence()",
    "time": "change_time()",
}
SOFT = {"state": "operation_indicator('D', 'U', 'I')"}
BEGAN = 1_767_323_045.25
START = Position("bin.000009", 4)


def mapping(**changes: Any) -> TableMapping:
    return compile_mapping(replace(RULE, **changes), TABLE)


def refused(**changes: Any) -> str:
    with pytest.raises(MappingError) as raised:
        mapping(**changes)
    return raised.value.message


def provenance(change: Change) -> Provenance:
    """The offset of a change is its number."""
    return of_change(change, change.position.offset, BEGAN + 0.5, BEGAN)


def change(before: Row | None, after: Row | None, number: int = 1) -> Change:
    return Change(TABLE, before, after, Position("bin.000010", number))


def written(made: TableMapping, *changes: Change) -> list[Any]:
    operations, faults = made.fold(changes, provenance)
    assert not faults
    return [each.item if isinstance(each, Put) else each for each in operations]


def test_what_headers_say_of_a_change_and_of_the_snapshot() -> None:
    made = mapping(columns=HEADERS)
    [item] = written(made, change(None, (1, "a", None), 7))
    assert item == {
        "id": {"N": "1"},
        "name": {"S": "a"},
        "op": {"S": "INSERT"},
        "at": {"S": "bin.000010:7"},
        "seq": {"S": "2026010203040525" + "0" * 18 + "7"},
        "time": {"S": "2026-01-02T03:04:05.750000Z"},
    }
    [put], [] = made.put_items([(1, "a", None)], of_snapshot(START, BEGAN))
    assert put.item["op"] == {"S": "INSERT"}
    assert put.item["at"] == {"S": "bin.000009:4"}
    assert put.item["seq"] == {"S": "2026010203040525" + "0" * 19}
    assert put.item["time"] == {"S": "2026-01-02T03:04:05.250000Z"}
    assert made.change_metadata.names == ["at", "op", "seq", "time"]
    assert made.change_metadata.rest(put.item) == {"id": {"N": "1"}, "name": {"S": "a"}}


def test_a_later_change_has_the_greater_sequence_whatever_the_clock_does() -> None:
    texts = [of_change(change(None, (1, "a", None)), n, 2e9 - n % 100, BEGAN).sequence for n in (1, 2, 99, 10**18)]
    assert texts == sorted(texts)
    assert {len(text) for text in texts} == {35}
    assert of_snapshot(START, BEGAN + 1).sequence > texts[-1]


def test_without_them_nothing_is_asked() -> None:
    def never(_: Change) -> Provenance:
        raise AssertionError

    made = mapping(columns={"upper": "upper(name)"})
    assert not made.change_metadata
    [put], [] = made.fold([change(None, (1, "a", None))], never)
    assert isinstance(put, Put)


def test_before_images_are_those_of_the_update_and_absent_else() -> None:
    made = mapping(before_image={"old_name": "name", "old_price": "price", "old_id": "id"}, mask={"name": "hash"})
    [inserted] = written(made, change(None, (1, "a", "1.50")))
    assert not inserted.keys() & {"old_name", "old_price", "old_id"}
    [updated] = written(made, change((1, "a", "1.50"), (1, "b", None)))
    assert updated["old_price"] == {"N": "1.50"}
    assert updated["old_id"] == {"N": "1"}
    assert updated["old_name"] == inserted["name"]  # masked, as the column is
    deleted, moved = written(made, change((1, "b", None), (2, "b", None)))
    assert isinstance(deleted, Delete)
    assert moved["old_id"] == {"N": "1"}
    assert "old_price" not in moved


def test_a_soft_delete_keeps_the_last_image_and_says_so() -> None:
    made = mapping(columns=SOFT | {"op": "change_operation()"}, before_image={"old": "name"})
    [gone] = written(made, change((1, "a", None), None))
    assert gone == {"id": {"N": "1"}, "name": {"S": "a"}, "state": {"S": "D"}, "op": {"S": "DELETE"}}
    assert made.change_metadata.is_deleted(gone)
    old, new = written(made, change((1, "a", None), (2, "a", None)))
    assert (old["state"], new["state"]) == ({"S": "D"}, {"S": "U"})
    assert not made.change_metadata.is_deleted(new)
    [again] = written(made, change((1, "a", None), None), change(None, (1, "z", None), 2))
    assert again == {"id": {"N": "1"}, "name": {"S": "z"}, "state": {"S": "I"}, "op": {"S": "INSERT"}}


@pytest.mark.parametrize(
    ("expression", "marks"),
    [
        ("CASE WHEN operation_indicator('D', 'U', 'I') = 'D' THEN 1 ELSE 0 END", [{"N": "1"}, {"N": "0"}, {"N": "0"}]),
        ("lower(operation_indicator('D', 'U', 'I')) || '!'", [{"S": "d!"}, {"S": "u!"}, {"S": "i!"}]),
        ("nullif(operation_indicator('gone', '', ''), '')", [{"S": "gone"}, None, None]),
    ],
)
def test_an_indicator_within_an_expression(expression: str, marks: list[Any]) -> None:
    made = mapping(columns={"state": expression})
    changes = [((1, "a", None), None), ((1, "a", None), (1, "b", None)), (None, (1, "a", None))]
    items = [written(made, change(*each))[0] for each in changes]
    assert [item.get("state") for item in items] == marks
    assert [made.change_metadata.is_deleted(item) for item in items] == [True, False, False]


def test_a_row_that_its_filter_leaves_out_is_deleted_softly_too() -> None:
    made = mapping(columns=SOFT, filter="name <> 'hidden'")
    [gone] = written(made, change((1, "a", None), (1, "hidden", None)))
    assert (gone["name"], gone["state"]) == ({"S": "a"}, {"S": "D"})
    [back] = written(made, change((1, "hidden", None), (1, "b", None)))
    assert (back["name"], back["state"]) == ({"S": "b"}, {"S": "U"})


def test_what_becomes_of_an_item_whose_new_row_has_no_place() -> None:
    """As without soft deletes: it is not what the source says any more. The letter knows how the row came."""
    made = mapping(columns=SOFT, types={"name": "N"})
    operations, [fault] = made.fold([change((1, "5", None), (1, "five", None), 3)], provenance)
    assert [each.item["state"] for each in operations if isinstance(each, Put)] == [{"S": "D"}]
    assert fault.provenance == provenance(change((1, "5", None), (1, "five", None), 3))
    assert made.fold([change((1, "five", None), None)], provenance) == ([], [])


FAILS_ON = "CASE WHEN id = 1 AND change_operation() = '{}' THEN abs(-9223372036854775808) ELSE id END"


@pytest.mark.parametrize("operation", ["DELETE", "INSERT", "UPDATE"])
def test_a_row_that_goes_is_deleted_whatever_its_change_metadata_would_be(operation: str) -> None:
    """Its key has nothing to do with how it changed last."""
    made = mapping(columns={"x": FAILS_ON.format(operation)})
    assert made.fold([change((1, "a", None), None)], provenance) == ([Delete("things", {"id": {"N": "1"}})], [])
    operations, _ = made.fold([change((1, "a", None), (2, "a", None))], provenance)
    assert operations[0] == Delete("things", {"id": {"N": "1"}})


def test_a_deleted_item_that_cannot_be_marked_is_a_fault_of_the_whole_item() -> None:
    """It is in the target, and would look like a row that is still there."""
    made = mapping(columns=SOFT | {"x": FAILS_ON.format("DELETE")})
    gone = change((1, "a", None), None, 7)
    for each in (gone, change((1, "a", None), (2, "a", None), 7)):
        operations, [fault] = made.fold([each], provenance)
        assert [operation.key for operation in operations] == [{"id": {"N": "2"}}][: len(operations)]
        assert "integer overflow" in fault.reason
        assert (fault.table, fault.source_key, fault.item_key) == ("shop.things", {}, {"id": {"N": "1"}})
        assert (fault.change, fault.provenance) == (each, provenance(each))
    large = mapping(columns={"state": "operation_indicator('deleted by the application', '', '')"})
    row = (1, "x" * (MAX_ITEM_BYTES - 20), None)
    [put], [] = large.fold([change(None, row)], provenance)
    assert isinstance(put, Put)
    [], [fault] = large.fold([change(row, None)], provenance)
    assert "more than the 409600 that DynamoDB allows" in fault.reason


@pytest.mark.parametrize("soft", [{}, SOFT])
def test_what_was_never_written_is_not_deleted(soft: dict[str, str]) -> None:
    """The fault of its insert, or of its update, has said so."""
    fails = (
        "CASE WHEN id = 1 AND change_operation() IN ('INSERT', 'UPDATE', 'DELETE') THEN abs(-9223372036854775808) END"
    )
    made = mapping(columns=soft | {"x": fails})
    assert made.fold([change((1, "a", None), None)], provenance) == ([], [])


def test_where_the_target_is_and_what_a_fault_knows() -> None:
    made = mapping(columns=SOFT, types={"name": "N"})
    wrong = change((1, "5", None), (1, "five", None), 3)
    [put], [fault] = made.fold([wrong], provenance)
    assert (put.table, put.key) == ("things", {"id": {"N": "1"}})
    assert (fault.change, fault.source_key, fault.item_key) == (wrong, {"id": 1}, {"id": {"N": "1"}})
    assert "'five'" in fault.reason
    [inserted], [] = made.fold([change(None, (2, "5", None))], provenance)
    assert (inserted.table, inserted.key) == ("things", {"id": {"N": "2"}})
    hard = mapping(columns=HEADERS)
    assert hard.fold([change((1, "a", None), None)], provenance) == ([Delete("things", {"id": {"N": "1"}})], [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"columns": {"x": "operation_indicator('D', 'U')"}}, "wrong number of arguments"),
        ({"columns": {"x": "operation_indicator('D', 'U', name)"}}, "depends on more than the operation"),
        (
            {"columns": {"x": "operation_indicator('D', 'U', 'I') || change_time()"}},
            "depends on more than the operation",
        ),
        ({"columns": {"x": "operation_indicator(abs(-9223372036854775808), 1, 2)"}}, "integer overflow"),
        ({"columns": {"x": "operation_indicator('D', 'D', 'I')"}}, "cannot be told from one that is not"),
        ({"columns": {"x": "operation_indicator(NULL, 'U', 'I')"}}, "cannot be told from one that is not"),
        ({"columns": SOFT, "exclude": ("state",)}, "in no attribute of its own"),
        ({"columns": SOFT, "types": {"state": "BOOL"}}, "cannot be written: column 'state' is 'D'"),
        ({"filter": "change_operation() = 'INSERT'"}, "whether a row is moved cannot depend on how it changed"),
        ({"columns": HEADERS, "partition_key": KeyRule("pk", "${id}-${seq}")}, "key 'pk' uses 'seq'"),
        ({"before_image": {"old": "nme"}}, "of column 'nme', which shop.things does not have"),
        ({"before_image": {"name": "price"}}, "is the name of a column that is there already"),
        ({"before_image": {"old": "op"}, "columns": {"op": "change_operation()"}}, "it has no before"),
        ({"before_image": {"old": "name"}, "item": "shared", "nulls": "null"}, "its items are made of several rows"),
        (
            {"before_image": {"old": "name"}, "shape": "group", "entry_name": "${name}", "nulls": "null"},
            "its items are made of several rows",
        ),
    ],
)
def test_what_cannot_be_said_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert reason in refused(**changes)


def test_in_a_document_and_in_templates_they_are_found_too() -> None:
    made = mapping(
        shape="document",
        partition_key=KeyRule("pk", "T#${id}"),
        columns=HEADERS | {"gone": "operation_indicator(1, 0, 0)"},
        types={"gone": "BOOL"},
        attributes={"label": "${name} ${op}", "kind": "thing"},
    )
    [item] = written(made, change((1, "a", None), None))
    assert item["label"] == {"S": "a DELETE"}
    assert made.change_metadata.names == ["_doc.at", "_doc.gone", "_doc.op", "_doc.seq", "_doc.time", "label"]
    assert made.change_metadata.is_deleted(item)
    rest = made.change_metadata.rest(item)
    assert rest == {
        "pk": {"S": "T#1"},
        "kind": {"S": "thing"},
        "_doc": {"M": {"id": {"N": "1"}, "name": {"S": "a"}}},
    }
    assert made.change_metadata.is_deleted(made.change_metadata.marked(rest))
    [live] = written(made, change(None, (1, "a", None)))
    [put], [] = made.put_items([(1, "b", "2.00")], of_snapshot(START, BEGAN))
    refilled = made.change_metadata.carried_over(put.item, live)
    assert made.change_metadata.rest(refilled) == made.change_metadata.rest(put.item)
    assert refilled["_doc"]["M"]["seq"] == live["_doc"]["M"]["seq"]
    assert refilled["label"] == live["label"]
    assert (
        made.change_metadata.carried_over(put.item, item) == made.change_metadata.carried_over(put.item, {}) == put.item
    )


def test_tables_of_one_target_must_mean_the_same_by_a_name() -> None:
    def other(**changes: Any) -> TableMapping:
        table = replace(TABLE, name="others")
        rule = replace(RULE, source="shop.others", partition_key=KeyRule("pk", "O#${id}"), exclude=("price",))
        return compile_mapping(replace(rule, **changes), table)

    mine = mapping(columns=SOFT, partition_key=KeyRule("pk", "T#${id}"))
    assert family_faults([mine, other(columns=SOFT)]) == []
    assert family_faults([mine, other()]) == []
    for columns in ({"state": "'fine'"}, {"state": "operation_indicator('U', 'x', 'I')"}):
        [fault, *_] = family_faults([mine, other(columns=columns)])
        assert "'state' is change metadata of shop." in fault


# --- replays --------------------------------------------------------------------------------------------------------

rows = st.tuples(st.integers(1, 3), st.sampled_from(["a", "b", "hidden", None]), st.sampled_from(["1.00", "2.50"]))
rules = st.builds(
    lambda soft, nulls, shape, hidden: {
        "columns": HEADERS | (SOFT if soft else {}),
        "before_image": {"old": "name"},
        "nulls": nulls,
        "shape": shape,
        "filter": "name IS NOT 'hidden'" if hidden else "",
        "partition_key": KeyRule("pk", "T#${id}"),
    },
    st.booleans(),
    st.sampled_from(["omit", "null"]),
    st.sampled_from(["record", "document"]),
    st.booleans(),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[dict[int, Row]], list[Change]]:
    """States of a table with primary key ``id``, and the changes between them."""
    state: dict[int, Row] = {row[0]: row for row in draw(st.lists(rows, max_size=3))}
    states, changes = [dict(state)], list[Change]()
    for number in range(1, draw(st.integers(1, 10)) + 1):
        row = draw(rows)
        before = state.get(draw(st.integers(1, 3)))
        if before is not None and draw(st.booleans()):
            after = None
        elif before is not None and (row[0] == before[0] or row[0] not in state):
            after = row
        elif row[0] not in state:
            before, after = None, row
        else:
            continue
        if before is not None:
            del state[before[0]]  # type: ignore[arg-type]
        if after is not None:
            state[after[0]] = after
        changes.append(change(before, after, number))
        states.append(dict(state))
    return states, changes


@settings(max_examples=150, deadline=None)
@given(rules, histories(), st.data())
def test_no_snapshot_crash_or_replay_changes_what_they_say(
    rule: dict[str, Any], history: tuple[list[dict[int, Row]], list[Change]], data: st.DataObject
) -> None:
    made, (states, changes) = mapping(**rule), history

    def loaded(at: list[dict[int, Row]]) -> Store:
        store, found = Store(), [row for number, state in enumerate(at, 1) if (row := state.get(number))]
        store.apply(list(made.put_items(found, of_snapshot(START, BEGAN))[0]))
        return store

    def play(store: Store, start: int, end: int) -> None:
        cuts = data.draw(st.lists(st.integers(start, end), max_size=3))
        for one, other in pairwise(sorted({start, end, *cuts})):
            store.apply(made.fold(changes[one:other], provenance)[0])

    plain = loaded([states[0]] * 3)
    for number in range(len(changes)):
        play(plain, number, number + 1)
    store = loaded([data.draw(st.sampled_from(states)) for _ in range(3)])
    reached = 0
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, reached))
        reached = data.draw(st.integers(start, len(changes)))
        play(store, start, reached)
    play(store, data.draw(st.integers(0, reached)), len(changes))
    assert store.items == plain.items
    play(store, data.draw(st.integers(0, len(changes))), len(changes))
    assert store.items == plain.items
    judge(made, store, list(states[-1].values()))


def judge(made: TableMapping, store: Store, final: list[Row]) -> None:
    """The items that are not marked are the source's rows; the others have no row."""
    wanted, [] = made.put_items(final)
    rest = made.change_metadata.rest
    live = [item for item in store.items.values() if not made.change_metadata.is_deleted(item)]

    def sort_key(item: Item) -> str:
        return str(item["pk"])

    assert sorted(map(rest, live), key=sort_key) == sorted((rest(put.item) for put in wanted), key=sort_key)
    if made.change_metadata.mark is None:
        assert len(live) == len(store.items)
