"""What it takes for a file to be there after a power cut: its data synced, and the folder that names it synced too."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the creation, renaming and removal of names in ``folder`` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Give ``path`` the content ``data`` durably: a reader and a crash see the old content or the new, never a mixture.

    The order matters: data durable, then the name moved, then the folder durable. Raises OSError.
    """
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Add ``line`` to a file of lines, durable on return. Half a line that a crash left is cut off first."""
    cut_torn_line(path)
    with path.open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def cut_torn_line(path: Path) -> None:
    """A crash may leave half a line at the end, which was never durable; what is appended must not run into it."""
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
