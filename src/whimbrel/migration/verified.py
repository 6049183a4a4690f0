"""``verified.json``: the last verification that found both sides equal, and from where on a later one has to look.

Written when such a verification ends, of the moment when it began. A full one that finds a difference removes it. Files
that cannot be read say nothing: then everything must be verified.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import is_sound, replace_file, sealed_json, sync_folder, writing
from whimbrel.migration.dirty_files import DirtyPlace
from whimbrel.migration.prepare import Prepared
from whimbrel.migration.state import StateFolder
from whimbrel.records import Item, Position

NAME = "verified.json"


@dataclass(frozen=True, slots=True)
class Verified:
    """``position`` was applied when it began, at ``time`` (seconds since the epoch); ``place`` is of that moment, too.
    ``tables`` are the target tables by their sources. ``rules`` is a digest of the mappings and the tables' versions.
    ``unsettled`` are items, by target table, that did not stand still, and were left to the next one.
    """

    position: Position | None
    time: float
    tables: dict[str, str]
    rules: str
    place: DirtyPlace
    full: float = 0.0  # when the last verification of everything began
    unsettled: dict[str, list[Item]] = field(default_factory=dict)


def read_verified(root: Path) -> Verified | None:
    """Of the state folder ``root``; None if there is none, or none that can be read."""
    try:
        line = (root / NAME).read_bytes()
        if not line.endswith(b"\n") or not is_sound(line[:-1]):
            return None
        fields: dict[str, Any] = orjson.loads(line)
        del fields["crc"]
        position = Position(**fields.pop("position")) if fields["position"] else fields.pop("position")
        return Verified(position=position, place=DirtyPlace(**fields.pop("place")), **fields)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_verified(root: Path, verified: Verified) -> None:
    """Unless it has one already that began later. Durable when it returns. Raises StateError."""
    before = read_verified(root)
    if before and before.place.set == verified.place.set and before.place.file > verified.place.file:
        return
    fields = asdict(verified)
    fields["position"] = verified.position.as_fields() if verified.position else None
    fields["place"] = verified.place._asdict()
    with writing(root / NAME):
        replace_file(root / NAME, sealed_json(fields))


def remove_verified(root: Path) -> None:
    """From now on everything must be verified. Durable when it returns. Raises StateError."""
    with writing(root / NAME):
        if (root / NAME).exists():
            (root / NAME).unlink()
            sync_folder(root)


def rules_now(prepared: Prepared) -> str:
    """What the items are made with, as a digest: an ALTER changes items without a change in the log."""
    tables = StateFolder(prepared.project.state).tables
    versions = tables.read_bytes() if tables.exists() else b""
    rules = orjson.dumps(prepared.project.tables, default=repr)
    return blake2b(versions + rules, digest_size=16).hexdigest()


def targets_of(prepared: Prepared) -> dict[str, str]:
    return {source: mapping.target for source, mapping in prepared.mappings.items()}
