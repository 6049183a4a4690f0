"""Lanes: every item belongs to one of them, by its key, for good. Order is kept within a lane.

A lane is a partition key of the stream, with a hash key of its own, so that lanes are spread evenly over any number of
shards.
"""

from __future__ import annotations

from zlib import crc32

from whimbrel.item import key_id
from whimbrel.records import Item

LANES = 32  # never to be changed: the place of an item in the stream depends on it
_HASHES = 2**128


def lane_of(key: Item) -> int:
    """Equal for keys that DynamoDB takes for the same."""
    try:
        return lane_of_id(key_id(key))
    except TypeError:  # a lone surrogate: no item can have the key, and its lane writes the dead letter
        return crc32(repr(sorted(key.items())).encode("ascii", "backslashreplace")) % LANES


def lane_of_id(identity: bytes) -> int:
    """By a key's ``key_id``."""
    return crc32(identity) % LANES


def partition_key(lane: int) -> str:
    return f"lane-{lane:02}"


def hash_key(lane: int) -> str:
    """The middle of the lane's part of the range: a shard split at an edge has whole lanes."""
    return str((2 * lane + 1) * _HASHES // (2 * LANES))
