"""Settle: what became of the dead letters of the load, once the log has been applied past the snapshot.

The snapshot reads each row at its own time, so a row that was deleted and inserted again between two chunks is in both
of them, and looks like two rows for one place. The log tells what really happened, but not to the item that was loaded
without the row. So when everything that the source had after the load is applied, those rows are read again, as
`retry-dead` does it: between two batches of the applier. A letter goes when its item is written from the rows as they
are, or when no row is left; a row that still cannot be mapped is confirmed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from whimbrel.errors import PrivilegeError, SchemaDrift, SourceUnreachable
from whimbrel.migration.dead import CONFIRMED, LOAD
from whimbrel.migration.positions import reached, source_end
from whimbrel.migration.retry import retry
from whimbrel.migration.run import Run
from whimbrel.records import Position

AGAIN_SECONDS = 300.0  # after the source did not let us read

log = logging.getLogger(__name__)


class Settling:
    """Of one ``follow``: due when the applier has reached a Position that the source had after the load.

    Where this process does not capture, the log may never reach it; then it is due at the log's end, which is as sound:
    what is applied later ends in the state that the rows had, or in a newer one.
    """

    def __init__(self, run: Run, quiet: Callable[[], None]) -> None:
        """``quiet`` waits until nothing that was read from the log is still on its way to the target."""
        self._run = run
        self._quiet = quiet
        self._end: Position | None = None
        self._not_before = 0.0

    @property
    def pending(self) -> bool:
        """Whether there are letters to settle that may be settled now or soon."""
        return self._run.dead.of(LOAD) and not self._not_before

    def step(self) -> None:
        """Settle the letters if they are due. Must be called between two batches, by who applies them."""
        if not self._run.dead.of(LOAD) or time.monotonic() < self._not_before:
            return
        try:
            self._end = self._end or source_end(self._run)
            if not self._is_due(self._end):
                return
            self._quiet()
            done = retry(self._run, CONFIRMED, only=LOAD)
        except (SourceUnreachable, PrivilegeError, SchemaDrift) as error:  # the letters stay as they are
            self._not_before = time.monotonic() + AGAIN_SECONDS
            log.warning("dead letters of the load not settled", extra={"reason": str(error)})
            return
        self._run.progress.dead = len(self._run.dead)
        log.info("dead letters of the load settled", extra={"items": done.written, "confirmed": done.left})

    def _is_due(self, end: Position) -> bool:
        progress = self._run.progress
        return reached(progress.applied_position, end) or (progress.log_drained and not self._run.captures)
