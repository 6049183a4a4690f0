"""Names and paths that others wrote (a manifest, a key in S3, a table's name) stay inside of their folder.

A name becomes one step of a path or is refused; a path is followed through all links before it is said to be inside;
and only regular files are opened: a FIFO would never answer, a device never end.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from whimbrel.errors import StateError, UserError
from whimbrel.project.section import is_plain_name


def child(folder: Path, name: str) -> Path:
    """What is called ``name`` in the folder. Raises UserError for a name that is not a plain file name."""
    if not is_plain_name(name):
        hint = "A name has no '/', no control characters, does not begin with a dot, and has 200 bytes at most."
        raise UserError(f"{name!r} cannot be the name of a folder", hint=hint)
    return folder / name


def regular_inside(path: Path, root: Path) -> Path:
    """``path``, which is a regular file inside of ``root``, also when links are followed. Raises StateError."""
    hint = "Copy the export again, with the files themselves instead of links."
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(root.resolve()):
            raise StateError(f"it leads out of its folder, to {real}", place=str(path), hint=hint)
        if not stat.S_ISREG(real.stat().st_mode):
            raise StateError("not a regular file", place=str(path), hint=hint)
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a NUL in the name
        raise StateError(f"cannot be read: {error}", place=str(path), hint=hint) from error
    return path


def open_regular(path: Path) -> BufferedReader:
    """The file for reading. Raises StateError when it is not a regular one, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StateError("not a regular file", place=str(path), hint="Name an export's folder or a file.")
    return os.fdopen(descriptor, "rb")


def read_small(path: Path, root: Path, most: int) -> bytes:
    """The content of a file inside of ``root``, which has ``most`` bytes at most. Raises StateError, OSError."""
    with open_regular(regular_inside(path, root)) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise StateError(f"it has more than {most:,} bytes", place=str(path), hint="Copy the export again.")
    return data
