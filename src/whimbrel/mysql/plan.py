"""The record of an export: ``plan.jsonl``, one line for each step, only ever added to.

The header, then the chunks, each durable before its file may exist; ``rows`` says how many rows chunks have that are
exported, ``again`` that these are not any more, since their file is gone or damaged. Each line ends in its CRC-32::

    {"format":"whimbrel-plan/2","export":"9f0c…","table":{…},"key":["id"],"crc":"…"}
    {"number":1,"low":null,"high":[10000],"key":["id"],"crc":"…"}
    {"rows":[[1,10000],[2,9985]],"crc":"…"}
    {"again":[2],"crc":"…"}

``export`` names this one export, and is in the header of each of its files: a file of another one is never taken for
its own, whatever its chunk. Version 1, of whimbrel 0.1.0, had no seals, no name and no rows; it becomes version 2 when
it is opened.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson

from whimbrel.durable import append, is_sound, replace_file, sealed_json, sync_folder, writing
from whimbrel.errors import LogCorrupt, SchemaDrift, StateError
from whimbrel.records import Table
from whimbrel.snapshot_files import (
    Chunk,
    FilePath,
    ObjectFile,
    chunk_from_json,
    chunk_to_json,
    table_from_json,
    table_to_json,
)

FORMAT = "whimbrel-plan/2"
PLAN_FILE = "plan.jsonl"
_VERSION_1 = {"table", "key"}


class ChunkStore(Protocol):
    """Where the files of an export are, if not beside its plan. ``publish`` makes the plan durable there, too, at
    least up to the chunk of this number, and may be called in any thread.
    """

    def file(self, export: str, name: str) -> ObjectFile: ...
    def publish(self, chunk: int) -> None: ...


class Plan:
    """What ``folder`` says of its export. After a restart chunk 7 is still chunk 7. Used by the owner of the run lock.
    ``store`` has the files where they are not in the folder.

    ``table`` is None before ``begin``. ``rows`` has the chunks that are exported. Raises LogCorrupt, StateError; a last
    line that a crash cut short is removed.
    """

    def __init__(self, folder: Path, store: ChunkStore | None = None) -> None:
        self.path = folder / PLAN_FILE
        self._store = store
        self.table: Table | None = None
        self.key: tuple[str, ...] = ()
        self.export = ""
        self.chunks: list[Chunk] = []
        self.rows: dict[int, int] = {}
        lines = self._whole_lines()
        try:
            records = self._records(lines)
            for number, record in enumerate(records):
                self._take(record, first=number == 0)
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(str(error)) from error

    @property
    def last(self) -> Chunk | None:
        return self.chunks[-1] if self.chunks else None

    @property
    def complete(self) -> bool:
        """Whether the chunks hold every possible key."""
        return bool(self.chunks) and self.chunks[-1].high is None

    @property
    def exported(self) -> bool:
        """Whether every chunk is planned, and exported."""
        return self.complete and len(self.rows) == len(self.chunks)

    def file(self, chunk: Chunk) -> FilePath:
        name = f"chunk-{chunk.number:08d}.jsonl.zst"
        return self._store.file(self.export, name) if self._store else self.path.parent / name

    def publish(self, chunk: Chunk) -> None:
        """Make what it says of the chunk durable where the files are: before its file may have its name."""
        if self._store:
            self._store.publish(chunk.number)

    def begin(self, table: Table, key: tuple[str, ...], export: str = "") -> None:
        """Write the header, or check that it says the same: StateError for another key, SchemaDrift for another table.

        ``export`` is the name of a new one; one is made where it is empty. Durable when it returns.
        """
        if self.table is None:
            name = export or secrets.token_hex(8)
            left_empty = self.path.exists()  # by a crash, which may have been before its name was durable
            self._append({"format": FORMAT, "export": name, "table": table_to_json(table), "key": list(key)})
            if left_empty:
                sync_folder(self.path.parent)
            return
        place, hint = str(self.path), f"Remove {self.path.parent} to export the table again from scratch"
        if self.key != key:
            raise StateError(f"was made for the key {list(self.key)}, not {list(key)}", place=place, hint=hint)
        if self.table != table:
            raise SchemaDrift("the table has changed since its export began", place=place, hint=hint)

    def add(self, chunk: Chunk) -> None:
        """Durable when it returns."""
        self._append(chunk_to_json(chunk))

    def record(self, rows: Mapping[int, int]) -> None:
        """The chunks of these numbers are exported, with so many rows each. Durable when it returns."""
        if rows:
            self._append({"rows": sorted(rows.items())})

    def forget(self, numbers: Collection[int]) -> None:
        """The chunks of ``numbers`` are to be read again. Durable when it returns."""
        if numbers:
            self._append({"again": sorted(numbers)})

    def _append(self, record: dict[str, Any]) -> None:
        line = sealed_json(record)
        with writing(self.path):
            append(self.path, line)
        self._take(orjson.loads(line), first=self.table is None)

    def _take(self, record: dict[str, Any], *, first: bool) -> None:
        if first:
            self.table = table_from_json(record["table"])
            self.key, self.export = tuple(record["key"]), record["export"]
        elif "rows" in record:
            rows = dict(record["rows"])
            self._check_numbers(rows)
            self.rows |= rows
        elif "again" in record:
            self._check_numbers(record["again"])
            for number in record["again"]:
                self.rows.pop(number, None)
        else:
            self._take_chunk(chunk_from_json(record))

    def _take_chunk(self, chunk: Chunk) -> None:
        """Each chunk begins where the one before it ends: no key is in none or in two."""
        before = self.last
        if self.complete or (chunk.number, chunk.low) != ((before.number + 1, before.high) if before else (1, None)):
            raise ValueError(f"chunk {chunk.number} does not follow the chunk before it")
        self.chunks.append(chunk)

    def _check_numbers(self, numbers: Collection[int]) -> None:
        for number in numbers:
            if number not in range(1, len(self.chunks) + 1):
                raise ValueError(f"there is no chunk {number}")

    def _whole_lines(self) -> list[bytes]:
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.truncate(self.path, end)
        return data[:end].splitlines()

    def _records(self, lines: list[bytes]) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = list(map(orjson.loads, lines))
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("a line is not an object")
        if records and records[0].keys() == _VERSION_1:
            records = _upgraded(records)
            with writing(self.path):
                replace_file(self.path, b"".join(sealed_json(record) for record in records))
        elif not all(map(is_sound, lines)):
            raise ValueError("a line does not match its checksum")
        elif records and records[0]["format"] != FORMAT:
            raise ValueError(f"it has the format {records[0]['format']!r}")
        return records

    def _damaged(self, reason: str) -> LogCorrupt:
        hint = f"Remove the folder {self.path.parent}: the table is then exported again from scratch"
        return LogCorrupt(f"is damaged: {reason}", place=str(self.path), hint=hint)


def _upgraded(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a plan of 0.1.0. Its lines had no checksum; what they say twice, the bounds, is compared when it is taken."""
    strange = [record for record in records[1:] if record.keys() != set(Chunk._fields)]
    if strange:
        raise ValueError(f"a line has the fields {sorted(strange[0])}")
    return [{"format": FORMAT, "export": "", **records[0]}, *records[1:]]
