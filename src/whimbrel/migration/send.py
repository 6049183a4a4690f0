"""Send: the change log goes to a stream, and a function applies it. The sender follows how far that is.

The order that makes it right (docs/kinesis.md):

1. What the function works by (settings, tables) is kept before a record names it, and so is a change that no record
   takes, in a bucket.
2. Records of a lane are put one after the other. A record says after which change of the log its lane continues, so
   the function notices what is missing, and what it has already. Before, their items' keys are among the dirty ones.
3. After a marker was acknowledged in every lane, where the sender continues is saved (``sent.json``).
4. The Checkpoint moves to what all lanes have, after the dead letters of the function are durable here. A lane that
   has passed its last change has everything, so no marker is needed to know it. Only what the Checkpoint has passed is
   deleted from the log. So whatever the stream loses can be sent again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.changelog.files import ChangeLogReader, LogPoint
from whimbrel.changelog.segments import read_mark
from whimbrel.durable import replace_file, sealed_json, sealed_lines, writing
from whimbrel.errors import StateError, Stopped, TargetError
from whimbrel.kinesis.control import ControlTable, LaneState
from whimbrel.kinesis.lanes import LANES
from whimbrel.kinesis.packed import Interval, KeptLine
from whimbrel.kinesis.puts import StreamWriter
from whimbrel.mapping.versions import Versions
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.pack import Packer
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import TOTALS_DIFFER, CheckpointStore, with_held
from whimbrel.records import Commit, Position

# Move the lanes past what Lambda gave up, of these that miss something; whether any was moved.
PassOver = Callable[[Mapping[int, LaneState]], bool]

HELD = "held by the function"  # counters: of those in "held"
UNANSWERED = "unanswered calls of the function"  # invocations that had some
BATCH = 10_000  # entries of the log at once
MARK_SECONDS = 1.0  # between markers, at least
MARK_RECORDS = 10 * LANES  # between markers: a tenth of the records are markers, at most,
REST_SECONDS = 30.0  # or that long a time between them
PROBE_SECONDS = 5.0  # without progress, until a lane that is behind has a marker: a gap shows by what comes after it
MOST_PROBE_SECONDS = 60.0  # where markers have not helped
LOOK_SECONDS = 0.2  # between looks at the lanes, while they are behind
POLL_SECONDS = 0.02
CLOCK_SECONDS = 30.0  # by which this machine's clock may be ahead of the functions'
SILENT_SECONDS = 60.0  # without progress, before it is shown
MOST_PLACES = 10_000  # of Commits that are not applied yet; with more, every second one is forgotten
MOST_TIMES = 5  # that the log is sent again from one place

log = logging.getLogger(__name__)
_HINT = "Delete it: then the sender begins at the Checkpoint."


class LogPlace(NamedTuple):
    """A Commit in the log, and how many changes are before it."""

    number: int
    point: LogPoint
    commit: Commit


class Sending(NamedTuple):
    """What a Sender works with. ``migration`` is its name, ``settings`` the digest of what the function works by,
    ``began`` when the migration did, in seconds since the epoch, ``form`` that of the records, of ``most`` bytes;
    ``keep`` makes a change durable that no record takes.
    """

    log: Path
    sent: Path
    migration: str
    settings: str
    began: float
    form: str
    most: int
    keep: Callable[[bytes], KeptLine] | None = None


class Sender:
    """Sends the log from where it was sent to, or from the Checkpoint on; used by one thread, as an Applier is."""

    def __init__(
        self,
        sending: Sending,
        versions: Mapping[str, Versions],
        stream: StreamWriter,
        control: ControlTable,
        dead: DeadLetters,
        dirty: DirtyKeys,
        checkpoints: CheckpointStore,
        progress: Progress,
        stop: Callable[[], bool],
    ) -> None:
        self._sending = sending
        self._versions = versions
        self._stream = stream
        self._control = control
        self._dead = dead
        self._dirty = dirty
        self._checkpoints = checkpoints
        self._progress = progress
        self._stop = stop
        self._applied = checkpoints.now.counters.get("applied", 0)
        self._passed = self._applied  # by every lane
        self._busy = True  # somebody may hold a lease
        self._again = (self._applied, 0)  # from where the log was sent again, and how often
        self._pass_over: PassOver = lambda _missing: False
        self._serial = 0
        self._by_function = checkpoints.now.counters.get(HELD, 0)
        self._unanswered = checkpoints.now.counters.get(UNANSWERED, 0)
        mark = read_mark(sending.log)
        self._perhaps_sent = mark.total if mark else 0  # an earlier sender may have put what is up to here
        progress.applied, progress.quiet = self._applied, False
        progress.applied_position = checkpoints.now.applied_position
        self._begin(_load_sent(sending, self._applied))

    def step(self) -> int:
        """Send one batch; returns how many records of the log it had (0: the log has nothing new)."""
        lines: list[bytes] = []
        batch = self._reader.read(BATCH, lines)
        if batch:
            self._progress.log_drained = self._progress.quiet = False
            faults = self._packer.pack(batch, lines, lambda: self._reader.commit_ahead().timestamp)
            self._dirty.begin_send(self._packer.number, self._packer.take_keys())
            if faults:  # durable before anything passes them
                self._progress.dead += self._dead.add(faults, "apply")
            commits = [entry for entry in batch if isinstance(entry, Commit)]
            if commits and self._reader.point:
                self._add_place(LogPlace(self._reader.total, self._reader.point, commits[-1]))
        now = time.monotonic()
        if self._is_marker_due(now):
            self._mark(now)
        self._put()
        self._look(now)
        return len(batch)

    def idle(self) -> None:
        """See how far the lanes are, and wait a moment for more to come."""
        self._look(time.monotonic())
        done = self._passed >= self._packer.number and self._reader.unread().changes == 0
        self._progress.log_drained = done
        time.sleep(POLL_SECONDS)

    def quiet(self, pass_over: PassOver | None = None) -> None:
        """Wait until all that may be in the stream is applied, and no function is at work. Raises Stopped.

        ``pass_over`` is asked first where a lane misses something, before the log is sent again.
        """
        self._pass_over = pass_over or self._pass_over
        self._perhaps_sent = max(self._perhaps_sent, self._packer.number)
        self._busy, self._progress.quiet = True, False
        while not self._progress.quiet:
            if self._stop():
                raise Stopped("asked to stop while the function was still at work")
            if self._reader.handed_out < self._perhaps_sent:  # also when something is sent again
                self.step()
            else:
                self.idle()

    def check_end(self) -> None:
        """Where the target has all that is in the log, that must be all that the capture wrote. Raises StateError."""
        mark = read_mark(self._sending.log)
        if mark is not None and mark.point == self._checkpoints.now.applied and mark.total != self._applied:
            raise self._disagree(self._applied, mark.total)

    def save(self) -> None:
        """Nothing is left to save: the Checkpoint moves when the lanes have."""

    def close(self) -> None:
        self._reader.close()
        self._stream.close()

    # sending

    def _begin(self, place: LogPlace | None) -> None:
        """Send from ``place``, or from the Checkpoint: everything before it is in the stream, or applied."""
        start = place.point if place else self._checkpoints.now.applied
        self._reader = ChangeLogReader(self._sending.log, start)
        number = place.number if place else self._applied
        if self._reader.total != number:
            raise self._disagree(number, self._reader.total)
        if self._applied:  # perhaps by an applier of its own process, of which no lane knows
            self._control.raise_to(self._sending.migration, self._applied)
        self._serial = max(self._serial + 1, int(time.time() * 1000))  # later than any before it
        head = Interval(self._sending.migration, self._sending.settings, self._serial, 0, number, number)
        _, _, _, _, began, form, most, keep = self._sending
        self._packer = Packer(self._versions, self._control.put_table, head, began, form, most, keep)
        self._places = [place] if place else []
        self._sent = 0  # records since the last markers
        self._marked_at = self._probed_at = self._moved_at = time.monotonic()
        self._looked_at = 0.0

    def _put(self) -> None:
        records = self._packer.take()
        self._stream.put(records)
        self._sent += len(records)

    def _is_marker_due(self, now: float) -> bool:
        """Markers cost as much as other records do, and only spare a restart some of what was sent already."""
        waited = now - self._marked_at
        often = waited >= MARK_SECONDS and self._sent >= MARK_RECORDS
        return bool(self._places and self._sent) and (often or waited >= REST_SECONDS)

    def _mark(self, now: float) -> None:
        """Put a marker into every lane. Then every lane has, in the stream, everything up to here."""
        self._packer.mark()
        self._put()
        self._sent, self._marked_at = 0, now
        self._dirty.sync()  # what is sent already is not noted again
        _save_sent(self._sending, self._places[-1])

    def _probe(self, behind: Sequence[int], now: float) -> None:
        """Where nothing moves, a record may be lost. A marker behind it shows that."""
        silent = self._probed_at - self._moved_at  # so it takes twice as long each time
        if behind and now - max(self._probed_at, self._moved_at) >= min(max(PROBE_SECONDS, silent), MOST_PROBE_SECONDS):
            self._packer.probe(behind)
            self._put()
            self._probed_at = now

    def _add_place(self, place: LogPlace) -> None:
        self._places.append(place)
        if len(self._places) > MOST_PLACES:
            self._places = self._places[1::2] if len(self._places) % 2 == 0 else self._places[::2]

    # how far it is

    def _look(self, now: float) -> None:
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if self._passed < self._packer.number or self._busy:
            self._follow_lanes(now)
        else:  # transactions without a change of ours move the Position too, and need no look at the lanes
            self._moved_at = now
            self._progress.quiet = self._passed >= self._perhaps_sent
            self._move_to_passed()

    def _follow_lanes(self, now: float) -> None:
        """Move the Checkpoint to where all lanes are; send again what one of them is missing."""
        lanes = self._control.lanes(self._sending.migration)
        # After the lanes: a letter is there before its lane passes. Durable here before the Checkpoint does.
        self._fetch_letters()
        behind = [lane for lane, needed in enumerate(self._packer.needed) if lanes[lane].passed < needed]
        self._move(min((lanes[lane].passed for lane in behind), default=self._packer.number), now)
        self._busy = any(lane.until > (time.time() - CLOCK_SECONDS) * 1000 for lane in lanes)
        # Whoever takes a lane from now on finds that it has passed all its changes, and writes nothing.
        self._progress.quiet = self._passed >= max(self._perhaps_sent, self._packer.number) and not self._busy
        self._tell_silence([lane for lane in behind if lanes[lane].passed <= self._passed], now)
        self._count_held(sum(lane.held for lane in lanes))
        self._note_strays(sum(lane.unanswered for lane in lanes))
        self._move_to_passed()
        if any(lane.gap == self._serial for lane in lanes):
            self._send_again(lanes)
        else:
            self._probe(behind, now)

    def _move(self, passed: int, now: float) -> None:
        """Every lane has everything up to ``passed``."""
        if passed > self._passed:
            self._passed, self._moved_at = passed, now

    def _count_held(self, by_function: int) -> None:
        """What conditions skipped: in the load, as the Checkpoint has it, and since then in the function."""
        counters = self._checkpoints.now.counters
        self._progress.held = counters.get("held", 0) + by_function - counters.get(HELD, 0)
        self._by_function = by_function

    def _note_strays(self, unanswered: int) -> None:
        """Before what the lanes have passed is saved: what was under way until then is dirty for a while longer."""
        if unanswered != self._unanswered:
            self._unanswered = unanswered
            self._dirty.add_sent_as_strays({each.rule.target for each in self._versions.values()})

    def _tell_silence(self, last: Sequence[int], now: float) -> None:
        """Say which lanes hold everything up, where they have not moved for a while."""
        silent = now - self._moved_at if last else 0.0
        self._progress.note = ""
        if silent > SILENT_SECONDS:
            named = ", ".join(map(str, last))
            self._progress.note = f"the function took nothing of lanes {named} for {silent:,.0f} s: see its log"

    def _fetch_letters(self) -> None:
        found = self._control.letters(self._sending.migration)
        self._progress.dead += self._dead.take([orjson.loads(letter) for letter in found.values()])
        for name in found:
            self._control.remove_letter(self._sending.migration, name)

    def _move_to_passed(self) -> None:
        done = [place for place in self._places if place.number <= self._passed]
        if not done:
            return
        number, point, commit = done[-1]
        self._places = self._places[len(done) :]
        now = self._checkpoints.now.with_applied(point, commit.position, commit.timestamp)
        counted = {HELD: self._by_function, UNANSWERED: self._unanswered}
        counted = {"applied": number, **{name: count for name, count in counted.items() if count}}
        self._dirty.save(number)  # before the Checkpoint passes what is in it
        self._checkpoints.save(with_held(replace(now, counters={**now.counters, **counted}), self._progress))
        self._applied = number
        self._progress.captured = max(self._progress.captured, self._reader.total + self._reader.unread().changes)
        self._progress.applied = number
        self._progress.applied_position, self._progress.applied_time = commit.position, commit.timestamp

    def _send_again(self, lanes: list[LaneState]) -> None:
        missing = {number: lane for number, lane in enumerate(lanes) if lane.gap == self._serial}
        if not self._pass_over(missing):
            self._count_again(missing)
        self._reader.close()
        self._begin(None)

    def _count_again(self, missing: Mapping[int, LaneState]) -> None:
        """Raises TargetError where sending again does not help."""
        place, times = self._again
        times = times + 1 if place == self._applied else 1
        self._again = self._applied, times
        if times > MOST_TIMES:
            raise TargetError(
                f"the function did not take what follows change {self._passed:,}, though it was sent {times} times",
                place=f"lane {', '.join(map(str, missing))}",
                hint="Look at the function's log, and run the same command again. What it never takes, `whimbrel "
                "retry-dead` takes from the failure queue (apply.failures).",
            )
        log.warning("sending again what the function misses", extra={"after": self._applied, "times": times})

    def _disagree(self, number: int, logged: int) -> StateError:
        message = f"{number:,} changes were sent or applied, the change log has {logged:,} up to there"
        return StateError(message, place=str(self._sending.log), hint=TOTALS_DIFFER)


def _save_sent(sending: Sending, place: LogPlace) -> None:
    number, point, commit = place
    fields = {
        "migration": sending.migration,
        "number": number,
        "point": point._asdict(),
        "position": commit.position.as_fields(),
        "timestamp": commit.timestamp,
    }
    with writing(sending.sent):
        replace_file(sending.sent, sealed_json(fields))


def _load_sent(sending: Sending, applied: int) -> LogPlace | None:
    """None where the sender is to begin at the Checkpoint: nothing was sent, or no more than is applied."""
    lines = sealed_lines(sending.sent, _HINT)
    if not lines:
        return None
    fields = orjson.loads(lines[0])
    if fields["migration"] != sending.migration or fields["number"] <= applied:
        return None
    commit = Commit(Position(**fields["position"]), fields["timestamp"])
    return LogPlace(fields["number"], LogPoint(**fields["point"]), commit)
