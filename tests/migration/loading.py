"""An export in a state folder, and what it takes to load it: for the tests of the load."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tests.memory import MemoryWire
from whimbrel import checkpoint
from whimbrel.checkpoint import TableProgress
from whimbrel.dynamodb.write import Writer
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.provenance import of_snapshot
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.load import Crew, Loader
from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.migration.state import CheckpointStore
from whimbrel.mysql.plan import Plan
from whimbrel.project import KeyRule, TableRule, Target
from whimbrel.records import Column, Position, Row, Table
from whimbrel.snapshot_files import Chunk, write_chunk

TABLE = Table(
    "shop",
    "things",
    (Column("id", "int", nullable=False), Column("owner", "int"), Column("name", "text", charset="utf8mb4")),
    ("id",),
)
RECORD = TableRule("shop.things", "items", "record", KeyRule("pk", "thing#${id}"), nulls="omit")
GROUP = TableRule(
    "shop.things",
    "items",
    "group",
    KeyRule("pk", "owner#${owner}"),
    entry_name="${id}",
    entry_value="name",
)
START = Position("bin.000001", 4)


class Loading:
    """The export, and the load of it."""

    def __init__(self, folder: Path, rule: TableRule, table: Table = TABLE) -> None:
        self.folder = folder
        self.mapping: TableMapping = compile_mapping(rule, table)
        self.wire = MemoryWire(tuple(name for name, _ in self.mapping.key_attributes))
        self.writer = Writer(self.wire, Target(endpoint="http://127.0.0.1:1", region="us-east-1", concurrency=2))  # type: ignore[arg-type]
        self.checkpoints = CheckpointStore(folder / "checkpoint.json")
        self.dead = DeadLetters(folder / "dead.jsonl")
        self.progress = Progress(tables={table.full_name: TableCounts()})
        self.stop = threading.Event()
        self.export = folder / "export"
        self.export.mkdir()
        self.plan = Plan(self.export)
        self.plan.begin(table, ("id",))
        self.rows: list[Row] = []

    def chunk(self, *rows: Row, high: int | None) -> Chunk:
        low = None if not self.plan.last else self.plan.last.high
        number = len(self.plan.chunks) + 1
        chunk = Chunk(number, low, None if high is None else (high,), ("id",))
        self.plan.add(chunk)
        writer = write_chunk(self.plan.file(chunk), self.mapping.table, chunk, self.plan.export)
        if rows:
            writer.write(list(rows))
        writer.close()
        self.plan.record({number: len(rows)})
        self.rows += rows
        return chunk

    def loader(self, crew: Crew | None = None) -> Loader:
        provenance = of_snapshot(START, 0.0)
        return Loader(
            self.mapping, self.writer, self.dead, self.checkpoints, self.progress, self.stop, provenance, crew
        )

    def load(self) -> int:
        return self.loader().load(self.plan, self.folder / "spill")

    @property
    def loaded(self) -> TableProgress:
        return checkpoint.load(self.folder / "checkpoint.json").table("shop.things")

    def held(self) -> dict[str, dict[str, Any]]:
        return {item["pk"]["S"]: item for item in self.wire.table("items").values()}


def three_chunks(loading: Loading) -> None:
    loading.chunk(*((n, n % 3, f"name {n}") for n in range(1, 11)), high=10)
    loading.chunk(*((n, n % 3, f"name {n}") for n in range(11, 31)), high=30)
    loading.chunk(*((n, n % 3, None if n == 40 else f"name {n}") for n in range(31, 41)), high=None)


def expected_records(loading: Loading) -> dict[str, dict[str, Any]]:
    return {
        f"thing#{number}": {"pk": {"S": f"thing#{number}"}, "id": {"N": str(number)}, "owner": {"N": str(owner)}}  # type: ignore[str-bytes-safe]
        | ({} if name is None else {"name": {"S": name}})
        for number, owner, name in loading.rows
    }
