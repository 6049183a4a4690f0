"""The cutover: writes move from the source to DynamoDB in one step."""

from __future__ import annotations

import threading
from collections.abc import Callable

from whimbrel.api.opened import ProjectLike, opened_to_migrate
from whimbrel.handover import cutover as cutovers
from whimbrel.handover import plan
from whimbrel.handover.cutover import CutoverResult
from whimbrel.handover.plan import CutoverPlan
from whimbrel.migration.live import Update
from whimbrel.migration.moving import Asked

__all__ = ["CutoverPlan", "CutoverResult", "cutover", "plan_cutover"]


def cutover(
    project: ProjectLike,
    *,
    progress: Callable[[Update], None] | None = None,
    stop: threading.Event | None = None,
) -> CutoverResult:
    """Close the source for writes, prove that DynamoDB has everything, and open DynamoDB; or undo it all.

    Continues what an earlier call was cut off from. Raises NotReady before anything is changed, CutoverUndone when the
    application continues at the source, Stopped likewise, HandoverTaken, and as ``migrate`` does.
    """
    with opened_to_migrate(project) as found:
        return cutovers.cutover(found, Asked(stop or threading.Event(), progress))


def plan_cutover(project: ProjectLike) -> CutoverPlan:
    """What ``cutover`` would do, what stands in its way, and how long writes would stop.

    Nothing is changed; a fence is tried on a table of whimbrel's own, which is removed again. Raises as ``migrate``
    does.
    """
    with opened_to_migrate(project) as found:
        return plan.plan(found)
