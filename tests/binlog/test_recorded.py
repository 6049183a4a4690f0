"""What servers sent once (tests/binlog/recordings), read again: at each Commit the Changes so far make the rows that
the server had then, to the last digit.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.binlog.recorded import FOLDER, Recording, Step, load
from tests.binlog.replay import replayed, whole
from whimbrel.mysql.binlog import temporal
from whimbrel.mysql.binlog.alterations import Alteration
from whimbrel.mysql.binlog.stream import Output
from whimbrel.records import Change, Commit, Position, Row, Table

NAMES = sorted(path.name.partition(".json")[0] for path in FOLDER.glob("*.json.zst"))


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    """Texts of dates are kept from one use to the next."""
    temporal._dates.clear()
    temporal._days.clear()


class Replica:
    """Rows by table and first column, made of nothing but Changes; an ALTER is taken from the recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.rows: dict[str, dict[Any, Row]] = {name: {} for name in recording.tables}
        self.outputs: list[Output] = []
        self.altered: list[str] = []
        self.reproved: list[str] = []

    def read(self, **more: Any) -> bytes:
        schema = next(iter(self.recording.tables.values())).schema
        self.steps = [step for step in self.recording.steps if step.tables]
        self.outputs, commands = replayed(
            self.recording.session,
            whole(self.recording.packets),
            self.recording.start,
            {(schema, name): table for name, table in self.recording.tables.items()},
            use_gtid=self.recording.use_gtid,
            redefine=self.redefine,
            reprove=self.reprove,
            hidden=lambda table: 1,
            **more,
        )
        return commands

    def redefine(self, name: tuple[str, str], position: Position, sql: str, alteration: Alteration) -> Table:
        step = self.steps[len(self.altered)]
        assert (sql, position.order) == (step.sql, step.position.order)
        assert [name[1]] == list(step.tables)
        self.altered.append(sql)
        return step.tables[name[1]]

    def reprove(self, name: tuple[str, str], position: Position, sql: str, alteration: Alteration) -> None:
        self.reproved.append(sql)

    def apply(self, change: Change) -> None:
        rows = self.rows[change.table.name]
        if change.before is None:
            assert change.after is not None
            assert change.after[0] not in rows
        else:
            assert repr(rows.pop(change.before[0])) == repr(change.before)
        if change.after is not None:
            rows[change.after[0]] = change.after

    def altered_by(self, step: Step) -> None:
        """What an ALTER made of the rows, of which the binlog says nothing."""
        for name in step.tables:
            self.rows[name] = {row[0]: row for row in step.rows[name]}


@pytest.mark.parametrize("name", NAMES)
def test_at_each_commit_the_rows_are_those_of_the_server(name: str) -> None:
    recording = load(name)
    replica = Replica(recording)
    replica.read()
    outputs = iter(replica.outputs)
    expected: dict[str, dict[Any, Row]] = {table: {} for table in recording.tables}
    for step in recording.steps:
        if step.tables:
            replica.altered_by(step)
        elif any(step.rows.values()) or any(step.gone.values()):
            assert next_commit(outputs, replica).position == step.position, step.sql
        for table, keys in step.gone.items():
            for key in keys:
                del expected[table][key]
        for table, rows in step.rows.items():
            expected[table] |= {row[0]: row for row in rows}
            assert replica.rows[table].keys() == expected[table].keys(), step.sql
            for row in rows:
                for held, wanted in zip(replica.rows[table][row[0]], row, strict=True):
                    assert repr(held) == repr(wanted), step.sql
    assert all(not isinstance(output, list) for output in outputs)
    assert replica.altered == [step.sql for step in recording.steps if step.tables]
    last = replica.outputs[-1]
    assert not isinstance(last, list)
    assert last.position == recording.steps[-1].position


def next_commit(outputs: Any, replica: Replica) -> Commit:
    """Of a transaction with Changes; the Changes of it are applied."""
    changed = False
    for output in outputs:
        if isinstance(output, list):
            changed = True
            for change in output:
                replica.apply(change)
        elif changed:
            assert isinstance(output, Commit)
            return output
    raise AssertionError("no further transaction")


@pytest.mark.parametrize("name", [name for name in NAMES if "types" not in name])
def test_pieces_of_any_size_and_the_commands(name: str) -> None:
    recording = load(name)
    whole_read, in_pieces = Replica(recording), Replica(recording)
    assert whole_read.read() == recording.commands
    chance = random.Random(name)
    in_pieces.read(pieces=lambda: chance.choice((1, 2, 3, 4, 5, 23, 24, 100, 1000)))
    assert of_changes(in_pieces.outputs) == of_changes(whole_read.outputs)
    assert whole_read.reproved == [s for s in whole_read.reproved if "INDEX" in s or "ALTER" in s]


def of_changes(outputs: list[Output]) -> list[Output]:
    """Without the Commits of transactions without Changes, which are handed out only where the stream has to wait."""
    pairs = zip([None, *outputs], outputs, strict=False)
    return [output for before, output in pairs if isinstance(output, list) or isinstance(before, list)]
