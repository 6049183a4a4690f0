"""Shards of a stream, split and merged."""

from __future__ import annotations

import random
from typing import Any

from demo.servers import Kinesalite


def split(server: Kinesalite, stream: str, chance: random.Random) -> None:
    """One of them, somewhere."""
    shard = chance.choice(open_shards(server, stream))
    low, high = (int(shard["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
    server.client.split_shard(
        StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(chance.randrange(low + 2, high - 1))
    )
    server.until_active(stream)


def merge(server: Kinesalite, stream: str) -> None:
    """The first two."""
    first, second = sorted(open_shards(server, stream), key=lambda each: int(each["HashKeyRange"]["StartingHashKey"]))[
        :2
    ]
    server.client.merge_shards(StreamName=stream, ShardToMerge=first["ShardId"], AdjacentShardToMerge=second["ShardId"])
    server.until_active(stream)


def open_shards(server: Kinesalite, stream: str) -> list[Any]:
    listed = server.client.describe_stream(StreamName=stream)["StreamDescription"]["Shards"]
    return [shard for shard in listed if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
