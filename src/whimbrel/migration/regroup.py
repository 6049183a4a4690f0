"""Regroup: bring the rows of each item together on disk, in bounded memory, when the source cannot hand them over in
that order.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from whimbrel.mapping.design import TableMapping
from whimbrel.records import Row
from whimbrel.spill import PartitionFiles


class Regrouped:
    """Rows in partitions by the item that they belong to: all rows of one item are in one partition."""

    def __init__(self, mapping: TableMapping, folder: Path, partitions: int) -> None:
        self._mapping = mapping
        self._spill = PartitionFiles(folder, partitions)

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._spill.add(self._mapping.group_key(row), orjson.dumps(row, default=_tagged))

    def rows(self, partition: int) -> list[Row]:
        return [_row(record) for _key, record in self._spill.partition(partition)]

    def __enter__(self) -> Regrouped:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spill.close()


def _tagged(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"no row value: {value!r}")


def _row(record: bytes) -> Row:
    values: list[Any] = orjson.loads(record)
    return tuple(base64.b64decode(value["base64"]) if isinstance(value, dict) else value for value in values)
