"""How far a handover is: one small JSON file in the state folder, replaced atomically; ``whimbrel status`` prints it.

The steps are those of spec/cutover.pml. A row in the source itself (handover/state.py) says the same, and holds
the decision: the step is in the file after the row has it, and what belongs to the step is in the file before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import replace_file, writing
from whimbrel.errors import StateError, TargetOpen
from whimbrel.records import Position

VERSION = 1
FOLLOWING, CUTTING, DECIDED, OPEN = "FOLLOWING", "CUTTING", "DECIDED", "OPEN"
CLOSING, RETURNED, FINISHED = "CLOSING", "RETURNED", "FINISHED"
STEPS = (FOLLOWING, CUTTING, DECIDED, OPEN, CLOSING, RETURNED, FINISHED)
# Which side takes writes. While a cutover is under way, and until its hooks have run, the application finds the source
# closed.
SIDES = {FOLLOWING: "mysql", CUTTING: "mysql", OPEN: "dynamodb", FINISHED: "dynamodb"}


@dataclass(frozen=True, slots=True)
class Handover:
    """``epoch`` grows with every command that takes the handover over. ``fence_epoch`` is that of the one that made the
    fence, and ``exempt`` the account that it lets write. ``holder`` is the token by which the row in the source knows
    this folder; ``holder_pending`` the one that it may know already.

    ``server`` is the identity of the source when it was fenced, ``end`` the last Position with an application's write
    at the source, ``forward_from`` where the forward migration continues after a rollback. ``starts`` has, by target
    table and shard, the sequence number from which the reverse stream reads, and ``streams`` the stream's ARN by target
    table. ``stall_ms`` is how long nobody could
    write, from the lock granted to DynamoDB durably open, and ``stall_parts`` the milliseconds of each part of it.
    """

    step: str = FOLLOWING
    epoch: int = 0
    tables: tuple[tuple[str, str], ...] = ()  # schema and name
    fence: str = ""
    fence_epoch: int = 0
    exempt: str = ""
    holder: str = ""
    holder_pending: str = ""
    server: str = ""
    end: Position | None = None
    forward_from: Position | None = None
    starts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    streams: Mapping[str, str] = field(default_factory=dict)
    revoked: tuple[tuple[str, ...], ...] = ()  # account, schema, table and rights, as the fence took them away
    streams_made: tuple[str, ...] = ()  # target tables whose streams whimbrel turned on
    closed_at: float | None = None  # when nobody could write any more, seconds since the epoch
    asked_ms: float | None = None
    stall_ms: float | None = None
    stall_parts: Mapping[str, float] = field(default_factory=dict)
    source_gone: float | None = None  # when somebody said that the source is gone for good, seconds since the epoch

    @property
    def side(self) -> str:
        """``mysql`` (the source), ``dynamodb`` or ``none``: who takes writes."""
        return SIDES.get(self.step, "none")

    def to_dict(self) -> dict[str, Any]:
        """Without the tokens, which are nobody else's."""
        fields = {"side": self.side} | as_fields(self)
        return {name: value for name, value in fields.items() if not name.startswith("holder")}


def handover_file(folder: Path) -> Path:
    return folder / "handover.json"


def load(folder: Path) -> Handover:
    """What the state folder has; ``Handover()`` before the first cutover. Raises StateError."""
    path = handover_file(folder)
    try:
        fields = orjson.loads(path.read_bytes())
        checksum = fields.pop("checksum")
    except FileNotFoundError:
        return Handover()
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise StateError(f"cannot be read: {error}", place=str(path), hint=_RESTORE) from error
    if checksum != _checksum(fields):
        raise StateError("does not match its checksum", place=str(path), hint=_RESTORE)
    if fields.pop("version") != VERSION or fields.keys() != as_fields(Handover()).keys() or fields["step"] not in STEPS:
        hint = "Continue with the version of whimbrel that wrote it."
        raise StateError("is of another version of whimbrel", place=str(path), hint=hint)
    positions = {name: Position(**fields[name]) if fields[name] else None for name in ("end", "forward_from")}
    tables = {"tables": tuple((schema, name) for schema, name in fields["tables"])}
    more = {"streams_made": tuple(fields["streams_made"]), "revoked": tuple(map(tuple, fields["revoked"]))}
    return Handover(**fields | positions | tables | more)


def save(folder: Path, handover: Handover) -> None:
    """Durable on return. Raises StateError."""
    fields = {"version": VERSION} | as_fields(handover)
    data = orjson.dumps(fields | {"checksum": _checksum(fields)}, option=orjson.OPT_INDENT_2)
    path = handover_file(folder)
    with writing(path):
        replace_file(path, data + b"\n")


def as_fields(handover: Handover) -> dict[str, Any]:
    found = {name: getattr(handover, name) for name in Handover.__dataclass_fields__}
    for name in ("end", "forward_from"):
        found[name] = found[name].as_fields() if found[name] else None
    found["tables"] = [list(table) for table in handover.tables]
    found["streams_made"] = list(handover.streams_made)
    found["stall_parts"] = dict(handover.stall_parts)
    found["streams"] = dict(handover.streams)
    found["revoked"] = [list(each) for each in handover.revoked]
    found["starts"] = {table: dict(shards) for table, shards in handover.starts.items()}
    return found


def refuse_handed_over(folder: Path) -> None:
    """What moves data forward has ended once a cutover is decided, and must not begin while one is to be undone. Raises
    TargetOpen.
    """
    now = load(folder)
    if now.step == FOLLOWING:
        return
    place = str(handover_file(folder))
    if now.step == CUTTING:
        raise TargetOpen(
            "a cutover was broken off before its decision, and must be undone first",
            place=place,
            hint="`whimbrel migrate` and `whimbrel cutover` undo it.",
        )
    raise TargetOpen(
        f"cutover {now.epoch} was decided (step {now.step}): nothing is migrated forward any more",
        place=place,
        hint="`whimbrel status` says which side is open; `whimbrel cutover` continues.",
    )


def _checksum(fields: Mapping[str, Any]) -> str:
    return blake2b(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


_RESTORE = (
    "Restore it from a copy of the state folder; the row in the source's table whimbrel_handover says the step too."
)
