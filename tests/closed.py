"""Files that nobody closes: found when they are collected, which for most is at once."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def every_file_closed(folder: Path) -> Iterator[None]:
    """No file below ``folder`` is left for the garbage collector by what is done meanwhile, in any thread."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert not [str(each.message) for each in seen if str(folder) in str(each.message)]
