"""Capture: every change of the captured tables, from the source's binlog into the change log, until told to stop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from whimbrel.changelog.files import ChangeLogWriter
from whimbrel.errors import SourceUnreachable, StateError, WhimbrelError
from whimbrel.migration.history import History, Name
from whimbrel.migration.lineage import Lineage
from whimbrel.migration.progress import Progress
from whimbrel.migration.proofs import CapturedTables, Proofs
from whimbrel.mysql.altered import altered
from whimbrel.mysql.binlog.alterations import Alteration
from whimbrel.mysql.binlog.stream import BinlogStream
from whimbrel.mysql.connect import connect, server_info
from whimbrel.mysql.schema import hidden_columns
from whimbrel.project import Source
from whimbrel.records import Change, Commit, Idle, Position, Table
from whimbrel.threads import Thread

STOPS_WITHIN = 60.0  # seconds
SYNC_SECONDS = 0.02  # changes wait this long for others to share an fsync
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0

log = logging.getLogger(__name__)


class Capture:
    """Copies the binlog into the change log in ``folder``, beginning after the log's last transaction, or at ``start``.

    Rows are decoded with the columns that ``history`` has for their Position; an ALTER adds to it, and ends the capture
    if ``tables`` does not say how to handle it. A broken connection is reopened forever; any
    other error ends the capture: it calls ``on_failure`` and ``check`` raises it.
    """

    def __init__(
        self,
        source: Source,
        lineage: Lineage,
        history: History,
        tables: CapturedTables,
        folder: Path,
        start: Position,
        progress: Progress,
        on_failure: Callable[[], None],
    ) -> None:
        self._source = source
        self._lineage = lineage
        self._history = history
        self._tables = tables
        self._proofs = Proofs(source, tables)
        self._now: dict[Name, Table] = {}
        self._server = ""  # whose binlog is read
        self._file = ""  # the one that is known to the lineage
        self._folder = folder
        self._start = start
        self._progress = progress
        self._on_failure = on_failure
        self._stop = threading.Event()
        self._committed = threading.Event()
        self._stream: BinlogStream | None = None
        self._server_id = source.server_id or own_server_id()
        self._failure: WhimbrelError | None = None
        self._thread = Thread(self._run, "capture")

    def start(self) -> None:
        """Begin. Raises Locked or LogCorrupt here rather than in the thread when the log cannot be opened."""
        self._log = ChangeLogWriter(self._folder)
        self._note_captured()
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the capture, if something did."""
        if self._failure:
            raise self._failure

    def reconnect(self) -> None:
        """Leave the connection, from another thread: the next one goes to the server that answers now."""
        stream = self._stream
        if stream:
            stream.close()

    def stop(self) -> None:
        """Stop reading; everything up to the last whole transaction is durable on return."""
        self._stop.set()
        stream = self._stream
        if stream:
            stream.close()
        self._thread.join(STOPS_WITHIN)  # it may still be waiting for a lock on the source; it ends with us

    def _run(self) -> None:
        try:
            self._follow()
        except WhimbrelError as error:
            self._fail(error)
        except Exception as error:
            failure = WhimbrelError(f"capture broke: {error!r}", hint="This is a bug in whimbrel: please report it")
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, error: WhimbrelError) -> None:
        """First that others know: to log it may fail for the very same reason."""
        self._failure = error
        self._on_failure()
        log.error("capture ended", extra={"reason": str(error)}, exc_info=error.__cause__)

    def _follow(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            before = self._log.total
            try:
                self._read_once()
            except SourceUnreachable as error:
                if self._stop.is_set():
                    return
                self._progress.capture_idle = False
                self._progress.reconnects += 1
                pause = FIRST_PAUSE if self._log.total > before else min(pause * 2, LONGEST_PAUSE)
                log.warning("capture reconnects", extra={"reason": str(error), "pause": pause})
                self._stop.wait(pause)
            # The log is opened again after every connection: that cuts off a transaction which the break left
            # unfinished.
            if not self._stop.is_set():
                self._log = ChangeLogWriter(self._folder)

    def _read_once(self) -> None:
        """One connection's worth of changes, from the end of the log's last whole transaction."""
        writing = threading.Lock()  # the log has two users here: this thread appends, the other makes it durable
        done = threading.Event()
        syncer = Thread(partial(self._sync_often, writing, done), "capture-sync")
        with closing(self._log) as change_log, closing(connect(self._source)) as connection:
            captured = change_log.last.position if change_log.last else self._start
            info = server_info(connection)
            self._lineage.prove_logged(connection, info, self._history.at(captured).values())
            resume = self._lineage.take_up(connection, info, captured)
            self._server, self._file = info.server_uuid, resume.file
            self._now = self._history.at(resume)
            self._proofs.learn(connection, self._now)
            self._stream = BinlogStream(
                connection,
                resume,
                self._now,
                server_id=self._server_id,
                use_gtid=info.gtid and bool(resume.gtid),
                redefine=self._redefine,
                hidden=partial(hidden_columns, self._source),
                reprove=self._reprove,
            )
            syncer.start()
            try:
                # `stop` sets the flag, then closes the stream that it sees: it sees this one, or we see the flag.
                if self._stop.is_set():
                    return
                for piece in self._stream:
                    with writing:
                        self._keep(piece)
                    if self._stop.is_set():
                        return
            finally:
                done.set()
                self._committed.set()
                syncer.join()
                self._stream.close()

    def _redefine(self, name: Name, position: Position, sql: str, alteration: Alteration) -> Table:
        """The order matters: recorded before anything is decoded by it, and before the rule may refuse it: whoever
        edits the rule continues from here.
        """
        found = self._history.since(name, position)
        if found is None:
            found = altered(self._source, self._server, self._now[name], position, sql, alteration)
            self._history.add(position, found)
            log.info("table altered", extra={"table": found.table.full_name, "position": str(position)})
        self._now[name] = found.table
        self._tables.follow(found.table, found.replaced)
        return found.table

    def _reprove(self, name: Name, position: Position, sql: str, alteration: Alteration) -> None:
        self._proofs.prove(self._now[name], position, sql, alteration)

    def _keep(self, piece: list[Change] | Commit | Idle) -> None:
        if isinstance(piece, list):
            self._log.append(piece)
            self._progress.capturing += len(piece)
        elif isinstance(piece, Commit):
            self._commit(piece)
        else:
            # Nothing of ours happened up to here; without this record the applied Position would stand still.
            if self._log.last is None or piece.position.order > self._log.last.position.order:
                self._commit(Commit(piece.position, time.time()))
            self._progress.capture_idle, self._progress.heard = True, time.monotonic()
            return
        self._progress.capture_idle = False

    def _commit(self, commit: Commit) -> None:
        beginning = self._stream.beginning if self._stream else None
        if beginning and commit.position.file != self._file:
            self._lineage.enter(commit.position, beginning)
            self._file = commit.position.file
        self._log.commit(commit)
        self._note_captured()
        self._committed.set()

    def _note_captured(self) -> None:
        progress, last = self._progress, self._log.last
        progress.captured, progress.capturing = self._log.total, 0
        progress.captured_position = last.position if last else self._start
        progress.captured_time = last.timestamp if last else 0.0

    def _sync_often(self, writing: threading.Lock, done: threading.Event) -> None:
        """Make commits durable soon, many at a time: those that come during one fsync share the next."""
        while not done.is_set():
            self._committed.wait()
            self._committed.clear()
            with writing:
                try:
                    self._log.sync()
                except (StateError, MemoryError):
                    # End the connection: the log is opened again then, which raises what is still wrong.
                    if self._stream:
                        self._stream.close()
                    return
            done.wait(SYNC_SECONDS)


def own_server_id() -> int:
    """A replica id of our own, unlikely to be another's: two replicas with one id throw each other off the source."""
    return int.from_bytes(os.urandom(3), "big") + 0x40000000
