"""A log, and what it takes to apply it by workers, also in this process."""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.memory import MemoryWire
from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter
from whimbrel.dynamodb.write import Writer
from whimbrel.mapping.family import compile_family
from whimbrel.mapping.versions import Versions
from whimbrel.migration.apply import Applier
from whimbrel.migration.apply_crew import ApplyCrew
from whimbrel.migration.apply_part import ApplyJob, ApplyWork
from whimbrel.migration.dead import DeadLetters, identity_of, read_letters
from whimbrel.migration.dirty import DirtyKeys, newest_place, noted_since
from whimbrel.migration.load import Crew
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.project import KeyRule, TableRule, Target
from whimbrel.records import Change, Column, Commit, Position, Row, Table

TARGET = Target(endpoint="http://127.0.0.1:1", region="us-east-1", concurrency=6)
COLUMNS = (
    Column("id", "int", nullable=False, type_name="int(11)"),
    Column("place", "int", type_name="int(11)"),
    Column("note", "text", charset="utf8mb4", type_name="varchar(20)", length=20),
)
ONE, TWO = (Table("shop", name, COLUMNS, ("id",)) for name in ("one", "two"))
ALTERED = Table("shop", "one", (*COLUMNS, Column("more", "int", type_name="int(11)")), ("id",))
KEY = KeyRule("pk", "place#${place}")
# Rows that move, and rows that want the same item: whatever is out of order is another item.
RECORD = [
    TableRule(f"shop.{name}", "items", "record", KEY, KeyRule("sk", name), new_columns="include")
    for name in ("one", "two")
]
GROUP = [
    TableRule(
        f"shop.{name}",
        "items",
        "group",
        KEY,
        KeyRule("sk", name),
        entry_name="${id}",
        entry_value="note",
        new_columns="ignore",
    )
    for name in ("one", "two")
]
SHARED = [
    TableRule(
        "shop.one",
        "items",
        "group",
        KEY,
        KeyRule("sk", "x"),
        entry_name="e${id}",
        entry_value="note",
        item="shared",
        new_columns="ignore",
    ),
    TableRule(
        "shop.two", "items", "group", KEY, KeyRule("sk", "x"), entry_name="t${id}", entry_value="note", item="shared"
    ),
]
TRACED = [
    TableRule(
        f"shop.{name}",
        "items",
        "record",
        KEY,
        KeyRule("sk", name),
        columns={"seq": "change_sequence()", "at": "change_time()"},
        new_columns="ignore",
    )
    for name in ("one", "two")
]
RULES = {"record": RECORD, "group": GROUP, "shared": SHARED, "traced": TRACED}


class InAnyOrder:
    """Workers without processes, each of which does its jobs in their order. ``chance`` says who of them is next."""

    chance = random.Random(0)
    largest = 0  # number of jobs at once

    def __init__(
        self, begin: Callable[..., Any], works: Sequence[ApplyWork], stop: threading.Event, **more: Any
    ) -> None:
        self._meanwhile = more["meanwhile"]
        self._do = [begin(pickle.loads(pickle.dumps(each)), stop) for each in works]

    def __enter__(self) -> InAnyOrder:
        return self

    def __exit__(self, *_: object) -> None: ...

    def answers(self, jobs: Iterable[ApplyJob]) -> Iterator[tuple[ApplyJob, Any]]:
        given = [list[ApplyJob]() for _ in self._do]
        for number, job in enumerate(jobs):
            given[number % len(given)].append(job)
        type(self).largest = max(self.largest, sum(map(bool, given)))
        failure: Exception | None = None
        while left := [number for number, each in enumerate(given) if each]:
            number = self.chance.choice(left)
            job = given[number].pop(0)
            if failure and self.chance.random() < 0.5:
                given[number].clear()
                continue
            self._meanwhile()
            told: list[Any] = []
            try:
                self._do[number](job, told.append)
            except Crash as error:  # the others are at work meanwhile
                failure = error
                given[number].clear()
            yield from ((job, each) for each in told)
        if failure:
            raise failure


def nothing() -> None: ...


class Site:
    """A log, and a target for it. ``workers`` apply it, or, if there is none, one process does."""

    def __init__(
        self,
        folder: Path,
        log: Path,
        rules: list[TableRule],
        workers: int = 0,
        target: Target = TARGET,
        tables: Sequence[Table] = (ONE, TWO),
    ) -> None:
        self.target, self.lock, self.meanwhile = target, 7, nothing
        self.folder, self.log, self.workers = folder, log, workers
        folder.mkdir()
        self.family = compile_family(
            [(Versions(rule, table), table) for rule, table in zip(rules, tables, strict=True)]
        )
        assert not self.family.faults
        self.wire: Any = MemoryWire()
        self.readers: list[ChangeLogReader] = []
        self.stop = threading.Event()

    def apply(self) -> None:
        """From the Checkpoint to the end of the log. What ends it leaves what a crash does."""
        checkpoints, progress = CheckpointStore(self.folder / "checkpoint.json"), Progress()
        dirty = DirtyKeys(StateFolder(self.folder), checkpoints.now)
        writer = Writer(self.wire, self.target, before=dirty.begin_write)
        work = ApplyWork(self.log, self.family.versions, 0.0, self.target)
        crew = ApplyCrew(
            Crew(self.workers, self.target, self.lock, lambda: self.meanwhile()), work, dirty, progress, self.stop
        )
        reader, self.dead = self.reader(self.log, checkpoints.now.applied), DeadLetters(self.folder / "dead.jsonl")
        kept = (self.dead, dirty, checkpoints, progress)
        applier = Applier(reader, self.family.versions, writer, *kept, crew=crew if self.workers else None)
        try:
            while applier.step():
                applier.check_end()  # so does who has waited for a verification, which may end at any time
            applier.check_end()
            applier.save()
            self.applied = checkpoints.now
        finally:
            applier.close()
            dirty._close_file()
            for each in self.readers:
                each.close()

    def reader(self, *arguments: Any) -> ChangeLogReader:
        self.readers.append(ChangeLogReader(*arguments))
        return self.readers[-1]

    def letters(self) -> list[bytes]:
        return sorted(map(identity_of, read_letters(self.folder / "dead.jsonl")))


def some_changes(chance: random.Random, count: int, altered: int) -> Iterator[Change]:
    """Of few places, so that most are of items that others change too. ``altered``: from which change on it is."""
    rows: dict[str, dict[int, Row]] = {"one": {}, "two": {}}
    for number in range(count):
        table = chance.choice((ONE, TWO))
        mine, now = rows[table.name], ALTERED if table is ONE and number >= altered else table
        key = chance.randrange(8)
        place = chance.choice((None, 1, 2, 3, 4))  # no item without one
        before = mine.pop(key, None)
        after: Row | None = (key, place, f"n{number}", *([number] if now is ALTERED else []))
        if before is not None:
            before = (*before, None)[: len(now.columns)]
            if chance.random() < 0.3:
                after = None
        if after is not None:
            mine[key] = after
        yield Change(now, before, after, Position("bin.000001", number))


def write_log(folder: Path, changes: Iterable[Change], chance: random.Random) -> None:
    with ChangeLogWriter(folder, segment_bytes=6000) as log:
        transaction: list[Change] = []
        for number, change in enumerate(changes):
            transaction.append(change)
            if chance.random() < 0.25:
                log.append(transaction)
                log.commit(Commit(Position("bin.000001", number), float(number)))
                transaction = []
        log.append(transaction)
        log.commit(Commit(Position("bin.000001", 1 << 20), 1.0))


class Crash(Exception):
    pass


def dirty(folder: Path) -> set[bytes]:
    """All keys that were noted, or nothing if no item was written."""
    place = newest_place(folder)
    assert place
    return noted_since(folder, place._replace(file=1)).get("items", set())


def crash_after(calls: int) -> Callable[[str, Any], None]:
    left = iter(range(calls))

    def disturb(operation: str, body: Any) -> None:
        if next(left, None) is None:
            raise Crash

    return disturb
