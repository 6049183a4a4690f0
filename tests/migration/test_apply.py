"""Apply over a real change log and a table in memory: what is in the target is what a dictionary says, whatever the
batches, and the Checkpoint is never ahead of it.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from functools import partial

import pytest

from tests.memory import Body
from tests.migration.applied import COLUMNS, RULES, TABLES, Applied, any_change, delete, insert, update
from whimbrel import checkpoint
from whimbrel.checkpoint import Checkpoint
from whimbrel.errors import RequestRefused, StateError, Stopped
from whimbrel.mapping.fold import by_table
from whimbrel.mapping.versions import Versions
from whimbrel.migration import apply
from whimbrel.migration.apply import FIRST_BATCH, LARGEST_BATCH, LEAST_BATCH
from whimbrel.migration.dead import read_letters
from whimbrel.migration.state import CheckpointStore
from whimbrel.project import KeyRule
from whimbrel.records import Change, Column, Position


@pytest.fixture(autouse=True)
def saves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(apply, "POLL_SECONDS", 0.0)


def test_what_is_applied_is_what_the_log_says_at_every_restart(applied: Applied) -> None:
    """A batch at a time, and from time to time a new process, that goes on where the Checkpoint says."""
    chance = random.Random(3)
    applier, commit = applied.applier(), None
    for number in range(150):
        for _ in range(chance.randrange(1, 4)):
            commit = applied.transaction(*[partial(any_change, chance, applied)] * chance.randrange(1, 4))
        applier._batch = chance.choice((1, 2, 3, 500))
        steps = chance.randrange(1, 4)
        for _ in range(steps):
            applier.step()
        if number % 10 == 0:
            while applier.step():
                pass
            assert applied.held() == applied.expected()
            applier.check_end()
        if number % 7 == 0:
            applier = applied.applier()
    while applier.step():
        pass
    assert applied.held() == applied.expected()
    assert commit is not None
    now = checkpoint.load(applied.folder / "checkpoint.json")
    assert (now.applied, now.applied_position, now.applied_timestamp) == (applied.log.durable, *commit)
    assert now.counters["applied"] == applied.changes
    assert applied.progress.applied == applied.changes
    assert (applied.progress.applied_position, applied.progress.applied_time) == tuple(commit)
    assert len(applied.dead) == 0


def test_a_step_says_how_much_there_was(applied: Applied) -> None:
    applier = applied.applier()
    assert applier.step() == 0
    assert applied.progress.log_drained is False
    applier.idle()
    assert applied.progress.log_drained is True
    applied.transaction(insert(0, 1), insert(1, 1))
    assert applier.step() == 3  # with the Commit
    assert applied.progress.log_drained is False
    assert applier.step() == 0
    applied.transaction(insert(0, 2))
    applier.idle()
    assert applied.progress.log_drained is False


def test_nothing_counts_before_it_is_written(applied: Applied) -> None:
    """A batch that is broken off leaves the Checkpoint before it, and is played again from there."""
    applied.transaction(insert(0, 1))
    applier = applied.applier()
    applier.step()
    done = checkpoint.load(applied.folder / "checkpoint.json")
    applied.transaction(insert(0, 2), insert(0, 3))

    def refuse(operation: str, body: Body) -> None:
        raise RequestRefused("no table", code="ResourceNotFoundException")

    applied.wire.disturb = refuse
    with pytest.raises(RequestRefused):
        applier.step()
    applier.save()
    assert checkpoint.load(applied.folder / "checkpoint.json") == done
    assert applied.progress.applied == 1
    applied.wire.disturb = lambda operation, body: None
    applier = applied.applier()
    assert applier.step() == 3
    assert applied.held() == applied.expected()


def test_a_batch_that_ends_within_a_transaction_does_not_move_the_checkpoint(applied: Applied) -> None:
    applied.transaction(*(insert(0, key) for key in range(10)))
    applier = applied.applier()
    applier._batch = 4
    applier.step()
    assert len(applied.wire.table("items")) == 4
    applier.save()
    assert checkpoint.load(applied.folder / "checkpoint.json") == Checkpoint()
    applier = applied.applier()
    assert applier.step() == 11
    assert applied.held() == applied.expected()


def test_rows_that_cannot_be_mapped_are_letters_before_the_checkpoint_passes_them(applied: Applied) -> None:
    saved: list[int] = []
    keep = CheckpointStore.save

    def save(self: CheckpointStore, fresh: Checkpoint) -> None:
        saved.append(len(list(read_letters(applied.folder / "dead.jsonl"))))
        keep(self, fresh)

    by_name = replace(RULES[0], partition_key=KeyRule("pk", "one#${name}"))
    applied.versions["shop.one"] = Versions(by_name, TABLES[0])
    applied.transaction(insert(0, 1), Change(TABLES[0], None, (2, None, 1), Position("", 0)), insert(1, 3))
    applied.wire.refuse = lambda item: "never" if item["pk"]["S"] == "two#3" else ""
    applier = applied.applier()
    applied.checkpoints.save = save.__get__(applied.checkpoints)  # type: ignore[method-assign]
    applier.step()
    letters = list(read_letters(applied.folder / "dead.jsonl"))
    assert {letter["table"] for letter in letters} == {"shop.one", "shop.two"}
    assert {letter["phase"] for letter in letters} == {"apply"}
    refused = next(letter for letter in letters if letter["table"] == "shop.two")
    assert (refused["reason"], refused["item_key"]) == ("never", {"pk": {"S": "two#3"}})
    assert (refused["position"], refused["after"]) == (None, None)  # it may be of several changes
    assert saved == [2]
    assert applied.progress.dead == 2
    assert list(applied.held()) == ["one#x"]
    applied.transaction(Change(TABLES[0], None, (4, None, 1), Position("", 0)))
    applier.step()
    assert applied.progress.dead == 3
    assert applied.applier().step() == 0


def test_a_checkpoint_that_counts_otherwise_than_the_log_is_refused(applied: Applied) -> None:
    applied.transaction(insert(0, 1), insert(0, 2))
    applier = applied.applier()
    applier.step()
    for counted, taken in ((2, True), (1, False), (3, False)):
        counters = {**applied.checkpoints.now.counters, "applied": counted}
        applied.checkpoints.save(replace(applied.checkpoints.now, counters=counters))
        if taken:
            applied.applier()
        else:
            with pytest.raises(
                StateError, match=rf"the checkpoint has {counted} changes applied, .* has 2 up to there"
            ):
                applied.applier()


def test_a_batch_that_was_not_applied_whole_is_noticed(applied: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "by_table", lambda changes: [mine[:-1] for mine in by_table(changes) if mine[:-1]])
    applied.transaction(insert(0, 1), insert(0, 2))
    with pytest.raises(StateError, match="1 changes were applied, the change log has 2 up to there"):
        applied.applier().step()


def test_the_end_of_the_log_must_have_all_that_was_captured(applied: Applied) -> None:
    applied.transaction(insert(0, 1))
    applier = applied.applier()
    applier.check_end()  # it is not there yet
    applier.step()
    applier.check_end()
    applier._applied += 1
    with pytest.raises(StateError, match="2 changes were applied, the change log has 1 up to there"):
        applier.check_end()
    applied.transaction(insert(0, 2))
    applier.check_end()  # not the end any more


@pytest.mark.parametrize(
    ("size", "seconds", "then"),
    [
        (FIRST_BATCH, 0.9, 2 * FIRST_BATCH),
        (FIRST_BATCH, 1.0, FIRST_BATCH),
        (FIRST_BATCH - 1, 0.1, FIRST_BATCH),
        (FIRST_BATCH, 5.0, FIRST_BATCH),
        (FIRST_BATCH, 5.1, FIRST_BATCH // 2),
        (1, 5.1, FIRST_BATCH // 2),
    ],
)
def test_batches_grow_while_they_are_quick(applied: Applied, size: int, seconds: float, then: int) -> None:
    applier = applied.applier()
    applier._adapt(size, seconds)
    assert applier._batch == then


def test_batches_have_bounds(applied: Applied) -> None:
    applier = applied.applier()
    for _ in range(20):
        applier._adapt(applier._batch, 0.0)
    assert applier._batch == LARGEST_BATCH
    for _ in range(20):
        applier._adapt(1, 100.0)
        assert type(applier._batch) is int
    assert applier._batch == LEAST_BATCH


def test_a_batch_that_was_full_and_quick_is_followed_by_a_larger_one(applied: Applied) -> None:
    applied.transaction(*(insert(0, key) for key in range(10)))
    applier = applied.applier()
    applier._batch = 4
    assert applier.step() == 4
    assert applier._batch == 8
    assert applier.step() == 7
    assert applier._batch == 8


def test_what_is_known_of_earlier_runs_is_shown_at_once(applied: Applied) -> None:
    commit = applied.transaction(insert(0, 1), insert(0, 2))
    applied.applier().step()
    applied.applier()
    assert (applied.progress.applied, applied.progress.applied_position) == (2, commit.position)


def test_an_altered_table_in_one_batch_keeps_its_order(applied: Applied) -> None:
    """Rows of the new definition come after those of the old one, also where they touch the same item."""
    wider = replace(TABLES[0], columns=(*COLUMNS, Column("more", "int")))
    changes = [
        Change(TABLES[0], None, (1, "old", 1), Position("", 0)),
        Change(TABLES[1], None, (1, "other", 1), Position("", 0)),
        Change(wider, (1, "old", 1, None), (1, "new", 1, 5), Position("", 0)),
        Change(TABLES[1], (1, "other", 1), (1, "other 2", 1), Position("", 0)),
        Change(wider, None, (2, "new", 1, 6), Position("", 0)),
    ]
    lists = [list(mine) for mine in by_table(changes)]
    assert lists == [[changes[0]], [changes[1], changes[3]], [changes[2], changes[4]]]
    back = [*changes, Change(TABLES[0], None, (3, "old again", 1), Position("", 0))]
    assert [mine[0].table is TABLES[0] for mine in by_table(back)] == [True, False, False, True]


def test_saving_is_not_done_at_every_batch(applied: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "SAVE_SECONDS", 3600.0)
    applier = applied.applier()
    applier._saved_at = 1e12
    applied.transaction(insert(0, 1))
    applier.step()
    assert applied.checkpoints.now == Checkpoint()
    applier.save()
    first = applied.checkpoints.now
    assert first.applied == applied.log.durable
    applier.save()  # nothing new: not written again
    assert applied.checkpoints.now is first
    assert applied.progress.captured == 1
    applied.transaction(insert(0, 2), insert(0, 3))
    applied.transaction(insert(0, 4))
    applier._batch = 3
    applier.step()
    applier.save()
    assert (applied.progress.captured, applied.progress.applied) == (4, 3)


def test_what_conditions_held_back_is_counted(applied: Applied) -> None:
    applied.writer._own["held"] = 2
    applied.transaction(insert(0, 1))
    applier = applied.applier()
    applier.step()
    assert applied.progress.held == 2
    applied.writer._own["held"] = 5
    applied.transaction(insert(0, 2))
    applier.step()
    assert applied.progress.held == 5
    assert json.loads((applied.folder / "checkpoint.json").read_text())["counters"]["held"] == 5


def test_a_stop_in_the_middle_of_a_batch_comes_through(applied: Applied) -> None:
    def stop(operation: str, body: Body) -> None:
        raise Stopped("asked to stop")

    applied.transaction(insert(0, 1))
    applied.wire.disturb = stop
    applier = applied.applier()
    with pytest.raises(Stopped):
        applier.step()
    applier.save()
    assert applied.checkpoints.now == Checkpoint()


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 500])
def test_how_rows_came_is_a_matter_of_the_log_not_of_the_batches(applied: Applied, batch: int) -> None:
    said = {"op": "change_operation()", "at": "change_position()", "seq": "change_sequence()", "time": "change_time()"}
    applied.versions["shop.one"] = Versions(replace(RULES[0], columns=said), TABLES[0])
    applied.transaction(insert(0, 1), insert(1, 1), insert(0, 2), insert(0, 3), insert(0, 4))
    applied.transaction(update(0, (2, "x", 1), (2, "y", 1)), delete(0, (3, "x", 1)))
    applier = applied.applier(began=1_000_000.0)
    applier._batch = batch
    while applier.step():
        pass
    items = applied.held()
    assert {key: (item["op"]["S"], item["at"]["S"]) for key, item in items.items() if key.startswith("one")} == {
        "one#1": ("INSERT", "bin.000001:100"),
        "one#2": ("UPDATE", "bin.000001:200"),
        "one#4": ("INSERT", "bin.000001:100"),
    }
    assert [items[key]["time"]["S"] for key in ("one#1", "one#2")] == [
        "1970-01-01T00:00:01.000000Z",
        "1970-01-01T00:00:02.000000Z",
    ]
    sequences = [int(items[key]["seq"]["S"]) for key in ("one#1", "one#4", "one#2")]
    assert [later - sequences[0] for later in sequences] == [0, 4, 5]
    assert items["one#1"]["seq"]["S"].startswith("1970011213464000")


def test_a_rejected_item_that_says_how_it_came_has_its_change(applied: Applied) -> None:
    said = {"op": "change_operation()"}
    applied.versions["shop.one"] = Versions(replace(RULES[0], columns=said), TABLES[0])
    applied.wire.refuse = lambda item: "never" if item["pk"]["S"] == "one#2" else ""
    applied.transaction(insert(0, 1), insert(0, 2), insert(0, 3))
    applied.applier().step()
    (letter,) = read_letters(applied.folder / "dead.jsonl")
    assert letter["came"]["operation"] == "INSERT"
    assert letter["after"] == {"id": 2, "name": "x", "n": 1}
    assert letter["position"] == "bin.000001:100"
