"""The cutover and the way back: writes move from one side to the other in one step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from whimbrel.api.opened import ProjectLike, opened, opened_to_migrate
from whimbrel.handed_over import Handover, load
from whimbrel.handover import cutover as cutovers
from whimbrel.handover import finish as finishes
from whimbrel.handover import plan
from whimbrel.handover import rollback as rollbacks
from whimbrel.handover.cutover import CutoverResult
from whimbrel.handover.finish import FinishResult
from whimbrel.handover.plan import CutoverPlan
from whimbrel.handover.rollback import RollbackResult
from whimbrel.handover.source_gone import open_without_source
from whimbrel.migration.live import Asked, Update
from whimbrel.migration.waivers import read_waivers

__all__ = [
    "CutoverPlan",
    "CutoverResult",
    "FinishResult",
    "RollbackResult",
    "cutover",
    "finish",
    "plan_cutover",
    "rollback",
]


def cutover(
    project: ProjectLike,
    *,
    until_open: bool = True,
    source_is_gone: bool = False,
    waive_dead_letters: Path | str | None = None,
    progress: Callable[[Update], None] | None = None,
    stop: threading.Event | None = None,
) -> CutoverResult:
    """Close the source for writes, prove that DynamoDB has everything, and open DynamoDB; or undo it all.

    ``waive_dead_letters`` names a file with lines of ``dead.jsonl``: these letters, and no others, are accepted.
    Without ``until_open``, DynamoDB is then followed back into the source until ``stop`` is set. Continues what an
    earlier call was cut off from. Raises NotReady before anything is changed, CutoverUndone when the
    application continues at the source, Stopped likewise, HandoverTaken, and as ``migrate`` does.

    ``source_is_gone``: after the decision, where the source was destroyed for good, DynamoDB is opened without it, and
    the way back is given up. Raises HandoverError where nobody can tell whether the source took writes.
    """
    with opened_to_migrate(project) as found:
        asked, waivers = Asked(stop or threading.Event(), progress), read_waivers(waive_dead_letters)
        if source_is_gone:
            return cutovers.result_of(open_without_source(found, asked), found.state)
        return cutovers.cutover(found, asked, until_open=until_open, waivers=waivers)


def plan_cutover(project: ProjectLike, *, waive_dead_letters: Path | str | None = None) -> CutoverPlan:
    """What ``cutover`` would do, what stands in its way, and how long writes would stop.

    Nothing is changed; a fence is tried on a table of whimbrel's own, which is removed again. Raises as ``migrate``
    does.
    """
    with opened_to_migrate(project) as found:
        return plan.plan(found, read_waivers(waive_dead_letters))


def handed_over(project: ProjectLike) -> Handover:
    """How far a cutover or a rollback is, as this machine's state folder has it. Nothing is asked or changed."""
    with opened(project) as found:
        return load(found.state)


def rollback(
    project: ProjectLike,
    *,
    waive_dead_letters: Path | str | None = None,
    unwatched: bool = False,
    progress: Callable[[Update], None] | None = None,
    stop: threading.Event | None = None,
) -> RollbackResult:
    """Close DynamoDB for writes, bring what was written there into the source, prove it, and open the source.

    ``waive_dead_letters`` names a file with lines of ``reverse-dead.jsonl`` and ``past-fence.jsonl``: these, and
    no others, are accepted. ``unwatched``: although nobody can tell what others wrote to the source past the fence.
    Raises RollbackUndone when DynamoDB stays open, Stopped likewise, HandoverTaken, another HandoverError if there is
    nothing to roll back, or others wrote to the source, and as ``migrate`` does.
    """
    with opened_to_migrate(project) as found:
        asked, waivers = Asked(stop or threading.Event(), progress), read_waivers(waive_dead_letters)
        return rollbacks.rollback(found, asked, waivers=waivers, unwatched=unwatched)


def finish(project: ProjectLike, *, keep_fence: bool = False, stop: threading.Event | None = None) -> FinishResult:
    """Give up the way back, and remove what whimbrel made for it: the fence unless ``keep_fence``, streams, state.

    Raises HandoverError where DynamoDB is not open, HandoverTaken, and as ``migrate`` does.
    """
    with opened_to_migrate(project) as found:
        return finishes.finish(found, Asked(stop or threading.Event()), keep_fence=keep_fence)
