"""Files that nobody closes: found when they are collected, which for most is at once; or among the descriptors."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def every_file_closed(folder: Path) -> Iterator[None]:
    """No file below ``folder`` is left for the garbage collector by what is done meanwhile, in any thread."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert not [str(each.message) for each in seen if str(folder) in str(each.message)]


def open_below(folder: Path) -> list[str]:
    """What this process has open below ``folder``."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that read the list
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [each for each in found if each.startswith(f"{folder.resolve()}/")]
