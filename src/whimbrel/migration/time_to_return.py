"""How long the way back remains after a cutover: DynamoDB keeps a stream's records for 24 hours."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from whimbrel.handed_over import CLOSING, OPEN, Handover

KEPT = 24 * 3600.0  # seconds
_FRESH = 10.0  # seconds: who follows says so every two


@dataclass(frozen=True, slots=True)
class WayBack:
    """``lag_seconds`` is how old what the source lacks may be, at most. ``remains_seconds``: until the first of it is
    gone from the stream; 0 if the way back is gone. ``following``: a process is at work. ``dead_letters`` are
    items that could not be written back. ``ended``: why the last process that followed ended, "" if by itself.
    """

    lag_seconds: float
    remains_seconds: float
    following: bool
    dead_letters: int
    ended: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_way_back(folder: Path, now: Handover) -> WayBack | None:
    """None where DynamoDB is not open, or was opened without a way back."""
    if now.step not in (OPEN, CLOSING) or not now.starts:
        return None
    opened, moment = now.closed_at or time.time(), time.time()
    said: dict[str, Any] = {}
    with suppress(OSError, orjson.JSONDecodeError):  # nobody followed yet
        said = orjson.loads((folder / "reverse.json").read_bytes())
    written = float(said.get("time", 0.0))
    if written < opened:  # of an earlier cutover
        said = {}
    # What is not known counts from the moment that DynamoDB was opened.
    known = said.get("lag_seconds")
    ended = str(said.get("ended", ""))
    following = bool(said) and not ended and moment - written < _FRESH
    behind = moment - opened if known is None else float(known) + (0.0 if following else moment - written)
    behind = max(0.0, behind)  # a clock that was set back makes nothing longer
    remains = 0.0 if said.get("gone") else max(0.0, KEPT - behind)
    return WayBack(behind, remains, following, int(said.get("letters", 0)), ended)
