"""Regroup: bring the rows of each item together on disk, in bounded memory, when the source cannot hand them over in
that order.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any
from zlib import crc32

import orjson

from whimbrel.mapping.design import TableMapping
from whimbrel.records import Row
from whimbrel.spill import PartitionFiles

ROWS, BYTES = 500, 1 << 20  # of what is handed out at a time


class Regrouped:
    """Rows in partitions by the item that they belong to: all rows of one item are in one partition.

    ``division`` is 0, or how often these rows have been divided before and this time: each time by another hash.
    """

    def __init__(self, mapping: TableMapping, folder: Path, partitions: int, *, division: int = 0) -> None:
        self._mapping = mapping
        self._division = division
        self._spill = PartitionFiles(folder, partitions, hashed=partial(_hashed, division) if division else crc32)

    def add(self, rows: Iterable[Row]) -> None:
        """Rows without a key belong to no item: where they are divided once more, any partition will do."""
        for row in rows:
            record = record_of(row)
            key = self._mapping.group_key(row)
            self._spill.add(record if self._division and not key else key, record)

    def rows(self, partition: int) -> list[Row]:
        return [row for rows, _ in self.sized(partition) for row in rows]

    def sized(self, partition: int) -> Iterator[tuple[list[Row], int]]:
        """The rows of a partition, few at a time, and how many bytes they have as JSON."""
        rows: list[Row] = []
        size = 0
        for _key, record in self._spill.partition(partition):
            rows.append(row_of(record))
            size += len(record)
            if len(rows) >= ROWS or size >= BYTES:
                yield rows, size
                rows, size = [], 0
        if rows:
            yield rows, size

    def __enter__(self) -> Regrouped:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spill.close()


def partition_of(key: bytes, partitions: int) -> int:
    """In which of so many the rows of an item are, where they are not divided yet."""
    return crc32(key) % partitions


def _hashed(division: int, key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8, salt=bytes([division])).digest(), "little")


def _tagged(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"no row value: {value!r}")


def record_of(row: Row) -> bytes:
    """As JSON, from which ``row_of`` makes it again; equal rows of one table give equal bytes.

    A copy: what orjson gives takes a kilobyte, and to keep thousands of these costs ten times as much as to make them.
    """
    return orjson.dumps(row, default=_tagged)[:-1] + b"]"


def row_of(record: bytes) -> Row:
    values: list[Any] = orjson.loads(record)
    return tuple(base64.b64decode(value["base64"]) if isinstance(value, dict) else value for value in values)
