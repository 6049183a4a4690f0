"""How much memory a command takes, and that it works where it may not have more than some."""

from __future__ import annotations

import os
import re
import resource
import threading
from contextlib import suppress
from pathlib import Path

from tests.e2e.work import Work

LIMIT = 400 << 20  # bytes
# What reserves far more addresses than memory: Arrow a gigabyte, and orjson twelve times the text that it reads, of
# which a batch of large items has 16 MB. These are measured, and nothing stops them.
UNLIMITED = {"export", "convert", "restore", "rollback"}


def limited() -> None:
    """What the process, and each of its workers, may have of its own: what it asks for counts, used or not. So a
    container of so much memory would give more. Of threads' stacks little is ever used: they are short.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.RLIM_INFINITY))


def peak(work: Work, *command: str, code: int = 0) -> float:
    """The most memory that the command had, in MB, with the most that each of its workers had. Its exit code must be
    ``code``, and it is ``limited`` if it can be.
    """
    process = work.start(*command, preexec_fn=None if command[0] in UNLIMITED else limited)
    peaks: dict[int, int] = {}
    ended = threading.Event()

    def watch() -> None:
        """The kernel keeps the peak; what wait4 says would have our own memory, from before the exec, in it."""
        while not ended.wait(0.02):
            for pid in (process.pid, *children(process.pid)):
                with suppress(OSError):
                    if found := re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()):
                        peaks[pid] = int(found[1])

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        out, err = process.communicate()
    finally:
        ended.set()
        watching.join()
    assert process.returncode == code, f"{command}\n{out}\n{err}"
    return sum(peaks.values()) / 1024


def children(pid: int) -> list[int]:
    """The processes that this one started and that have not ended."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):  # a pattern would fail at one that ends meanwhile
        with suppress(OSError):
            state, parent = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(name))
    return found
