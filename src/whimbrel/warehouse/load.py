"""The full load of a silo: the chunks of its snapshot go into the warehouse, each with its progress in one transaction.

A crash at any moment leaves whole chunks that the ledger names. What it does not name is loaded again, and what it does
is not. Nothing of the change log has been applied yet, so a row may be of any time since the start.
"""

from __future__ import annotations

import threading

from whimbrel.errors import LogCorrupt, WarehouseError
from whimbrel.migration.load import damaged_again
from whimbrel.migration.progress import TableCounts
from whimbrel.migration.snapshot import Snapshot
from whimbrel.mysql.plan import Plan
from whimbrel.snapshot_files import Chunk, ChunkReader, read_chunk
from whimbrel.warehouse.engine import Engine, EngineSession
from whimbrel.warehouse.ledger import KeptTable, Ledger
from whimbrel.warehouse.lines import some_together
from whimbrel.warehouse.put import added_by_load, took_all

ROWS, TOGETHER = 250_000, 16 << 20  # rows of one transaction, about, and bytes of them as they are in the files


class SiloTableLoad:
    """Of one table, whose snapshot's rows fit ``kept``."""

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        kept: KeptTable,
        snapshot: Snapshot,
        counts: TableCounts,
        began: float,
        stop: threading.Event,
    ) -> None:
        """``began`` is the source's clock at the start."""
        self._began = began
        self._engine, self._ledger, self._table = engine, ledger, kept.table
        self._snapshot, self._counts, self._stop = snapshot, counts, stop

    def run(self) -> None:
        """Load what is not loaded; returns early when ``stop`` is set. Raises LogCorrupt for a file that is damaged
        twice, WarehouseError where the totals do not agree.
        """
        damaged: set[str] = set()
        while not self._stop.is_set():
            plan = self._snapshot.whole()
            if self._stop.is_set():
                return
            number = self._load(plan)
            if number is None:
                break
            path = plan.file(plan.chunks[number - 1])
            if str(path) in damaged:
                raise damaged_again(path)
            damaged.add(str(path))
            self._snapshot.read_again(plan, number)

    def _load(self, plan: Plan) -> int | None:
        """The number of a chunk whose file does not fit, None when all are loaded or ``stop`` was set."""
        done = self._loaded(plan)
        self._counts.loaded_rows = self._counts.loaded_items = sum(done.values())
        left = [chunk for chunk in plan.chunks if chunk.number not in done]
        try:
            while left and not self._stop.is_set():
                self._write_some(plan, left)
        except _Unfit as unfit:
            return unfit.number
        if not self._stop.is_set():
            self._agree(plan)
        return None

    def _loaded(self, plan: Plan) -> dict[int, int]:
        """The rows of the chunks that are loaded, of this export. What an earlier export left is removed."""
        name = self._snapshot.table
        with self._engine.session() as session:
            there = self._ledger.chunks(session, name)
            if there.keys() <= {plan.export}:
                return there.get(plan.export, {})
            with session.transaction():
                session.execute(f"DELETE FROM {self._table.quoted}")
                self._ledger.forget_chunks(session, name)
                fresh = self._ledger.advance(session)
            self._ledger.advanced(fresh)
        return {}

    def _write_some(self, plan: Plan, left: list[Chunk]) -> None:
        """One transaction: the first of ``left``, which are taken from it, until they have ROWS or TOGETHER."""
        count = size = 0
        with self._engine.session() as session:
            with session.transaction():
                while left and count < ROWS and size < TOGETHER and not self._stop.is_set():
                    rows = plan.rows[left[0].number]
                    size += self._write(session, plan, left[0])
                    self._ledger.add_chunk(session, self._snapshot.table, plan.export, left.pop(0).number, rows)
                    count += rows
                fresh = self._ledger.advance(session)
            self._ledger.advanced(fresh)
        self._counts.loaded_rows += count
        self._counts.loaded_items = self._counts.loaded_rows

    def _write(self, session: EngineSession, plan: Plan, chunk: Chunk) -> int:
        """How many bytes the chunk has. One that could not be cut may be a whole table: it is never in memory whole."""
        assert plan.table is not None
        file, added = self._file(plan, chunk), added_by_load(self._table, self._began)
        took = size = 0
        for lines in some_together(file.lines()):
            took += session.load(self._table, plan.table, lines, added)
            size += sum(map(len, lines))
        took_all(self._table, file.rows, took)
        return size

    def _file(self, plan: Plan, chunk: Chunk) -> ChunkReader:
        """Its checksum is compared before it gives a row."""
        try:
            file = read_chunk(plan.file(chunk))
        except LogCorrupt as error:
            raise _Unfit(chunk.number) from error
        fits = (file.chunk, file.table, file.export) == (chunk, plan.table, plan.export)
        if not fits or file.rows != plan.rows[chunk.number]:
            raise _Unfit(chunk.number)
        return file

    def _agree(self, plan: Plan) -> None:
        """As many rows as the plan has, by the ledger and by the engine's own count."""
        with self._engine.session() as session:
            by_ledger = sum(self._ledger.chunks(session, self._snapshot.table).get(plan.export, {}).values())
            [(counted,)] = session.fetch(f"SELECT COUNT(*) FROM {self._table.quoted}")
        exported = sum(plan.rows.values())
        if not by_ledger == counted == exported:
            raise WarehouseError(
                f"{exported:,} rows were exported, {by_ledger:,} loaded, and the table has {counted:,}",
                place=self._table.full_name,
                hint="Somebody else wrote to it? Drop the silo's schema, remove its state folder, and begin again.",
            )


class _Unfit(Exception):
    """The file of the chunk ``number`` is damaged, or of another export."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
