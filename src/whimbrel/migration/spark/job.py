"""What a job of Spark works by: one file in a folder of the job's own, written once by the run that submits it.

A job needs nothing else than this file, its package and the right to read the chunks and to write the items.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, NamedTuple

import orjson

from whimbrel.durable import is_sound, sealed_json
from whimbrel.errors import LogCorrupt
from whimbrel.migration.spark.places import Place
from whimbrel.migration.spark.told import JOB
from whimbrel.project import Target
from whimbrel.records import Provenance, Table
from whimbrel.snapshot_files import Chunk, chunk_from_json, chunk_to_json, table_from_json, table_to_json

FORMAT = "whimbrel-spark/1"


class JobChunk(NamedTuple):
    """A chunk of the export with its rows, and its file's name below the place that has the job, too."""

    name: str
    chunk: Chunk
    rows: int


class SparkJob(NamedTuple):
    """``settings`` are the rules and tables as a function has them, too (kinesis/settings.py), ``table`` the one whose
    rows the chunks have, as it was then. ``chunks`` are what is read; ``parts`` the numbers of the parts that are due:
    of chunks, or, with ``partitions``, of these. ``tasks`` run at once at most, and
    ``target`` is what all of them may do together.
    """

    settings: str
    source: str
    table: Table
    export: str
    chunks: tuple[JobChunk, ...]
    parts: tuple[int, ...]
    partitions: int
    provenance: Provenance
    target: Target
    tasks: int

    def share(self) -> Target:
        """What one of the tasks may write; ``concurrency`` counts for each of them."""
        return replace(self.target, max_write_units=self.target.max_write_units / self.tasks)


def read_job(place: Place) -> SparkJob:
    """Raises LogCorrupt."""
    data = place.get(JOB)
    if data is None:
        raise LogCorrupt("is gone", place=place.url(JOB), hint=_AGAIN)
    return job_from_json(data, place.url(JOB))


def job_to_json(job: SparkJob) -> bytes:
    fields: dict[str, Any] = {
        "format": FORMAT,
        **job._asdict(),
        "table": table_to_json(job.table),
        "chunks": [[each.name, chunk_to_json(each.chunk), each.rows] for each in job.chunks],
        "provenance": list(job.provenance),
        "target": asdict(job.target),
    }
    return sealed_json(fields)


def job_from_json(data: bytes, place: str) -> SparkJob:
    """Raises LogCorrupt if it is not what ``job_to_json`` made, or another version did."""
    if not is_sound(data.rstrip(b"\n")):
        raise LogCorrupt("the job's file does not match its checksum", place=place, hint=_AGAIN)
    fields = orjson.loads(data)
    if fields.pop("format") != FORMAT:
        hint = "Put the archive of the version of whimbrel that submits the job into the bucket (docs/spark.md)."
        raise LogCorrupt("the job was made by another version of whimbrel", place=place, hint=hint)
    del fields["crc"]
    return SparkJob(**fields | _nested(fields))


_AGAIN = "Run the same command again: it makes another job."


def _nested(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "table": table_from_json(fields["table"]),
        "chunks": tuple(JobChunk(name, chunk_from_json(chunk), rows) for name, chunk, rows in fields["chunks"]),
        "parts": tuple(fields["parts"]),
        "provenance": Provenance(*fields["provenance"]),
        "target": Target(**fields["target"]),
    }
