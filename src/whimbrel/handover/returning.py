"""From OPEN to RETURNED, or back: DynamoDB is closed, and the source gets what it lacks.

Whatever fails before the decision to return opens DynamoDB again: the reverse stream continues, and the way back stays.
"""

from __future__ import annotations

import logging
import time
from itertools import chain

from whimbrel.errors import HandoverError, RollbackUndone, Stopped, WhimbrelError
from whimbrel.handed_over import CLOSING, DECIDED, OPEN, RETURNED, Handover
from whimbrel.handover.cutting import Say, said
from whimbrel.handover.fence import Fence
from whimbrel.handover.forward import same_source, shorten_log
from whimbrel.handover.hooks import told
from whimbrel.handover.laps import Laps
from whimbrel.handover.reconcile import Reconciled
from whimbrel.handover.reversing import Reversing
from whimbrel.handover.state import Coordinator
from whimbrel.handover.switching import announce
from whimbrel.handover.watching import watch_fence
from whimbrel.handover.writing import LETTERS
from whimbrel.migration import late
from whimbrel.migration.dead import read_letters
from whimbrel.migration.past_fence import FenceWatch
from whimbrel.migration.past_fence_noted import LIST
from whimbrel.migration.positions import source_end
from whimbrel.migration.run import Run
from whimbrel.migration.waivers import Waivers, named, note_waived
from whimbrel.records import Position

CAUGHT_UP = 5.0  # seconds that the reverse stream may lag behind when DynamoDB is closed
CAUGHT_UP_WITHIN = 3_600.0  # seconds
DRAINED_WITHIN = 60.0  # seconds, after the leases have ended
REOPEN_PATIENCE = 30.0  # seconds for which DynamoDB is tried to be opened again, though asked to stop
LOOK_EVERY = 0.01

log = logging.getLogger(__name__)


class Returning:
    """Of one command that holds the run lock and coordinates."""

    def __init__(
        self, run: Run, coordinator: Coordinator, fence: Fence, say: Say, waivers: Waivers, *, unwatched: bool
    ) -> None:
        self._run = run
        self._coordinator = coordinator
        self._fence = fence
        self._say = say
        self._waivers = waivers
        self._unwatched = unwatched
        self._settings = run.prepared.project.cutover
        self._rows = 0  # that the reconciliation wrote
        self._deciding = False
        self.laps: Laps | None = None  # from the moment that applications were told to stop

    def give_back(self) -> int:
        """How many rows the reconciliation wrote. Raises RollbackUndone with the reason when DynamoDB was opened
        again, Stopped likewise; another HandoverError if that could not be done yet.
        """
        run, coordinator = self._run, self._coordinator
        try:
            refuse_no_way_back(coordinator.now)
            same_source(run, coordinator.now)
            with Reversing(run, coordinator.now) as reverse, watch_fence(run, coordinator, self._say) as watch:
                if coordinator.now.step != CLOSING:
                    run.progress.step = "following DynamoDB back, until little is left"
                    # Before anybody is told: what is left to drain and to compare is little.
                    self._catch_up(reverse)
                    reverse.compare_until_few()
                    self._catch_up(reverse)
                    self._refuse_written_past_fence(watch, source_end(run), CAUGHT_UP_WITHIN)
                    shorten_log(run)
                    # Without the place of an earlier return: see handover/source_gone.py.
                    coordinator.move(CLOSING, forward_from=None)
                self._close_and_drain(reverse, watch)
        except BaseException as error:
            if coordinator.now.step in (DECIDED, OPEN):
                raise  # nobody was told to stop
            decided = self._decided(error)
            if not decided:
                open_again(run, coordinator, self._say, because=str(error))
            if not isinstance(error, WhimbrelError):
                raise
            if not decided:
                raise said(_undone(error), self._say) from error
            log.warning("decided to return, though not all was answered", extra={"reason": repr(error)})
        return self._rows

    def _close_and_drain(self, reverse: Reversing, watch: FenceWatch) -> None:
        """The order matters: told to stop; no application goes by an older route, and no write of one is under way;
        the ends of all shards; everything before them in the source; and only then the items are read and compared.
        """
        self.laps = laps = Laps(time.monotonic(), self._run.progress)
        event = told("close", "none", self._coordinator.now, self._settings)
        announce(self._run.prepared.project, self._run.wire, event, self._run.stop, self._say)
        self._say("Applications are told to stop writing to DynamoDB.")
        laps.ended("tell")
        leases_end = time.monotonic() + self._settings.lease_seconds + self._settings.write_seconds
        reverse.compare_until(leases_end)  # fewer and fewer write
        self._wait(max(0.0, leases_end - time.monotonic()))
        laps.ended("wait")
        give_up = time.monotonic() + DRAINED_WITHIN
        while not reverse.at_end():
            self._wait(LOOK_EVERY)
            if time.monotonic() > give_up:
                raise HandoverError(
                    f"the reverse stream did not end within {DRAINED_WITHIN:g} seconds", place="rollback"
                )
            reverse.check()
        reverse.stop()
        laps.ended("drain")
        done = reverse.reconcile()
        laps.ended("reconcile")
        self._refuse_left_over(done)
        for report in reverse.verify(self._waivers):
            if not report.equal:
                words = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.counts.items()))
                raise HandoverError(f"source and target differ in {words}", place=report.target)
        laps.ended("verify")
        self._rows = done.written + done.deleted
        reverse.close()
        late.begin(self._run.folder.root, reverse.streams, reverse.ends)
        with self._fence.returning() as held:
            # Under the lock in which the fence goes: the migration continues from where the source is opened.
            position = self._run.lineage.end_of(held.session)
            self._refuse_written_past_fence(watch, position, DRAINED_WITHIN)
            self._note_waived(watch)
            self._deciding = True
            self._coordinator.move(RETURNED, held, forward_from=position)
        laps.ended("decide")

    def _decided(self, error: BaseException) -> bool:
        """Whether the decision to return stands, though ``error`` came: its answer may have been lost. Asked before
        anybody is told that DynamoDB is open again. Raises HandoverError if nobody can tell.
        """
        if not self._deciding:
            return False
        try:
            return self._coordinator.take_over().step == RETURNED
        except WhimbrelError as unknown:
            raise HandoverError(
                f"whether the source was given back is not known ({error}): {unknown}",
                place="rollback",
                hint="No side takes writes. `whimbrel rollback` continues, whichever it is.",
            ) from error

    def _catch_up(self, reverse: Reversing) -> None:
        give_up = time.monotonic() + CAUGHT_UP_WITHIN
        while (lag := reverse.lag_seconds) is None or lag > CAUGHT_UP:
            self._wait(LOOK_EVERY)
            reverse.check()
            if time.monotonic() > give_up:
                behind = "an unknown time" if lag is None else f"{lag:,.0f} seconds"
                raise HandoverError(f"the reverse stream is still behind by {behind}", place="rollback")

    def _refuse_left_over(self, done: Reconciled) -> None:
        if done.aside:
            raise HandoverError(
                f"{done.aside:,} rows stand in the way of others by a unique key of the source",
                place="rollback",
                hint="Only one row may have such a value. The rows are in whimbrel_reverse_rows: change their items, "
                "or the items that have the values now.",
            )
        path = self._run.folder.root / LETTERS
        left = named(self._waivers.left(read_letters(path)))
        if left.letters:
            raise HandoverError(
                f"{left.letters:,} items could not be written back to the source: {left}",
                place=str(path),
                hint="The file says why. To open the source without them: --waive-dead-letters with a copy of it.",
            )

    def _refuse_written_past_fence(self, watch: FenceWatch, position: Position, seconds: float) -> None:
        """Nobody but the reverse stream wrote to the source up to ``position``, or each change is waived by name."""
        watch.wait_until(position, seconds)
        left = named(self._waivers.left(watch.letters.letters()))
        if left.letters:
            raise HandoverError(
                f"{left.letters:,} changes at the source got past the fence: {left}",
                place=str(self._run.folder.root / LIST),
                hint="To return with the rows as they are: --waive-dead-letters with a copy of the file. Where a row "
                "is to be as its item says, write to the item at DynamoDB first.",
            )
        if (watch.ended or watch.more) and not self._unwatched:
            why = watch.ended or f"{watch.more:,} changes got past the fence and are not listed"
            raise HandoverError(
                f"nobody can tell what was written to the source past the fence: {why}",
                place="rollback",
                hint="To return all the same: --unwatched. Then run `whimbrel verify`.",
            )

    def _note_waived(self, watch: FenceWatch) -> None:
        letters = chain(read_letters(self._run.folder.root / LETTERS), watch.letters.letters())
        note_waived(self._run.folder.root, self._waivers.of(letters))

    def _wait(self, seconds: float) -> None:
        if self._run.stop.wait(seconds):
            raise Stopped("asked to stop before the decision to return")


def refuse_no_way_back(now: Handover) -> None:
    """Raises HandoverError: what was written at DynamoDB was recorded for nobody."""
    if not now.starts:
        raise HandoverError(
            "the cutover was made without a way back", place="rollback", hint="See reverse_user in docs/cutover.md."
        )


def open_again(run: Run, coordinator: Coordinator, say: Say, *, because: str = "") -> None:
    """CLOSING to OPEN. Not stopped half-way as long as there is hope: the application waits. Raises HandoverError."""
    try:
        project = run.prepared.project
        event = told("switch", "dynamodb", coordinator.now, project.cutover)
        announce(project, run.wire, event, run.stop, say, REOPEN_PATIENCE)
        coordinator.move(OPEN)
    except WhimbrelError as error:
        why = f"the rollback failed ({because}) and " if because else ""
        raise HandoverError(
            f"{why}DynamoDB could not be opened again yet: {error}",
            place="rollback",
            hint="No side takes writes. `whimbrel rollback` tries again, `whimbrel cutover` opens DynamoDB.",
        ) from error


def _undone(error: WhimbrelError) -> WhimbrelError:
    if isinstance(error, Stopped):
        return Stopped("stopped before the decision to return: DynamoDB is open again, and the way back stays")
    return RollbackUndone(
        f"{error.message}. So the rollback was undone: DynamoDB is open again, and the way back stays",
        place=error.place,
        hint=f"{error.hint} Until then `whimbrel cutover` follows DynamoDB back again.".strip(),
    )
