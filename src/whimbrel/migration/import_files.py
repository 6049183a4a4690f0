"""The files of an import: gzip-compressed DynamoDB JSON in a bucket, made of the chunks of an export.

A file has chunks that are far from each other, and its items are ordered by a hash of their keys: neighbouring keys are
spread over what DynamoDB reads at a time. A file counts in this order: its dead letters are durable, it has its name in
the bucket, its chunks are in the Checkpoint as loaded. What is there without that is removed, and written again.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from whimbrel.bucket import Bucket
from whimbrel.checkpoint import TableProgress
from whimbrel.dynamodb.imports import ItemFile
from whimbrel.dynamodb.write import Rejected
from whimbrel.item import unfit
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.load import fitting, parts_of
from whimbrel.migration.portions import Portions, Sized
from whimbrel.migration.progress import Progress
from whimbrel.migration.regroup import Regrouped
from whimbrel.migration.state import CheckpointStore
from whimbrel.mysql.plan import Plan
from whimbrel.records import Fault, Provenance, Put, Row

MOST_FILES = 10_000  # of one source table; DynamoDB takes 50,000 for a target


class ImportFiles:
    """Writes the files of one source table below ``prefix``; used as a Loader is."""

    def __init__(
        self,
        mapping: TableMapping,
        bucket: Bucket,
        prefix: str,
        dead: DeadLetters,
        checkpoints: CheckpointStore,
        progress: Progress,
        stop: threading.Event,
        provenance: Provenance,
        sure: Callable[[], object],
    ) -> None:
        """``sure`` raises if another machine has continued the migration."""
        self._sure = sure
        self._mapping, self._bucket = mapping, bucket
        self._prefix = f"{prefix}{quote(mapping.source, safe='')}/"
        self._dead, self._checkpoints, self._progress, self._stop = dead, checkpoints, progress, stop
        self._counts = progress.tables[mapping.source]
        self._provenance = provenance
        self._index_types = {
            key.name: key.type for index in mapping.rule.indexes for key in (index.partition_key, index.sort_key) if key
        }

    def load(self, plan: Plan, spill_folder: Path) -> int:
        """Write what is not written yet. Returns the number of a chunk whose file is not what ``plan`` says, or 0.

        Returns early, with what is done recorded, when ``stop`` is set or such a chunk is met.
        """
        shutil.rmtree(spill_folder, ignore_errors=True)  # what a crash left
        self._portions = Portions(self._mapping, spill_folder)
        loaded = self._checkpoints.now.table(self._mapping.source).loaded
        files = self._files()
        done = {self._name(number) for number, parts in files.items() if loaded.issuperset(parts)}
        self._bucket.remove([name for name, _ in self._bucket.list(self._prefix) if name not in done])
        due = {number: parts for number, parts in files.items() if self._name(number) not in done}
        return (
            self._write_regrouped(plan, due, spill_folder) if self._mapping.regrouped else self._write_chunks(plan, due)
        )

    def _files(self) -> dict[int, list[int]]:
        """The numbers of the parts that each file has."""
        progress = self._checkpoints.now.table(self._mapping.source)
        parts, files = parts_of(self._mapping, progress), files_of(self._mapping, progress)
        return {file: list(range(file, parts + 1, files)) for file in range(1, files + 1)}

    def _name(self, number: int) -> str:
        return f"{self._prefix}{number:05d}.json.gz"

    def _write_chunks(self, plan: Plan, due: dict[int, list[int]]) -> int:
        for number, parts in due.items():
            exports = []
            for part in parts:
                if (export := fitting(plan, plan.chunks[part - 1])) is None:
                    return part
                exports.append(export)
            if not self._write(number, parts, (export.sized() for export in exports)):
                break
        return 0

    def _write_regrouped(self, plan: Plan, due: dict[int, list[int]], spill_folder: Path) -> int:
        """The group key is not a prefix of the primary key: bring each item's rows together on disk first."""
        partitions = parts_of(self._mapping, self._checkpoints.now.table(self._mapping.source))
        with Regrouped(self._mapping, spill_folder, partitions) as groups:
            for chunk in plan.chunks if due else ():
                if self._stop.is_set():
                    return 0
                if (export := fitting(plan, chunk)) is None:
                    return chunk.number
                for rows in export:
                    groups.add(rows)
            for number, parts in due.items():
                if not self._write(number, parts, (groups.sized(part - 1) for part in parts)):
                    break
        return 0

    def _write(self, number: int, parts: list[int], read: Iterable[Iterable[Sized]]) -> bool:
        """One file; False when it was left because of ``stop``."""
        file = ItemFile(self._bucket.file(self._name(number)).create())
        rows_read, faults = 0, list[Fault]()
        try:
            for part in read:
                for rows in self._portions.of(part):
                    if self._stop.is_set():
                        return False
                    rows_read += len(rows)
                    file.write(self._fitting(rows, faults))
                    self._count(rows)
                    del rows  # before the next ones are read
            self._progress.dead += self._dead.add(faults, "load")
            self._sure()
            file.close()
        finally:
            file.abandon()
        now = self._checkpoints.now.with_loaded(self._mapping.source, parts, rows=rows_read, items=file.items)
        self._checkpoints.save(now)
        self._counts.loaded_items += file.items
        return True

    def _count(self, rows: list[Row]) -> None:
        self._counts.loaded_rows += len(rows)

    def _fitting(self, rows: list[Row], faults: list[Fault]) -> Iterator[Put]:
        """The items of ``rows`` that DynamoDB can take. It would only count the others."""
        puts, found = self._mapping.put_items(rows, self._provenance)
        faults += found
        for put in puts:
            if reason := unfit(put.key, put.item, self._index_types):
                faults.append(Rejected(put, reason).fault(self._mapping.source))
            else:
                yield put


def files_of(mapping: TableMapping, progress: TableProgress) -> int:
    """How many files the import of a table has."""
    return min(parts_of(mapping, progress), MOST_FILES)
