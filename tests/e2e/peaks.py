"""How much memory a command takes."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from pathlib import Path

from tests.e2e.work import Work


def peak(work: Work, *command: str) -> float:
    """The most memory that the command had, in MB; it must succeed."""
    process = work.start(*command)
    peaks = [0]
    ended = threading.Event()

    def watch() -> None:
        """The kernel keeps the peak; what wait4 says would have our own memory, from before the exec, in it."""
        status = Path(f"/proc/{process.pid}/status")
        while not ended.wait(0.02) and status.exists():
            with suppress(OSError):
                if found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text()):
                    peaks.append(int(found[1]))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        out, err = process.communicate()
    finally:
        ended.set()
        watching.join()
    assert process.returncode == 0, f"{command}\n{out}\n{err}"
    return max(peaks) / 1024
