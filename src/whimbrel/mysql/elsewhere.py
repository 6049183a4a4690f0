"""Another process that reads chunks of a table beside the one that plans them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from whimbrel.snapshot_files import Chunk


class Elsewhere(Protocol):
    """It takes chunks once it is ``ready``. ``read`` has some of them read at once, and says how many rows they had
    when all of them are whole; it is called in a thread of its own, and not again before it has returned.
    """

    @property
    def ready(self) -> bool: ...
    def read(self, chunks: Sequence[Chunk]) -> int: ...
