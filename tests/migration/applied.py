"""Two tables of a migration whose log is applied to a table in memory, and changes of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.memory import MemoryWire
from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter
from whimbrel.dynamodb.write import Writer
from whimbrel.mapping.versions import Versions
from whimbrel.migration.apply import Applier
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.project import KeyRule, TableRule, Target
from whimbrel.records import Change, Column, Commit, Item, ItemOperation, Position, Row, Table

COLUMNS = (Column("id", "int", nullable=False), Column("name", "text", charset="utf8mb4"), Column("n", "int"))


TABLES = [Table("shop", name, COLUMNS, ("id",)) for name in ("one", "two")]


RULES = [
    TableRule(
        source=table.full_name,
        target="items",
        shape="record",
        nulls="omit",
        partition_key=KeyRule("pk", f"{table.name}#${{id}}"),
    )
    for table in TABLES
]


class Applied:
    """A log with changes, and what it takes to apply them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wire = MemoryWire(("pk",))
        self.log = ChangeLogWriter(folder / "log", segment_bytes=4000)
        self.rows: dict[str, dict[Any, Row]] = {table.full_name: {} for table in TABLES}
        self.changes = self.number = 0
        self.reader: ChangeLogReader | None = None
        self.dirty: DirtyKeys | None = None
        target = Target(endpoint="http://127.0.0.1:1", region="us-east-1", concurrency=2)
        self.writer = Writer(self.wire, target, before=self.begin_write)  # type: ignore[arg-type]
        self.versions = {table.full_name: Versions(rule, table) for table, rule in zip(TABLES, RULES, strict=True)}

    def applier(self, began: float = 0.0) -> Applier:
        """As after a restart: everything from what is on disk."""
        self.stop()
        self.checkpoints = CheckpointStore(self.folder / "checkpoint.json")
        self.reader = ChangeLogReader(self.folder / "log", self.checkpoints.now.applied)
        self.progress = Progress()
        self.dead = DeadLetters(self.folder / "dead.jsonl")
        self.dirty = DirtyKeys(StateFolder(self.folder), self.checkpoints.now)
        return Applier(
            self.reader, self.versions, self.writer, self.dead, self.dirty, self.checkpoints, self.progress, began
        )

    def stop(self) -> None:
        """As the process ends: nothing is saved by it."""
        if self.reader is not None:
            self.reader.close()
        if self.dirty is not None:
            self.dirty._close_file()

    def close(self) -> None:
        self.stop()
        self.log.close()

    def begin_write(self, operations: Sequence[ItemOperation]) -> None:
        assert self.dirty is not None
        self.dirty.begin_write(operations)

    def transaction(self, *made: Change | Callable[[], Change]) -> Commit:
        """Changes, or what makes them when those before are done."""
        changes = []
        for each in made:
            change = each() if callable(each) else each
            changes.append(change)
            rows = self.rows[change.table.full_name]
            if change.before is not None:
                del rows[change.before[0]]
            if change.after is not None:
                rows[change.after[0]] = change.after
        self.number += 1
        self.changes += len(changes)
        commit = Commit(Position("bin.000001", 100 * self.number), float(self.number))
        self.log.append([change._replace(position=commit.position) for change in changes])
        self.log.commit(commit)
        self.log.sync()
        return commit

    def expected(self) -> dict[str, Item]:
        items = {}
        for name, rows in self.rows.items():
            for row in rows.values():
                pk = f"{name.partition('.')[2]}#{row[0]}"  # type: ignore[str-bytes-safe]
                values = zip(("id", "name", "n"), row, strict=True)
                item = {"pk": {"S": pk}} | {
                    column: {"S": value} if isinstance(value, str) else {"N": str(value)}
                    for column, value in values
                    if value is not None and column != "id"
                }
                items[pk] = item
        return items

    def held(self) -> dict[str, Item]:
        return {
            item["pk"]["S"]: {n: v for n, v in item.items() if n != "id"} for item in self.wire.table("items").values()
        }


def insert(table: int, key: int, name: str = "x", n: int | None = 1) -> Change:
    return Change(TABLES[table], None, (key, name, n), Position("", 0))


def update(table: int, before: Row, after: Row) -> Change:
    return Change(TABLES[table], before, after, Position("", 0))


def delete(table: int, before: Row) -> Change:
    return Change(TABLES[table], before, None, Position("", 0))


def any_change(chance: random.Random, applied: Applied) -> Change:
    table = chance.randrange(2)
    rows = applied.rows[TABLES[table].full_name]
    free = chance.randrange(1000, 100_000)
    if not rows or chance.random() < 0.4:
        return insert(table, free, chance.choice("abc"))
    before = chance.choice(list(rows.values()))
    if chance.random() < 0.3:
        return delete(table, before)
    moved = chance.random() < 0.3
    return update(table, before, (free if moved else before[0], chance.choice("abc"), None))
