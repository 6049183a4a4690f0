"""``stream-places.json``: how far the streams of the targets have been read, as far as they are older than a
verification. A stream has no index of times; without these places each look begins at its oldest record.

Only places at and before which every record is older than the verification's beginning are kept. A later verification
begins later, so they hold for it too; for one that says it began earlier (a clock was set back) they do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from whimbrel.durable import is_sound, replace_file, sealed_json, writing

NAME = "stream-places.json"


class StreamPlace(NamedTuple):
    """A record of a shard: its sequence number, and when it was made (seconds since the epoch)."""

    sequence: str
    created: float


Places = dict[str, dict[str, StreamPlace]]  # by stream and shard


def read_places(root: Path, began: datetime, oldest: datetime) -> Places:
    """Of the state folder ``root``, for a verification that ``began`` then. None that is older than ``oldest``: the
    stream may have forgotten it. A file that cannot be read says nothing: then all is read.
    """
    try:
        line = (root / NAME).read_bytes()
        if not line.endswith(b"\n") or not is_sound(line[:-1]):
            return {}
        fields: Any = orjson.loads(line)
        if datetime.fromtimestamp(fields["began"], UTC) > began:
            return {}
        return {
            stream: {
                shard: place
                for shard, each in shards.items()
                if (place := StreamPlace(*each)).created > oldest.timestamp()
            }
            for stream, shards in fields["places"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_places(root: Path, began: datetime, places: Mapping[str, Mapping[str, StreamPlace]]) -> None:
    """Durable when it returns. Raises StateError."""
    plain = {stream: {shard: [*place] for shard, place in shards.items()} for stream, shards in places.items()}
    fields = {"began": began.timestamp(), "places": plain}
    with writing(root / NAME):
        replace_file(root / NAME, sealed_json(fields))
