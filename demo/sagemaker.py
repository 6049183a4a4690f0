"""A stand-in for SageMaker: ``python -m demo.sagemaker FOLDER PORT S3``, with S3 at that address.

It is whimbrel's own server with its control API (src/whimbrel/prediction/sagemaker), and around it what only AWS has:

- each request and each answer is compared with AWS's description of the service (service_model.py);
- channels and models come from S3, and artifacts and captured calls go there;
- linear-learner's image runs demo/linear_learner.py; any other image is whimbrel's own container;
- alarms that roll an update back, throttling, lists that lag behind, jobs and endpoints that fail: as ``StandIn.Set``
  says, of which ``StandIn.Calls`` gives the calls so far. Both are POSTs with ``X-Amz-Target``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from demo.servers.dynamo import local_client
from demo.service_model import answer_faults, request_faults
from whimbrel.errors import RequestRefused
from whimbrel.prediction.model.artifact import packed
from whimbrel.prediction.sagemaker.control import Control
from whimbrel.prediction.sagemaker.logs import SERVICE as LOGS
from whimbrel.prediction.sagemaker.places import Folders
from whimbrel.prediction.sagemaker.training_jobs import Job, TrainingJobs, in_container
from whimbrel.prediction.serve import custom_attributes, server
from whimbrel.prediction.serve.access import AccessRules
from whimbrel.prediction.serve.endpoint import LiveVariant, Meta
from whimbrel.prediction.serve.listener import Limits
from whimbrel.prediction.serve.registry import FAILED, Registry, StoredEndpoint
from whimbrel.prediction.serve.responses import Response, as_container, as_sagemaker
from whimbrel.prediction.serve.served import Answer
from whimbrel.prediction.serve.server import run, serve, until_a_signal
from whimbrel.prediction.serve.serving import Serving
from whimbrel.threads import in_thread

Values = dict[str, Any]
ADMIN, SCALING = "StandIn", "AnyScaleFrontendService"
SERVICES = {"SageMaker": "sagemaker", LOGS: "logs", SCALING: "application-autoscaling"}
ALARM_EVERY, CAPTURE_EVERY = 0.05, 0.2
_TOLD = {  # what was given, and is told again as it was
    "DescribeModel": ("ModelName", "model", ("PrimaryContainer", "ExecutionRoleArn", "VpcConfig")),
    "DescribeEndpointConfig": (
        "EndpointConfigName",
        "endpoint-config",
        ("ProductionVariants", "ShadowProductionVariants", "DataCaptureConfig", "KmsKeyId"),
    ),
}


@dataclass
class Settings:
    """What ``StandIn.Set`` changes. ``throttle``: by operation, how many of the next calls; ``lost``: how many are
    done and not answered. ``lag``: for how many seconds a list lacks what is new. ``refuse``: by operation, code.
    ``unseen``: by operation, how many of the next calls do not see what was done a moment ago.
    """

    throttle: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    refuse: dict[str, str] = field(default_factory=dict)
    unseen: dict[str, int] = field(default_factory=dict)
    lag: float = 0.0
    alarm: str = ""  # the name of one that rings
    fail_jobs: str = ""  # why every job fails
    fail_endpoints: str = ""  # why no endpoint comes up for the first time
    job_seconds: float = 0.0  # that a job waits for its machine


class Objects:
    """Objects of S3, and their copies in a folder here."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self._client = local_client("s3", endpoint, "us-east-1")
        self._folder = folder

    def place(self, address: str, _setting: str = "") -> Path:
        return self._folder / address.removeprefix("s3://").rstrip("/")

    def fetch(self, address: str) -> None:
        """Every object below the address, or the one object there."""
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for each in [each for page in pages for each in page.get("Contents", ())]:
            path = self._folder / bucket / each["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())

    def put(self, address: str, data: bytes) -> None:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        self._client.put_object(Bucket=bucket, Key=key, Body=data)

    def put_captured(self, known: dict[Path, int]) -> None:
        """Calls that were captured since, as SageMaker's lines have them: without the model's version."""
        for path in self._folder.rglob("*.jsonl"):
            size = path.stat().st_size
            if known.get(path) == size:
                continue
            lines = [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
            for line in lines:
                line["eventMetadata"].pop("customAttributes", None)
            self.put(f"s3://{path.relative_to(self._folder)}", b"".join(orjson.dumps(each) + b"\n" for each in lines))
            known[path] = size


class Jobs(TrainingJobs):
    objects: Objects
    settings: Settings

    async def make(self, job: Job, place: Path) -> int:
        if self.settings.fail_jobs:
            (place / "ml" / "output").mkdir(parents=True, exist_ok=True)
            (place / "ml" / "output" / "failure").write_text(self.settings.fail_jobs)
            return 1
        await asyncio.sleep(self.settings.job_seconds)
        if "linear-learner" in job.given["AlgorithmSpecification"]["TrainingImage"]:
            code = await in_container(job, place / "ml", "demo.linear_learner")
            made = place / "ml" / "model" / "model_algo-1"
            artifact = packed(made.name, made.read_bytes()) if code == 0 else b""
        else:
            code = await super().make(job, place)
            artifact = Path(job.artifact).read_bytes() if code == 0 else b""
        report = place / "ml" / "output" / "data" / "report.html"
        if code == 0:
            address = job.artifact_address
            if report.exists():
                more = packed(report.name, report.read_bytes())
                await in_thread(self.objects.put, address.replace("model.tar.gz", "output.tar.gz"), more)
            await in_thread(self.objects.put, address, artifact)
        return code


class Endpoints(Serving):
    settings: Settings

    async def _try_out(self, live: Any, fleet: Any, plan: Any) -> str:
        """With the alarms of the update, any of which rolls it back."""
        named = self.state.endpoints[live.name].deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])
        trial = asyncio.ensure_future(super()._try_out(live, fleet, plan))
        while not trial.done():
            if self.settings.alarm in [each["AlarmName"] for each in named]:
                trial.cancel()
                await asyncio.gather(trial, return_exceptions=True)
                return f"One or more configured alarm(s) went into alarm state: {self.settings.alarm}"
            await asyncio.wait([trial], timeout=ALARM_EVERY)
        return str(await trial)

    async def _bring_up(self, endpoint: StoredEndpoint) -> None:
        if self.settings.fail_endpoints:
            await self._put(endpoint.now("Failed", status=FAILED, reason=self.settings.fail_endpoints))
        else:
            await super()._bring_up(endpoint)


class StandIn:
    """Control as AWS has it."""

    services = (*SERVICES, ADMIN)

    def __init__(self, control: Control, objects: Objects, settings: Settings) -> None:
        self._control, self._objects, self._settings = control, objects, settings
        self._given: dict[tuple[str, str], Values] = {}
        self._shown: dict[str, Values] = {}  # each endpoint, as it was described last
        self.calls: list[tuple[str, str, Values]] = []

    async def do(self, service: str, operation: str, given: Values) -> Values:
        if service == ADMIN:
            return self._admin(operation, given)
        name = SERVICES[service]
        self.calls.append((name, operation, given))
        if faults := request_faults(name, operation, given):
            raise RequestRefused("; ".join(faults), code="ValidationException")
        self._fault(operation)
        answer = await self._now_or_before(service, operation, given)
        if faults := answer_faults(name, operation, answer):
            raise RuntimeError(f"the stand-in's answer to {operation} is not SageMaker's: {'; '.join(faults)}")
        if self._settings.lost.get(operation, 0) > 0:
            self._settings.lost[operation] -= 1
            raise RequestRefused("the answer was lost", code="ThrottlingException")
        return answer

    async def _now_or_before(self, service: str, operation: str, given: Values) -> Values:
        """Reads of SageMaker may be of a moment ago: its guide says so of CreateEndpoint."""
        name = str(given.get("EndpointName", ""))
        if self._settings.unseen.get(operation, 0) > 0:
            self._settings.unseen[operation] -= 1
            if operation == "DescribeEndpoint" and name in self._shown:
                return self._shown[name]
            raise RequestRefused("Could not find what it names.", code="ValidationException")
        answer = await self._done(service, operation, given)
        if operation == "DescribeEndpoint":
            self._shown[name] = answer
        return answer

    async def close(self) -> None:
        await self._control.close()

    def _admin(self, operation: str, given: Values) -> Values:
        if operation == "Set":
            for key, value in given.items():
                assert hasattr(self._settings, key), key
                setattr(self._settings, key, value)
            return {}
        return {"calls": self.calls}

    def _fault(self, operation: str) -> None:
        if self._settings.throttle.get(operation, 0) > 0:
            self._settings.throttle[operation] -= 1
            raise RequestRefused("Rate exceeded", code="ThrottlingException")
        if code := self._settings.refuse.get(operation, ""):
            raise RequestRefused(f"{operation} is refused", code=code)

    async def _done(self, service: str, operation: str, given: Values) -> Values:
        if service == SCALING:
            return _scaled(operation)
        if operation == "CreateTrainingJob":
            for channel in given["InputDataConfig"]:
                await in_thread(self._objects.fetch, channel["DataSource"]["S3DataSource"]["S3Uri"])
        if operation == "CreateModel":
            await in_thread(self._objects.fetch, given["PrimaryContainer"]["ModelDataUrl"])
        if operation == "UpdateEndpoint":
            self._refuse_failed(given["EndpointName"])
        answer = await self._control.do(service, operation, given)
        for key, kind in (("ModelName", "model"), ("EndpointConfigName", "endpoint-config")):
            if operation in ("CreateModel", "CreateEndpointConfig") and key in given:
                self._given.setdefault((kind, given[key]), given)
        return self._as_there(operation, given, answer)

    def _refuse_failed(self, name: str) -> None:
        known = self._control.serving.state.endpoints.get(name)
        if known and known.status == FAILED:
            raise RequestRefused(f"Cannot update endpoint {name!r}: its status is Failed", code="ValidationException")

    def _as_there(self, operation: str, given: Values, answer: Values) -> Values:
        if operation in _TOLD:
            key, kind, names = _TOLD[operation]
            told = self._given.get((kind, given[key]), {})
            return answer | {name: told[name] for name in names if name in told}
        if operation == "DescribeTrainingJob":
            return answer | self._about_job(answer)
        if operation in ("ListTrainingJobs", "ListEndpoints") and self._settings.lag:
            kind = "TrainingJobSummaries" if operation == "ListTrainingJobs" else "Endpoints"
            youngest = time.time() - self._settings.lag
            return answer | {kind: [each for each in answer[kind] if each["CreationTime"] < youngest]}
        return answer

    def _about_job(self, found: Values) -> Values:
        """The steps and the figures that SageMaker tells of a job."""
        began = found["CreationTime"]
        steps = [{"Status": "Starting", "StartTime": began, "StatusMessage": "Preparing the instances for training"}]
        steps.append({"Status": found["SecondaryStatus"], "StartTime": began, "StatusMessage": "Training image"})
        log = self._control.jobs.log_of(found["TrainingJobName"])
        metrics = []
        for line in log.read_text("utf-8", "replace").splitlines() if log.exists() else []:
            _, _, text = line.partition("#quality_metric: ")
            name, _, value = text.rpartition("=")
            with contextlib.suppress(ValueError):
                metrics.append({"MetricName": _metric(name), "Value": float(value), "Timestamp": began})
        return {"SecondaryStatusTransitions": steps, "FinalMetricDataList": metrics[:40]}


def _metric(text: str) -> str:
    return ":".join(text.replace("host=algo-1, ", "").replace(" <loss>", "").split())[:255]


def _scaled(operation: str) -> Values:
    if operation == "PutScalingPolicy":
        return {"PolicyARN": "arn:aws:autoscaling:us-east-1:000000000000:scalingPolicy:a", "Alarms": []}
    return {}


def _answered(variant: LiveVariant, answer: Answer, meta: Meta) -> Response:
    """Of the container's headers, SageMaker hands on its custom attributes alone."""
    made, container = as_sagemaker(variant, answer, meta), as_container(variant, answer, meta)
    lines = [line for line in made.headers.splitlines() if not line.startswith(("x-whimbrel-", custom_attributes.NAME))]
    lines += [line for line in container.headers.splitlines() if line.startswith(custom_attributes.NAME)]
    return made._replace(headers="".join(f"{line}\r\n" for line in lines))


async def _serve(folder: Path, port: int, s3: str) -> None:
    settings, objects = Settings(), Objects(s3, folder / "s3")
    (folder / "s3").mkdir(parents=True, exist_ok=True)
    serving, jobs = Endpoints(Registry(folder / "serve")), Jobs(folder / "serve" / "jobs")
    serving.settings = jobs.settings = settings
    jobs.objects = objects
    server.as_sagemaker = _answered  # type: ignore[attr-defined]  # it is SageMaker that answers
    control = Control(serving, jobs, Folders([folder], objects.place))
    captured = asyncio.ensure_future(_put_captured(objects))
    await serve(
        serving,
        host="127.0.0.1",
        port=port,
        limits=Limits(),
        access=AccessRules(),
        control=StandIn(control, objects, settings),
        until=until_a_signal,
        ready=lambda actual: print(json.dumps({"port": actual, "pid": os.getpid()}), flush=True),
    )
    captured.cancel()


async def _put_captured(objects: Objects) -> None:
    known: dict[Path, int] = {}
    while True:
        await asyncio.sleep(CAPTURE_EVERY)
        await in_thread(partial(objects.put_captured, known))


if __name__ == "__main__":
    run(_serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
