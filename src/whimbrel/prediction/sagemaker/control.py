"""The control of endpoints in SageMaker's own API (JSON 1.1, ``X-Amz-Target: SageMaker.<operation>``).

So boto3's ``sagemaker`` client and ``aws sagemaker`` are clients of this server too, with nothing but an endpoint URL.
Instances and roles are accepted and mean nothing here; a setting that would be silently without effect on the answers
(an unknown routing, a remote store) is refused by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from whimbrel.errors import UserError
from whimbrel.prediction.sagemaker.listing import listed
from whimbrel.prediction.sagemaker.logs import SERVICE as LOGS
from whimbrel.prediction.sagemaker.logs import logs
from whimbrel.prediction.sagemaker.places import Folders
from whimbrel.prediction.sagemaker.training_jobs import IN_PROGRESS, TOO_LONG, Job, TrainingJobs, job_from
from whimbrel.prediction.serve.registry import (
    DataCapture,
    EndpointConfig,
    State,
    StoredEndpoint,
    StoredModel,
    Variant,
)
from whimbrel.prediction.serve.serving import Serving
from whimbrel.threads import in_thread

Values = dict[str, Any]
_log = logging.getLogger("whimbrel.serve")
_ARN = "arn:aws:sagemaker:local:000000000000:"
# What a training job was given that changes nothing here; SDKs read it back.
_TOLD_AGAIN = (
    *("AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig"),
    *("StoppingCondition", "Environment", "EnableNetworkIsolation", "EnableManagedSpotTraining"),
)
_CAPTURE_MODES = {"Input", "Output", "InputAndOutput"}


class Control:
    """The control of a ``serving``, with its training jobs, and the folders below which calls may name files."""

    services: tuple[str, ...] = ("SageMaker", LOGS)

    def __init__(self, serving: Serving, jobs: TrainingJobs, folders: Folders) -> None:
        self.serving = serving
        self.jobs = jobs
        self.folders = folders
        self._changing = asyncio.Lock()  # held by whoever decides on a change by the state

    async def do(self, service: str, operation: str, given: Values) -> Values:
        """Do one operation. Raises UserError for what SageMaker calls a ValidationException."""
        if service == LOGS:
            return await in_thread(logs, self.jobs, operation, given)
        function = _OPERATIONS.get(operation)
        if function is None:
            raise UserError(f"operation {operation[:80]!r} is not known here", hint=f"Known: {', '.join(_OPERATIONS)}.")
        reads = operation.startswith(("Describe", "List"))
        try:
            # One change at a time, from its checks to its effect.
            async with contextlib.nullcontext() if reads else self._changing:
                return await function(self, given)
        except KeyError as error:
            raise UserError(f"{error.args[0]} is missing", place=operation, hint="Give it.") from None
        except (TypeError, AttributeError, ValueError) as error:
            _log.info("the request cannot be read", exc_info=True, extra={"operation": operation})
            hint = "See SageMaker's API."
            raise UserError(f"a value has the wrong type: {error}", place=operation, hint=hint) from None

    async def close(self) -> None:
        """End the training jobs."""
        await self.jobs.close()


async def _create_model(control: Control, given: Values) -> Values:
    container = given.get("PrimaryContainer") or (given.get("Containers") or [{}])[0]
    await control.serving.create_model(
        given["ModelName"], control.folders.file(container["ModelDataUrl"], "ModelDataUrl")
    )
    return {"ModelArn": f"{_ARN}model/{given['ModelName'].lower()}"}


async def _describe_model(control: Control, given: Values) -> Values:
    return _model(_found(control.serving.state.models, given["ModelName"], "model"))


async def _list_models(control: Control, given: Values) -> Values:
    keys = ("ModelName", "ModelArn", "CreationTime")
    models = [_model(each) for each in control.serving.state.models.values()]
    return listed("Models", "Model", [{key: each[key] for key in keys} for each in models], given)


async def _delete_model(control: Control, given: Values) -> Values:
    await control.serving.delete_model(given["ModelName"])
    return {}


async def _create_training_job(control: Control, given: Values) -> Values:
    job = await in_thread(job_from, given, control.folders)
    await control.jobs.create(job)
    return {"TrainingJobArn": f"{_ARN}training-job/{job.name.lower()}"}


async def _describe_training_job(control: Control, given: Values) -> Values:
    job: Job = _found(control.jobs.jobs, given["TrainingJobName"], "training job")
    found = _training_job(job) | {"HyperParameters": job.hyperparameters}
    found |= {key: job.given[key] for key in _TOLD_AGAIN if key in job.given}
    ended = "MaxRuntimeExceeded" if job.reason.startswith(TOO_LONG) else job.status
    found["SecondaryStatus"] = "Training" if job.status == IN_PROGRESS else ended
    found["TrainingStartTime"] = job.created
    found["OutputDataConfig"] = {"KmsKeyId": ""} | found["OutputDataConfig"]  # SageMaker has it, and its SDK reads it
    if job.ended:
        found["TrainingTimeInSeconds"] = found["BillableTimeInSeconds"] = max(1, round(job.ended - job.created))
    found["ModelArtifacts"] = {"S3ModelArtifacts": job.artifact_address}  # before there is a model, too
    return found | ({"FailureReason": job.reason} if job.reason else {})


async def _list_tags(control: Control, given: Values) -> Values:
    kind, _, name = given["ResourceArn"].rpartition(":")[2].partition("/")
    jobs = [each for each in control.jobs.jobs.values() if each.name.lower() == name]
    return {"Tags": jobs[0].given.get("Tags", []) if jobs and kind == "training-job" else []}


async def _list_training_jobs(control: Control, given: Values) -> Values:
    found = [_training_job(each) for each in control.jobs.jobs.values()]
    return listed("TrainingJobSummaries", "TrainingJob", found, given)


async def _stop_training_job(control: Control, given: Values) -> Values:
    control.jobs.stop(_found(control.jobs.jobs, given["TrainingJobName"], "training job").name)
    return {}


async def _create_config(control: Control, given: Values) -> Values:
    shadows = given.get("ShadowProductionVariants") or []
    if len(shadows) > 1:
        raise UserError("only one shadow variant is possible", place="ShadowProductionVariants", hint="Leave one.")
    config = EndpointConfig(
        name=given["EndpointConfigName"],
        variants=tuple(_variant(each) for each in given["ProductionVariants"]),
        created=time.time(),
        shadow=_variant(shadows[0]) if shadows else None,
        capture=_capture(given.get("DataCaptureConfig") or {}, control.folders),
    )
    await control.serving.create_config(config)
    return {"EndpointConfigArn": f"{_ARN}endpoint-config/{config.name.lower()}"}


async def _describe_config(control: Control, given: Values) -> Values:
    config: EndpointConfig = _found(
        control.serving.state.configs, given["EndpointConfigName"], "endpoint configuration"
    )
    found: Values = {
        "EndpointConfigName": config.name,
        "EndpointConfigArn": f"{_ARN}endpoint-config/{config.name.lower()}",
        "ProductionVariants": [_variant_as_given(each) for each in config.variants],
        "CreationTime": config.created,
    }
    if config.shadow:
        found["ShadowProductionVariants"] = [_variant_as_given(config.shadow)]
    if config.capture:
        modes = [mode for mode, on in (("Input", config.capture.input), ("Output", config.capture.output)) if on]
        found["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": config.capture.percent,
            "DestinationS3Uri": Path(config.capture.folder).as_uri(),
            "CaptureOptions": [{"CaptureMode": mode} for mode in modes],
        }
    return found


async def _list_configs(control: Control, given: Values) -> Values:
    found = [
        {
            "EndpointConfigName": each.name,
            "EndpointConfigArn": f"{_ARN}endpoint-config/{each.name.lower()}",
            "CreationTime": each.created,
        }
        for each in control.serving.state.configs.values()
    ]
    return listed("EndpointConfigs", "EndpointConfig", found, given)


async def _delete_config(control: Control, given: Values) -> Values:
    await control.serving.delete_config(given["EndpointConfigName"])
    return {}


async def _create_endpoint(control: Control, given: Values) -> Values:
    name = given["EndpointName"]
    await control.serving.create_endpoint(name, given["EndpointConfigName"], given.get("DeploymentConfig") or {})
    return {"EndpointArn": f"{_ARN}endpoint/{name.lower()}"}


async def _update_endpoint(control: Control, given: Values) -> Values:
    name = given["EndpointName"]
    deployment = given.get("DeploymentConfig") or {}
    if given.get("RetainDeploymentConfig"):
        deployment = _found(control.serving.state.endpoints, name, "endpoint").deployment
    retain = bool(given.get("RetainAllVariantProperties"))
    await control.serving.update_endpoint(name, given["EndpointConfigName"], deployment, retain_weights=retain)
    return {"EndpointArn": f"{_ARN}endpoint/{name.lower()}"}


async def _update_weights(control: Control, given: Values) -> Values:
    name = given["EndpointName"]
    wanted = {each["VariantName"]: float(each["DesiredWeight"]) for each in given["DesiredWeightsAndCapacities"]}
    await control.serving.update_weights(name, wanted)
    return {"EndpointArn": f"{_ARN}endpoint/{name.lower()}"}


async def _describe_endpoint(control: Control, given: Values) -> Values:
    endpoint: StoredEndpoint = _found(control.serving.state.endpoints, given["EndpointName"], "endpoint")
    found = _endpoint(endpoint) | {"EndpointConfigName": endpoint.config}
    config = control.serving.state.configs[endpoint.config]
    found["ProductionVariants"] = [_summary(control.serving.state, each, endpoint.weights) for each in config.variants]
    if config.shadow:
        found["ShadowProductionVariants"] = [_summary(control.serving.state, config.shadow, {})]
    if endpoint.reason:
        found["FailureReason"] = endpoint.reason[:1024]
    if endpoint.deployment:
        found["LastDeploymentConfig"] = endpoint.deployment
    if endpoint.pending:
        pending = control.serving.state.configs[endpoint.pending]
        found["PendingDeploymentSummary"] = {
            "EndpointConfigName": endpoint.pending,
            "ProductionVariants": [_summary(control.serving.state, each, {}) for each in pending.variants],
            "StartTime": endpoint.modified,
        }
    return found


async def _list_endpoints(control: Control, given: Values) -> Values:
    found = [_endpoint(each) for each in control.serving.state.endpoints.values()]
    return listed("Endpoints", "Endpoint", found, given)


async def _delete_endpoint(control: Control, given: Values) -> Values:
    await control.serving.delete_endpoint(given["EndpointName"])
    return {}


_OPERATIONS: dict[str, Callable[[Control, Values], Awaitable[Values]]] = {
    "CreateTrainingJob": _create_training_job,
    "DescribeTrainingJob": _describe_training_job,
    "ListTrainingJobs": _list_training_jobs,
    "ListTags": _list_tags,
    "StopTrainingJob": _stop_training_job,
    "CreateModel": _create_model,
    "DescribeModel": _describe_model,
    "ListModels": _list_models,
    "DeleteModel": _delete_model,
    "CreateEndpointConfig": _create_config,
    "DescribeEndpointConfig": _describe_config,
    "ListEndpointConfigs": _list_configs,
    "DeleteEndpointConfig": _delete_config,
    "CreateEndpoint": _create_endpoint,
    "UpdateEndpoint": _update_endpoint,
    "UpdateEndpointWeightsAndCapacities": _update_weights,
    "DescribeEndpoint": _describe_endpoint,
    "ListEndpoints": _list_endpoints,
    "DeleteEndpoint": _delete_endpoint,
}


def _variant(given: Values) -> Variant:
    return Variant(given["VariantName"], given["ModelName"], float(given.get("InitialVariantWeight", 1.0)))


def _variant_as_given(variant: Variant) -> Values:
    return {
        "VariantName": variant.name,
        "ModelName": variant.model,
        "InitialInstanceCount": 1,
        "InitialVariantWeight": variant.weight,
    }


def _capture(given: Values, folders: Folders) -> DataCapture | None:
    if not given or not given.get("EnableCapture", True):
        return None
    modes = {each["CaptureMode"] for each in given["CaptureOptions"]}
    if not modes <= _CAPTURE_MODES:
        raise UserError(f"must be one of {sorted(_CAPTURE_MODES)}", place="CaptureMode", hint="Fix it.")
    percent = given["InitialSamplingPercentage"]
    if not 0 <= percent <= 100:
        raise UserError(f"must be from 0 to 100, not {percent}", place="InitialSamplingPercentage", hint="Fix it.")
    folder = folders.output(given["DestinationS3Uri"], "DestinationS3Uri")
    return DataCapture(percent, str(folder), "Output" not in modes or len(modes) > 1, modes != {"Input"})


def _training_job(job: Job) -> Values:
    found: Values = {
        "TrainingJobName": job.name,
        "TrainingJobArn": f"{_ARN}training-job/{job.name.lower()}",
        "TrainingJobStatus": job.status,
        "CreationTime": job.created,
    }
    return found | ({"TrainingEndTime": job.ended} if job.ended else {})


def _model(model: StoredModel) -> Values:
    return {
        "ModelName": model.name,
        "PrimaryContainer": {"ModelDataUrl": model.source, "Environment": {"WHIMBREL_MODEL_VERSION": model.version}},
        "ModelArn": f"{_ARN}model/{model.name.lower()}",
        "CreationTime": model.created,
    }


def _endpoint(endpoint: StoredEndpoint) -> Values:
    return {
        "EndpointName": endpoint.name,
        "EndpointArn": f"{_ARN}endpoint/{endpoint.name.lower()}",
        "EndpointStatus": endpoint.status,
        "CreationTime": endpoint.created,
        "LastModifiedTime": endpoint.modified,
    }


def _summary(state: State, variant: Variant, weights: dict[str, float]) -> Values:
    weight = weights.get(variant.name, variant.weight)
    image = {"SpecifiedImage": f"whimbrel:{variant.model}", "ResolvedImage": state.models[variant.model].version}
    return {
        "VariantName": variant.name,
        "DeployedImages": [image],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
        "CurrentInstanceCount": 1,
        "DesiredInstanceCount": 1,
    }


def _found(among: dict[str, Any], name: str, what: str) -> Any:
    if name not in among:
        raise UserError(f"could not find {what} {name!r}", hint=f"There is {', '.join(sorted(among)) or 'none'}.")
    return among[name]
