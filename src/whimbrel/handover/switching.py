"""From DECIDED to OPEN: nothing is undone any more. The application is told until it has heard it."""

from __future__ import annotations

import threading
import time

from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.handed_over import OPEN
from whimbrel.handover.cutting import Say, told
from whimbrel.handover.fence import Fence
from whimbrel.handover.hooks import Told, tell
from whimbrel.handover.laps import Laps
from whimbrel.handover.route import write_routes
from whimbrel.handover.state import Coordinator
from whimbrel.migration.run import Run
from whimbrel.project import Project


def switch(run: Run, coordinator: Coordinator, fence: Fence, laps: Laps | None, say: Say) -> None:
    """``laps`` are of the stall that this command began, None if an earlier one did. Raises Stopped, HandoverTaken,
    StateError.
    """
    if faults := fence.faults():
        say(f"The fence is made again: {'; '.join(faults)}.")
        fence.make_again()
    project = run.prepared.project
    announce(project, run.wire, told("switch", "dynamodb", coordinator.now, project.cutover), run.stop, say)
    coordinator.move(OPEN)
    if laps:
        laps.ended("announce")
    parts = laps.parts if laps else {}
    coordinator.note(stall_ms=round(_stall(coordinator, laps) * 1000, 1), stall_parts=parts)


def announce(project: Project, wire: DynamoClient, event: Told, stop: threading.Event, say: Say) -> None:
    """Tell the application by all that is set, until it has heard it. Raises Stopped, HandoverTaken, StateError."""
    write_routes(project, wire, event, stop)
    tell(project.cutover, event, stop, say)


def _stall(coordinator: Coordinator, laps: Laps | None) -> float:
    """Seconds. By the wall clock where another process closed the source."""
    if laps:
        return laps.seconds
    return max(0.0, time.time() - (coordinator.now.closed_at or time.time()))
