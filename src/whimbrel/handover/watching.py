"""Who else writes to the source while DynamoDB is open: ``migration.past_fence``, with the fence of the cutover."""

from __future__ import annotations

from contextlib import suppress

from whimbrel.errors import HandoverError, Stopped
from whimbrel.handover.cutting import Say
from whimbrel.handover.fence import Fence
from whimbrel.handover.state import Coordinator
from whimbrel.migration.past_fence import FenceWatch
from whimbrel.migration.positions import source_end
from whimbrel.migration.run import Run

LOOKED_WITHIN = 30.0  # seconds


def watch_fence(run: Run, coordinator: Coordinator, say: Say) -> FenceWatch:
    """To be entered when the reverse stream's tables are there, or while none runs."""
    project = run.prepared.project
    fence = Fence(project, coordinator, run.stop.wait, project.cutover.max_stall)
    return FenceWatch(run, coordinator.now, coordinator.schema, fence.faults, say)


def look_once(run: Run, coordinator: Coordinator, say: Say) -> None:
    """What was written since the decision, up to now."""
    with watch_fence(run, coordinator, say) as watch, suppress(Stopped):
        try:
            watch.wait_until(source_end(run), LOOKED_WITHIN)
        except HandoverError as error:
            say(str(error))
