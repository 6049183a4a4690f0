"""One invocation: a batch of one shard's records, applied in order for each lane.

What makes it right, whatever comes twice, late or not at all (docs/kinesis.md):

1. It works only on lanes that it holds a lease of. The lease outlasts everything that the invocation sends: it stops
   sending at a deadline of its own, and a call that began before that ends within the client's time limit.
2. A record up to where the lane is already is skipped. One that begins after that is a gap: it is dropped and noted,
   and the sender sends from there again.
3. How far a lane is, is written after its items are acknowledged and its dead letters are kept.
4. A lease is given back only if every call had its answer. Else it runs out by itself: until then an unanswered call
   may still arrive, and nobody else writes these items.
5. Each lane has its equal part of the write cap, and is given back when what was written is within it. As nobody else
   has the lane meanwhile, all invocations together keep to the cap.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.write import Stats, Writer
from whimbrel.errors import Stopped
from whimbrel.function.apply import write
from whimbrel.function.known import Known
from whimbrel.function.metrics import InvocationFigures
from whimbrel.kinesis.control import LaneState, Lease, fits
from whimbrel.kinesis.packed import Numbered, Packed, Unreadable, change_of_others, changes_of, unpack
from whimbrel.migration.dead import identity_of, letter_of
from whimbrel.records import Fault

AT_ONCE = 5_000  # changes that are folded together
# At first fewer: what was not written whole before the deadline is written again by the next invocation, and so on for
# ever where the target is that slow.
AT_FIRST = 250
AT_FIRST_CAPPED = 1
QUICK_SECONDS = 1.0  # a write that took longer is not followed by a larger one
UNPACKED_BYTES = 64 << 20  # of the records that are in memory together; the others come again
QUIET_SECONDS = 10.0  # after the client gave a call up, in which it may still arrive
MARGIN_SECONDS = 1.0  # to say what became of the batch
LOOK_SECONDS = 0.5  # between tries for a lease that somebody else holds

log = logging.getLogger(__name__)


class Arrived(NamedTuple):
    """One record of the batch: ``packed`` is None for one that is not ours to apply."""

    sequence: str
    packed: Packed | None


class Deadline(threading.Event):
    """Set from a moment on, by time.monotonic()."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = at

    def is_set(self) -> bool:
        return time.monotonic() >= self.at

    def wait_for(self, seconds: float) -> None:
        """So long, but not beyond it."""
        time.sleep(max(0.0, min(seconds, self.at - time.monotonic())))


class Invocation:
    """``left`` seconds are left of Lambda's own time limit."""

    def __init__(self, known: Known, records: Sequence[Mapping[str, Any]], left: float) -> None:
        self._known = known
        self._records = records
        self.stream = str(records[0]["eventSourceARN"]).rpartition("/")[2]
        self.done = InvocationFigures()
        spare = 2 * known.timeout + MARGIN_SECONDS  # a call may connect, and then wait
        self._deadline = Deadline(time.monotonic() + left - spare)
        self._until = int((time.time() + left + QUIET_SECONDS) * 1000)
        self._holder = secrets.token_hex(8)
        self._astray = False
        self._held = 0  # writes that a condition skipped
        self._states: dict[int, LaneState] = {}
        self._pace = RateLimiter(0)

    def run(self) -> dict[str, Any]:
        """Lambda's answer to a batch: the first record that is not done, from which on it comes again."""
        self._wire = self._known.wire()
        self._control = self._known.control(self._wire, self.stream, self._deadline)
        try:
            failed, rest = self._applied()
        except BaseException:
            self._known.drop_wire()
            raise
        self.done.stopped_early = int(bool(failed))
        again = failed or rest
        return {"batchItemFailures": [{"itemIdentifier": again}] if again else []}

    def _applied(self) -> tuple[str, str]:
        """The sequence numbers of the first record that is not done, and of the first of which nobody took notice yet;
        "" where there is none.
        """
        first = str(self._records[0]["kinesis"]["sequenceNumber"])
        self._note_age(self._records[0])
        try:
            self._migration = self._control.current()
            arrived, rest = self._all_arrived()
            wanted = {each.packed.head.lane for each in arrived if each.packed}
            leased = self._leased(wanted)
        except Stopped:
            return first, ""
        try:
            failed = self._in_order(arrived) if leased else first
            self._pay()
        except Exception:  # all calls have ended: the batch may come again at once
            self._released()
            raise
        return (failed, rest) if self._released() else (first, "")

    def _note_age(self, record: Mapping[str, Any]) -> None:
        if came := record["kinesis"].get("approximateArrivalTimestamp"):  # seconds since the epoch
            self.done.record_age = max(0.0, (time.time() - came) * 1000)

    def _all_arrived(self) -> tuple[list[Arrived], str]:
        """As many as fit in memory, and the sequence number of the first that does not, "" if all do."""
        arrived: list[Arrived] = []
        size = 0
        for record in self._records:
            each = self._arrived(record)
            size += each.packed.size if each.packed else 0
            if arrived and size > UNPACKED_BYTES:
                return arrived, each.sequence
            arrived.append(each)
        return arrived, ""

    def _arrived(self, record: Mapping[str, Any]) -> Arrived:
        """A record that nobody can read is none of ours, or one of ours that was damaged: then it is missing from its
        lane, and the sender sends it again.
        """
        sequence, data = str(record["kinesis"]["sequenceNumber"]), b64decode(record["kinesis"]["data"])
        if self._known.skips_others and change_of_others(data):  # our own sender sends the same change, with its place
            return Arrived(sequence, None)
        try:
            packed = unpack(data)
        except Unreadable as reason:
            log.error("a record cannot be read", extra={"sequence": sequence, "reason": str(reason)})
            self.done.unreadable += 1
            return Arrived(sequence, None)
        return Arrived(sequence, packed if packed.head.migration == self._migration else None)

    def _leased(self, lanes: set[int]) -> bool:
        """Whether all are ours; whoever holds one has ended when its lease has."""
        while True:
            lease = Lease(self._holder, int(time.time() * 1000), self._until)
            self._states = self._control.lease(self._migration, sorted(lanes), lease)
            if len(self._states) == len(lanes):
                return True
            self._released()  # or two could wait for each other
            if time.monotonic() + LOOK_SECONDS >= self._deadline.at:
                self._states = {}
                return False
            time.sleep(LOOK_SECONDS)

    def _in_order(self, arrived: Sequence[Arrived]) -> str:
        waiting: dict[int, list[Numbered]] = {}
        states = dict(self._states)  # as they will be when what is waiting is written
        undone, count, most = "", 0, 0
        try:
            for each in arrived:
                undone, whole = undone or each.sequence, each.packed is None
                while each.packed and not whole:
                    most = most or self._at_first(each.packed)
                    taken, whole = self._take(each.packed, states, waiting, most - count)
                    count += taken
                    if count >= most:
                        took = self._write(waiting, each.packed)
                        self._states, count, waiting = dict(states), 0, {}
                        undone = "" if whole else each.sequence
                        most = min(2 * most, AT_ONCE) if took < QUICK_SECONDS else most
            if waiting:
                self._write(waiting, next(each.packed for each in reversed(arrived) if each.packed))
        except Stopped:
            return undone
        self._states = states
        return ""

    def _at_first(self, packed: Packed) -> int:
        capped = self._known.works(self._control, packed.head.settings).lane_units
        return AT_FIRST_CAPPED if capped else AT_FIRST

    def _take(
        self, packed: Packed, states: dict[int, LaneState], waiting: dict[int, list[Numbered]], most: int
    ) -> tuple[int, bool]:
        """Let what is new in a record wait to be written: how many changes that is, and whether it is all."""
        head, state = packed.head, states[packed.head.lane]
        if head.to <= state.passed:
            return 0, True
        if head.after > state.passed:
            states[head.lane] = state._replace(gap=head.sending)
            log.warning("records are missing", extra={"lane": head.lane, "passed": state.passed, "after": head.after})
            self.done.gaps += 1
            return 0, True
        try:
            packed = self._known.whole(self._control, packed)
        except Unreadable as reason:  # it is missing from its lane, and the sender sends it again with its object
            states[head.lane] = state._replace(gap=head.sending)
            log.error("a change cannot be read", extra={"lane": head.lane, "after": head.after, "reason": str(reason)})
            self.done.unreadable += 1
            return 0, True
        changes = changes_of(packed, state.passed, lambda digest: self._known.table(self._control, digest), most)
        if changes:
            waiting.setdefault(head.lane, []).extend(changes)
        whole = len(changes) < most or changes[-1].number == head.numbers[-1]
        states[head.lane] = state._replace(passed=head.to if whole else changes[-1].number)
        return len(changes), whole

    def _write(self, lanes: Mapping[int, Sequence[Numbered]], packed: Packed | None) -> float:
        """How many seconds it took."""
        assert packed is not None
        began = time.monotonic()
        works = self._known.works(self._control, packed.head.settings)
        self._pace.rate = works.lane_units * len(self._states)
        writer = Writer(
            self._wire,
            self._known.target,
            stop=self._deadline,
            astray=self._note_astray,
            limit=works.limit,
            pace=self._pace,
        )
        try:
            for fault in write(lanes, works, writer):
                self._keep(fault)
        finally:
            self._count(writer.stats)
        self._held += writer.take_held()
        self.done.changes += sum(map(len, lanes.values()))
        newest = max(each.time for changes in lanes.values() for each in changes)
        self.done.lag = max(0.0, (time.time() - newest) * 1000)
        return time.monotonic() - began

    def _count(self, stats: Stats) -> None:
        self.done.items += stats.items
        self.done.units += stats.units
        self.done.throttles += stats.throttles

    def _pay(self) -> None:
        """Wait until what was written is within the cap: whoever has the lanes next begins anew."""
        self._deadline.wait_for(self._pace.debt())

    def _keep(self, fault: Fault) -> None:
        self.done.letters += 1
        letter = letter_of(fault, "apply")
        if not fits(orjson.dumps(letter)):  # the row's key says where to look
            letter |= {"before": None, "after": None}
        self._control.put_letter(self._migration, identity_of(letter).hex(), orjson.dumps(letter))

    def _note_astray(self, _operations: object) -> None:
        self._astray = True

    def _released(self) -> bool:
        """Say how far the lanes are; False if a lease had ended, or nobody could be told."""
        kept = max(self._pace.debt(), QUIET_SECONDS if self._astray else 0.0)
        until = int((time.time() + kept) * 1000) if kept else 0
        states = {
            lane: state.given_back(astray=self._astray)._replace(until=until) for lane, state in self._states.items()
        }
        if self._held and states:  # counted with any of them, once
            lane, state = next(iter(states.items()))
            states[lane], self._held = state._replace(held=state.held + self._held), 0
        control = self._known.control(self._wire, self.stream, Deadline(time.monotonic() + self._known.timeout))
        try:
            return control.release(self._migration, states, self._holder)
        except Stopped:
            return False
