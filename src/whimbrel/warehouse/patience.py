"""Work in the warehouse, for as long as it takes: one that cannot be reached is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from whimbrel.errors import WarehouseUnreachable
from whimbrel.migration.progress import Progress

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries


def patiently(work: Callable[[], None], look: Callable[[], None], progress: Progress, stop: threading.Event) -> None:
    """Do ``work``, unless ``stop`` is set. Each time that the warehouse cannot be reached, wait, ``look`` at what is
    there, as what was under way may have been done, and do it again.
    """
    pause, broken = FIRST_PAUSE, False
    while not stop.is_set():
        began = time.monotonic()
        try:
            if broken:
                look()
                progress.note = ""
            work()
            return
        except WarehouseUnreachable as error:
            if time.monotonic() - began > LONGEST_PAUSE:  # it had been reached meanwhile
                pause = FIRST_PAUSE
            broken, progress.note = True, f"the warehouse cannot be reached: {error.message}"
            stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
