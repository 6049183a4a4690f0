"""The pieces of a plan in a bucket: a chunk is in one of them before its file may be there."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from tests.migration.applied import TABLES
from whimbrel.bucket import Bucket
from whimbrel.migration.kept_export import KeptExport
from whimbrel.mysql.plan import Plan
from whimbrel.snapshot_files import Chunk


class Objects:
    """What a Bucket is asked by a plan."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def put_new(self, name: str, data: bytes) -> bool:
        return self.held.setdefault(name, data) is data

    def pieces(self) -> bytes:
        return b"".join(data for name, data in sorted(self.held.items()) if "/plan/" in name)


def test_chunks_that_are_planned_ahead_are_in_one_piece(tmp_path: Path) -> None:
    objects, sure = Objects(), list[int]()
    kept = KeptExport(cast(Bucket, objects), tmp_path, "shop.t", lambda: sure.append(1))
    kept.begin("e")
    plan = Plan(tmp_path, kept)
    plan.begin(TABLES[0], ("id",), "e")

    def planned(count: int) -> list[Chunk]:
        first = len(plan.chunks)
        for number in range(first + 1, first + count + 1):
            plan.add(Chunk(number, (number,) if number > 1 else None, (number + 1,), ("id",)))
        return plan.chunks[first:]

    some = planned(3)
    for chunk in (some[1], some[0], some[2]):  # in the order in which they are read
        plan.publish(chunk)
        assert b'"number":%d,' % chunk.number in objects.pieces()
    assert len(objects.held) == 1
    for chunk in planned(2):
        plan.publish(chunk)
        assert b'"number":%d,' % chunk.number in objects.pieces()
    assert len(objects.held) == 2
    assert len(sure) == 5  # each time, that no other machine has gone on with it
    plan.record({1: 10})
    kept.whole()
    assert objects.pieces() == plan.path.read_bytes()
