"""Where the tests' servers and folders are: in memory, as nearly all waits of a test are for a disk to say that it is
done, and no test cuts the power. A kill leaves the same behind in memory as on disk.

``TMPDIR=/tmp make test`` has them on disk; what is left behind there can be looked at. So does a machine with little
memory, or one where nothing may be run from its memory's file system, as in most containers.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
NEEDED = 6 << 30  # bytes: three processes with five servers of 200 to 400 MB


def use_memory() -> None:
    """For this process, and for those that it starts. pytest's workers are among them and have it already."""
    if "TMPDIR" in os.environ or not has_room():
        return
    remove_abandoned()
    folder = MEMORY / f"whimbrel-{os.getpid()}"
    folder.mkdir(mode=0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def has_room() -> bool:
    try:
        facts = os.statvfs(MEMORY)
    except OSError:
        return False
    free = min(facts.f_bavail * facts.f_frsize, available())
    return os.access(MEMORY, os.W_OK) and not facts.f_flag & os.ST_NOEXEC and free > NEEDED


def available() -> int:
    """Bytes that could be used without swapping."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def remove_abandoned() -> None:
    """Of processes that were killed: what they left would take memory until the machine is started again."""
    for folder in MEMORY.glob("whimbrel-*"):
        if not Path("/proc", folder.name.removeprefix("whimbrel-")).exists():
            shutil.rmtree(folder, ignore_errors=True)
