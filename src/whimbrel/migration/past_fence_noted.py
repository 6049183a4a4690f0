"""What is noted of writes at the source past the fence (``past_fence`` finds them), and how ``status`` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import replace_file, writing
from whimbrel.errors import StateError
from whimbrel.handed_over import CLOSING, OPEN, Handover
from whimbrel.migration.dead import read_letters
from whimbrel.migration.waivers import named
from whimbrel.records import Position

STATE, LIST = "past-fence.json", "past-fence.jsonl"


@dataclass(frozen=True, slots=True)
class ReadPastFence:
    """``epoch`` is the fence's. Everything up to ``position`` was looked at; ``more`` changes were not named.
    ``faults``: what of the fence was not as it was made, at the last look. ``ended``: why nobody can read on.
    """

    epoch: int
    position: Position
    more: int = 0
    faults: tuple[str, ...] = ()
    ended: str = ""


@dataclass(frozen=True, slots=True)
class PastFence:
    """What ``status`` says of it. ``count`` changes were seen, and are in the file ``path`` (MOST of them)."""

    count: int
    first: str
    path: str
    position: str
    faults: tuple[str, ...]
    ended: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_past_fence(root: Path, now: Handover) -> PastFence | None:
    """None where nobody looked since the cutover, or DynamoDB is not open. Raises StateError."""
    read = read_noted(root)
    if read is None or now.step not in (OPEN, CLOSING) or read.epoch != now.fence_epoch:
        return None
    letters = named(read_letters(root / LIST))
    return PastFence(
        letters.letters + read.more, str(letters), str(root / LIST), str(read.position), read.faults, read.ended
    )


def read_noted(root: Path) -> ReadPastFence | None:
    path = root / STATE
    try:
        fields: Mapping[str, Any] = orjson.loads(path.read_bytes())
        position, faults = Position(**fields["position"]), tuple(fields["faults"])
        return ReadPastFence(int(fields["epoch"]), position, int(fields["more"]), faults, str(fields["ended"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "Remove it: the source's binlog is read again from the end of the cutover."
        raise StateError(f"cannot be read: {error!r}", place=str(path), hint=hint) from error


def save_noted(root: Path, read: ReadPastFence) -> None:
    fields = asdict(read) | {"position": read.position.as_fields()}
    with writing(root / STATE):
        replace_file(root / STATE, orjson.dumps(fields) + b"\n")
