"""From DECIDED to OPEN: nothing is undone any more. The application is told until it has heard it."""

from __future__ import annotations

import threading
import time

from whimbrel.handed_over import OPEN
from whimbrel.handover.cutting import Say, told
from whimbrel.handover.fence import Closed, Fence, elapsed
from whimbrel.handover.hooks import tell
from whimbrel.handover.route import write_route
from whimbrel.handover.state import Coordinator
from whimbrel.project import Project


def switch(
    project: Project, coordinator: Coordinator, fence: Fence, closed: Closed | None, stop: threading.Event, say: Say
) -> None:
    """``closed`` is what this command closed, None if an earlier one did. Raises Stopped, HandoverTaken, StateError."""
    settings = project.cutover
    if faults := fence.faults():
        say(f"The fence is made again: {'; '.join(faults)}.")
        fence.make_again()
    event = told("switch", "dynamodb", coordinator.now, settings)
    if settings.route_file:
        write_route(project.path.parent / settings.route_file, event)
    tell(settings, event, stop, say)
    coordinator.move(OPEN)
    coordinator.note(stall_ms=round(_stall(coordinator, closed) * 1000, 1))


def _stall(coordinator: Coordinator, closed: Closed | None) -> float:
    """Seconds. By the wall clock where another process closed the source."""
    if closed:
        return elapsed(closed.granted)
    return max(0.0, time.time() - (coordinator.now.closed_at or time.time()))
