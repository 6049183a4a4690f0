"""Asks the source every few seconds whether what a migration rests on is still so: settings, privileges, tables,
identity, and that its binlog still has the place that was captured.

A connection that streams the binlog does not tell: a server whose binlog was reset sends nothing, which looks like a
source without changes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from whimbrel.errors import BEGIN_AGAIN, PositionLost, SourceUnreachable
from whimbrel.migration.lineage import Lineage
from whimbrel.migration.progress import Progress
from whimbrel.mysql.binlog.session import still_has
from whimbrel.mysql.connect import Mysql, clock, connect, server_info
from whimbrel.mysql.pace import at_work
from whimbrel.mysql.preflight import named_faults, table_faults
from whimbrel.project import Source
from whimbrel.records import Position, Table
from whimbrel.threads import Thread

ASK_SECONDS = 2.0
SAME_TIME = 2.0  # seconds between two clocks that count as one: the source says whole seconds, and takes a moment
SENT_WITHIN = 1.0  # seconds: what the source has by then must have come, if it says that there is nothing more

log = logging.getLogger(__name__)


class SourceWatch:
    """Beside a capture. A fault that it finds ends the run: it calls ``on_failure``, and ``check`` raises it. A source
    that cannot be reached is not a fault; but nobody calls the target caught up with it. When another server answers it
    calls ``on_moved``, for the capture to follow it or to say why it cannot.
    """

    def __init__(
        self,
        source: Source,
        lineage: Lineage,
        tables: Sequence[Table],
        progress: Progress,
        on_failure: Callable[[], None],
        on_moved: Callable[[], None],
        also: Callable[[Mysql], None] = lambda connection: None,
    ) -> None:
        """``also`` is asked each time, of the server that is followed."""
        self._source = source
        self._lineage = lineage
        self._tables = tables
        self._progress = progress
        self._on_failure = on_failure
        self._on_moved, self._also = on_moved, also
        self._asked = 0
        self._earlier: tuple[Position, float] | None = None  # where the source's binlog ended when it was last asked
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = Thread(self._run, "watch")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what it found, if it found something."""
        if self._failure:
            raise self._failure

    def ask(self) -> None:
        """Ask now. Raises what is wrong, SourceUnreachable too."""
        before = time.monotonic()
        with closing(connect(self._source)) as connection:
            self._ask(connection, self._tables)
        if self._progress.asked < before:
            raise SourceUnreachable(
                "another server took over as the run ended", place="source.url", hint="Run the same command again."
            )

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._ask_about_one()
            except SourceUnreachable as error:
                log.warning("the source cannot be asked", extra={"reason": str(error)})
            except Exception as error:  # whatever it is: nobody would watch any more
                self._failure = error
                self._on_failure()
                log.error("watch ended", extra={"reason": str(error)})
                return
            self._stop.wait(ASK_SECONDS)

    def _ask_about_one(self) -> None:
        """All tables at each time would be many questions; what is done to one is in the binlog as well. Each time by
        a connection of its own: one that is open keeps the privileges that it had.
        """
        one = [self._tables[self._asked % len(self._tables)]] if self._tables else []
        with closing(connect(self._source)) as connection:
            self._ask(connection, one)
        self._asked += 1

    def _ask(self, connection: Mysql, tables: Sequence[Table]) -> None:
        info = server_info(connection)
        if info.server_uuid != self._lineage.latest().server:
            self._on_moved()  # the capture may have a connection to the old one still; it proves the new one
            return
        self._lineage.prove_logged(connection, info, tables)
        for fault in named_faults(connection, []):
            raise fault.error
        if not self._still_has_what_was_captured(connection, use_gtid=info.gtid):
            return
        for fault in table_faults(connection, info, tables):
            raise fault.error
        self._also(connection)
        self._progress.source_threads, self._progress.source_queries = at_work(connection)
        ahead = clock(connection) - time.time()
        self._progress.source_ahead = ahead if abs(ahead) > SAME_TIME else 0.0
        self._progress.asked = time.monotonic()

    def _says_nothing_of_it(self, captured: Position) -> bool:
        """Whether the binlog had more when it was last asked, and has told the capture since that there is nothing
        new: so does one that was reset, and it may have grown beyond our place by the time it is asked.
        """
        if self._earlier is None:
            return False
        end, asked = self._earlier
        return self._progress.heard > asked + SENT_WITHIN and not captured.at_or_after(end)

    def _still_has_what_was_captured(self, connection: Mysql, *, use_gtid: bool) -> bool:
        """False before anything of the server is captured. Raises PositionLost."""
        captured = self._progress.captured_position  # first: the source's end may only be later
        if captured is None:
            return False
        end = self._lineage.end_of(connection)
        if end.epoch != captured.epoch:
            return False
        if not end.at_or_after(captured):
            raise PositionLost(
                f"the source's binlog ends at {end}, and {captured} was captured from it: it was reset",
                place="binlog of the source",
                hint=f"{BEGIN_AGAIN.capitalize()}.",
            )
        if self._says_nothing_of_it(captured):
            self._earlier = None
            self._on_moved()  # the next connection proves that it is the same log
            return False
        self._earlier = end, time.monotonic()
        still_has(connection, captured, use_gtid=use_gtid and bool(captured.gtid))
        return True
