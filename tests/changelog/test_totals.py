"""What the log counts: where two segments meet, in each transaction, and in all; and what the applier counts of it."""

from __future__ import annotations

import os
from collections.abc import Callable, ItemsView, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from tests.changelog.histories import PICTURE, PURCHASE, append, read_all, transactions
from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter
from whimbrel.changelog.segments import segment_path, segments
from whimbrel.checkpoint import Checkpoint
from whimbrel.durable import sealed
from whimbrel.dynamodb.calls import Spent
from whimbrel.errors import LogCorrupt, StateError
from whimbrel.mapping.fold import by_table
from whimbrel.migration.apply import Applier
from whimbrel.migration.progress import Progress
from whimbrel.records import Change, Column, Position, Table

CHANGES = sum(number % 5 for number in range(1, 41))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Several segments, of more than one transaction each."""
    with ChangeLogWriter(tmp_path, segment_bytes=2_000) as writer:
        append(writer, transactions(range(1, 41)))
    assert len(segments(tmp_path)) > 3
    return tmp_path


def edit(path: Path, number: int, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the fields of one line, which keeps its length and a checksum that fits."""
    lines = path.read_bytes().splitlines(keepends=True)
    fields = orjson.loads(lines[number])
    del fields["crc"]
    change(fields)
    made = sealed(orjson.dumps(fields)[:-1])
    assert len(made) == len(lines[number])
    path.write_bytes(b"".join([*lines[:number], made, *lines[number + 1 :]]))


def number_of(path: Path, kind: str, *, last: bool = False) -> int:
    kinds = [orjson.loads(line)["type"] for line in path.read_bytes().splitlines()]
    found = [number for number, each in enumerate(kinds) if each == kind]
    return found[-1 if last else 0]


def add(name: str, more: int) -> Callable[[dict[str, Any]], object]:
    return lambda fields: fields.update({name: fields[name] + more})


def test_the_reader_counts_every_change(log: Path) -> None:
    with ChangeLogReader(log, None) as reader:
        handed_out = 0
        while some := reader.read(3):
            handed_out += sum(isinstance(entry, Change) for entry in some)
            assert reader.handed_out == handed_out
        assert (reader.total, reader.unread().changes) == (CHANGES, 0)
        assert handed_out == CHANGES
        end = reader.point
    with ChangeLogReader(log, end) as reader:
        assert (reader.total, reader.handed_out) == (CHANGES, CHANGES)


def test_a_transaction_with_another_number_of_changes_is_refused(log: Path) -> None:
    path = segment_path(log, 2)
    edit(path, number_of(path, "Commit"), add("changes", 1))
    with pytest.raises(LogCorrupt, match="a transaction of"):
        read_all(log)


def test_a_running_total_that_does_not_add_up_is_refused(log: Path) -> None:
    path = segment_path(log, 2)
    edit(path, number_of(path, "Commit"), add("total", 1))
    with pytest.raises(LogCorrupt, match="a transaction of"):
        read_all(log)


def test_a_change_that_is_gone_is_noticed(log: Path) -> None:
    path = segment_path(log, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[number_of(path, "WriteRowsEvent")]
    path.write_bytes(b"".join(lines))
    with pytest.raises(LogCorrupt):
        read_all(log)


@pytest.mark.parametrize(
    "change", [add("total", 1), lambda fields: fields["after"].update(offset=fields["after"]["offset"] - 1)]
)
def test_segments_that_do_not_meet_are_refused(log: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(segment_path(log, 3), 0, change)
    with pytest.raises(LogCorrupt, match="the next one follows"):
        read_all(log)


def test_a_segment_that_lost_its_last_transaction_is_refused(log: Path) -> None:
    """Each line of it is whole, and so is each of the next segment."""
    path = segment_path(log, 2)
    lines = path.read_bytes().splitlines(keepends=True)
    commits = [number for number, line in enumerate(lines) if line.startswith(b'{"type":"Commit"')]
    path.write_bytes(b"".join(lines[: commits[-2] + 1]))
    with pytest.raises(LogCorrupt, match="the segment ends here, but the next one follows"):
        read_all(log)


def test_a_segment_that_lost_its_last_commit_is_refused(log: Path) -> None:
    ends = {path: path.read_bytes().splitlines(keepends=True) for path in map(log.joinpath, os.listdir(log))}
    path = next(path for path, lines in sorted(ends.items()) if b'"changes":0' not in lines[-1])
    path.write_bytes(b"".join(ends[path][:-1]))
    with pytest.raises(LogCorrupt, match="within a transaction"):
        read_all(log)


# -- the applier -------------------------------------------------------------------------------------------------------


def change(table: Table, number: int) -> Change:
    return Change(table, None, (number, ""), Position("bin.000001", number))


def test_changes_are_parted_by_table_and_by_version_in_log_order() -> None:
    """A table that is altered back has the definition that it had: what came between must not come after it."""
    other = replace(PURCHASE, columns=(*PURCHASE.columns, Column("more", "int")))
    tables = [PURCHASE, PICTURE, PURCHASE, other, PICTURE, other, PURCHASE, PURCHASE, other]
    changes = [change(table, number) for number, table in enumerate(tables)]
    found = [[each.after and each.after[0] for each in part] for part in by_table(changes)]
    assert found == [[0, 2], [1, 4], [3, 5], [6, 7], [8]]


class Nothing:
    """Stands for everything that an applier writes with: it takes all, and keeps the last checkpoint."""

    def __init__(self, now: Checkpoint) -> None:
        self.now, self.change_metadata = now, False
        self.rule = SimpleNamespace(oversize="dead")

    def items(self) -> ItemsView[str, SimpleNamespace]:
        return {each.full_name: SimpleNamespace(first=each) for each in (PURCHASE, PICTURE)}.items()

    def __getitem__(self, _: str) -> Nothing:
        return self

    def of(self, _: Table) -> Nothing:
        return self

    def fold(self, *_: object) -> tuple[list[Any], list[Any]]:
        return [], []

    def write(self, _: object) -> list[Any]:
        return []

    def take_held(self) -> int:
        return 0

    def take_spent(self) -> Spent:
        return Spent()

    def save(self, now: Checkpoint) -> None:
        self.now = now


MakeApplier = Callable[[Nothing], Applier]


@pytest.fixture
def applier(log: Path) -> Iterator[MakeApplier]:
    """Makes an applier of the log, from where the checkpoint is."""
    with ExitStack() as stack:

        def make(nothing: Nothing) -> Applier:
            reader = stack.enter_context(ChangeLogReader(log, nothing.now.applied))
            any_, dirty = cast("Any", nothing), cast("Any", SimpleNamespace(save=lambda applied: None))
            return Applier(reader, any_, any_, any_, dirty, any_, Progress())

        yield make


def test_all_changes_of_the_log_are_applied_and_counted(applier: MakeApplier) -> None:
    nothing = Nothing(Checkpoint())
    applying = applier(nothing)
    while applying.step():
        applying.save()
    applying.check_end()
    assert nothing.now.counters["applied"] == CHANGES
    applier(nothing).check_end()


def test_a_change_that_is_not_applied_ends_the_run(applier: MakeApplier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.migration.apply.by_table", lambda changes: [changes[1:]])
    with pytest.raises(StateError, match=f"{CHANGES - 1} changes were applied, the change log has {CHANGES} up to"):
        applier(Nothing(Checkpoint())).step()


def test_a_log_that_is_not_the_checkpoints_is_refused(applier: MakeApplier) -> None:
    nothing = Nothing(Checkpoint())
    applying = applier(nothing)
    applying.step()
    applying.save()
    nothing.now = replace(nothing.now, counters={"applied": 5})
    with pytest.raises(StateError, match=f"the checkpoint has 5 changes applied, the change log has {CHANGES}"):
        applier(nothing)


def test_what_the_capture_wrote_is_all_that_was_applied(log: Path, applier: MakeApplier) -> None:
    applying = applier(Nothing(Checkpoint()))
    while applying.step():
        pass
    path = log / "durable"
    fields = orjson.loads(path.read_bytes())
    line = b'{"type":"Durable","segment":%20d,"offset":%20d,"total":%20d'
    path.write_bytes(sealed(line % (fields["segment"], fields["offset"], CHANGES + 1)))
    with pytest.raises(StateError, match=f"{CHANGES} changes were applied, the change log has {CHANGES + 1}"):
        applying.check_end()
