"""Verify: prove that each table of the warehouse has exactly the rows of its source, while both are live.

Both sides are read once, straight into keys and digests, which are compared in partitions. What differs there is only a
candidate: rows change while they are read. A candidate is read again by its key, the warehouse only after it has come
to the Position that the source had then. It counts when both still differ and the source stood still, three times.

The source is read straight, not by the snapshot's files, and what the warehouse gives by ``reading``: neither knows how
rows were written.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from whimbrel.errors import BEGIN_AGAIN, StateError
from whimbrel.migration.lineage import Lineage
from whimbrel.migration.positions import reached
from whimbrel.migration.progress import Progress
from whimbrel.mysql.connect import Mysql, connect
from whimbrel.mysql.points import rows_where_equal
from whimbrel.mysql.schema import read_table
from whimbrel.mysql.whole_table import read_table as read_whole_table
from whimbrel.project import Silo
from whimbrel.records import Position, Row, Table, Value
from whimbrel.spill import DIGEST_BYTES, KeyedDigests, partitions_for
from whimbrel.warehouse.chunk_rows import in_small_chunks
from whimbrel.warehouse.engine import Engine, count_stored
from whimbrel.warehouse.json_value import same_json
from whimbrel.warehouse.ledger import KeptTable
from whimbrel.warehouse.stored import StoredColumn, StoredTable

LISTED = 1_000  # differences that are kept of one table
CONFIRMATIONS = 3
ATTEMPTS = 30
KEYS_AT_ONCE = 500
PATIENCE = 120.0  # seconds in which the warehouse must come on
UNEQUAL = bytes(DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class RowDifference:
    """``kind`` is missing, changed, extra or unsettled; the rows are None where a side has none."""

    kind: str
    key: dict[str, Any]
    expected: dict[str, Any] | None
    found: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class RowReport:
    """Of one table. ``rows`` of the source, and ``found`` in the warehouse, when each was read. ``not_compared`` are
    columns that the source has no longer, or not yet.
    """

    source: str
    target: str
    rows: int = 0
    found: int = 0
    counts: dict[str, int] = field(default_factory=dict)  # differences by kind
    differences: list[RowDifference] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def equal(self) -> bool:
        return not self.counts

    def to_dict(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in ("source", "target", "rows", "found", "counts", "not_compared")}
        shown = [each.to_dict() for each in self.differences]
        return {**named, "equal": self.equal, "seconds": round(self.seconds, 3), "differences": shown}


class TableVerify:
    """One table. ``applied`` says to which Position the warehouse has come."""

    def __init__(
        self,
        silo: Silo,
        engine: Engine,
        lineage: Lineage,
        kept: KeptTable,
        folder: Path,
        applied: Callable[[], Position | None],
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        self._silo, self._engine, self._lineage, self._kept = silo, engine, lineage, kept
        self._folder, self._applied, self._progress, self._stop = folder, applied, progress, stop
        self.report = RowReport(".".join(kept.table.source), kept.table.full_name)

    def run(self, estimated_rows: int) -> RowReport:
        """Raises StateError where the warehouse does not come on."""
        began = time.monotonic()
        with closing(connect(self._silo.source)) as connection:
            self._shape(connection)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            try:
                # The server's estimate may be from before a load: then all keys would be in one partition, in memory.
                with self._engine.session() as session:
                    rows = max(estimated_rows, count_stored(session, self._kept.table))
                self._compare(partitions_for(rows), connection)
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)
        self.report.seconds = time.monotonic() - began
        return self.report

    def _shape(self, connection: Mysql) -> None:
        """Which columns both sides have now."""
        now = read_table(connection, *self._kept.table.source)
        both = [c for c in self._kept.table.columns if not c.gone and c.source.name in now.names]
        self._table: StoredTable = replace(self._kept.table, columns=tuple(both))
        self._source = Table(now.schema, now.name, tuple(now.column(c.source.name) for c in both), now.primary_key)
        compared = {column.source.name for column in both}
        elsewhere = {*now.names, *(column.source.name for column in self._kept.table.columns)}
        self.report.not_compared = sorted(elsewhere - compared)
        self._expect = [partial(expected, column) for column in both]
        places = [self._table.columns.index(column) for column in self._table.key_columns]
        self._found_key: Callable[[Row], Row] = lambda row: tuple(row[place] for place in places)
        if sorted(places) != sorted(self._source.index(name) for name in self._source.primary_key):
            raise StateError(
                f"the source's key is {', '.join(now.primary_key)} now, and that of the warehouse another",
                place=self._kept.table.full_name,
                hint=f"{BEGIN_AGAIN.capitalize()}.",
            )

    def _compare(self, partitions: int, connection: Mysql) -> None:
        source = KeyedDigests(self._folder / "source", partitions)
        found = KeyedDigests(self._folder / "warehouse", partitions)
        self._say("reading the source")
        read_whole_table(
            in_small_chunks(self._silo.source),
            self._source,
            self._source.primary_key,
            lambda: _ChunkDigests(source, self._digested),
            stop=self._stop,
            on_rows=self._count,
        )
        self._say("reading the warehouse")
        with self._engine.session() as session:
            for rows in session.read(self._table, only=self._table.present):
                if self._stop.is_set():
                    return
                self.report.found += len(rows)
                found.add([_text(self._found_key(row)) for row in rows], list(map(_digest, rows)))
        for number in range(partitions):
            keys = [tuple(orjson.loads(text)) for text in _differing(source.partition(number), found.partition(number))]
            for start in range(0, len(keys), KEYS_AT_ONCE):
                self._recheck([self._key(key) for key in keys[start : start + KEYS_AT_ONCE]], connection)
        _all_compared(source, found)

    def _count(self, rows: int) -> None:
        self.report.rows += rows

    def _digested(self, rows: list[Row]) -> tuple[list[bytes], list[bytes]]:
        """The key and the digest of each."""
        made = [self._expected(row) for row in rows]
        return [_text(self._found_key(row)) for row in made], list(map(_digest, made))

    def _expected(self, row: Row) -> Row:
        return tuple(of(value) for of, value in zip(self._expect, row, strict=True))

    def _key(self, shown: tuple[Any, ...]) -> Row:
        return tuple(bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for value in shown)

    # -- the second look -----------------------------------------------------------------------------------------------

    def _recheck(self, keys: list[Row], connection: Mysql) -> None:
        seen: dict[bytes, int] = {}
        for attempt in range(ATTEMPTS):
            if not keys or self._stop.is_set():
                return
            if attempt:
                self._stop.wait(min(0.05 * attempt, 1.0))
            wanted = self._of_source(connection, keys)
            self._await(self._lineage.end_of(connection))
            there = self._of_warehouse(keys)
            open_keys = [key for key in keys if wanted.get(_text(key)) != there.get(_text(key))]
            again = self._of_source(connection, open_keys)
            keys = [key for key in open_keys if not self._settled(key, wanted, there, again, seen)]
        for key in keys:
            self._note("unsettled", key, None, None)

    def _settled(
        self,
        key: Row,
        wanted: dict[bytes, Row],
        there: dict[bytes, Row],
        again: dict[bytes, Row],
        seen: dict[bytes, int],
    ) -> bool:
        """Whether the row of ``key`` differs for good, which is noted."""
        text = _text(key)
        if wanted.get(text) != again.get(text):
            return False
        seen[text] = seen.get(text, 0) + 1
        if seen[text] < CONFIRMATIONS:
            return False
        one, other = wanted.get(text), there.get(text)
        self._note("missing" if other is None else "extra" if one is None else "changed", key, one, other)
        return True

    def _of_source(self, connection: Mysql, keys: list[Row]) -> dict[bytes, Row]:
        """What the rows of ``keys`` make now. A key is as the warehouse has it; the source is asked by its own form."""
        if not keys:
            return {}
        columns = self._table.key_columns
        named = {column.source.name: place for place, column in enumerate(columns)}
        order = [named[name] for name in self._source.primary_key]
        asked = [tuple(_as_source(columns[place], key[place]) for place in order) for key in keys]
        rows = rows_where_equal(connection, self._source, self._source.primary_key, asked)
        connection.commit()
        made = [self._expected(row) for row in rows]
        return {_text(self._found_key(row)): row for row in made}

    def _of_warehouse(self, keys: list[Row]) -> dict[bytes, Row]:
        columns = self._table.key_columns
        asked = [tuple(_as_source(c, value) for c, value in zip(columns, key, strict=True)) for key in keys]
        found: dict[bytes, Row] = {}
        with self._engine.session() as session:
            for rows in session.read(self._table, asked, only=self._table.present):
                for row in rows:
                    text = _text(self._found_key(row))
                    found[text] = () if text in found else row  # a key that is there twice equals nothing
        return found

    def _await(self, position: Position) -> None:
        last, moved = self._applied(), time.monotonic()
        while not reached(last, position) and not self._stop.wait(0.02):
            now = self._applied()
            if now != last:
                last, moved = now, time.monotonic()
            elif time.monotonic() - moved > PATIENCE:
                raise StateError(
                    f"the warehouse is at {last} and does not reach {position}",
                    place=self._silo.name,
                    hint="See whether `whimbrel converge` is running and what it says, then verify again.",
                )

    def _note(self, kind: str, key: Row, one: Row | None, other: Row | None) -> None:
        report, names = self.report, [column.source.name for column in self._table.columns]
        report.counts[kind] = report.counts.get(kind, 0) + 1
        if len(report.differences) < LISTED:
            shown = dict(zip([column.source.name for column in self._table.key_columns], _plain(key), strict=True))
            rows = [None if not row else dict(zip(names, _plain(row), strict=True)) for row in (one, other)]
            report.differences.append(RowDifference(kind, shown, *rows))

    def _say(self, what: str) -> None:
        self._progress.note = f"{self._kept.table.full_name}: {what}"


class _ChunkDigests:
    """A RowTaker of the source. The rows of a chunk may be far larger than the server said: none is kept."""

    def __init__(self, into: KeyedDigests, digested: Callable[[list[Row]], tuple[list[bytes], list[bytes]]]) -> None:
        self._into, self._digested = into, digested
        self._keys, self._digests = list[bytes](), list[bytes]()

    def add(self, rows: list[Row]) -> None:
        keys, digests = self._digested(rows)
        self._keys += keys
        self._digests += digests

    def end(self) -> None:
        self._into.add(self._keys, self._digests)

    def drop(self) -> None:
        """Nothing of it is anywhere else."""


def expected(column: StoredColumn, value: Value) -> Value:
    """What the warehouse must have for a value of the source, said apart from what writes it."""
    if value is None:
        return None
    if column.nulls and isinstance(value, str):
        try:
            date.fromisoformat(value[:10])
        except ValueError:
            return None
    if column.form == "text":
        return value if isinstance(value, str) else repr(value)
    if column.form == "super":
        return same_json(str(value))
    if column.form == "bytes":
        return value if isinstance(value, bytes) else str(value).encode()
    return value


def _as_source(column: StoredColumn, value: Value) -> Value:
    """The inverse, of a value of a key."""
    if value is None:
        return None
    kind = column.source.kind
    if column.form == "text" and kind in ("int", "bit", "year"):
        return int(value)
    if column.form == "text" and kind in ("float", "double"):
        return float(value)
    if column.form == "bytes" and isinstance(value, bytes) and kind not in ("binary", "geometry"):
        return value.decode()
    return value


def _differing(source: tuple[list[bytes], list[bytes]], found: tuple[list[bytes], list[bytes]]) -> Iterator[bytes]:
    one, other = _once(*source), _once(*found)
    yield from sorted({key for key, _ in one.items() ^ other.items()})


def _once(keys: list[bytes], digests: list[bytes]) -> dict[bytes, bytes]:
    """The digest of each key; one that is there twice differs from every other."""
    found: dict[bytes, bytes] = {}
    for key, digest in zip(keys, digests, strict=True):
        found[key] = UNEQUAL if key in found else digest
    return found


def _all_compared(*sides: KeyedDigests) -> None:
    for side in sides:
        if side.added != side.given:
            raise StateError(
                f"{side.added:,} digests were kept, and {side.given:,} compared",
                place=str(side.folder),
                hint="Verify again, and check the disk.",
            )


def _text(key: Row) -> bytes:
    return orjson.dumps(_plain(key))


def _digest(row: Row) -> bytes:
    return blake2b(orjson.dumps(_plain(row)), digest_size=DIGEST_BYTES).digest()


def _plain(row: Sequence[Value]) -> list[Any]:
    return [{"hex": value.hex()} if isinstance(value, bytes) else value for value in row]
