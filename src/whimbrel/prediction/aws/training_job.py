"""One training job on SageMaker: asked for once, followed to its end, ended where nobody wants it any more.

A job costs from its beginning to its end, whoever watches. So its name says what it is made from: whoever asks for the
same again finds the job there, and of two that ask at once, SageMaker refuses the second, who then follows the first.
``<base>-1`` is the first attempt; after one that failed or was stopped comes the next number.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whimbrel.errors import PrivilegeError, RequestRefused, TargetError, TrainingError, WhimbrelError, WorkerLost
from whimbrel.notes import note
from whimbrel.prediction.aws.client import Client, as_name, said

FIRST_LOOK, LONGEST_LOOK = 1.0, 20.0  # seconds between two looks at a job
LOGS = "/aws/sagemaker/TrainingJobs"
IN_PROGRESS, STOPPING, COMPLETED = "InProgress", "Stopping", "Completed"
PREFIX = "whimbrel"
# What SageMaker writes before the reason, where the data or the settings are at fault: the same again fails again.
_OURS = ("AlgorithmError", "ClientError")
_TOO_LONG = "MaxRuntimeExceeded"  # and so would the next attempt
_RUNNING = (IN_PROGRESS, STOPPING)
_OVER = frozenset({"Failed", "Stopped", "Deleting"})  # such a name is taken, and has no model
_NO_LOG_YET = frozenset({"ResourceNotFoundException"})


@dataclass(frozen=True, slots=True)
class TrainingStatus:
    """``status`` and ``secondary`` are SageMaker's words; ``billable_seconds`` is 0 until they are known."""

    model: str
    job: str
    status: str
    secondary: str
    message: str
    billable_seconds: int = 0
    metrics: tuple[tuple[str, float], ...] = ()

    @property
    def running(self) -> bool:
        return self.status in (IN_PROGRESS, STOPPING)

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics)
        cost = f"{self.billable_seconds} s are charged" if self.billable_seconds else ""
        words = [self.secondary or self.status, self.message, cost, figures]
        return f"training job {self.job}: {'; '.join(filter(None, words))}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"metrics": dict(self.metrics)}


Tell = Callable[[TrainingStatus], object]


def attempt_of(name: str, base: str) -> int:
    """0 for a job of another base."""
    found = re.fullmatch(rf"{re.escape(base)}-([1-9][0-9]*)", name)
    return int(found[1]) if found else 0


def attempts(client: Client, base: str, status: str = "") -> dict[int, str]:
    """The statuses of the attempts at ``base``. A job made a moment ago may not be listed yet."""
    only = {"StatusEquals": status} if status else {}
    found = client.listed("list_training_jobs", "TrainingJobSummaries", base, NameContains=base, **only)
    numbers = {attempt_of(each["TrainingJobName"], base): each["TrainingJobStatus"] for each in found}
    return {number: status for number, status in sorted(numbers.items()) if number}


def begun(client: Client, base: str, request: dict[str, Any], lost: Callable[[str], bool]) -> str:
    """The name of the job that makes what ``request`` asks for: one that runs or is complete, else a new one.

    ``lost`` says of a complete one whether its model is gone. The list may lack a job that was made a moment ago, or
    whose first answer was lost. Its name is taken then, and whoever follows it sees how it is.
    """
    known = attempts(client, base)
    for number, status in known.items():
        if status == COMPLETED and lost(f"{base}-{number}"):
            known[number] = "Deleting"
    number = next(each for each in range(1, len(known) + 2) if known.get(each, "") not in _OVER)
    name = f"{base}-{number}"
    if number not in known:
        try:
            client.ask("create_training_job", name, TrainingJobName=name, **request)
        except RequestRefused as error:
            if error.code != "ResourceInUse":
                raise
    return name


def describe(client: Client, name: str) -> dict[str, Any]:
    return client.ask("describe_training_job", name, TrainingJobName=name)


def followed(client: Client, model: str, name: str, log: Path, tell: Tell) -> dict[str, Any]:
    """What SageMaker says of the job at its end; ``tell`` hears of each new state, ``log`` gets what it prints.

    Raises TrainingError where the data or the settings are at fault, WorkerLost where the job ended for another reason,
    and what ``Client.ask`` raises: the job goes on then.
    """
    lines, before, pause = _Log(client, name, log), "", FIRST_LOOK
    while True:
        found = describe(client, name)
        now = _status(model, name, found)
        lines.fetch()
        if (words := f"{now.status} {now.secondary} {now.message}") != before:
            before = words
            tell(now)
        if not now.running:
            break
        client.wait(pause, name)
        pause = min(pause * 1.5, LONGEST_LOOK)
    if now.status == COMPLETED:
        return found
    reason = found.get("FailureReason") or f"it was {now.status.lower()}: {now.secondary}"
    too_long = now.secondary == _TOO_LONG
    failed = TrainingError if reason.startswith(_OURS) or too_long else WorkerLost
    hint = f"Set a longer max_runtime in its [[model]]. Its log is {log}." if too_long else f"Its log is {log}."
    raise failed(f"the training job ended without a model: {reason}", place=name, hint=hint)


def stopped(client: Client, name: str, patience: float = 600.0) -> str:
    """End the job, and wait until it costs no more; its last status. One that has ended already stays as it is."""
    try:
        client.ask("stop_training_job", name, TrainingJobName=name)
    except RequestRefused as error:  # it has ended meanwhile, or never began: its status says so
        if error.code not in ("ValidationException", "ResourceNotFound"):
            raise
    until, pause = time.monotonic() + patience, FIRST_LOOK
    while True:
        status = str(said(describe(client, name), name, "TrainingJobStatus"))
        if status not in _RUNNING or time.monotonic() > until:
            return status
        client.wait(pause, name)
        pause = min(pause * 1.5, LONGEST_LOOK)


def running(client: Client, model: str, ours: Callable[[str], bool]) -> Iterator[TrainingStatus]:
    """The jobs of a model that cost now; ``ours`` says of a base whether it is this project's."""
    beginning = f"{prefix(model)}-"
    for status in _RUNNING:
        found = client.listed(
            "list_training_jobs", "TrainingJobSummaries", model, NameContains=beginning, StatusEquals=status
        )
        for name in [each["TrainingJobName"] for each in found]:
            base = name.rpartition("-")[0]
            if name.startswith(beginning) and attempt_of(name, base) and ours(base):
                yield _status(model, name, describe(client, name))


def prefix(model: str) -> str:
    """With which the names of a model's jobs begin."""
    return f"{PREFIX}-{as_name(model)[:20]}"


def _status(model: str, name: str, found: dict[str, Any]) -> TrainingStatus:
    steps = found.get("SecondaryStatusTransitions") or [{}]
    metrics = tuple((each["MetricName"], float(each["Value"])) for each in found.get("FinalMetricDataList", ()))
    return TrainingStatus(
        model=model,
        job=name,
        status=said(found, name, "TrainingJobStatus"),
        secondary=found.get("SecondaryStatus", ""),
        message=steps[-1].get("StatusMessage", ""),
        billable_seconds=int(found.get("BillableTimeInSeconds", 0)),
        metrics=metrics,
    )


class _Log:
    """What a job prints, as it appears in CloudWatch. A log that cannot be read ends no training."""

    def __init__(self, client: Client, name: str, path: Path) -> None:
        self._client, self._name, self._path = client, name, path
        self._tokens: dict[str, str] = {}
        self._refused = False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")

    def fetch(self) -> None:
        if self._refused:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                for stream in self._streams():
                    for line in self._new(stream):
                        file.write(line + "\n")
        except RequestRefused as error:
            if error.code not in _NO_LOG_YET:
                self._leave(error)
        except (PrivilegeError, TargetError) as error:
            self._leave(error)

    def _leave(self, error: WhimbrelError) -> None:
        self._refused = True
        note(f"whimbrel: the log of {self._name} cannot be read: {error.message}")

    def _streams(self) -> list[str]:
        begin = f"{self._name}/"
        found = self._client.ask("describe_log_streams", LOGS, "logs", logGroupName=LOGS, logStreamNamePrefix=begin)
        return [each["logStreamName"] for each in found.get("logStreams", ())]

    def _new(self, stream: str) -> Iterator[str]:
        while True:
            token = self._tokens.get(stream, "")
            more = {"nextToken": token} if token else {}
            place = {"logGroupName": LOGS, "logStreamName": stream, "startFromHead": True}
            found = self._client.ask("get_log_events", stream, "logs", **place, **more)
            yield from (each["message"] for each in found.get("events", ()))
            self._tokens[stream] = found["nextForwardToken"]
            if found["nextForwardToken"] == token or not found.get("events"):
                return
