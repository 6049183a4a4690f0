"""``rollback``: from DynamoDB open to the source open, with everything that was written meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from whimbrel.checkpoint import RunLock
from whimbrel.checks.ask import OutOfTime
from whimbrel.errors import HandoverError, SourceUnreachable, StateError, Stopped, WhimbrelError
from whimbrel.handed_over import CLOSING, CUTTING, DECIDED, FINISHED, FOLLOWING, OPEN, RETURNED, load
from whimbrel.handover.cutting import Say, undo
from whimbrel.handover.fence import Fence
from whimbrel.handover.forward import continue_from, late_changes
from whimbrel.handover.hooks import told
from whimbrel.handover.laps import Laps
from whimbrel.handover.returning import Returning
from whimbrel.handover.reverse import inverses_of, settings_of
from whimbrel.handover.source_gone import refuse_source_gone, unreachable
from whimbrel.handover.state import Coordinator
from whimbrel.handover.switching import announce
from whimbrel.handover.without_parents import LOOK_SECONDS, Orphans, rows_without_parents
from whimbrel.handover.writing import forget_letters
from whimbrel.migration.dead import read_letters
from whimbrel.migration.late import Late
from whimbrel.migration.live import Asked, Live
from whimbrel.migration.metrics import measured
from whimbrel.migration.past_fence import PHASE, faults_of
from whimbrel.migration.past_fence_noted import LIST
from whimbrel.migration.prepare import Prepared, prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.migration.state import StateFolder
from whimbrel.migration.takeover import Requests, take_over
from whimbrel.migration.verified import remove_verified
from whimbrel.migration.waivers import NONE, Waivers, read_waived
from whimbrel.mysql.connect import connect
from whimbrel.mysql.reverse_tables import forget
from whimbrel.project import Project

LOOK_EVERY = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """``side`` takes writes: ``mysql``, or what it was before if the rollback was undone. ``stall_ms`` is how long
    nobody could write: from the moment that applications were told to stop to the source open; None if an earlier
    command began it. ``stall_parts`` says where that went: ``tell`` the applications, ``wait`` for leases and writes
    under way, ``drain`` the stream, ``reconcile``, ``verify``, ``decide``, ``open`` the source. ``forward_from`` is
    where the next ``migrate`` continues. ``late_writes`` were seen at DynamoDB after the source was opened, within
    ``late_seconds``: they are in ``late-writes.jsonl`` of the state folder. ``waived`` are the dead
    letters that somebody accepted: table, keys and reason. ``without_parents`` counts the ``rows`` of a ``table`` that
    refer by the foreign key ``name`` to rows of ``parent`` that are not there: DynamoDB has no foreign keys.
    """

    side: str
    step: str
    epoch: int
    tables: tuple[str, ...]
    stall_ms: float | None
    stall_parts: Mapping[str, float]
    rows_written: int
    forward_from: str
    late_writes: int
    waived: tuple[dict[str, Any], ...]
    without_parents: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def rollback(project: Project, asked: Asked, *, waivers: Waivers = NONE, unwatched: bool = False) -> RollbackResult:
    """The source is opened although the items of ``waivers`` could not be written back to it, and its rows changed past
    the fence; with ``unwatched`` also if nobody can tell what was.
    """
    folder = StateFolder(project.state)
    folder.make()
    lock = take_over(folder, "whimbrel rollback", asked.stop)
    returning, rows, late_writes = None, 0, 0
    orphans: tuple[Orphans, ...] = ()
    prepared, progress = _prepared(project, lock), Progress(phase="rollback")
    with (
        Live(progress, folder, asked.stop, asked.tell) as live,
        Run(prepared, asked.stop, progress, lock=lock, hands_over=True) as run,
        measured(project, progress),
    ):
        coordinator = Coordinator(project, prepared.tables)
        _refuse_nothing_to_return(coordinator.now.step)
        step = coordinator.take_over().step  # the rows may be ahead of what the file said
        if step == CUTTING:
            undo(project, coordinator)
            live.say("The cutover was broken off before its decision: it is undone. The source was never closed.")
        fence = Fence(project, coordinator, asked.stop.wait, project.cutover.max_stall)
        if step in (DECIDED, OPEN, CLOSING):
            returning = Returning(run, coordinator, fence, live.say, waivers, unwatched=unwatched)
            rows = returning.give_back()
        if coordinator.now.step == RETURNED:
            _reopen(run, coordinator, fence, live.say, returning.laps if returning and step != CLOSING else None)
            orphans = () if run.stop.is_set() else _look_for_orphans(run, live.say)
            late_writes = _look_for_late_writes(run, live.say)
    now = coordinator.now
    laps = returning.laps if returning and now.step == FOLLOWING and step != CLOSING else None
    stall_ms, parts = (round(laps.seconds * 1000, 1), laps.parts) if laps else (None, {})
    tables = tuple(".".join(table) for table in now.tables)
    return RollbackResult(
        side=now.side,
        step=now.step,
        epoch=now.epoch,
        tables=tables,
        stall_ms=stall_ms,
        stall_parts=parts,
        rows_written=rows,
        forward_from=str(now.forward_from or ""),
        late_writes=late_writes,
        waived=read_waived(folder.root),
        without_parents=tuple(each._asdict() for each in orphans),
    )


def _prepared(project: Project, lock: RunLock) -> Prepared:
    """The lock is released where it raises."""
    try:
        now = load(project.state)
        refuse_source_gone(now, "rollback")
        if now.step == FINISHED:
            _refuse_nothing_to_return(now.step)
        return prepare(project)
    except SourceUnreachable as error:
        lock.release()
        raise unreachable(error, load(project.state)) from error
    except BaseException:
        lock.release()
        raise


def _refuse_nothing_to_return(step: str) -> None:
    if step == FINISHED:
        raise HandoverError(
            "the way back was given up by `whimbrel finish`", place="rollback", hint="See docs/cutover.md."
        )
    if step == FOLLOWING:
        raise HandoverError(
            "the source is open: there is nothing to roll back", place="rollback", hint="See `whimbrel status`."
        )


def _reopen(run: Run, coordinator: Coordinator, fence: Fence, say: Say, laps: Laps | None) -> None:
    """RETURNED to FOLLOWING; each part may be repeated.

    The order matters: the place where the migration continues, before anybody may start it; the fence; the
    application; the state last of all, since everything before it is repeated from RETURNED.
    """
    project, position = run.prepared.project, coordinator.now.forward_from
    if position is None:
        raise StateError(
            "does not say where the source was given back", place=str(run.folder.root), hint="Please report this."
        )
    end = coordinator.now.end
    assert end, "it was decided"
    # Before the Checkpoint passes them: the target lacks what others wrote to the source meanwhile.
    run.dead.take(letter for letter in read_letters(run.folder.root / LIST) if letter["source_key"])
    late = late_changes(run, run.checkpoints.now.applied, end)
    run.dead.add((fault for each in late for fault in faults_of(each, run)), PHASE)
    continue_from(run, end, position)
    # What was verified while DynamoDB was open says nothing: what was written then is in no set of dirty keys.
    remove_verified(run.folder.root)
    forget_letters(run.folder.root)
    fence.open()
    announce(project, run.wire, told("return", "mysql", coordinator.now, project.cutover), run.stop, say)
    if laps:
        laps.ended("open")
    coordinator.move(FOLLOWING)
    _forget(run, coordinator, say)
    say(f"The source is open. `whimbrel migrate` continues from {position}.")
    _tell_of_copies(run, say)


def _tell_of_copies(run: Run, say: Say) -> None:
    """The rules from whose items no rows came back: what the application wrote to the others' is not in theirs."""
    if len(run.prepared.tables) == len(run.prepared.mappings):
        return
    try:
        with closing(connect(run.prepared.project.source)) as connection:
            inverses, _ = inverses_of(run.prepared, connection, settings_of(run.prepared).rules, None)
        for name in (copy.mapping.source for each in inverses.values() for copy in each.copies):
            say(f"The items of {name} are copies, which nobody has written since: `whimbrel refill {name} --remove`.")
    except WhimbrelError as error:
        say(f"Which items are copies, and must be written again by `whimbrel refill --remove`, is not known: {error}")


def _look_for_orphans(run: Run, say: Say) -> tuple[Orphans, ...]:
    """After the source is open: to look takes as long as to read the tables, and nobody waits for it now."""
    project, found = run.prepared.project, []
    try:
        for each in rows_without_parents(project.source, run.prepared.tables.values()):
            say(f"{each}. DynamoDB has no foreign keys.")
            found.append(each)
    except OutOfTime:
        say(f"Whether rows refer to rows that are not there is not known after {LOOK_SECONDS:g} seconds.")
    except WhimbrelError as error:
        say(f"Whether rows refer to rows that are not there is not known: {error}")
    return tuple(found)


def _look_for_late_writes(run: Run, say: Say) -> int:
    """For ``late_seconds``, or until stopped, or another command takes over: ``migrate`` continues with it."""
    late, requests = Late(run, say), Requests(run.folder)
    end = time.monotonic() + run.prepared.project.cutover.late_seconds
    with suppress(Stopped):
        while late.reads and time.monotonic() < end and not run.stop.is_set() and not requests.asked():
            late.look()
            run.stop.wait(LOOK_EVERY)
    return late.count


def _forget(run: Run, coordinator: Coordinator, say: Say) -> None:
    """What the reverse stream kept of this epoch: nothing depends on it any more."""
    try:
        account = settings_of(run.prepared).account
        with closing(connect(account)) as connection:
            forget(connection, account.database, coordinator.now.fence_epoch)
    except WhimbrelError as error:
        say(f"What the reverse stream kept in the source could not be removed: {error}")
