"""The reverse stream of one command, in a thread beside it, and the end that a rollback waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import closing
from functools import cached_property
from types import TracebackType

from whimbrel.errors import Stopped, WhimbrelError
from whimbrel.handed_over import Handover
from whimbrel.handover.early import Early
from whimbrel.handover.look import Site
from whimbrel.handover.reconcile import Reconciled, reconcile, verify_back
from whimbrel.handover.reverse import Reverse, note_ended, settings_of
from whimbrel.handover.streams import Markers, marker, refuse_other_streams, starts_of
from whimbrel.migration.differences import TableReport
from whimbrel.migration.run import Run
from whimbrel.migration.waivers import Waivers
from whimbrel.mysql.connect import connect
from whimbrel.mysql.reverse_tables import close_gate, reopen_gate
from whimbrel.threads import Thread


class Reversing:
    """Runs while it is entered. What ended it is raised by ``check``, and when it is left."""

    def __init__(self, run: Run, now: Handover) -> None:
        self._run, self._epoch = run, now.fence_epoch
        self._over = threading.Event()
        self._account = settings_of(run.prepared).account
        with closing(connect(self._account)) as connection:
            # A return that did not come to pass may have closed it.
            reopen_gate(connection, self._account.database, self._epoch)
        starts = starts_of(now)
        try:
            refuse_other_streams(run, now.streams)
            self._reverse = Reverse(run.prepared, self._epoch, starts, self._over)
        except WhimbrelError as error:
            note_ended(run.folder.root, error)
            raise
        self._put_markers = marker(run, self._reverse.streams)
        self._markers: Markers = {}
        self._unmarked = True
        self._failure: BaseException | None = None
        self._thread = Thread(self._follow, "reverse")

    def __enter__(self) -> Reversing:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise what ended the stream, if something did."""
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """End it; every place is durable on return. Raises what ended it before."""
        self._over.set()
        self._thread.join()
        self.check()

    @property
    def streams(self) -> Mapping[str, str]:
        """By target table, the stream that is read."""
        return self._reverse.streams

    @property
    def ends(self) -> Markers:
        """The end markers, once ``at_end``: what is behind them was written when nobody should have."""
        return self._markers

    @property
    def lag_seconds(self) -> float:
        return self._reverse.lag_seconds

    def at_end(self) -> bool:
        """Whether all that was acknowledged at DynamoDB before the first call is in the source. Puts markers, and new
        ones where a shard came since. Rows may be aside: whether they are in somebody's way, ``reconcile`` tells.
        """
        if self._unmarked:
            self._mark()
        end = self._reverse.at_end(self._markers)
        self._unmarked = bool(end.unmarked)
        return end.read

    @cached_property
    def _site(self) -> Site:
        """Only a rollback compares, so who only follows does not ask the source for its tables again."""
        return Site(self._run.prepared, self._epoch, self._run.wire, self._run.stop)

    @cached_property
    def _early(self) -> Early:
        return Early(self._site, self._reverse.letters.has)

    def compare_until_few(self) -> None:
        """While applications write. See ``handover.early``."""
        progress = self._run.progress

        def tell(done: int, of: int) -> None:
            progress.step = f"comparing what was written with the rows: {done:,} of {of:,} items"

        self._early.until_few(tell)

    def compare_until(self, give_up: float) -> None:
        """Until ``give_up``, by time.monotonic(), about."""
        self._early.until(lambda: time.monotonic() > give_up)

    def reconcile(self) -> Reconciled:
        """See ``handover.reconcile``; the stream must have been stopped at its end."""
        return reconcile(self._site)

    def verify(self, waivers: Waivers) -> list[TableReport]:
        return verify_back(self._site, waivers=waivers)

    def close(self) -> None:
        """Nobody writes to the source as the reverse stream's account from here on, not even a process that slept."""
        with closing(connect(self._account)) as connection:
            close_gate(connection, self._account.database, self._epoch)

    def _mark(self) -> None:
        """Markers are durable at DynamoDB, and seen in the stream, before the shards are listed."""
        self._markers = self._put_markers()

    def _follow(self) -> None:
        try:
            self._reverse.follow()
        except BaseException as error:
            self._failure = error
            if isinstance(error, WhimbrelError) and not isinstance(error, Stopped):
                note_ended(self._run.folder.root, error)
