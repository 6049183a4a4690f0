"""A load by Spark, as its run sees it: submit a job, follow it, and count what its tasks have told.

A part counts in this order: its items are acknowledged, to the task that has it; that is told, in a file beside the
chunks; what of it became a letter is durable; the part is in the Checkpoint; the file is removed. So a part that is
told again, or loaded again, counts once. Only this process writes letters and the Checkpoint.

A job's folder is there before it may write, and until nothing of it can write any more. A run that finds one ends it
before anything else, by the lease, whoever ran it and whatever became of that: also another machine, where the files
are in a bucket.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from whimbrel.bucket import BucketFile
from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.session import Session
from whimbrel.errors import TargetUnreachable, Throttled, WhimbrelError, WorkerLost
from whimbrel.kinesis.settings import settings_to_json
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.history import History
from whimbrel.migration.load import parts_of
from whimbrel.migration.prepare import Prepared
from whimbrel.migration.progress import Progress
from whimbrel.migration.spark import boot, told
from whimbrel.migration.spark.emr import EmrRunner
from whimbrel.migration.spark.emr_serverless import EmrServerlessRunner
from whimbrel.migration.spark.glue import GlueRunner
from whimbrel.migration.spark.job import JobChunk, SparkJob, job_to_json
from whimbrel.migration.spark.lease import wait_until_nobody_writes
from whimbrel.migration.spark.local import LocalRunner
from whimbrel.migration.spark.places import Place, attend, clear, place_at, root_of
from whimbrel.migration.spark.runner import BOOT, JobState, Runner, Submission
from whimbrel.migration.state import CheckpointStore, with_held
from whimbrel.migration.stream import function_settings
from whimbrel.mysql.plan import Plan
from whimbrel.project import Project, Spark
from whimbrel.project.spark import LOCAL
from whimbrel.records import Provenance
from whimbrel.snapshot_files import Chunk

LOOK_SECONDS = {LOCAL: 0.25}
LOOK_AWS = 5.0  # seconds between two looks at a job on AWS
SUBMITS = 8  # tries, where it is throttled

log = logging.getLogger(__name__)


class SparkWork(NamedTuple):
    """What a run knows. ``meanwhile`` is called while a job is waited for, and may raise."""

    prepared: Prepared
    history: History
    provenance: Provenance
    meanwhile: Callable[[], object]


class SparkLoader:
    """Loads one source table's export by a job of Spark: the same parts as ``Loader``, with the same items."""

    def __init__(
        self,
        work: SparkWork,
        mapping: TableMapping,
        dead: DeadLetters,
        checkpoints: CheckpointStore,
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        self._work = work
        self._project = work.prepared.project
        self._mapping = mapping
        self._dead = dead
        self._checkpoints = checkpoints
        self._progress = progress
        self._stop = stop
        self._rate = _Rate()

    def load(self, plan: Plan, spill_folder: Path) -> int:
        """As Loader.load. Raises WorkerLost where the job ended before its work was done, and what ended it where that
        is known.
        """
        parts = parts_of(self._mapping, self._loaded)
        due = [number for number in range(1, parts + 1) if number not in self._loaded.loaded]
        if not due or self._stop.is_set():
            return 0
        where = root_of(self._project).folder(told.JOBS).folder(f"whimbrel-{secrets.token_hex(8)}")
        job = self._job(plan, due, parts if self._mapping.regrouped else 0)
        submission = Submission(where, self._spark, self._project.state.resolve())
        runner = runner_of(self._project, submission)
        try:
            return self._done(submission, job, runner)
        finally:
            runner.close()

    def _done(self, submission: Submission, job: SparkJob, runner: Runner) -> int:
        """The order matters: what the job works by, and then the file by which it may write."""
        place = place_at(submission.where)
        place.put_new(told.JOB, job_to_json(job))
        place.put_new(BOOT, Path(boot.__file__).read_bytes())
        place.put_new(told.OPEN, b"\n")
        number = ""
        try:
            number = self._submitted(runner)
            attend(place, self._stop)
            end = self._followed(number, runner, place)
        finally:
            self._end(number, runner, place)
        self._take(place)
        clear(place)
        if end.error:
            raise end.error
        if not end.unfit and not self._stop.is_set():
            self._refuse_undone(job.parts, end.state, runner.where(number))
        return end.unfit

    def _end(self, number: str, runner: Runner, place: Place) -> None:
        """Whatever happened: nobody writes from here on. Tasks have the time to say so, before they are ended."""
        attend(place, threading.Event())  # also when asked to stop: no task may write then
        place.remove([told.OPEN])
        wait_until_nobody_writes(place)
        self._progress.job = ""
        if not number:
            return
        try:
            if runner.state(number).running:
                runner.cancel(number)
        except WhimbrelError as error:  # it ends by itself as it may not write; this only ends what it costs
            log.warning("spark job", extra={"job": number, "reason": str(error)})

    def _submitted(self, runner: Runner) -> str:
        """Raises PrivilegeError and the like where the runner refuses."""
        backoff = Backoff(0.5)
        for _ in range(SUBMITS - 1):
            try:
                return runner.submit()
            except Throttled:
                self._stop.wait(backoff.next())
        return runner.submit()

    def _followed(self, number: str, runner: Runner, place: Place) -> _End:
        """Until the job has ended, or has to."""
        state, look = JobState(True, "submitted"), LOOK_SECONDS.get(self._spark.runner, LOOK_AWS)
        log.info("spark job", extra={"job": number, "logs": runner.where(number)})
        while True:
            self._take(place)
            failed, unfit = place.get(told.FAILED), _unfit(place)
            if failed or unfit or not state.running or self._stop.is_set():
                return _End(unfit, state, told.error_from_json(failed) if failed else None)
            self._work.meanwhile()
            self._stop.wait(look)
            try:
                state = runner.state(number)
            except (Throttled, TargetUnreachable) as error:  # what it does is known by what its tasks tell
                log.warning("spark job", extra={"job": number, "reason": str(error)})
            self._progress.job = f"Spark: {state.said}, {self._rate}"

    def _take(self, place: Place) -> None:
        """Count what was told since."""
        names = [name for name, _ in place.list(told.DONE)]
        found = [told.done_from_json(data, place.url(name)) for name in names if (data := place.get(name))]
        fresh = {each.part: each for each in found if each.part not in self._loaded.loaded}
        if fresh:
            self._count(list(fresh.values()))
        place.remove(names)

    def _count(self, done: Sequence[told.Done]) -> None:
        """The order matters: letters durable, then the Checkpoint."""
        counts, source = self._progress.tables[self._mapping.source], self._mapping.source
        self._progress.dead += self._dead.take(letter for each in done for letter in each.letters)
        rows, items = sum(each.rows for each in done), sum(each.items for each in done)
        self._progress.held += sum(each.held for each in done)
        now = self._checkpoints.now.with_loaded(source, [each.part for each in done], rows=rows, items=items)
        self._checkpoints.save(with_held(now, self._progress))
        counts.loaded_rows += rows
        counts.loaded_items += items
        for each in done:
            self._rate.add(each)
            figures = {**each._asdict(), "letters": len(each.letters)}
            log.info("spark part", extra=figures)

    def _refuse_undone(self, parts: Sequence[int], state: JobState, logs: str) -> None:
        left = [number for number in parts if number not in self._loaded.loaded]
        if not left and not state.failed:
            return
        if not left:
            log.warning("spark job", extra={"reason": state.failed})  # all of its work is done all the same
            return
        raise WorkerLost(
            f"the Spark job ended with {len(left)} of {len(parts)} parts not loaded: {state.failed or state.said}",
            place=self._mapping.source,
            hint=f"Its log says why: {logs}. Then run the same command again: it continues from what was saved.",
        )

    def _job(self, plan: Plan, due: Sequence[int], partitions: int) -> SparkJob:
        assert plan.table is not None
        wanted = [each for each in plan.chunks if partitions or each.number in due]
        target = self._project.target
        return SparkJob(
            settings=settings_to_json(function_settings(self._work.prepared, self._work.history)).decode(),
            source=self._mapping.source,
            table=plan.table,
            export=plan.export,
            chunks=tuple(JobChunk(self._name(plan, each), each, plan.rows[each.number]) for each in wanted),
            parts=tuple(due),
            partitions=partitions,
            provenance=self._work.provenance,
            target=target if self._spark.runner == LOCAL else replace(target, profile=""),
            tasks=self._spark.tasks,
        )

    def _name(self, plan: Plan, chunk: Chunk) -> str:
        file = plan.file(chunk)
        if isinstance(file, Path):
            return str(file.relative_to(self._project.state))
        assert isinstance(file, BucketFile), "the plan's files are in a folder or in a bucket"
        return file.key

    @property
    def _spark(self) -> Spark:
        assert self._project.spark is not None, "it is asked before"
        return self._project.spark

    @property
    def _loaded(self) -> Any:
        return self._checkpoints.now.table(self._mapping.source)


class _End(NamedTuple):
    """How a job ended: with a chunk that does not fit, or 0; as the runner says; with what its tasks said."""

    unfit: int
    state: JobState
    error: WhimbrelError | None


class _Rate:
    """Write units a second of all tasks together, as DynamoDB reported them."""

    def __init__(self) -> None:
        self._units = self._began = self._ended = 0.0

    def add(self, done: told.Done) -> None:
        self._units += done.units
        self._began = min(self._began or done.began, done.began)
        self._ended = max(self._ended, done.ended)

    def __str__(self) -> str:
        seconds = self._ended - self._began
        return f"{self._units / seconds if seconds > 0 else 0.0:,.0f} write units/s"


def _unfit(place: Place) -> int:
    found = place.get(told.UNFIT)
    if found is None:
        return 0
    number, reason = orjson.loads(found)
    log.warning("chunk file", extra={"reason": reason})
    return int(number)


def runner_of(project: Project, submission: Submission) -> Runner:
    """Raises UserError where there is no region, or no credentials."""
    spark = submission.spark
    if spark.runner == LOCAL:
        return LocalRunner(submission)
    client = Session(replace(project.target, endpoint=spark.endpoint), spark.runner).service(spark.runner)
    if spark.runner == "emr-serverless":
        return EmrServerlessRunner(submission, client)
    return GlueRunner(submission, client) if spark.runner == "glue" else EmrRunner(submission, client)


def end_jobs_of_before(project: Project) -> None:
    """End what earlier runs left: it may still write. To be called before a load continues. What it loaded, and did not
    tell, is loaded again.
    """
    root = root_of(project).folder(told.JOBS)
    names = {name.partition("/")[0] for name, _ in place_at(root).list("")}
    for place in [place_at(root.folder(name)) for name in sorted(names)]:
        place.remove([told.OPEN])
        wait_until_nobody_writes(place)
        clear(place)
