"""Verify over rows and items in memory: it reports what differs and nothing else, also while both sides move."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.migration.sides import HEAD, IDS, KINDS, LINE, LINES, RECORD, TABLE, Sides, filled
from whimbrel.errors import IncompleteRead, MappingError, StateError
from whimbrel.mapping.design import compile_mapping
from whimbrel.migration import digests, first_look, first_rows, second_look, verify
from whimbrel.migration.first_look import FirstLook
from whimbrel.migration.verify import verify_all
from whimbrel.project import ConditionRule, KeyRule, Target
from whimbrel.records import Change, Item, Position


@pytest.mark.parametrize("partition_items", [7, 100_000], ids=["divided, chunks through files", "at once"])
@pytest.mark.parametrize("rules", KINDS, ids=IDS)
@pytest.mark.parametrize("seed", range(4))
def test_what_differs_is_reported_and_nothing_else(
    sides: Callable[..., Sides], rules: Any, seed: int, partition_items: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_look, "JOINED_ITEMS", partition_items)
    monkeypatch.setattr(first_rows, "HELD_BYTES", partition_items * 100)
    monkeypatch.setattr(second_look, "PARTITION_ITEMS", partition_items)
    monkeypatch.setattr(first_look, "page_items", lambda mappings: 3)
    both = sides(*rules)
    chance = filled(both, seed)
    whole = dict(both.items)
    damaged = chance.sample(sorted(both.items), 6)
    expected = {}
    for identity in damaged[:2]:
        expected[whole[identity]["pk"]["S"]] = ("missing", whole[identity], None)
        del both.items[identity]
    for identity in damaged[2:4]:
        found = whole[identity] | {"name": {"S": "other"}}
        expected[found["pk"]["S"]] = ("changed", whole[identity], found)  # type: ignore[assignment]
        both.items[identity] = found
    for number in range(2):
        extra = {"pk": {"S": f"thing#99{number}" if both.mappings[0].shape == "record" else f"owner#99{number}"}}
        expected[extra["pk"]["S"]] = ("extra", None, extra)  # type: ignore[assignment]
        both.items[both.wire.identity(extra)] = extra
    report = both.run()
    found_differences = {each.key["pk"]["S"]: (each.kind, each.expected, each.found) for each in report.differences}
    assert found_differences == expected
    assert report.counts == {"missing": 2, "changed": 2, "extra": 2}
    assert not report.equal
    assert report.rows == sum(map(len, both.rows.values()))
    assert (report.items, report.found, report.candidates) == (len(whole), len(whole), 6)
    assert report.target == "items"
    assert report.source == ", ".join(mapping.source for mapping in both.mappings)
    assert not both.folder.exists()
    assert both.progress.note.startswith("reading the target: ")


@pytest.mark.parametrize("rules", KINDS, ids=IDS)
def test_two_sides_that_are_equal(sides: Callable[..., Sides], rules: Any) -> None:
    both = sides(*rules)
    filled(both, 1)
    report = both.run()
    assert (report.equal, report.differences, report.candidates) == (True, [], 0)
    both = sides(*rules)
    assert both.run(0).equal


# -- while both sides move ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", KINDS[:2], ids=IDS[:2])
@pytest.mark.parametrize("seed", range(6))
def test_what_changes_while_it_is_read_is_no_difference(
    sides: Callable[..., Sides], rules: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target follows a moment later; only what was damaged differs in the end."""
    monkeypatch.setattr(second_look, "CONFIRMATIONS", 2)
    both = sides(*rules)
    chance = filled(both, seed)
    left = itertools.count()
    damaged = both.mappings[0].item_key(both.rows["shop.things"][(5,)])
    assert damaged is not None

    def move() -> None:
        if next(left) > 40:
            both.migrate()
        else:
            number = chance.randrange(6, 90)
            both.rows["shop.things"].pop((number,), None)
            if chance.random() < 0.7:
                both.insert((number, 5 if number == 5 else number % 11, chance.choice("xyz")))
            both.at += 1
        both.items.pop(both.wire.identity(damaged), None)

    both.moves = move
    report = both.run()
    assert {(each.kind, each.key["pk"]["S"]) for each in report.differences} == {("missing", damaged["pk"]["S"])}


def test_a_difference_counts_when_it_is_seen_often_enough(sides: Callable[..., Sides]) -> None:
    """Three times with the source standing still: a target that is late twice is not different."""
    for late, differs in ((2, False), (3, True)):
        both = sides((RECORD, TABLE))
        both.insert((1, 1, "a"))
        reads = itertools.count()
        get = both.wire.BatchGetItem

        def read(asked: Any, get: Any = get, late: int = late, both: Sides = both, reads: Any = reads) -> Any:
            if next(reads) == late:
                both.migrate()
            return get(asked)

        both.wire.BatchGetItem = read  # type: ignore[method-assign]
        assert both.run().counts == ({"missing": 1} if differs else {})


def test_what_never_stands_still_is_unsettled(sides: Callable[..., Sides]) -> None:
    both = sides((RECORD, TABLE))
    both.insert((1, 1, "a"), (2, 2, "b"))
    both.migrate()
    both.item("thing#1")["name"] = {"S": "stale"}
    number = itertools.count()
    both.moves = lambda: both.insert((1, next(number), "moves"))
    report = both.run()
    assert [(each.kind, each.key) for each in report.differences] == [("unsettled", {"pk": {"S": "thing#1"}})]
    assert report.differences[0].table == "shop.things"


def test_the_target_is_read_after_the_applier_has_passed_the_source(sides: Callable[..., Sides]) -> None:
    """What it had not applied yet is not a difference."""
    both = sides((RECORD, TABLE))
    both.insert((1, 1, "a"))
    both.migrate()
    both.insert((1, 1, "new"))
    both.at = 200
    asked = itertools.count()

    def applied() -> Position | None:
        number = next(asked)
        if number == 30:
            both.migrate()
        return None if number < 10 else Position("bin.000001", 200 if number >= 30 else 100 + number)

    both.applied = applied
    assert both.run().equal
    assert next(asked) > 30


def test_an_applier_that_does_not_move_ends_it(sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch) -> None:
    both = sides((RECORD, TABLE))
    both.insert((1, 1, "a"))
    both.applied = lambda: Position("bin.000001", 99)
    clock = itertools.count(0, 10)
    monkeypatch.setattr(second_look.time, "monotonic", lambda: float(next(clock)))  # type: ignore[attr-defined]
    with pytest.raises(StateError, match=r"the applier is at bin\.000001:99 and does not reach bin\.000001:100"):
        both.run()
    assert next(clock) < 200


def test_a_stop_ends_it(sides: Callable[..., Sides]) -> None:
    both = sides((RECORD, TABLE))
    both.insert((1, 1, "a"))
    both.applied = lambda: (both.stop.set(), None)[1]  # type: ignore[func-returns-value]
    with pytest.raises(Exception, match="asked to stop"):
        both.run()


# -- rows that cannot be mapped ----------------------------------------------------------------------------------------

BY_NAME = replace(RECORD, partition_key=KeyRule("pk", "name#${name}"), assert_unique=True)


def test_rows_without_a_key_have_no_place(sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_rows, "LISTED", 2)
    both = sides((BY_NAME, TABLE))
    both.insert((1, 1, "a"), *((n, 1, None) for n in range(2, 6)))
    both.migrate()
    report = both.run()
    assert report.counts == {"unmappable": 4}
    assert [each.key for each in report.differences] == [{}, {}]
    assert all("NULL" in each.reason and "(row {'id': " in each.reason for each in report.differences)
    assert {each.table for each in report.differences} == {"shop.things"}


def test_a_row_that_has_a_key_by_now_is_no_difference(sides: Callable[..., Sides]) -> None:
    both = sides((BY_NAME, TABLE))
    both.insert((1, 1, "a"), (2, 1, None))
    both.migrate()
    looks = itertools.count()
    both.moves = lambda: both.insert((2, 1, "b")) if next(looks) == 0 else None
    report = both.run()
    assert "unmappable" not in report.counts


@pytest.mark.parametrize("chunk", [1, 100])
def test_two_rows_in_one_place(sides: Callable[..., Sides], chunk: int) -> None:
    """Read together or apart: one of them is lost, whatever the target has."""
    both = sides((BY_NAME, TABLE))
    both.chunk = chunk
    both.insert((1, 1, "a"), (2, 1, "a"), (3, 1, "b"))
    both.migrate()
    report = both.run()
    assert report.counts == {"unmappable": 1}
    assert [each.key for each in report.differences] == [{"pk": {"S": "name#a"}}]


@pytest.mark.parametrize("chunk", [1, 100])
def test_two_rows_of_one_table_in_one_place_of_shared_items(sides: Callable[..., Sides], chunk: int) -> None:
    lines = replace(LINES, entry_name="line-${text}", entry_value="", assert_unique=True)
    both = sides((HEAD, TABLE), (lines, LINE))
    both.chunk = chunk
    both.insert((1, 1, "a"), (2, 1, "b"), (3, 2, "c"))
    both.insert((1, 1, "x"), (1, 2, "x"), (2, 3, "y"), mapping=1)
    both.migrate()
    report = both.run()
    assert report.counts == {"unmappable": 1}
    assert [each.key for each in report.differences] == [{"pk": {"S": "thing#1"}}]


# -- the count of what was read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", KINDS[:2], ids=IDS[:2])
@pytest.mark.parametrize("more", [1, -1])
def test_a_read_that_was_cut_off_is_noticed(sides: Callable[..., Sides], rules: Any, more: int) -> None:
    both = sides(*rules)
    filled(both, 1)
    both.counted = more
    with pytest.raises(IncompleteRead, match=f"59 rows were read, and the source counts {59 + more}"):
        both.run()
    both.moves = lambda: setattr(both, "at", both.at + 1)
    assert both.run().equal  # the source moves: its counts are of other moments


def test_a_count_that_changes_is_of_a_source_that_moves(sides: Callable[..., Sides]) -> None:
    both = sides((RECORD, TABLE))
    filled(both, 1)
    both.moves = lambda: setattr(both, "counted", 1)
    assert both.run().equal
    both.stop.set()
    both.counted = 1
    with pytest.raises(Exception, match="asked to stop"):
        both.run()


# -- conditions, and items that say how their rows came ----------------------------------------------------------------


def test_what_a_condition_protects_is_counted_and_not_a_difference(sides: Callable[..., Sides]) -> None:
    rule = replace(RECORD, condition=ConditionRule("attribute_not_exists(#o)", {"#o": "lock"}))
    both = sides((rule, TABLE))
    both.insert(*((n, n, "a") for n in range(1, 5)))
    both.migrate()
    both.item("thing#1").update({"lock": {"S": "x"}, "name": {"S": "theirs"}})
    both.item("thing#2").update({"name": {"S": "wrong"}})
    del both.items[both.wire.identity({"pk": {"S": "thing#3"}})]
    report = both.run()
    assert report.held == 1
    assert {(each.kind, each.key["pk"]["S"]) for each in report.differences} == {
        ("changed", "thing#2"),
        ("missing", "thing#3"),
    }


def test_items_of_rows_that_went_and_say_so(sides: Callable[..., Sides]) -> None:
    rule = replace(RECORD, columns={"state": "operation_indicator('D', 'U', 'I')", "op": "change_operation()"})
    both = sides((rule, TABLE))
    both.insert((1, 1, "a"), (2, 2, "b"), (3, 3, "c"))
    both.migrate()
    both.item("thing#2")["state"] = {"S": "U"}  # how it came is not compared
    for key in ("thing#3", "thing#4", "thing#5"):
        both.items[both.wire.identity({"pk": {"S": key}})] = {
            "pk": {"S": key},
            "state": {"S": "D"},
            "op": {"S": "DELETE"},
        }
    report = both.run()
    assert report.softly_deleted == 2
    assert [(each.kind, each.key["pk"]["S"]) for each in report.differences] == [("changed", "thing#3")]
    assert report.not_compared == ["op", "state"]
    assert report.candidates == 1


# -- how it reads ------------------------------------------------------------------------------------------------------


def test_it_reads_at_the_pace_of_the_project(sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch) -> None:
    both = sides((RECORD, TABLE))
    both.insert((1, 1, "a"))
    used: list[Any] = []
    for place, name in ((digests, "scan"), (second_look, "get_items")):
        read = getattr(place, name)

        def seen(*args: Any, read: Any = read, **more: Any) -> Any:
            used.append((more["pace"].rate, more["stop"] is both.stop, more.get("page_items"), args[2:3]))
            return read(*args, **more)

        monkeypatch.setattr(place, name, seen)
    both.run()
    assert used[0] == (10_000, True, first_look.page_items(both.mappings), (1,))  # a small table, in one segment
    assert {each[:2] for each in used} == {(10_000, True)}
    assert len(used) > 1


def test_where_an_expression_makes_the_key_the_whole_table_is_read_again(
    sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = replace(RECORD, columns={"place": "'p' || (id % 100)"}, partition_key=KeyRule("pk", "thing#${place}"))
    both = sides((replace(rule, assert_unique=True), TABLE))
    assert not both.mappings[0].invertible
    filled(both, 1)
    del both.items[sorted(both.items)[4]]
    both.item("thing#p7")["name"] = {"S": "other"}
    reads = itertools.count()
    both.moves = lambda: next(reads)
    report = both.run()
    assert report.counts == {"missing": 1, "changed": 1}
    # Nine chunks: once, then before and after each of three looks; and the look at rows without a key.
    assert next(reads) == 9 * (1 + 3 * 2) + 1
    assert report.rows == 59


def test_a_key_that_too_many_rows_could_have_is_unsettled(
    sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = sides((RECORD, TABLE))
    both.insert((1, 1, "a"), (2, 2, "b"))

    def too_many(key: Item) -> Any:
        if key["pk"]["S"] == "thing#1":
            raise MappingError("more than 10000 different rows could give the key")
        return []

    monkeypatch.setattr(both.mappings[0], "source_keys", too_many)
    report = both.run()
    assert report.counts == {"unsettled": 1, "missing": 1}
    unsettled = next(each for each in report.differences if each.kind == "unsettled")
    assert (unsettled.table, unsettled.key, unsettled.expected, unsettled.found) == (
        "shop.things", {"pk": {"S": "thing#1"}}, None, None
    )  # fmt: skip


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_candidates_are_looked_at_in_groups(
    sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(second_look, "RECHECKED_AT_ONCE", 3)
    both = sides((RECORD, TABLE))
    both.insert(*((n, n, "a") for n in range(count)))
    report = both.run()
    assert report.counts == {"missing": count}
    assert report.candidates == count
    asked = [body["RequestItems"]["items"]["Keys"] for name, body in both.wire.calls if name == "BatchGetItem"]
    assert max(map(len, asked)) <= 3


def test_every_target_is_verified(sides: Callable[..., Sides], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    both = sides((HEAD, TABLE), (LINES, LINE))
    filled(both, 2)
    del both.items[sorted(both.items)[0]]
    estimates: list[int] = []
    monkeypatch.setattr(verify, "connect", lambda source: both)
    monkeypatch.setattr(verify, "lineage_of", lambda prepared: SimpleNamespace(end_of=both.position))
    run = FirstLook.run
    monkeypatch.setattr(FirstLook, "run", lambda self, rows: estimates.append(rows) or run(self, rows))  # type: ignore[func-returns-value]
    prepared = SimpleNamespace(
        project=SimpleNamespace(
            source="the source", target=Target(region="us-east-1"), state=tmp_path / "state", tables=[], workers=1
        ),
        mappings={mapping.source: mapping for mapping in both.mappings},
        estimates={"shop.things": 5, "shop.lines": 6},
    )
    reports = verify_all(prepared, both.wire, both.applied, both.stop, both.progress)  # type: ignore[arg-type]
    assert [Counter(report.counts) for report in reports] == [{"missing": 1}]
    assert estimates == [11]


def test_changes_are_not_needed() -> None:
    """Records are compared as rows make them, not as changes do: both ways give the same item."""
    mapping = compile_mapping(RECORD, TABLE)
    row = (1, 2, "x")
    ((put,), _) = mapping.put_items([row])
    ((folded,), _) = mapping.fold([Change(TABLE, None, row, Position("bin.000001", 4))])
    assert put == folded
