"""What training jobs print, in the two calls of CloudWatch Logs with which SageMaker's SDK follows a job's log.

The group is /aws/sagemaker/TrainingJobs, and a job has one stream, ``<job>/algo-1``. An event is a line; its time is
what the line begins with, else that of the line before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from whimbrel.errors import UserError
from whimbrel.prediction.sagemaker.training_jobs import Job, TrainingJobs
from whimbrel.prediction.serve.server import NotFound

SERVICE = "Logs_20140328"
GROUP = "/aws/sagemaker/TrainingJobs"
_STREAM = "/algo-1"
_MOST = 10_000  # events of an answer, as CloudWatch has it
_TIME = len("2026-01-31 12:00:00,000")
_IGNORED = {"orderBy", "descending", "limit", "startFromHead", "unmask"}
Values = dict[str, Any]


def logs(jobs: TrainingJobs, operation: str, given: Values) -> Values:
    """Do one operation. Raises NotFound, and UserError for what is not answered here."""
    known = {"DescribeLogStreams": _describe_streams, "GetLogEvents": _get_events}
    if operation not in known:
        raise UserError(f"operation {operation[:80]!r} of CloudWatch Logs is not known here", hint=", ".join(known))
    if given.get("logGroupName") != GROUP:
        raise NotFound(f"there is no log group {str(given.get('logGroupName'))[:200]!r}", hint=f"There is {GROUP}.")
    return known[operation](jobs, given)


def _describe_streams(jobs: TrainingJobs, given: Values) -> Values:
    prefix = _only(given, {"logGroupName", "logStreamNamePrefix"}).get("logStreamNamePrefix", "")
    names = sorted(name + _STREAM for name in jobs.jobs if jobs.log_of(name).exists())
    return {"logStreams": [{"logStreamName": name} for name in names if name.startswith(prefix)]}


def _get_events(jobs: TrainingJobs, given: Values) -> Values:
    """All lines from ``nextToken`` on, the oldest first; whoever has come to the end gets the same token again."""
    _only(given, {"logGroupName", "logStreamName", "startTime", "endTime", "nextToken"})
    name = str(given.get("logStreamName"))
    job = jobs.jobs.get(name.removesuffix(_STREAM))
    if job is None or not name.endswith(_STREAM):
        raise NotFound(f"there is no log stream {name[:200]!r}", place=GROUP, hint="Streams are <job>/algo-1.")
    least, most = given.get("startTime", 0), given.get("endTime", float("inf"))
    events = [each for each in _events(job, jobs.log_of(job.name)) if least <= each["timestamp"] < most]
    begin = _place(given.get("nextToken"))
    part = events[begin : begin + min(given.get("limit", _MOST), _MOST)]
    forward, backward = begin + len(part), begin
    return {"events": part, "nextForwardToken": f"f/{forward}", "nextBackwardToken": f"f/{backward}"}


def _place(token: str | None) -> int:
    kind, _, number = (token or "f/0").partition("/")
    if kind != "f" or not number.isdecimal():
        raise UserError(f"{str(token)[:80]!r} is not a token of this server", place="nextToken", hint="Leave it out.")
    return int(number)


def _events(job: Job, path: Path) -> Iterator[Values]:
    now = int(job.created * 1000)
    for line in path.read_text("utf-8", "replace").splitlines():
        with suppress(ValueError):  # it may be a line of a traceback
            now = max(now, int(datetime.fromisoformat(line[:_TIME]).timestamp() * 1000))
        yield {"timestamp": now, "message": line, "ingestionTime": now}


def _only(given: Values, known: set[str]) -> Values:
    if unknown := sorted(given.keys() - known - _IGNORED):
        raise UserError(f"{unknown[0][:80]} is not offered here", place="CloudWatch Logs", hint="Leave it out.")
    return given
