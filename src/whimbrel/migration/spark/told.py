"""What tasks tell the run that submitted their job: small files in the job's folder, each whole or not there.

::

    open                what a task may write by: the run removes it, and then nobody begins to write (lease.py)
    writing/7-f3a0…     a task that is at part 7: there from before its first write until all of them are answered
    done/7              part 7 is in the target, with what was counted and the letters of it
    unfit               a chunk whose file is not what the job says, and why: the run reads it from the source again
    failed              what ends the job, for the person
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from whimbrel import errors
from whimbrel.durable import is_sound, sealed_json
from whimbrel.errors import LogCorrupt, WhimbrelError, WorkerLost
from whimbrel.migration.spark.places import Place

JOBS = "spark"  # the folder of all jobs' folders
JOB, OPEN, UNFIT, FAILED = "job.json", "open", "unfit", "failed"
WRITING, DONE = "writing/", "done/"


class Done(NamedTuple):
    """A part whose items are all acknowledged.

    ``units`` are those that DynamoDB reported, between ``began`` and ``ended`` (seconds since the epoch).
    """

    part: int
    rows: int = 0
    items: int = 0
    held: int = 0
    units: float = 0.0
    throttles: int = 0
    began: float = 0.0
    ended: float = 0.0
    letters: tuple[dict[str, Any], ...] = ()


def done_to_json(done: Done) -> bytes:
    return sealed_json(done._asdict())


def done_from_json(data: bytes, place: str) -> Done:
    """Raises LogCorrupt."""
    if not is_sound(data.rstrip(b"\n")):
        raise LogCorrupt("what a task told does not match its checksum", place=place, hint="Run the command again.")
    fields = orjson.loads(data)
    del fields["crc"]
    return Done(**fields | {"letters": tuple(fields["letters"])})


def tell_failure(place: Place, error: WhimbrelError) -> None:
    place.put_new(FAILED, error_to_json(error))


def error_to_json(error: WhimbrelError) -> bytes:
    code = getattr(error, "code", None)
    fields = {"kind": type(error).__name__, "message": error.message, "place": error.place, "hint": error.hint}
    return orjson.dumps({**fields, "code": code if isinstance(code, str) else ""})


def error_from_json(data: bytes) -> WhimbrelError:
    """The same error, as far as this version knows it."""
    fields = orjson.loads(data)
    kind = getattr(errors, fields["kind"], WorkerLost)
    code = {"code": fields["code"]} if fields["code"] else {}
    made: WhimbrelError = kind(fields["message"], place=fields["place"], hint=fields["hint"], **code)
    return made
