"""Who may read what whimbrel writes, and the files with secrets that it reads.

The change log, exports, checkpoints, data sets and models hold production data. So while whimbrel works, the whole
process makes files that only their owner may read, whichever library makes them and whatever the umask was: a mode at
each call would be forgotten at one of them.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_
from pathlib import Path

OWNER, GROUP, EVERYONE = READERS = ("owner", "group", "everyone")
_TAKEN_FROM_OTHERS = {OWNER: 0o077, GROUP: 0o027, EVERYONE: 0o022}  # what a umask takes away
_OTHERS = 0o077


_lock = threading.Lock()
_before = 0  # the umask outside of all ``private``
_within: dict[int, list[int]] = {}  # by thread: what it takes from others, the innermost ``private`` last


@contextmanager
def private(readers: str = OWNER) -> Iterator[None]:
    """Only ``readers`` (one of READERS) may read what is written from here on: files have mode 0600 and folders 0700
    for the owner alone.

    The umask is the process's. While several threads are within ``private``, it lets nobody read what one of them
    keeps from others.
    """
    thread = threading.get_ident()
    _enter(thread, _TAKEN_FROM_OTHERS[readers])
    try:
        yield
    finally:
        _leave(thread)


def _enter(thread: int, taken: int) -> None:
    global _before
    with _lock:
        if not _within:
            _before = os.umask(taken)
        _within.setdefault(thread, []).append(taken)
        _set()


def _leave(thread: int) -> None:
    with _lock:
        _within[thread].pop()
        if not _within[thread]:
            del _within[thread]
        _set()


def _set() -> None:
    os.umask(reduce(or_, (asked[-1] for asked in _within.values())) if _within else _before)


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
    that nobody else can write may be readable where its file system is mounted read-only: so Docker and Kubernetes
    mount secrets (mode 0444 or 0644).
    Raises OSError.
    """
    status = secret.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in (os.geteuid(), 0):
        return f"belongs to another user (uid {status.st_uid})"
    mounted = status.st_uid == 0 and not mode & 0o022 and os.statvfs(secret).f_flag & os.ST_RDONLY
    return "" if mounted or not mode & _OTHERS else f"can be read by others (mode {mode:04o})"
