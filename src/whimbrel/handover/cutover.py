"""``cutover``: from wherever the last one stopped to DynamoDB open."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whimbrel.checkpoint import RunLock
from whimbrel.errors import HandoverError, SourceUnreachable, StateError
from whimbrel.handed_over import CLOSING, CUTTING, DECIDED, FINISHED, FOLLOWING, OPEN, RETURNED, Handover, load
from whimbrel.handover.cutting import Cutting, Say, undo
from whimbrel.handover.fence import Fence
from whimbrel.handover.laps import Laps
from whimbrel.handover.plan import refuse_replica, refuse_unready, refuse_untried
from whimbrel.handover.returning import open_again
from whimbrel.handover.reversing import Reversing
from whimbrel.handover.source_gone import refuse_source_gone, unreachable
from whimbrel.handover.state import Coordinator
from whimbrel.handover.switching import switch
from whimbrel.handover.watching import look_once, watch_fence
from whimbrel.migration.live import Asked, Live
from whimbrel.migration.metrics import measured
from whimbrel.migration.past_fence_noted import read_past_fence
from whimbrel.migration.prepare import prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.migration.state import StateFolder
from whimbrel.migration.takeover import Requests, take_over
from whimbrel.migration.waivers import NONE, Waivers, read_waived
from whimbrel.project import Project

LOOK_EVERY = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class CutoverResult:
    """``side`` takes writes: ``mysql``, ``dynamodb``, or ``none`` until the hooks have succeeded.

    ``stall_ms`` is how long nobody could write, from the lock on the source's tables granted to DynamoDB durably open;
    ``stall_parts`` where that went: ``close`` the source (the fence, the last position), ``drain``, ``verify``,
    ``decide``, ``announce``; empty if another process closed it. ``asked_ms`` is how long writers waited for that lock
    before. ``end`` is the last Position with a write at the source. ``waived`` are the dead letters that somebody
    accepted: table, keys and reason. ``past_fence``: how many changes of others were seen at the source since its end.
    """

    side: str
    step: str
    epoch: int
    tables: tuple[str, ...]
    end: str
    stall_ms: float | None
    asked_ms: float | None
    stall_parts: Mapping[str, float]
    waived: tuple[dict[str, Any], ...]
    past_fence: int

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def cutover(project: Project, asked: Asked, *, until_open: bool = False, waivers: Waivers = NONE) -> CutoverResult:
    """``until_open``: return when DynamoDB is open, instead of following it back into the source until stopped. Dead
    letters of ``waivers`` do not keep it from that.
    """
    refuse_untried(project)
    progress, stop, folder = Progress(phase="cutover"), asked.stop, StateFolder(project.state)
    folder.make()
    with ExitStack() as held:
        lock = take_over(folder, "whimbrel cutover", stop)  # first: what was read before may not be so any more
        held.callback(lock.release)
        now = load(project.state)
        refuse_source_gone(now, "cutover")
        if now.step == FINISHED:  # before anything is made in the source again
            raise HandoverError("the handover is finished", place="cutover", hint="There is nothing to continue.")
        try:
            prepared = prepare(project)
        except SourceUnreachable as error:
            raise unreachable(error, now) from error
        live = held.enter_context(Live(progress, folder, stop, asked.tell))
        run = held.enter_context(Run(prepared, stop, progress, lock=lock, hands_over=True))
        if run.phase != "apply":
            raise StateError(f"the phase is {run.phase!r}", place=str(folder.root), hint="First: whimbrel migrate")
        held.enter_context(measured(project, progress))
        coordinator = Coordinator(project, prepared.tables)
        _go_on(run, coordinator, live.say, waivers)
        if coordinator.now.starts and not until_open:
            _follow_back(run, coordinator, live.say)
        elif coordinator.now.step == OPEN:
            look_once(run, coordinator, live.say)
    return result_of(coordinator.now, project.state)


def _go_on(run: Run, coordinator: Coordinator, say: Say, waivers: Waivers) -> None:
    """From the step that stands to OPEN."""
    project = run.prepared.project
    fence = Fence(project, coordinator, run.stop.wait, project.cutover.max_stall)
    laps: Laps | None = None
    if coordinator.now.step == FOLLOWING:
        refuse_replica(project)
    if coordinator.take_over().step == CUTTING:
        undo(project, coordinator)
        say("An earlier cutover was broken off before its decision: it is undone.")
    if coordinator.now.step == FOLLOWING:
        run.progress.step = "looking for what stands in the way"
        refuse_unready(run.prepared, waivers)
        laps = Cutting(run, coordinator, fence, say, waivers).cut()
    if coordinator.now.step == DECIDED:
        run.stop_capture()
        run.progress.step = "telling the application"
        switch(run, coordinator, fence, laps, say)
    if coordinator.now.step == CLOSING:  # a rollback was cut off
        open_again(run, coordinator, say)
    if coordinator.now.step == RETURNED:
        raise HandoverError("a rollback was decided", place="cutover", hint="It continues with: whimbrel rollback")


def _follow_back(run: Run, coordinator: Coordinator, say: Say) -> None:
    """Until stopped, or another command takes over: the source gets what is written at DynamoDB."""
    requests = Requests(run.folder)
    with Reversing(run, coordinator.now) as reverse, watch_fence(run, coordinator, say):
        run.progress.step = "following DynamoDB back into the source"
        say("DynamoDB is open; following it back into the source until stopped.")
        while not run.stop.wait(LOOK_EVERY):
            reverse.check()
            if who := requests.asked():
                say(f"`{who}` takes over.")
                return


def undo_before_migrating(project: Project) -> None:
    """What was broken off before its decision is undone before anything moves forward again. Raises Locked while a
    cutover is at work.
    """
    if load(project.state).step != CUTTING:
        return
    with RunLock(project.state):
        now = load(project.state)
        if now.step == CUTTING:
            undo(project, Coordinator(project, now.tables))


def result_of(now: Handover, root: Path) -> CutoverResult:
    """``root``: the state folder."""
    tables = tuple(".".join(table) for table in now.tables)
    ended, seen = str(now.end or ""), read_past_fence(root, now)
    return CutoverResult(
        now.side,
        now.step,
        now.epoch,
        tables,
        ended,
        now.stall_ms,
        now.asked_ms,
        now.stall_parts,
        read_waived(root),
        seen.count if seen else 0,
    )
