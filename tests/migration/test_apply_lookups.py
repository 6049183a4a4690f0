"""The applier with look-ups: rows that wait are written in portions, the applied Position waits for them, and a process
that ends between two portions goes on with the next one. Table two looks up the name of table one by its own n.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.migration.applied import RULES, TABLES, Applied, delete, insert, update
from whimbrel import checkpoint
from whimbrel.changelog.files import ChangeLogReader
from whimbrel.checkpoint import Checkpoint
from whimbrel.errors import StateError
from whimbrel.mapping.lookups import Parent
from whimbrel.mapping.versions import Versions
from whimbrel.migration import apply, joins
from whimbrel.migration.apply import Applier
from whimbrel.migration.joins import Joins
from whimbrel.project import LookupRule

ONE, TWO = TABLES
MANY = 12
RULE = replace(RULES[1], lookups=(LookupRule("found", ONE.full_name, "name", ("n",)),))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(apply, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(joins, "PORTION", 5)


def joins_of(applied: Applied) -> Joins:
    parents = {ONE.full_name: Parent((RULES[0],), ONE, ONE)}
    applied.versions[TWO.full_name] = Versions(RULE, TWO, parents=parents)
    mappings = {name: each.of(each.first) for name, each in applied.versions.items()}
    return Joins(applied.folder / "lookups.sqlite", mappings, applied.versions)


def applier_of(applied: Applied) -> Applier:
    """As after a restart."""
    found = joins_of(applied)
    if not found.open():
        with found.filling({}):
            pass
        assert found.open()
    applied.applier().close()  # what it takes, and the checkpoint
    try:
        found.agree(applied.checkpoints)
    except BaseException:
        found.close()
        raise
    return Applier(
        _reader(applied),
        applied.versions,
        applied.writer,
        applied.dead,
        applied.dirty,  # type: ignore[arg-type]
        applied.checkpoints,
        applied.progress,
        joins=found,
    )


def _reader(applied: Applied) -> ChangeLogReader:
    applied.reader = ChangeLogReader(applied.folder / "log", applied.checkpoints.now.applied)
    return applied.reader


def found(applied: Applied) -> list[str | None]:
    items = applied.wire.table("items").values()
    return [item["found"]["S"] if "found" in item else None for item in items if item["pk"]["S"].startswith("two")]


def everything(applier: Applier) -> None:
    while applier.step():
        pass


def test_rows_are_written_again_in_portions_and_a_restart_goes_on_with_the_next(applied: Applied) -> None:
    applier = applier_of(applied)
    first = applied.transaction(insert(0, 1, "old"), *(insert(1, key, n=1) for key in range(MANY)))
    everything(applier)
    assert found(applied) == ["old"] * MANY
    last = applied.transaction(update(0, (1, "old", 1), (1, "new", 1)))
    assert applier.step() == 2
    assert found(applied) == ["old"] * MANY
    applier.step()
    assert sorted(map(str, found(applied))) == ["new"] * 5 + ["old"] * 7
    assert applied.progress.applied_position == first.position
    now = checkpoint.load(applied.folder / "checkpoint.json")
    assert (now.applied, now.applied_position) == (applied.log.durable, first.position)
    applier.close()

    for item in applied.wire.table("items").values():  # whoever writes these again is seen
        if "found" in item and item["found"]["S"] == "new":
            item["found"]["S"] = "written"
    applier = applier_of(applied)
    assert applied.progress.applied_position == first.position
    everything(applier)
    assert sorted(map(str, found(applied))) == ["new"] * 7 + ["written"] * 5
    assert applied.progress.applied_position == last.position
    now = checkpoint.load(applied.folder / "checkpoint.json")
    assert (now.applied_position, now.counters["applied"]) == (last.position, applied.changes)
    applier.close()


def test_a_save_that_ended_between_the_store_and_the_checkpoint_is_finished(applied: Applied) -> None:
    applier = applier_of(applied)
    applied.transaction(insert(0, 1, "a"), insert(1, 1, n=1))
    everything(applier)
    before = checkpoint.load(applied.folder / "checkpoint.json")
    last = applied.transaction(delete(0, (1, "a", 1)))
    everything(applier)
    applier.close()
    checkpoint.save(applied.folder / "checkpoint.json", before)
    applier = applier_of(applied)
    now = checkpoint.load(applied.folder / "checkpoint.json")
    assert (now.applied, now.counters["applied"]) == (applied.log.durable, 3)
    everything(applier)
    assert found(applied) == [None]
    assert last.position.at_or_after(now.applied_position or last.position)
    applier.close()


def test_a_store_of_another_place_is_refused(applied: Applied) -> None:
    applier = applier_of(applied)
    for key in range(3):
        applied.transaction(insert(0, key, "a"))
        everything(applier)
    applier.close()
    checkpoint.save(applied.folder / "checkpoint.json", Checkpoint())
    with pytest.raises(StateError, match="what look-ups read is as of"):
        applier_of(applied)


def test_a_long_transaction_is_saved_at_its_end(applied: Applied) -> None:
    applier = applier_of(applied)
    applier._batch = 2
    commit = applied.transaction(insert(0, 1, "a"), *(insert(1, key, n=1) for key in range(MANY)))
    assert applier.step() == 4
    assert checkpoint.load(applied.folder / "checkpoint.json").applied is None
    everything(applier)
    assert checkpoint.load(applied.folder / "checkpoint.json").applied_position == commit.position
    assert found(applied) == ["a"] * MANY
    applier.close()
