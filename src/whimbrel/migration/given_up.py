"""What Lambda gave up is made good: changes on which the function fails each time, for whatever reason.

The stream brings a record again as often as the sender sends it, so most of what Lambda gives up is applied later. What
is never taken holds its lane up. Then, as the function does it with what DynamoDB refuses, and in the same order:

1. Each item of the record that its lane is to take next becomes a dead letter, without its row, durable here.
2. The lane passes the record, under a lease: nobody else is at work on it, and a late invocation passes it over.
3. When every lane has everything, and no function is at work, the letters are retried: from the rows as they are.
4. The report is removed from the queue when nothing that it speaks of is left to do.

Each step may come twice: a letter is in the file once, and a lane that has passed is left alone.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from operator import attrgetter

from whimbrel.errors import UserError
from whimbrel.kinesis.control import ControlTable, LaneState, Lease
from whimbrel.kinesis.failures import FailureQueue, GivenUp
from whimbrel.kinesis.packed import Interval, Packed, Unreadable, changes_of, unpack
from whimbrel.kinesis.settings import table_from_line
from whimbrel.mapping.family import rules_by_table
from whimbrel.mapping.provenance import of_change
from whimbrel.migration.pack import faults_of_items
from whimbrel.migration.run import Run
from whimbrel.migration.send import Sender
from whimbrel.migration.stream import kept_changes, kinesis_of, take
from whimbrel.project import Project
from whimbrel.records import Fault, Table

LEASE_SECONDS = 30.0  # in which a lane is told that it has passed a record


def opened_queue(project: Project, stop: threading.Event) -> FailureQueue | None:
    """None for a project that names none."""
    stream = project.stream
    if stream is None or not stream.failures:
        return None
    at = replace(project.target, endpoint=stream.failures_endpoint)
    return FailureQueue(at, stream.failures, kinesis_of(project), stream.name, stop)


def reported(project: Project) -> tuple[GivenUp, ...]:
    """What the queue has; it stays there."""
    queue = opened_queue(project, threading.Event())
    return tuple(queue.batches()) if queue else ()


def quieten_past(run: Run) -> tuple[GivenUp, ...]:
    """Wait until the target has all that may be in the stream, or there is a dead letter of it, and no function is at
    work. The batches whose reports were removed. Raises Stopped, and TargetError where something is neither taken nor
    given up.
    """
    queue = opened_queue(run.prepared.project, run.stop)
    with closing(run.applier()) as sender:
        assert isinstance(sender, Sender), "asked before"
        if queue is None:
            sender.quiet()
            return ()
        past = PastGivenUp(run, queue)
        past.look()
        sender.quiet(past.move)
    return past.remove()


class PastGivenUp:
    """Moves lanes past what Lambda gave up, as ``queue`` reports it."""

    def __init__(self, run: Run, queue: FailureQueue) -> None:
        self._run = run
        self._queue = queue
        self._migration = run.checkpoints.now.migration
        self._control: ControlTable = take(run.prepared.project, run.wire, self._migration, run.stop)
        self._kept = kept_changes(run.prepared.project, run.stop)
        self._tables: dict[str, Table] = {}
        self._known: dict[str, GivenUp] = {}
        self._intervals: dict[str, list[Interval]] = {}  # that the records of a report have, without their changes

    def look(self) -> None:
        """What the queue shows once, it does not show again for a while."""
        self._known |= {each.message: each for each in self._queue.batches()}

    def move(self, missing: Mapping[int, LaneState]) -> bool:
        """Whether any of the lanes that miss something was moved."""
        self.look()
        left = dict(missing)
        for batch in sorted(self._known.values(), key=attrgetter("at"), reverse=True):  # what was sent last is there
            if not left:
                break
            if any(_is_next(each, left) for each in self._intervals_of(batch)):
                for packed in self._ours(batch):
                    lane = packed.head.lane
                    if _is_next(packed.head, left) and self._pass(packed, left[lane].passed, batch):
                        del left[lane]
        return len(left) < len(missing)

    def remove(self) -> tuple[GivenUp, ...]:
        """To be called when every lane has passed all that was sent: then no report of it says what is left to do."""
        self.look()
        for batch in self._known.values():
            self._queue.remove(batch)
        return tuple(self._known.values())

    def _intervals_of(self, batch: GivenUp) -> list[Interval]:
        if batch.message not in self._intervals:
            heads = [packed.head._replace(numbers=(), times=(), tables={}) for packed in self._ours(batch)]
            self._intervals[batch.message] = heads
        return self._intervals[batch.message]

    def _ours(self, batch: GivenUp) -> Iterator[Packed]:
        for data in self._queue.records(batch):
            try:
                packed = unpack(data)
            except (Unreadable, UserError):  # it is in no lane
                continue
            if packed.head.migration == self._migration:
                yield packed

    def _pass(self, packed: Packed, passed: int, batch: GivenUp) -> bool:
        """False if somebody else has the lane, or has moved it."""
        try:
            faults = self._faults(packed, passed, f"Lambda gave the change up: {batch.why}")
        except Unreadable:  # it was damaged, and is sent again
            return False
        lane, now = packed.head.lane, int(time.time() * 1000)
        lease = Lease(secrets.token_hex(8), now, now + int(LEASE_SECONDS * 1000))
        state = self._control.lease(self._migration, [lane], lease).get(lane)
        if state is None:
            return False
        if is_same := state.passed == passed:
            self._run.claim.look()  # the letters are on this machine alone
            self._run.progress.dead += self._run.dead.add(faults, "apply")  # durable before its lane passes it
            state = state._replace(passed=packed.head.to)
        given_back = {lane: state.given_back(astray=False)._replace(until=0)}
        return self._control.release(self._migration, given_back, lease.holder) and is_same

    def _faults(self, packed: Packed, passed: int, reason: str) -> list[Fault]:
        prepared, history = self._run.prepared, self._run.history
        assert history is not None, "the load is complete"
        rules, faults = rules_by_table(prepared.versions), list[Fault]()
        packed = self._kept.whole(packed) if self._kept else packed
        for number, at, change in changes_of(packed, passed, self._table):
            mappings = [prepared.versions[rule].of(change.table) for rule in rules[change.table.full_name]]
            came = of_change(change, number, at, history.began)
            faults += faults_of_items(mappings, packed.head.lane, change, reason, came)
        return faults

    def _table(self, digest: str) -> Table:
        if digest not in self._tables:
            self._tables[digest] = table_from_line(self._control.table(digest))
        return self._tables[digest]


def _is_next(head: Interval, missing: Mapping[int, LaneState]) -> bool:
    """Whether it has what its lane is to take next."""
    state = missing.get(head.lane)
    return state is not None and head.after <= state.passed < head.to
