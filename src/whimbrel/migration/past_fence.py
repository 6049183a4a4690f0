"""Writes to the source's fenced tables by anybody but the reverse stream, from the end of the cutover on.

A fence may be removed by hand, or have been only a command; TRUNCATE, a foreign key's cascade and a replication thread
get past triggers. So the binlog is read from the last Position on, and each such change is noted with its row, as a
dead letter in ``past-fence.jsonl`` of the state folder, before the place that was read to.

Ours are told apart exactly: each transaction of the reverse stream has a row event of its own tables, its places, which
nobody else writes. Whatever changes a fenced table without one is somebody else's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from types import TracebackType

from whimbrel.errors import HandoverError, SourceUnreachable, StateError, Stopped, UnsupportedSource, WhimbrelError
from whimbrel.handed_over import Handover
from whimbrel.mapping.family import rules_by_table
from whimbrel.migration.capture import own_server_id
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.past_fence_noted import LIST, ReadPastFence, read_noted, save_noted
from whimbrel.migration.run import Run
from whimbrel.mysql.binlog.alterations import Alteration
from whimbrel.mysql.binlog.statements import Statement
from whimbrel.mysql.binlog.stream import BinlogStream
from whimbrel.mysql.connect import Mysql, connect, server_info
from whimbrel.mysql.reverse_tables import PLACES, ROWS
from whimbrel.mysql.schema import hidden_columns, read_table
from whimbrel.records import Change, Commit, Fault, Idle, Position, Table
from whimbrel.threads import Thread

PHASE = "past-fence"
MOST = 10_000  # changes that are named; what comes then is counted
MOST_AT_ONCE = 1_000  # of one transaction
SAVED_EVERY = 2.0  # seconds
FENCE_EVERY = 30.0  # seconds between looks at the fence itself
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
Name = tuple[str, str]

log = logging.getLogger(__name__)


class FenceWatch:
    """Of one process that holds the run lock, after the decision. A thread reads while it is entered; what goes wrong
    with it is told and noted, and ends nothing else. To be made when the reverse stream's tables are there.
    """

    def __init__(
        self, run: Run, now: Handover, schema: str, faults: Callable[[], list[str]], say: Callable[[str], object]
    ) -> None:
        """``schema`` has the reverse stream's tables. ``faults`` looks at the fence."""
        assert now.end, "it was decided"
        self._run, self._now, self._schema, self._faults, self._say = run, now, schema, faults, say
        self._root, self._source = run.folder.root, run.prepared.project.source
        read = read_noted(self._root)
        if read is None or read.epoch != now.fence_epoch:
            (self._root / LIST).unlink(missing_ok=True)  # of an earlier cutover: its rollback has taken it over
            read = ReadPastFence(now.fence_epoch, now.end)
            save_noted(self._root, read)
        self._read = read
        self.letters = DeadLetters(self._root / LIST)
        self._marks: set[Name] = set()
        self._changes: list[Change] = []  # of the transaction that is being read
        self._beyond, self._ours = 0, False
        self._saved = self._looked = -FENCE_EVERY
        self._over = threading.Event()
        self._stream: BinlogStream | None = None
        self._thread = Thread(self._follow, "past-fence")

    def __enter__(self) -> FenceWatch:
        if not self._read.ended:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if stream := self._stream:
            stream.close()
        self._thread.join()

    @property
    def ended(self) -> str:
        """Why nobody can say what others wrote, "" if somebody can."""
        return self._read.ended

    @property
    def more(self) -> int:
        return self._read.more

    def wait_until(self, position: Position, seconds: float) -> None:
        """Everything up to ``position`` was looked at on return, or nobody can: see ``ended``. Raises HandoverError
        when it takes longer, Stopped.
        """
        give_up = time.monotonic() + seconds
        while not (self._read.ended or self._read.position.at_or_after(position)):
            if self._run.stop.wait(0.005):
                raise Stopped("asked to stop before it was known what others wrote to the source")
            if time.monotonic() > give_up:
                raise HandoverError(
                    f"the source's binlog was read to {self._read.position} within {seconds:g} seconds, not {position}",
                    place="past the fence",
                )

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while not (self._over.is_set() or self._read.ended):
            before = self._read.position
            try:
                self._read_once()
            except SourceUnreachable as error:
                log.warning("what is written past the fence cannot be read now", extra={"reason": str(error)})
                pause = _FIRST_PAUSE if self._read.position != before else min(2 * pause, _LONGEST_PAUSE)
                self._over.wait(pause)
            except WhimbrelError as error:
                self._end(str(error))
            except Exception as error:
                log.exception("the watch of the fence broke")
                self._end(f"{error!r} (please report this)")

    def _read_once(self) -> None:
        with closing(connect(self._source)) as connection:
            info = server_info(connection)
            if info.server_uuid != self._now.server:
                raise HandoverError(f"another server answers ({info.server_uuid})", place="source")
            position, tables = self._read.position, self._tables(connection)
            self._begin_transaction()
            self._stream = BinlogStream(
                connection,
                position,
                tables,
                server_id=self._source.server_id or own_server_id(),
                use_gtid=info.gtid and bool(position.gtid),
                redefine=self._redefine,
                hidden=partial(hidden_columns, self._source),
                gone=self._gone,
            )
            try:
                for piece in () if self._over.is_set() else self._stream:
                    self._take(piece)
                    if self._over.is_set():
                        return
            finally:
                self._stream.close()
                save_noted(self._root, self._read)

    def _tables(self, connection: Mysql) -> dict[Name, Table]:
        """The fenced ones, and those of the reverse stream by whose rows its transactions are known."""
        tables: dict[Name, Table] = dict(self._run.prepared.tables)
        for name in (PLACES, ROWS):
            with suppress(UnsupportedSource):  # there is no reverse stream
                tables[self._schema, name] = read_table(connection, self._schema, name)
                self._marks.add((self._schema, name))
        return tables

    def _take(self, piece: list[Change] | Commit | Idle) -> None:
        if isinstance(piece, list):
            for change in piece:
                if (change.table.schema, change.table.name) in self._marks:
                    self._ours = True
                elif len(self._changes) < MOST_AT_ONCE:
                    self._changes.append(change)
                else:
                    self._beyond += 1
            return
        if self._changes and not self._ours:
            self._note([each for change in self._changes for each in faults_of(change, self._run)], self._beyond)
        self._begin_transaction()
        self._read = replace(self._read, position=piece.position)
        now = time.monotonic()
        if now - self._looked > FENCE_EVERY:
            self._looked = now
            self._look_at_fence()
        if now - self._saved > SAVED_EVERY:
            self._saved = now
            save_noted(self._root, self._read)

    def _begin_transaction(self) -> None:
        self._changes, self._beyond, self._ours = [], 0, False

    def _note(self, faults: list[Fault], beyond: int = 0) -> None:
        """Durable before the place passes them; each once, though it may be read again."""
        room = max(0, MOST - len(self.letters))
        new = self.letters.add(faults[:room], PHASE)
        self._read = replace(self._read, more=self._read.more + beyond + len(faults[room:]))
        if new or beyond:
            keys = f" {faults[0].source_key}" if faults[0].source_key else ""
            self._say(f"{new + beyond:,} changes of {faults[0].table}{keys} got past the fence: see {LIST}.")

    def _gone(self, statement: Statement, sql: str, place: str) -> None:
        """Of one table or several, which the statement alone names."""
        named_ones = [name for name in (*self._run.prepared.tables, *self._marks) if name[1].lower() in sql.lower()]
        for name in named_ones or [("", "source")]:
            self._note_statement(name, sql)

    def _redefine(self, name: Name, position: Position, sql: str, alteration: Alteration) -> Table:
        """As it is now: it is read to name rows, and by nothing that depends on their other columns."""
        self._note_statement(name, sql)
        with closing(connect(self._source)) as connection:
            return read_table(connection, *name)

    def _note_statement(self, name: Name, sql: str) -> None:
        if name not in self._marks:
            reason = f"past the fence, after {self._read.position}: {' '.join(sql.split())[:200]}"
            self._note([Fault(".".join(name).lstrip("."), reason, {}, None, None)])

    def _look_at_fence(self) -> None:
        with suppress(WhimbrelError):  # another time
            faults = tuple(self._faults())
            if faults != self._read.faults:
                self._read = replace(self._read, faults=faults)
                save_noted(self._root, self._read)
                if faults:
                    self._say(f"The fence is not as it was made: {'; '.join(faults)}.")

    def _end(self, why: str) -> None:
        self._read = replace(self._read, ended=why)
        with suppress(StateError):
            save_noted(self._root, self._read)
        self._say(f"What is written past the fence cannot be told any more: {why}")


def faults_of(change: Change, run: Run) -> list[Fault]:
    """Letters that ``retry-dead`` can make good, one of each rule of the table: it reads the rows of both images from
    the source.
    """
    how = "inserted" if change.before is None else "deleted" if change.after is None else "changed"
    row = change.after if change.after is not None else change.before
    assert row is not None, "a change has an image"
    table = change.table
    key = {name: row[table.index(name)] for name in table.primary_key}
    reason, mappings = f"{how} at the source, past the fence", run.prepared.mappings
    rules = rules_by_table(run.prepared.versions)[table.full_name]
    return [Fault(rule, reason, key, mappings[rule].item_key(mappings[rule].unjoined(row)), change) for rule in rules]
