"""The full load of a silo: the chunks of its snapshot go into the warehouse, each with its progress in one transaction.

A crash at any moment leaves chunks that the ledger names, whole or up to a line. What it does not name is loaded again,
and what it does is not. Nothing of the change log has been applied yet, so a row may be of any time since the start.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from whimbrel.errors import LogCorrupt, WarehouseError
from whimbrel.migration.progress import TableCounts
from whimbrel.migration.snapshot import Snapshot, damaged_again
from whimbrel.mysql.plan import Plan
from whimbrel.snapshot_files import Chunk, ChunkReader, read_chunk
from whimbrel.warehouse.engine import Engine, EngineSession, count_stored
from whimbrel.warehouse.ledger import KeptTable, Ledger
from whimbrel.warehouse.lines import some_together
from whimbrel.warehouse.put import added_by_load, took_all

ROWS, TOGETHER = 250_000, 16 << 20  # rows of one transaction, about, and bytes of them as they are in the files
HELD = 8 << 20  # bytes of a chunk, unpacked, that is read once


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
        self._part: _Part | None = None  # what is being read
        self._begun: _Begun | None = None  # what the ledger says of it

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
        begun = self._begun.rows if self._begun else 0
        self._counts.loaded_rows = self._counts.loaded_items = sum(done.values()) + begun
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
        """The rows of the chunks that are loaded, of this export. What an earlier export left is removed, and so is
        everything where the file of a chunk that was begun is another one now.
        """
        name, self._part = self._snapshot.table, None
        with self._engine.session() as session:
            there = self._ledger.chunks(session, name)
            self._begun = _begun(there, plan.export)
            ours = {plan.export, self._begun.name} if self._begun else {plan.export}
            if there.keys() <= ours and self._goes_on(plan):
                return there.get(plan.export, {})
            with session.transaction():
                session.execute(f"DELETE FROM {self._table.quoted}")
                self._ledger.forget_chunks(session, name)
                fresh = self._ledger.advance(session)
            self._ledger.advanced(fresh)
        self._begun = None
        return {}

    def _goes_on(self, plan: Plan) -> bool:
        """Whether what was begun of a chunk is of its file as it is now. One that is damaged is read again first."""
        if self._begun is None:
            return True
        chunk = next((each for each in plan.chunks if each.number == self._begun.number), None)
        if chunk is None:
            return False
        try:
            return self._file(plan, chunk).sum == self._begun.sum
        except _Unfit:
            return True

    def _write_some(self, plan: Plan, left: list[Chunk]) -> None:
        """One transaction: the first of ``left``, which are taken from it, until they have ROWS or TOGETHER. Of a chunk
        that is larger, the rest is for the next one: rows of many bytes must not be in one transaction (duckdb_groups).
        """
        count = size = 0
        begun, ended = self._begun, list[_Part]()
        with self._engine.session() as session:
            with session.transaction():
                while left and count < ROWS and size < TOGETHER and not self._stop.is_set():
                    part = self._part = self._part or self._next(plan, left[0])
                    lines = next(part.pieces, None)
                    if lines is None:
                        took_all(self._table, part.file.rows, part.rows)
                        ended.append(part)
                        left.pop(0)
                        self._part = None
                        continue
                    took = session.load(self._table, part.file.table, lines, added_by_load(self._table, self._began))
                    part.rows, count, size = part.rows + took, count + took, size + sum(map(len, lines))
                self._note(session, plan, begun, ended)
                fresh = self._ledger.advance(session)
            self._ledger.advanced(fresh)
        self._counts.loaded_rows += count
        self._counts.loaded_items = self._counts.loaded_rows

    def _note(self, session: EngineSession, plan: Plan, begun: _Begun | None, ended: list[_Part]) -> None:
        """In the ledger: the chunks that are there, and how many rows of the one that was begun."""
        name = self._snapshot.table
        if begun:
            self._ledger.forget_chunks(session, name, begun.name)
        for part in ended:
            self._ledger.add_chunk(session, name, plan.export, part.file.chunk.number, part.rows)
        self._begun, rest = None, self._part
        if rest:
            self._begun = _Begun(plan.export, rest.file.sum, rest.file.chunk.number, rest.rows)
            self._ledger.add_chunk(session, name, self._begun.name, self._begun.number, self._begun.rows)

    def _next(self, plan: Plan, chunk: Chunk) -> _Part:
        """The chunk, behind the rows of it that are there already."""
        file = self._file(plan, chunk)
        lines, rows = file.lines(), 0
        there = self._begun.rows if self._begun and self._begun.number == chunk.number else 0
        while rows < there:
            rows += len(orjson.loads(next(lines)))
        took_all(self._table, there, rows)
        return _Part(file, some_together(lines), rows)

    def _file(self, plan: Plan, chunk: Chunk) -> ChunkReader:
        """Its checksum is compared before it gives a row."""
        try:
            file = read_chunk(plan.file(chunk), HELD)
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
            counted = count_stored(session, self._table)
        exported = sum(plan.rows.values())
        if not by_ledger == counted == exported:
            raise WarehouseError(
                f"{exported:,} rows were exported, {by_ledger:,} loaded, and the table has {counted:,}",
                place=self._table.full_name,
                hint="Somebody else wrote to it? Drop the silo's schema, remove its state folder, and begin again.",
            )


@dataclass(slots=True)
class _Part:
    """A chunk that is being loaded: ``pieces`` are the lines that are left, and ``rows`` were taken."""

    file: ChunkReader
    pieces: Iterator[list[bytes]]
    rows: int


class _Begun(NamedTuple):
    """A chunk of which ``rows`` are loaded, from a file with this checksum."""

    export: str
    sum: str
    number: int
    rows: int

    @property
    def name(self) -> str:
        """In the ledger, for an export's name."""
        return f"{self.export} {self.sum}"


def _begun(there: Mapping[str, Mapping[int, int]], export: str) -> _Begun | None:
    """What ``there`` has besides whole chunks."""
    for name, chunks in there.items():
        of, _, its_sum = name.partition(" ")
        if of == export and its_sum:
            [(number, rows)] = chunks.items()
            return _Begun(export, its_sum, number, rows)
    return None


class _Unfit(Exception):
    """The file of the chunk ``number`` is damaged, or of another export."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
