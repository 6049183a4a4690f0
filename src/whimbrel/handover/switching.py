"""From DECIDED to OPEN: nothing is undone any more. The application is told until it has heard it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.handed_over import OPEN
from whimbrel.handover.cutting import Say
from whimbrel.handover.fence import Fence
from whimbrel.handover.hooks import Told, tell, told
from whimbrel.handover.laps import Laps
from whimbrel.handover.route import write_routes
from whimbrel.handover.state import Coordinator
from whimbrel.migration.run import Run
from whimbrel.migration.state import StateFolder
from whimbrel.migration.takeover import Requests
from whimbrel.migration.verified import remove_verified
from whimbrel.project import Project
from whimbrel.threads import Thread

LOOK_EVERY = 0.05  # seconds


def switch(run: Run, coordinator: Coordinator, fence: Fence, laps: Laps | None, say: Say) -> None:
    """``laps`` are of the stall that this command began, None if an earlier one did. Raises Stopped, HandoverTaken,
    StateError.
    """
    if faults := fence.faults():
        say(f"The fence is made again: {'; '.join(faults)}.")
        fence.make_again()
    # After the decision, as a cutover that is undone has lost nothing; and before anybody hears of it, as what is
    # written at DynamoDB from then on is in no set of dirty keys.
    remove_verified(run.folder.root)
    project = run.prepared.project
    announce(project, run.wire, told("switch", "dynamodb", coordinator.now, project.cutover), run.stop, say)
    coordinator.move(OPEN)
    if laps:
        laps.ended("announce")
    parts = laps.parts if laps else {}
    coordinator.note(stall_ms=round(_stall(coordinator, laps) * 1000, 1), stall_parts=parts)


def announce(
    project: Project, wire: DynamoClient, event: Told, stop: threading.Event, say: Say, patience: float = 0.0
) -> None:
    """Tell the application by all that is set, until it has heard it. Raises Stopped when asked to stop, after
    ``patience`` seconds at the least, or when another command takes over; HandoverTaken, StateError.
    """
    with _heard(StateFolder(project.state), stop, say, patience) as over:
        write_routes(project, wire, event, over)
        tell(project.cutover, event, over, say)


@contextmanager
def _heard(folder: StateFolder, stop: threading.Event, say: Say, patience: float) -> Iterator[threading.Event]:
    """An event for what is tried until it succeeds: hooks that fail forever must not keep out who could help."""
    over, done, requests = threading.Event(), threading.Event(), Requests(folder)
    until = time.monotonic() + patience

    def listen() -> None:
        while not done.wait(LOOK_EVERY):
            if who := requests.asked():
                say(f"`{who}` takes over.")
            if who or (stop.is_set() and time.monotonic() >= until):
                over.set()
                return

    listening = Thread(listen, "requests")
    listening.start()
    try:
        yield over
    finally:
        done.set()
        listening.join()


def _stall(coordinator: Coordinator, laps: Laps | None) -> float:
    """Seconds. By the wall clock where another process closed the source."""
    if laps:
        return laps.seconds
    return max(0.0, time.time() - (coordinator.now.closed_at or time.time()))
