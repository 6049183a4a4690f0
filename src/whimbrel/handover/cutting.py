"""From FOLLOWING to DECIDED, or back: what may still be undone. Steps and order are those of spec/cutover.pml.

Whatever fails before the decision undoes everything: first the fence, then what says that there is one. The undo may
itself be cut off; it is repeated by the next command, whichever it is. The decision is made by the session that has the
tables locked, so nobody can have written to them, or changed them, since they were last looked at.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress

from whimbrel.changelog.files import LogPoint
from whimbrel.dynamodb.streams import is_marker
from whimbrel.errors import CutoverUndone, FenceBroken, HandoverError, Stopped, WhimbrelError
from whimbrel.handed_over import CUTTING, DECIDED, FOLLOWING
from whimbrel.handover.expected import EXPECTED_RATE, little_left, quick_drain
from whimbrel.handover.fence import Closed, Fence, elapsed
from whimbrel.handover.forward import late_changes
from whimbrel.handover.hooks import Told, run_command, told
from whimbrel.handover.laps import Laps
from whimbrel.handover.route import write_routes
from whimbrel.handover.state import Coordinator
from whimbrel.handover.streams import marker, turn_on
from whimbrel.migration.dead import read_letters
from whimbrel.migration.dirty import Dirty
from whimbrel.migration.follow import Follower
from whimbrel.migration.foreign import StreamWatch
from whimbrel.migration.positions import reached
from whimbrel.migration.run import Run
from whimbrel.migration.verified import read_verified
from whimbrel.migration.verify import dirty_items, verify_keys
from whimbrel.migration.waivers import Waivers, named, note_waived
from whimbrel.mysql.barrier import PATIENCE
from whimbrel.mysql.connect import connect
from whimbrel.project import Cutover, Project
from whimbrel.project.cutover import COMMAND, REVOKE
from whimbrel.records import Position
from whimbrel.threads import Beside, Timer

LOOK_EVERY = 0.002  # seconds, while nobody can write
CAUGHT_UP_WITHIN = 600.0  # seconds
GOOD_MOMENT_WITHIN = 30.0  # seconds
RESUME_TRIES = 5
SETTLED_WITHIN = 10.0  # seconds
ROUNDS = 5  # of verification, before writes are closed
DAY = 86_400.0

log = logging.getLogger(__name__)
Say = Callable[[str], None]


class Cutting:
    """Of one command that holds the run lock and coordinates."""

    def __init__(self, run: Run, coordinator: Coordinator, fence: Fence, say: Say, waivers: Waivers) -> None:
        self._run = run
        self._coordinator = coordinator
        self._fence = fence
        self._say = say
        self._waivers = waivers
        self._settings = run.prepared.project.cutover
        self._before: LogPoint | None = None
        self._laps: Laps | None = None
        self._starts: dict[str, dict[str, str]] = {}
        self._streams: dict[str, str] = {}
        self._unwatched: set[str] = set()  # targets of which this was said

    def cut(self) -> Laps:
        """FOLLOWING to DECIDED. Raises CutoverUndone when it was undone, with the reason; Stopped likewise; another
        HandoverError if it could not be undone yet.
        """
        now = self._coordinator.now
        self._coordinator.move(
            CUTTING,
            tables=tuple(self._coordinator.tables),
            fence=self._settings.fence,
            fence_epoch=now.epoch,
            exempt=self._settings.reverse_user,
            server=self._run.prepared.server.server_uuid,
            end=None,
            closed_at=None,
            asked_ms=None,
            stall_ms=None,
            stall_parts={},
        )
        following = ExitStack()
        try:
            return self._cut(following)
        except BaseException as error:
            try:
                undid = undo(self._run.prepared.project, self._coordinator, because=error)
            except BaseException:
                self._ended(following, error)
                raise
            if not undid and self._laps:
                log.warning("decided, though the answer was lost", extra={"reason": repr(error)})
                return self._laps  # the forward migration had ended before
            first = self._ended(following, error)
            if not isinstance(first, WhimbrelError):
                raise  # as it is: an error that is its own cause has no end
            raise said(undone(first), self._say) from error

    def _cut(self, following: ExitStack) -> Laps:
        run = self._run
        # As it is: so that what cannot be written is found out before anything is closed.
        write_routes(run.prepared.project, run.wire, self._told("route", "mysql"), run.stop)
        if self._settings.reverse_user:
            self._streams = turn_on(run, self._coordinator)
        run.start_capture()
        following.enter_context(Follower(run))
        run.progress.step = "catching up with the source"
        self._catch_up()
        run.progress.step = "verifying what was written since the last verification"
        self._verify_until_little_is_left()
        put_markers = marker(run, self._streams) if self._settings.reverse_user else None
        run.progress.step = "waiting for a quick moment"
        self._wait_for_a_good_moment()
        self._before = run.checkpoints.now.applied  # nobody closed anything yet: no late change lies before it
        run.progress.step = "closing the source for writes"
        self._pause()
        # Who was paused, or is refused before there is a lock, waits for all of this.
        waits = self._settings.before or self._settings.fence in (REVOKE, COMMAND)
        patience = self._settings.max_stall if waits else PATIENCE
        closed = self._fence.close(run.lineage.end_of, patience)
        self._laps = laps = Laps(closed.granted, run.progress)
        laps.ended("close")
        self._say(f"Writes are closed at {closed.end}.")
        deadline = closed.granted + self._settings.max_stall
        self._drain(closed.end, deadline)
        laps.ended("drain")
        # After the last write of ours is acknowledged, and before the decision: the way back begins there.
        marking = Beside(put_markers, "markers") if put_markers else None
        try:
            self._verify(dirty_items(run.prepared), closed.end, deadline)
        except BaseException:
            run.stop.set()
            if marking:
                marking.join(1.0)  # so that it deletes its last marker; but what is closed is not to wait for it
            raise
        self._starts = marking.result() if marking else {}
        laps.ended("verify")
        self._decide(closed, deadline, following)
        laps.ended("decide")
        return laps

    def _decide(self, closed: Closed, deadline: float, following: ExitStack) -> None:
        with self._fence.sealed(closed, deadline - time.monotonic()) as held:
            end = self._run.lineage.end_of(held.session)
            self._drain(end, deadline)
            # The forward migration ends here, and does not pause: what the reverse stream writes must not come back.
            following.close()
            self._refuse_late_changes(closed.end)  # nothing that comes from now on is applied any more
            self._refuse_dead_letters()
            self._within(deadline)
            closed_at = time.time() - elapsed(closed.granted)
            self._coordinator.move(
                DECIDED,
                held,
                end=end,
                starts=self._starts,
                streams=self._streams,
                closed_at=closed_at,
                asked_ms=closed.asked_ms,
            )
        # Only now the lock is gone: the decision is in the rows and in the file.

    def _catch_up(self) -> None:
        """Close behind: what is left to drain while nobody can write is little."""
        give_up = time.monotonic() + CAUGHT_UP_WITHIN
        while not self._close_behind():
            self._look(0.02)
            if time.monotonic() > give_up:
                raise HandoverError(
                    f"the target did not catch up within {CAUGHT_UP_WITHIN:g} seconds (max_lag = "
                    f"{self._settings.max_lag:g})",
                    hint="See `whimbrel status`; a higher max_write_units, or a quieter hour.",
                )

    def _wait_for_a_good_moment(self) -> None:
        """The drain is rehearsed while everybody writes: changes come to the target in batches, and catching up leaves
        some behind for a while. If it is not soon quick, it is as long as ``max_stall`` allows.
        """
        give_up = time.monotonic() + GOOD_MOMENT_WITHIN
        with closing(connect(self._run.prepared.project.source)) as connection:
            while time.monotonic() < give_up:
                end, asked = self._run.lineage.end_of(connection), time.monotonic()
                while not reached(self._applied(), end) and time.monotonic() < give_up:
                    self._look(LOOK_EVERY)
                if elapsed(asked) <= quick_drain(self._run.prepared.project):
                    return

    def _close_behind(self) -> bool:
        lag = self._run.progress.lag_seconds
        return lag is not None and lag <= self._settings.max_lag

    def _drain(self, end: Position, deadline: float) -> None:
        """The order matters: what is applied first, and then whether a function may still write it."""
        while not (reached(self._applied(), end) and self._run.progress.quiet):
            self._look(LOOK_EVERY)
            self._within(deadline)

    def _verify_until_little_is_left(self) -> None:
        """What is left to verify while nobody can write is what was written during the last round. None is needed where
        it is little anyway: items that change all the time are never equal for long while they do.
        """
        rate = EXPECTED_RATE
        verified = read_verified(self._run.folder.root)
        watch = StreamWatch(self._run.prepared.project, verified, self._run.stop, is_marker) if verified else None
        for _ in range(ROUNDS):
            left = self._refuse_strangers(watch)
            if not left.everything and len(left) <= little_left(rate, self._settings.max_stall):
                return
            began, items = time.monotonic(), self._verify(left, None)
            rate = items / max(elapsed(began), 0.001)

    def _refuse_strangers(self, watch: StreamWatch | None) -> Dirty:
        """What is left to verify, and nobody else wrote any other item, as far as the target's streams show it. The
        order matters: what is ours in a stream was noted before it was sent.
        """
        dirty = self._run.dirty
        assert dirty is not None, "it is kept from the load on"
        dirty.cut()
        give_up = time.monotonic() + SETTLED_WITHIN
        while not dirty.settled and time.monotonic() < give_up:  # only so that there is less to verify
            self._look(LOOK_EVERY)
        if watch:
            watch.read(dirty)
        left = dirty_items(self._run.prepared)
        for each in watch.strangers(left) if watch else ():
            if each.unknown and each.target not in self._unwatched:
                self._unwatched.add(each.target)
                self._say(
                    f"{each.target}: writes of others since the last verification were not looked for: {each.unknown}."
                )
            if each.count and not each.unknown:
                raise HandoverError(
                    f"somebody else wrote {each.count:,} of its items since the last verification, such as "
                    f"{each.keys[0].decode()}",
                    place=each.target,
                    hint="Find out who writes to the table and end that; then run `whimbrel verify`, and start again.",
                )
        return left

    def _verify(self, dirty: Dirty, end: Position | None, deadline: float = 0.0) -> int:
        """Both sides hold the same, as far as it is not known already; how many items were looked at. With ``end``
        nobody can write after that Position, and it must be done at ``deadline``.
        """
        run, ended = self._run, threading.Event()
        if dirty.everything:
            raise HandoverError(dirty.everything, place="verification", hint="Run `whimbrel verify`, then start again.")
        limit = Timer(deadline - time.monotonic() if end else DAY, ended.set)
        limit.start()
        try:
            reports = verify_keys(
                run.prepared, dirty, run.wire, self._applied, ended, run.progress, self._waivers, still=end
            )
        except Stopped:
            self._look(0.0)  # by whoever asked for it, or else by the limit
            self._within(deadline)
            raise
        finally:
            limit.cancel()
            limit.join()
        self._look(0.0)
        if end:
            self._within(deadline)
        allowed: set[str] = set() if end else {"unsettled"}  # what changes while it is looked at is looked at again
        if differ := [report for report in reports if not report.counts.keys() <= allowed]:
            count = sum(sum(report.counts.values()) for report in differ)
            raise HandoverError(
                f"source and target differ in {count:,} items", place=differ[0].target, hint="Run `whimbrel verify`."
            )
        return len(dirty)

    def _applied(self) -> Position | None:
        return self._run.progress.applied_position

    def _refuse_late_changes(self, end: Position) -> None:
        late = sum(1 for _ in late_changes(self._run, self._before, end))
        if late:
            raise FenceBroken(
                f"{late:,} changes were written after writes were closed at {end}",
                place="fence",
                hint="Find out who writes past triggers (TRUNCATE, cascades, replication), then start again.",
            )

    def _refuse_dead_letters(self) -> None:
        """Each is waived by name, or none is there; those that came since the plan, too."""
        left = named(self._waivers.left(read_letters(self._run.folder.dead)))
        if left.letters:
            raise HandoverError(
                f"{left.letters:,} dead letters that nobody has waived: {left}",
                place=str(self._run.folder.dead),
                hint="Correct the rows, and `whimbrel retry-dead`; or see --waive-dead-letters.",
            )
        note_waived(self._run.folder.root, self._waivers.of(read_letters(self._run.folder.dead)))

    def _pause(self) -> None:
        if self._settings.before:
            run_command(self._settings.before, self._told("pause", "none"))

    def _told(self, event: str, side: str) -> Told:
        return told(event, side, self._coordinator.now, self._settings)

    def _within(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise HandoverError(
                f"writes would have been closed for longer than max_stall = {self._settings.max_stall:g} seconds",
                place="cutover.max_stall",
                hint="Try in a quieter hour, or allow more.",
            )

    def _look(self, seconds: float) -> None:
        """Wait a moment, unless what everything depends on has failed."""
        self._run.check_capture()
        if self._run.stop.wait(seconds):
            raise Stopped("asked to stop before the decision")

    def _ended(self, following: ExitStack, error: BaseException) -> BaseException:
        """What failed first: a capture or an applier that ended stops all the others."""
        self._run.stop.set()
        try:
            following.close()
            self._run.check_capture()
        except WhimbrelError as first:
            if not isinstance(first, Stopped):
                return first
        return error


def undo(project: Project, coordinator: Coordinator, *, because: BaseException | None = None) -> bool:
    """CUTTING to FOLLOWING; False if it turns out to be decided already, which nothing undoes. Nobody can tell it to
    stop half-way.

    The order matters: take over, so that no decision comes any more; the fence; the application's writers; the state.
    Raises HandoverError when it cannot be done now: the next command repeats it.
    """
    settings = project.cutover
    try:
        if coordinator.take_over().step != CUTTING:
            return False
        Fence(project, coordinator, _patiently, settings.max_stall).open()
        if settings.before:
            _resume(settings, told("resume", "mysql", coordinator.now, settings))
        coordinator.move(FOLLOWING)
    except WhimbrelError as error:
        why = f"the cutover failed ({because}) and " if because else ""
        raise HandoverError(
            f"{why}it could not be undone yet: {error}",
            place="cutover",
            hint="Writes to the tables may still be refused. `whimbrel cutover` and `whimbrel migrate` both undo it.",
        ) from error
    return True


def undone(error: WhimbrelError) -> WhimbrelError:
    """What a command that was undone ends with."""
    if isinstance(error, Stopped):
        return Stopped("stopped before the decision, and undone: the application continues at the source")
    return CutoverUndone(
        f"{error.message.rstrip('.')}. So the cutover was undone: the application continues at the source",
        place=error.place,
        hint=f"{error.hint} `whimbrel migrate` follows the source again.".strip(),
    )


def said(ending: WhimbrelError, say: Say) -> WhimbrelError:
    """``ending``. Who stops a command sees its exit code alone, and no error: so it is told here where things stand."""
    if isinstance(ending, Stopped):
        say(f"{ending.message[0].upper()}{ending.message[1:]}.")
    return ending


def _patiently(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _resume(settings: Cutover, event: Told) -> None:
    for attempt in range(1, RESUME_TRIES):
        with suppress(HandoverError):
            run_command(settings.before, event)
            return
        time.sleep(0.1 * 2**attempt)
    run_command(settings.before, event)
