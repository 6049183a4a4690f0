"""A load by Spark without Spark: its tasks, in this process, as Spark may hand them out. What Spark itself does with
them is in tests/e2e/test_spark.py.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import pyarrow
import pytest

from tests.migration.loading import START, Loading
from whimbrel.kinesis.settings import FunctionSettings, SourceTable
from whimbrel.mapping.provenance import of_snapshot
from whimbrel.migration.spark import shuffle, submitted, task
from whimbrel.migration.spark.job import read_job
from whimbrel.migration.spark.places import place_at
from whimbrel.migration.spark.runner import JobState, Submission
from whimbrel.migration.spark.submitted import SparkLoader, SparkWork
from whimbrel.migration.spark.told import DONE, Done, done_to_json
from whimbrel.project import NO_SOURCE, Project, Spark, TableRule, Target
from whimbrel.records import Table

TARGET = Target(endpoint="http://127.0.0.1:1", region="us-east-1", concurrency=2)


class InThisProcess:
    """A runner whose job is done while it is submitted. ``do`` is called for each task with what would do it, and may
    do so never, again, or raise.
    """

    def __init__(self, submission: Submission, do: Callable[[Callable[[], None]], None], seed: int) -> None:
        self._where, self._do = submission.where, do
        self._chance = random.Random(seed)
        self.cancelled: list[str] = []
        self._failed = ""

    def submit(self) -> str:
        place = place_at(self._where)
        job = read_job(place)
        try:
            if job.partitions:
                loaded = self._shuffled([each.chunk.number for each in job.chunks])
                for number in set(job.parts) - loaded:
                    place.put_new(f"{DONE}{number}", done_to_json(Done(number)))
            else:
                for number in self._chance.sample(job.parts, len(job.parts)):
                    self._do(lambda number=number: task.load_chunk(self._where, number))  # type: ignore[misc]
        except Exception as error:
            self._failed = f"a task failed: {error}"
        return "job-1"

    def _shuffled(self, chunks: list[int]) -> set[int]:
        """As Spark does: rows of one part to one task, sorted as bytes, in batches of any size."""
        numbers = pyarrow.record_batch([pyarrow.array(chunks, pyarrow.int32())], names=["number"])
        tasks: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        many = self._chance.randint(1, 4)
        for row in self._rows(shuffle.rows_of_chunks(self._where, iter([numbers]))):
            tasks[row[0] % many].append(row)
        loaded: set[int] = set()
        for rows in tasks.values():
            ordered = sorted(rows, key=lambda row: row[:2])
            self._do(lambda ordered=ordered: loaded.update(self._loaded(ordered)))  # type: ignore[misc]
        return loaded

    def _loaded(self, rows: list[tuple[Any, ...]]) -> set[int]:
        done = shuffle.load_sorted(self._where, self._batches(rows))
        return set(chain.from_iterable(batch.column(0).to_pylist() for batch in done))

    def _batches(self, rows: list[tuple[Any, ...]]) -> Iterator[Any]:
        at = 0
        while at < len(rows):
            some = rows[at : (at := at + self._chance.randint(1, 5))]
            columns = list(zip(*some, strict=True))
            yield pyarrow.record_batch([pyarrow.array(each) for each in columns], names=["part", "key", "record"])

    def _rows(self, batches: Any) -> Iterator[tuple[Any, ...]]:
        for batch in batches:
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def state(self, job: str) -> JobState:
        return JobState(False, "ended", self._failed)

    def cancel(self, job: str) -> None:
        self.cancelled.append(job)

    def where(self, job: str) -> str:
        return "the log"

    def close(self) -> None: ...


class BySpark(Loading):
    """``do`` as InThisProcess has it."""

    def __init__(self, folder: Path, rule: TableRule, table: Table | None = None, seed: int = 0) -> None:
        super().__init__(folder, rule, *([table] if table else []))
        self.do: Callable[[Callable[[], None]], None] = lambda work: work()
        self.meanwhile: Callable[[], object] = lambda: None
        self.seed = seed

    def __enter__(self) -> BySpark:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(task, "DynamoClient", lambda target, timeout: self.wire)
        self._patch.setattr(
            submitted, "runner_of", lambda project, submission: InThisProcess(submission, self.do, self.seed)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patch.undo()
        task.forget()

    @property
    def project(self) -> Project:
        rules = (self.mapping.rule,)
        return Project(self.folder / "whimbrel.toml", self.folder, NO_SOURCE, TARGET, rules, spark=Spark())

    @property
    def job(self) -> Path:
        """The one job's folder."""
        [job] = (self.folder / "spark").iterdir()
        return job

    def load(self) -> int:
        table, rule = self.mapping.table, self.mapping.rule
        settings = FunctionSettings(0.0, 2, (SourceTable(rule, table, table, table.names),))
        self._patch.setattr(submitted, "function_settings", lambda prepared, history: settings)
        prepared: Any = SimpleNamespace(project=self.project)
        no_history: Any = None
        work = SparkWork(prepared, no_history, of_snapshot(START, 0.0), lambda: self.meanwhile())
        loader = SparkLoader(work, self.mapping, self.dead, self.checkpoints, self.progress, self.stop)
        return loader.load(self.plan, self.folder / "spill")
