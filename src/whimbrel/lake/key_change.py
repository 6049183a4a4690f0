"""What became of one key between two exports, and the line that says so in the native layout."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from whimbrel.records import Item

BOTH_IMAGES = "NEW_AND_OLD_IMAGES"


class KeyChange(NamedTuple):
    """``micros`` is when, since the epoch."""

    keys: Item
    old: Item | None
    new: Item | None
    micros: int

    def line(self, view: str) -> bytes:
        """For an export with this ``view``."""
        line: dict[str, object] = {"Metadata": {"WriteTimestampMicros": {"N": str(self.micros)}}, "Keys": self.keys}
        if self.old is not None and view == BOTH_IMAGES:
            line["OldImage"] = self.old
        if self.new is not None:
            line["NewImage"] = self.new
        return orjson.dumps(line)
