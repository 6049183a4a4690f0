"""Both sides of a verification in memory: rows, items and the applier between them, each as a test wants it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.memory import MemoryWire
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.family import compile_family
from whimbrel.mapping.versions import Versions
from whimbrel.migration import verify
from whimbrel.migration.differences import TableReport
from whimbrel.migration.first_look import FirstLook
from whimbrel.migration.progress import Progress
from whimbrel.migration.second_look import Applied, SecondLook
from whimbrel.project import KeyRule, TableRule, Target
from whimbrel.records import Column, Item, Position, Row, Table

ID = Column("id", "int", nullable=False)


TABLE = Table("shop", "things", (ID, Column("owner", "int"), Column("name", "text", charset="utf8mb4")), ("id",))


RECORD = TableRule("shop.things", "items", "record", KeyRule("pk", "thing#${id}"), nulls="omit")


GROUP = TableRule(
    "shop.things", "items", "group", KeyRule("pk", "owner#${owner}"), entry_name="${id}", entry_value="name"
)


HEAD = TableRule("shop.things", "items", "record", KeyRule("pk", "thing#${id}"), item="shared")


LINE = Table("shop", "lines", (Column("thing", "int", nullable=False), ID, Column("text", "text")), ("thing", "id"))


LINES = TableRule(
    "shop.lines",
    "items",
    "group",
    KeyRule("pk", "thing#${thing}"),
    entry_name="line-${id}",
    entry_value="text",
    item="shared",
)


class ChunkRows:
    """The rows of a chunk, when they are all there."""

    def __init__(self, use: Callable[[list[Row]], None]) -> None:
        self.use, self.rows = use, list[Row]()

    def add(self, rows: list[Row]) -> None:
        self.rows += rows

    def end(self) -> None:
        self.use(self.rows)

    def drop(self) -> None:
        """Nothing is kept."""


class Sides:
    """A source of rows and a target of items. ``moves`` is called at each question to the source."""

    def __init__(self, folder: Path, *rules: tuple[TableRule, Table]) -> None:
        if len(rules) == 1:
            self.mappings = [compile_mapping(*rules[0])]
        else:
            family = compile_family([(Versions(rule, table), table) for rule, table in rules])
            assert not family.faults
            self.mappings = list(family.mappings.values())
        self.folder = folder
        self.rows: dict[str, dict[Any, Row]] = {mapping.source: {} for mapping in self.mappings}
        self.wire = MemoryWire(("pk",))
        self.stop = threading.Event()
        self.progress = Progress()
        self.moves: Callable[[], object] = lambda: None
        self.at = 100
        self.applied: Callable[[], Position | None] = lambda: Position("bin.000001", self.at)
        self.counted = 0  # how many rows the source counts more than it has
        self.chunk = 7

    def insert(self, *rows: Row, mapping: int = 0) -> None:
        chosen = self.mappings[mapping]
        for row in rows:
            self.rows[chosen.source][tuple(row[chosen.table.index(name)] for name in chosen.table.primary_key)] = row

    def migrate(self) -> None:
        """All rows into the target, as the load does."""
        self.items.clear()
        for mapping in self.mappings:
            for put in mapping.put_items(list(self.rows[mapping.source].values()))[0]:
                self.items.setdefault(self.wire.identity(put.key), {}).update(put.item)

    @property
    def items(self) -> dict[str, Item]:
        return self.wire.table("items")

    def item(self, key: str) -> Item:
        return self.items[f'[{{"S": "{key}"}}]']

    def first_look(self) -> FirstLook:
        project = SimpleNamespace(
            source="the source", target=Target(region="us-east-1", concurrency=3, max_read_units=10_000), workers=1
        )
        lineage = SimpleNamespace(end_of=self.position)
        report = verify.new_report(self.mappings)
        look = SecondLook(
            project, self, self.mappings, self.wire, Applied(self.applied), lineage, self.folder, self.stop, report  # type: ignore[arg-type]
        )  # fmt: skip
        return FirstLook(look, self, self.mappings, self.wire, self.folder, self.stop, self.progress, report)  # type: ignore[arg-type]

    def run(self, estimated: int = 50) -> TableReport:
        return self.first_look().run(estimated)

    def wait(self, seconds: float) -> bool:
        """Nothing is waited for here; but a wait must have an end."""
        assert 0 <= seconds <= 1
        return self.stop.is_set()

    # What is asked of the source

    def commit(self) -> None:
        """No transaction is left open."""

    def close(self) -> None:
        """As a connection."""

    def read_whole(self, source: Any, mapping: TableMapping, folder: Path, use: Any, count: Any, stop: Any) -> int:
        assert (folder.exists(), folder.parent) == (False, self.folder)
        return self.read_directly(source, mapping, lambda: ChunkRows(use), count, stop)

    def read_directly(
        self,
        source: Any,
        mapping: TableMapping,
        begin: Any,
        count: Any,
        stop: Any,
        sessions: Any = None,
        elsewhere: None = None,
    ) -> int:
        assert (source, stop) == ("the source", self.stop)
        rows = sorted(self.rows[mapping.source].values(), key=lambda row: repr(row))
        if mapping.aligned:
            rows.sort(key=lambda row: row[0])  # type: ignore[arg-type,return-value]
        part: list[Row] = []
        for row in rows:
            whole = len(part) >= self.chunk
            if whole and not (mapping.aligned and mapping.item_key(row) == mapping.item_key(part[-1])):
                self.hand_over(part, begin, count)
                part = []
            part.append(row)
        if part:
            self.hand_over(part, begin, count)
        return len(rows)

    def hand_over(self, part: list[Row], begin: Any, count: Any) -> None:
        """In two pieces, the first of them twice: a chunk that breaks off is read again."""
        broken = begin()
        broken.add(part[:2])
        broken.drop()
        chunk = begin()
        for piece in (part[:2], part[2:]):
            chunk.add(piece)
        chunk.end()
        count(len(part))
        self.moves()

    def of_items(self, connection: Any, mapping: TableMapping, keys: list[Item]) -> list[Row]:
        assert connection is self
        self.moves()
        for key in keys if mapping.invertible else ():
            mapping.source_keys(key)
        wanted = [repr(key) for key in keys]
        return [row for row in self.rows[mapping.source].values() if repr(mapping.item_key(row)) in wanted]

    def where_equal(self, connection: Any, table: Table, names: Any, places: Any) -> list[Row]:
        assert connection is self
        self.moves()
        assert tuple(names) == table.primary_key
        return [row for place, row in self.rows[table.full_name].items() if place in places]

    def count(self, connection: Any, table: Table) -> int:
        assert connection is self
        return len(self.rows[table.full_name]) + self.counted

    def position(self, connection: Any) -> Position:
        assert connection is self
        return Position("bin.000001", self.at)


KINDS = [((RECORD, TABLE),), ((GROUP, TABLE),), ((HEAD, TABLE), (LINES, LINE))]


IDS = ["record", "group", "shared"]


def filled(sides: Sides, seed: int, count: int = 60) -> random.Random:
    chance = random.Random(seed)
    sides.insert(*((n, n % 11, chance.choice(["a", "é", None])) for n in range(1, count)))
    if len(sides.mappings) > 1:
        sides.insert(*((chance.randrange(1, 80), n, "line") for n in range(70)), mapping=1)
    sides.migrate()
    return chance
