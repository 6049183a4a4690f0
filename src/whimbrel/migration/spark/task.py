"""What a task of Spark does: the rows of one part become items, by the code with which a process loads them.

A task may be repeated, and be done twice at once: both write the same items, and what is told of a part is told once.
Whatever else happens, a task raises: then Spark tries it again, or ends the job.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

import orjson

from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import LogCorrupt, Retryable, WhimbrelError
from whimbrel.kinesis.settings import settings_from_json
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import compile_family
from whimbrel.mapping.versions import Versions
from whimbrel.memory import few_collections
from whimbrel.migration.dead import letter_of
from whimbrel.migration.load_part import ChunkFile, PartLoader
from whimbrel.migration.portions import PORTION_BYTES, Portions
from whimbrel.migration.spark.job import SparkJob, read_job
from whimbrel.migration.spark.lease import CALL_SECONDS, JobLease
from whimbrel.migration.spark.places import Where, place_at
from whimbrel.migration.spark.told import DONE, JOBS, UNFIT, WRITING, Done, done_to_json, tell_failure
from whimbrel.records import Row
from whimbrel.snapshot_files import ChunkReader


class Task:
    """What a Python process of an executor keeps from one task of a job to the next. ``where`` is the job's folder."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self.place = place_at(where)
        self.job = read_job(self.place)
        self.mapping = mapping_of(self.job)
        self.lease = JobLease(self.place)
        self._root = place_at(where._replace(url=where.url.removesuffix(f"/{JOBS}/{where.name}")))
        self._files = {each.chunk.number: each for each in self.job.chunks}
        target = self.job.share()
        self._wire = DynamoClient(target, timeout=CALL_SECONDS)
        self._writer = Writer(
            self._wire,
            target,
            stop=self.lease.stop,
            before=lambda _: self.lease.sure(),
            astray=lambda _: self._gone_astray(),
        )
        # Half as much memory as where there is one process: there are several on a machine.
        spill = Path(gettempdir(), f"whimbrel-{secrets.token_hex(8)}")
        self.portions = Portions(self.mapping, spill, PORTION_BYTES // 2)
        self._loader = PartLoader(self.mapping, self._writer, self.portions, self.job.provenance, self.lease.stop)
        self._astray = False
        self.lease.begin()

    def end(self) -> None:
        self.lease.end()
        self._wire.close()

    @contextmanager
    def chunk(self, number: int) -> Iterator[ChunkReader]:
        """The rows of a chunk. Raises LogCorrupt, and tells it, if its file is not what the job says."""
        each = self._files[number]
        path = self._root.file(each.name)
        try:
            yield ChunkFile(path, self.job.export, self.job.table, each.chunk, each.rows).read()
        except LogCorrupt as error:
            self.place.put_new(UNFIT, orjson.dumps([number, str(error)]))
            raise

    def load(self, number: int, portions: Iterable[list[Row]]) -> None:
        """Load part ``number``, which has the rows of ``portions``, with all that they have of an item in one of them.
        It is told when every item is acknowledged. Raises Stopped when the job was ended, or may have been.
        """
        mine = f"{WRITING}{number}-{secrets.token_hex(8)}"
        self._astray = False
        self.place.put_new(mine, b"\n")
        try:
            self.lease.look()  # after that is there, and before the first write
            self.place.put_new(f"{DONE}{number}", done_to_json(self._loaded(number, portions)))
        finally:
            if not self._astray:
                self.place.remove([mine])

    def _loaded(self, number: int, portions: Iterable[list[Row]]) -> Done:
        before, began = self._writer.stats, time.time()
        rows = items = 0
        letters = []
        for written in self._loader.written_portions(portions):
            rows += written.rows
            items += written.items
            letters += [letter_of(fault, "load") for fault in written.faults]
        after = self._writer.stats
        return Done(
            number,
            rows,
            items,
            held=self._writer.take_held(),
            units=after.units - before.units,
            throttles=after.throttles - before.throttles,
            began=began,
            ended=time.time(),
            letters=tuple(letters),
        )

    def _gone_astray(self) -> None:
        self._astray = True


_kept: list[Task] = []


@contextmanager
def task(where: Where) -> Iterator[Task]:
    """This process's. What a retry cannot help is told, so that the run ends the job and says so."""
    try:
        if not _kept or _kept[0].where != where or _kept[0].lease.stop.is_set():
            forget()
            _kept.append(Task(where))
        with few_collections():
            yield _kept[0]
    except WhimbrelError as error:
        forget()
        if not isinstance(error, Retryable | LogCorrupt):
            tell_failure(place_at(where), error)
        raise
    except BaseException:
        forget()
        raise


def mapping_of(job: SparkJob) -> TableMapping:
    """Compiled as the run has it. Raises LogCorrupt for settings of another version, MappingError, SchemaDrift."""
    settings = settings_from_json(job.settings.encode())
    family = compile_family([(Versions(each.rule, each.first, each.known), each.now) for each in settings.sources])
    if family.faults:
        raise family.faults[0]
    return family.versions[job.source].of(job.table)


def load_chunk(where: Where, number: int) -> None:
    with task(where) as mine, mine.chunk(number) as export:
        mine.load(number, mine.portions.of(export.sized()))


def forget() -> None:
    while _kept:
        _kept.pop().end()
