"""How much memory a command takes, and that it works where it may not have more than some."""

from __future__ import annotations

import os
import re
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.e2e.work import Work

LIMIT = 400 << 20  # bytes
# What reserves far more addresses than memory: Arrow a gigabyte, and orjson twelve times the text that it reads, of
# which a batch of large items has 16 MB. These are held by a group of the kernel, where one can be made, and measured.
UNLIMITED = {"export", "convert", "restore", "rollback"}


def limited() -> None:
    """What the process, and each of its workers, may have of its own: what it asks for counts, used or not. So a
    container of so much memory would give more. Of threads' stacks little is ever used: they are short.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.RLIM_INFINITY))


@contextmanager
def group() -> Iterator[Callable[[], None] | None]:
    """What puts a process into a memory group of LIMIT bytes below our own group; None where none can be made. Source:
    the kernel's documentation of cgroups, version 1 (``memory.limit_in_bytes``) and 2 (``memory.max``).
    """
    made = next(filter(None, (_made(place, limit) for place, limit in _groups())), None)

    def enter() -> None:
        assert made
        (made / "cgroup.procs").write_text(str(os.getpid()))

    try:
        yield enter if made else None
    finally:
        if made:
            made.rmdir()


def _made(place: Path, limit: str) -> Path | None:
    """The group, if the kernel really keeps it to its limit."""
    try:
        place.mkdir()
        if (place / limit).exists():
            (place / limit).write_text(str(LIMIT))
            return place
        place.rmdir()
    except OSError:
        pass
    return None


def _groups() -> Iterator[tuple[Path, str]]:
    name = f"whimbrel-{os.getpid()}-{threading.get_ident()}"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            yield Path("/sys/fs/cgroup/memory", path.lstrip("/"), name), "memory.limit_in_bytes"
        elif not controllers:
            yield Path("/sys/fs/cgroup", path.lstrip("/"), name), "memory.max"


def peak(work: Work, *command: str, code: int = 0) -> float:
    """The most memory that the command had, in MB, with the most that each of its workers had. Its exit code must be
    ``code``, and it is ``limited`` if it can be.
    """
    with group() as held:
        return _peak(work, command, code, held if command[0] in UNLIMITED else limited)


def _peak(work: Work, command: tuple[str, ...], code: int, held: Callable[[], None] | None) -> float:
    process = work.start(*command, preexec_fn=held)
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
