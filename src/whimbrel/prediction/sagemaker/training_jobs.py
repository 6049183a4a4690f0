"""CreateTrainingJob and its like: each job is the container's own training (training_job.py), in a process of its own.

Below the registry's folder, ``jobs/<name>/`` has ``job.json`` (what was asked for, and what became of it), ``ml`` (what
is /opt/ml in a container) and ``output/model.tar.gz``. A job that the server's end has cut off is Failed, by name.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import replace_file
from whimbrel.errors import RequestRefused, StateError, UserError
from whimbrel.prediction.model.artifact import model_file, pack
from whimbrel.prediction.sagemaker.places import Folders
from whimbrel.prediction.serve.registry import checked_name
from whimbrel.threads import in_thread

IN_PROGRESS, COMPLETED, FAILED, STOPPED = "InProgress", "Completed", "Failed", "Stopped"
LOG = "log.txt"
TOO_LONG = "MaxRuntimeInSeconds"
LONGEST = 86_400.0  # seconds, where a job names no MaxRuntimeInSeconds


@dataclass(frozen=True, slots=True)
class Job:
    """``channels`` are folders by name; the times are in seconds since 1970, ``ended`` 0.0 while it runs."""

    name: str
    hyperparameters: dict[str, str]
    channels: dict[str, str]
    types: dict[str, str]  # the channels' content types
    artifact: str
    longest: float
    created: float
    status: str = IN_PROGRESS
    ended: float = 0.0
    reason: str = ""
    given: dict[str, Any] = field(default_factory=dict)  # the request, whose other settings are told again

    @property
    def artifact_address(self) -> str:
        """Where the model is, as the request named the place."""
        output = str(self.given.get("OutputDataConfig", {}).get("S3OutputPath", ""))
        if output.startswith("s3://"):
            return f"{output.rstrip('/')}/{self.name}/output/model.tar.gz"
        return Path(self.artifact).as_uri()


@dataclass
class TrainingJobs:
    """The jobs of one server. All methods run on its event loop."""

    folder: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in sorted(self.folder.glob("*/job.json")):
            job = self.jobs[path.parent.name] = _read(path)
            if job.status == IN_PROGRESS:
                self._keep(replace(job, status=FAILED, ended=time.time(), reason="the server ended during the job"))

    async def create(self, job: Job) -> None:
        """Begin the job. Raises RequestRefused where there is one of this name, UserError for a name that cannot be."""
        if checked_name(job.name, "training job") in self.jobs:
            hint = "Choose another name."
            raise RequestRefused(f"a training job {job.name!r} already exists", code="ResourceInUse", hint=hint)
        await in_thread(self._keep, job)
        self._running[job.name] = asyncio.get_running_loop().create_task(self._run(job))

    def log_of(self, name: str) -> Path:
        """What the job has printed, as soon as it has begun."""
        return self.folder / name / LOG

    def stop(self, name: str) -> None:
        """End the job where it runs; it is Stopped, as on SageMaker, and has no model."""
        if task := self._running.get(name):
            task.cancel()

    async def close(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run(self, job: Job) -> None:
        place = self.folder / job.name
        try:
            async with asyncio.timeout(job.longest):
                code = await self.make(job, place)
            ended = replace(job, status=FAILED if code else COMPLETED, reason=_reason(place) if code else "")
        except TimeoutError:
            ended = replace(job, status=STOPPED, reason=f"{TOO_LONG}: it took more than {job.longest:g}")
        except asyncio.CancelledError:
            ended = replace(job, status=STOPPED, reason="it was stopped")
        except (OSError, UserError) as error:
            ended = replace(job, status=FAILED, reason=str(error))
        await in_thread(self._keep, replace(ended, ended=time.time()))
        self._running.pop(job.name, None)

    async def make(self, job: Job, place: Path) -> int:
        """Train, and pack what was made; the exit code."""
        code = await in_container(job, place / "ml")
        if code == 0:
            await in_thread(pack, model_file(place / "ml" / "model"), Path(job.artifact))
        return code

    def _keep(self, job: Job) -> None:
        path = self.folder / job.name / "job.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, orjson.dumps(asdict(job), option=orjson.OPT_INDENT_2))
        self.jobs[job.name] = job


async def in_container(job: Job, ml: Path, program: str = "whimbrel.prediction.sagemaker.container") -> int:
    """The exit code of a container's training over ``ml``; the process ends with us."""
    await in_thread(_lay_out, job, ml)
    with (ml.parent / LOG).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("nice", "-n", "10"),  # it stands back behind the calls that are being answered
            *(sys.executable, "-m", program, "train"),
            env=os.environ | {"SAGEMAKER_BASE_DIR": str(ml)},
            stdout=log,
            stderr=log,
        )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _lay_out(job: Job, ml: Path) -> None:
    """/opt/ml as the container finds it."""
    shutil.rmtree(ml, ignore_errors=True)
    (ml / "input" / "data").mkdir(parents=True)
    config = ml / "input" / "config"
    config.mkdir()
    channels = {name: {"TrainingInputMode": "File", "ContentType": job.types[name]} for name in job.channels}
    (config / "hyperparameters.json").write_bytes(orjson.dumps(job.hyperparameters))
    (config / "inputdataconfig.json").write_bytes(orjson.dumps(channels))
    (config / "resourceconfig.json").write_bytes(orjson.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    for name, place in job.channels.items():
        (ml / "input" / "data" / name).symlink_to(Path(place).absolute())


def _read(path: Path) -> Job:
    try:
        return Job(**orjson.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise StateError(f"not a training job: {error}", place=str(path), hint="Remove its folder.") from None


def _reason(place: Path) -> str:
    failure = place / "ml" / "output" / "failure"
    return failure.read_text()[:1024] if failure.exists() else f"see {place / LOG}"


def job_from(given: dict[str, Any], folders: Folders) -> Job:
    """The job that a CreateTrainingJob asks for. Raises KeyError for what is missing, UserError for a place that is
    remote or that control may not name."""
    name = given["TrainingJobName"]
    channels, types = {}, {}
    for each in given.get("InputDataConfig") or []:
        channel = checked_name(each["ChannelName"], "channel")
        channels[channel] = str(folders.inputs(each["DataSource"]["S3DataSource"]["S3Uri"], "S3Uri"))
        types[channel] = each.get("ContentType", "")
    there = folders.output(given["OutputDataConfig"]["S3OutputPath"], "S3OutputPath")
    return Job(
        name=name,
        hyperparameters=dict(given.get("HyperParameters") or {}),
        channels=channels,
        types=types,
        artifact=str((there / name / "output" / "model.tar.gz").absolute()),
        longest=float((given.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", LONGEST)),
        created=time.time(),
        given=given,
    )
