"""What is noted of writes at DynamoDB after a rollback (``late`` finds them), and how ``status`` says it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import replace_file, writing
from whimbrel.errors import StateError
from whimbrel.handed_over import FOLLOWING, load
from whimbrel.migration.dirty_files import DirtyPlace

STATE, LIST = "late.json", "late-writes.jsonl"


@dataclass(frozen=True, slots=True)
class LateState:
    """``opened``: when the source was given back. All writes up to ``until`` (both in seconds since the epoch) are
    noted, but for those in the times of ``unknown``: from, to, and why. ``ended``: why nobody reads on, "" if
    somebody does. ``noted`` is where the dirty keys have what whimbrel writes from ``until`` on.
    """

    opened: float
    until: float
    streams: dict[str, str]  # by target table, the stream's ARN
    places: dict[str, dict[str, str]]
    noted: DirtyPlace | None
    unknown: list[tuple[float, float, str]]
    ended: str = ""


@dataclass(frozen=True, slots=True)
class LateWrites:
    """What ``status`` says of it. ``count`` writes are listed in the file ``path``."""

    count: int
    path: str
    until: float
    unknown: tuple[tuple[float, float, str], ...]
    ended: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_late(root: Path) -> LateWrites | None:
    """None if no rollback gave the source back, or a cutover took it again. Raises StateError."""
    now = read_state(root)
    if now is None or load(root).step != FOLLOWING:
        return None
    path = root / LIST
    return LateWrites(_lines(path), str(path), now.until, tuple(now.unknown), now.ended)


def read_state(root: Path) -> LateState | None:
    path = root / STATE
    try:
        fields = orjson.loads(path.read_bytes())
        place = fields.pop("noted")
        unknown = [(begin, end, why) for begin, end, why in fields.pop("unknown")]
        return LateState(noted=DirtyPlace(**place) if place else None, unknown=unknown, **fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "Remove it: late writes at DynamoDB are not looked for then."
        raise StateError(f"cannot be read: {error}", place=str(path), hint=hint) from error


def save_state(root: Path, now: LateState) -> None:
    fields = asdict(now) | {"noted": now.noted._asdict() if now.noted else None}
    with writing(root / STATE):
        replace_file(root / STATE, orjson.dumps(fields) + b"\n")


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StateError(f"cannot be read: {error.strerror}", place=str(path)) from error
