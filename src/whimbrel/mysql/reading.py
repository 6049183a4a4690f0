"""Reads a table in chunks over n connections, gently; what becomes of the rows is its caller's.

A chunk is one streaming SELECT, and a COUNT in the same transaction: what was read ends where the server's rows end.
Only then is it whole; one that breaks off is read again from its beginning. Each chunk shows the table at a moment of
its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from asyncmy.cursors import SSCursor

from whimbrel.errors import SchemaDrift, SourceUnreachable
from whimbrel.mysql.charsets import invalid_text
from whimbrel.mysql.chunks import (
    Cutting,
    all_there,
    chunk_count,
    chunk_statement,
    cutting_key,
    plan,
    rest_count,
    rows_at_worst,
)
from whimbrel.mysql.client import LARGEST_ANSWER, SourceConnection, garbled, understood
from whimbrel.mysql.connect import Mysql, connect, translated
from whimbrel.mysql.elsewhere import Elsewhere
from whimbrel.mysql.pace import LoadGate, RowRate
from whimbrel.mysql.points import canonical_rows
from whimbrel.mysql.readers import NEXT, back_off, open_reader, rows_of
from whimbrel.mysql.schema import average_row_bytes, described, description
from whimbrel.mysql.sessions import Sessions
from whimbrel.project import Source
from whimbrel.records import Row, Table
from whimbrel.snapshot_files import Chunk
from whimbrel.threads import cancelled, in_thread

CHUNK_BYTES = 8 << 20  # what a chunk's rows may have by the server's estimate: a table of long rows has short chunks
LEAST_ROWS = 32  # of a chunk, whatever that estimate says: after many deletions it is far too large
SHARED_ROWS = 10_000  # of a chunk, at most, where two processes share the chunks: so both end at about the same time
UNCOUNTED = 8  # times chunk_rows, of which a chunk may have so many before it is counted beforehand
LINE_ROWS = 500  # rows that are handed over at once
FETCH_BYTES = 4 << 20  # of rows fetched at once, by the columns' greatest lengths; longer ones are fetched one by one
STOP_WITHIN = 0.1  # seconds
READY_WITHIN = 0.02  # seconds

Done = TypeVar("Done")
Made = TypeVar("Made", covariant=True)


class RowSink(Protocol[Made]):
    """What the rows of one chunk become. ``close`` is called, in a thread of its own, when they are all there;
    ``abandon`` at the end in any case, also after ``close``.
    """

    @property
    def rows(self) -> int: ...
    def write(self, rows: list[Row]) -> None: ...
    def close(self) -> Made: ...
    def abandon(self) -> None: ...


class ChunkSinks(Protocol[Done]):
    """The chunks of a table: ``add`` is called with each new one before ``begin`` is asked for its RowSink, and
    ``done`` with what that made of a chunk that is whole.
    """

    @property
    def last(self) -> Chunk | None: ...
    @property
    def complete(self) -> bool: ...
    def add(self, chunk: Chunk) -> None: ...
    def begin(self, chunk: Chunk) -> RowSink[Done]: ...
    def done(self, made: Done) -> None: ...


class _Stopped(Exception):
    """``stop`` was set."""


class _Large(Exception):
    """A chunk has many more rows than it was cut for."""


class TableReading(Generic[Done]):
    """One reading of a table. ``on_rows`` is called with rows as they are read, and with a negative number when a chunk
    broke off.
    """

    def __init__(
        self,
        source: Source,
        table: Table,
        key_columns: tuple[str, ...],
        sinks: ChunkSinks[Done],
        stop: threading.Event,
        on_rows: Callable[[int], None],
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """``elsewhere`` gets chunks, too, unless a cap on rows keeps this process idle; it opens connections for half
        of those that ``source`` allows, and this process closes as many.
        """
        self.source, self.table, self.key_columns, self.sinks = source, table, key_columns, sinks
        self.stop, self.on_rows = stop, on_rows
        self.canonical = canonical_rows(table)
        self.rate = RowRate(source.max_rows_per_second)
        self.elsewhere = None if source.max_rows_per_second else elsewhere
        self.chunk_rows = self.rate.chunk(min(source.chunk_rows, SHARED_ROWS) if self.elsewhere else source.chunk_rows)
        self.line_rows = self.rate.batch(LINE_ROWS)
        self.fetch_rows = min(self.line_rows, rows_at_worst(table, FETCH_BYTES))
        self.rows_elsewhere = 0
        self.lent = 0  # of the readers, those whose chunks are read elsewhere
        self.reading = 0  # chunks being read now
        self.cutting: Cutting = (), ""
        self.index = ""
        self.looking = threading.Lock()
        # Not the readers': what their transactions see may be old. The planner's, when that has ended, or one more.
        self.look: SourceConnection | None = None

    async def run(self, waiting: list[Chunk], sessions: Sessions) -> None:
        """Read the chunks that are ``waiting``, and those that are not planned yet, unless ``stop`` is set. Takes the
        connections of ``sessions``, and leaves there those that served to the end.
        """
        if self.stop.is_set() or not (waiting or not self.sinks.complete):
            return
        # Each is opened for its first chunk.
        readers: list[Any] = sessions.readers or [None] * max(1, self.source.connections)
        idle, sessions.side, sessions.readers = sessions.side, None, []
        self.side = idle if idle is not None else await in_thread(connect, self.source)
        try:
            try:
                self._look_at_table(sessions)
            except SourceUnreachable:
                if idle is None:
                    raise
                self.side = await in_thread(connect, self.source)  # the other was lost since the last table
                idle.close()
                self._look_at_table(sessions)
            with contextlib.suppress(_Stopped):
                await self._all_chunks(readers, waiting)
                sessions.side, sessions.readers = self.side, readers
        finally:
            for connection in {self.side, self.look, *readers} - {None, sessions.side, *sessions.readers}:
                connection.close()

    def _look_at_table(self, sessions: Sessions) -> None:
        """Nothing else runs beside the loop yet."""
        facts = sessions.facts(self.side, self.table)
        self.cutting = cutting_key(self.side, self.table, self.key_columns, facts)
        self.index = self.cutting[1]
        row_bytes = average_row_bytes(self.side, self.table, facts)
        self.chunk_rows = min(self.chunk_rows, max(LEAST_ROWS, CHUNK_BYTES // max(1, row_bytes)))

    async def _all_chunks(self, readers: list[Any], waiting: list[Chunk]) -> None:
        """Planner, readers and watchers, together: the first to fail ends all."""
        self.gate = LoadGate(self.source, lambda: self.reading)
        self.queue: asyncio.Queue[Chunk | None] = asyncio.Queue(2 * len(readers))
        await self.gate.look()
        watchers = [asyncio.create_task(self._watch_stop()), asyncio.create_task(self.gate.watch())]
        work = [asyncio.create_task(self._work(readers, number)) for number in range(len(readers))]
        work.append(asyncio.create_task(self._plan_ahead(waiting)))
        if self.elsewhere and len(readers) > 1:
            work.append(asyncio.create_task(self._work_elsewhere(self.elsewhere, len(readers) // 2)))
        try:
            await first_failure(work, watchers)
        finally:
            await cancelled([*work, *watchers])

    async def _watch_stop(self) -> None:
        while True:
            self._end_if_stopped()
            await asyncio.sleep(STOP_WITHIN)

    def _end_if_stopped(self) -> None:
        if self.stop.is_set():
            raise _Stopped

    async def _plan_ahead(self, waiting: list[Chunk]) -> None:
        """Hand out the chunks that wait, then new ones: each is durable in the plan before it is handed out."""
        for chunk in waiting:
            await self.queue.put(chunk)
        failures = 0
        while not self.sinks.complete:
            try:
                chunks = self._new_chunks(self.side)
                while not self.sinks.complete:
                    chunk = await in_thread(partial(next, chunks, None))
                    assert chunk is not None, "the last chunk has all keys that are left"
                    self.sinks.add(chunk)
                    failures = 0
                    await self.queue.put(chunk)
            except SourceUnreachable as error:
                failures += 1
                await back_off(error, failures)
                with contextlib.suppress(SourceUnreachable):
                    self.side = await in_thread(connect, self.source)
        self.look = self.look or self.side
        await self.queue.put(None)

    def _new_chunks(self, side: Mysql) -> Iterator[Chunk]:
        after = self.sinks.last
        return plan(side, self.table, self.key_columns, self.chunk_rows, after=after, cutting=self.cutting)

    async def _work(self, readers: list[Any], number: int) -> None:
        while number >= self.lent and (chunk := await self._next_chunk()):
            rows = await self._whole_chunk(readers, number, chunk)
            await asyncio.sleep(self.rate.wait_for(min(rows, self.chunk_rows)))
        if number < self.lent:
            _drop(readers, number)

    async def _whole_chunk(self, readers: list[Any], number: int, chunk: Chunk) -> int:
        """How many rows it has. What was made of them is let go with this call: it may be all of the rows."""
        whole, failures, large = None, 0, False
        while whole is None:
            try:
                readers[number] = readers[number] or await open_reader(self.source, self.side)
                whole = await self._read_chunk(readers[number], chunk, large)
            except _Large:
                _drop(readers, number)
                large = True
            except SourceUnreachable as error:
                _drop(readers, number)
                failures += 1
                await back_off(error, failures)
        made, rows = whole
        self.sinks.done(made)
        return rows

    async def _next_chunk(self) -> Chunk | None:
        """None after the last one."""
        chunk = await self.queue.get()
        if chunk is None:
            self.queue.put_nowait(None)  # for the others
        self._end_if_stopped()
        return chunk

    async def _work_elsewhere(self, elsewhere: Elsewhere, at_once: int) -> None:
        while not elsewhere.ready:
            if self.sinks.complete and self.queue.qsize() < 2:  # the end of all, or one chunk, which is taken here
                return
            await asyncio.sleep(READY_WITHIN)
        self.lent = at_once
        while chunk := await self._next_chunk():
            chunks = [chunk]
            while len(chunks) < at_once and self.queue.qsize() > 1 and (more := self.queue.get_nowait()):
                chunks.append(more)
            await self.gate.open.wait()
            self.reading += len(chunks)
            try:
                rows = await in_thread(elsewhere.read, chunks)
            finally:
                self.reading -= len(chunks)
            self.rows_elsewhere += rows
            self.on_rows(rows)

    async def _read_chunk(self, reader: Any, chunk: Chunk, large: bool) -> tuple[Done, int]:
        await self.gate.open.wait()
        sink = self.sinks.begin(chunk)
        self.reading += 1
        try:
            await self._stream(reader, chunk, sink, large)
            return await in_thread(self._closed, sink), sink.rows
        except UnicodeDecodeError as error:
            await in_thread(self._check_columns)  # or it has another character set by now
            where = f" between the keys {chunk.low} and {chunk.high}"
            raise invalid_text(error, self.table.full_name, where) from error
        except BaseException:
            self.on_rows(-sink.rows)
            raise
        finally:
            self.reading -= 1
            sink.abandon()

    def _closed(self, sink: RowSink[Done]) -> Done:
        self._check_columns()
        self._end_if_stopped()
        return sink.close()

    def _check_columns(self) -> None:
        """After the rows were read and before they count: they are what the columns say only if these are still so."""
        with self.looking:
            self._end_if_stopped()  # rather than connect, one after the other
            try:
                self.look = self.look or connect(self.source, self.side)
                now = set(described(self.look, self.table))
            except SourceUnreachable:
                self.look = None
                raise
        lost = [column.name for column in self.table.stored.columns if description(column) not in now]
        if lost:
            raise SchemaDrift(
                f"was altered while its rows were read: {', '.join(lost)}",
                place=self.table.full_name,
                hint="Run the same command again: its rows are read again.",
            )

    async def _stream(self, reader: Any, chunk: Chunk, sink: RowSink[Done], large: bool) -> None:
        """A chunk has about ``chunk_rows``. One that has many more could not be cut, or the server sends rows forever:
        it is ``large``, and read again with its count known before, so that neither disk nor memory is filled with
        these.
        """
        with translated(self.table.full_name):  # in a transaction: what is counted is what the first SELECT saw
            most = UNCOUNTED * self.chunk_rows
            if large:
                [(most,)] = counted = await rows_of(reader, chunk_count(self.table, chunk, self.index))
            cursor = reader.cursor(SSCursor)
            reader.largest = LARGEST_ANSWER
            with understood(self.table.full_name):
                await cursor.execute(chunk_statement(self.table, chunk, self.index))
            last: list[Row] = []
            while rows := await self._next_rows(cursor):
                self._end_if_stopped()
                sink.write(rows)
                last = rows
                self.on_rows(len(rows))
                if sink.rows > most:
                    if not large:
                        raise _Large
                    all_there(self.table, chunk, sink.rows, counted)
                if sink.rows > self.chunk_rows:
                    await self._keep_pace(reader, min(len(rows), sink.rows - self.chunk_rows))
            if not await self._ends_with(reader, chunk, last):
                counted = await rows_of(reader, chunk_count(self.table, chunk, self.index))
                all_there(self.table, chunk, sink.rows, counted)
            await reader.query(NEXT)

    async def _ends_with(self, reader: Any, chunk: Chunk, rows: list[Row]) -> bool:
        """Whether the chunk, which is read in the order of its key, has nothing more than ``rows`` from their last key
        on. To count these few is all that it takes where no limit cut the chunk off; False does not prove that one did.
        """
        places = [self.table.index(name) for name in chunk.key]
        keys = (tuple(row[place] for place in places) for row in reversed(rows))
        last = next(keys, ())
        same = 1 + sum(1 for _ in itertools.takewhile(lambda key: key == last, keys))
        if not last or same >= len(rows):
            return False
        counted = await rows_of(reader, rest_count(self.table, chunk, self.index, last))
        return counted == [(same,)]

    async def _next_rows(self, cursor: Any) -> list[Row]:
        """Rows for one line; where rows may be long, few at a time, so that memory is bounded by bytes and not by
        rows.
        """
        if self.fetch_rows >= self.line_rows:
            return self.canonical(await self._fetched(cursor, self.line_rows))
        rows: list[Row] = []
        size = 0
        while len(rows) < self.line_rows and size < FETCH_BYTES:
            some = self.canonical(await self._fetched(cursor, self.fetch_rows))
            if not some:
                break
            rows += some
            size += sum(len(value) for row in some for value in row if isinstance(value, str | bytes))
        return rows

    async def _fetched(self, cursor: Any, rows: int) -> list[Row]:
        try:
            fetched: list[Row] = await cursor.fetchmany(rows)
        except UnicodeDecodeError:
            raise  # a text that is not valid in its character set
        except Exception as error:
            if (raised := garbled(error, self.table.full_name)) is error:
                raise
            raise raised from error
        return fetched

    async def _keep_pace(self, reader: Any, rows: int) -> None:
        """Wait as the cap demands within a chunk that could not be cut small (see ``_work`` for the others). The
        transport waits too: what it reads meanwhile would pile up in memory.
        """
        seconds = self.rate.wait_for(rows)
        transport = reader._transport
        if not seconds or transport is None:
            return
        transport.pause_reading()
        await asyncio.sleep(seconds)
        if not transport.is_closing():
            transport.resume_reading()


async def first_failure(work: list[asyncio.Task[None]], watchers: list[asyncio.Task[None]]) -> None:
    """Until all of ``work`` is done; what the first of it raises, or a watcher, is raised here."""
    waiting = {*work, *watchers}
    while not all(task.done() for task in work):
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in sorted(done, key=lambda task: isinstance(task.exception(), _Stopped)):
            task.result()


def _drop(readers: list[Any], number: int) -> None:
    if readers[number]:
        readers[number].close()
    readers[number] = None
