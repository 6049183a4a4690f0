"""Who may read what whimbrel writes, and the files with secrets that it reads.

The change log, exports, checkpoints, data sets and models hold production data. So the whole process makes files that
only their owner may read, whichever library makes them and whatever the umask was: a mode at each call would be
forgotten at one of them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWNER, GROUP, EVERYONE = READERS = ("owner", "group", "everyone")
_TAKEN_FROM_OTHERS = {OWNER: 0o077, GROUP: 0o027, EVERYONE: 0o022}  # what a umask takes away
_OTHERS = 0o077


@contextmanager
def private() -> Iterator[None]:
    """Files made from here on have mode 0600 and folders 0700."""
    before = os.umask(_TAKEN_FROM_OTHERS[OWNER])
    try:
        yield
    finally:
        os.umask(before)


def share_with(readers: str) -> None:
    """From here on, ``readers`` (one of READERS) may read what is written, until ``private`` ends."""
    os.umask(_TAKEN_FROM_OTHERS[readers])


def close_folder(folder: Path, readers: str, around: Path) -> str:
    """Take from a folder that may have been made by somebody else what others than ``readers`` can do in it.

    What to tell the person, or "" where nothing was open. Only named, and left as it is, is a folder of another owner,
    one with a sticky bit (/tmp), and one that holds ``around``, the working folder, or the person's home.
    """
    try:
        status = folder.stat()
    except OSError:  # not there, or not ours to see: whoever needs it says so
        return ""
    mode = stat.S_IMODE(status.st_mode)
    if not mode & _TAKEN_FROM_OTHERS[readers] & 0o777:
        return ""
    closed = mode & ~_TAKEN_FROM_OTHERS[readers]
    if status.st_uid == os.geteuid() and not mode & stat.S_ISVTX and not _holds(folder, around):
        folder.chmod(closed)
        return f"{folder} was open to others (mode {mode:04o}) and has mode {closed:04o} now"
    return (
        f"{folder} is open to others (mode {mode:04o}), and production data is written there: choose a folder of its "
        f"own, or chmod {closed & 0o777:04o} {folder}"
    )


def _holds(folder: Path, around: Path) -> bool:
    place = folder.resolve()
    return any(each.resolve().is_relative_to(place) for each in (around, Path.cwd(), Path.home()))


def openness(secret: Path) -> str:
    """What is wrong with who may read a file with a secret, or "": ssh's rule for keys, with one exception.

    The owner must be this user or root, and neither group nor others may do anything with the file. A file of root's
    that others can read but not write is taken where it lies on a read-only or in-memory file system: so Docker and
    Kubernetes mount secrets (mode 0444 or 0644).
    Raises OSError.
    """
    status = secret.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in (os.geteuid(), 0):
        return f"belongs to another user (uid {status.st_uid})"
    if not mode & _OTHERS:
        return ""
    if status.st_uid == 0 and not mode & 0o022 and _is_mounted_secret(secret):
        return ""
    return f"can be read by others (mode {mode:04o})"


def _is_mounted_secret(secret: Path) -> bool:
    place = secret.resolve()
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return True
    return _file_system_of(place) in ("tmpfs", "ramfs")


def _file_system_of(place: Path) -> str:
    """The type of the innermost mount that holds ``place``; "" where the system does not say."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    mounts = [(Path(fields[1].replace("\\040", " ")), fields[2]) for fields in map(str.split, lines) if len(fields) > 2]
    holding = [(len(point.parts), kind) for point, kind in mounts if place.is_relative_to(point)]
    return max(holding, key=lambda each: each[0], default=(0, ""))[1]
