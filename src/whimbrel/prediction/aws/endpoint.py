"""An endpoint on SageMaker: made once, updated afterwards, and never left without knowing how it is.

What an update makes (model, configuration) has a name that says what it is, so whoever repeats it finds it there. The
endpoint is changed by one call, CreateEndpoint or UpdateEndpoint, by whether there is one. Of two who make it at once,
SageMaker refuses the second, who then updates. Of two updates, it refuses the second while the first runs; that one
waits, and looks again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any

import orjson

from whimbrel.errors import RequestRefused, StateError, UserError
from whimbrel.prediction.aws.client import Client, as_name, client_of, said, tags
from whimbrel.prediction.aws.places import CAPTURED, REPORT, bucket, entered, kept, name_of
from whimbrel.prediction.model.artifact import members
from whimbrel.prediction.model.kept import MODEL_FILE, models_folder, newest_model
from whimbrel.prediction.model.model import load_model
from whimbrel.prediction.serve.deploy import Deployment, deployment_config
from whimbrel.prediction.serve.project import EndpointStatus, VariantStatus
from whimbrel.project import Project
from whimbrel.project.endpoint import EndpointRule
from whimbrel.project.sagemaker import Hosting

FIRST_LOOK, LONGEST_LOOK = 1.0, 15.0  # seconds between two looks at an endpoint
LONGEST = 4 * 3600.0  # seconds that an update may take
IN_SERVICE, FAILED = "InService", "Failed"
_BUSY = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})
_NOT_THERE = frozenset({"ValidationException", "ResourceNotFound", "ResourceNotFoundException"})
_LOOKS_AGAIN = (1, 2, 4, 8)  # times FIRST_LOOK: at what was made a moment ago, which SageMaker may not see yet
_TRIES = 5  # at an endpoint that others change meanwhile
_SCALED = "sagemaker:variant:DesiredInstanceCount"

Tell = Callable[[str], object]  # hears of each new status


@dataclass(frozen=True, slots=True)
class HostedEndpoint:
    """``config`` is what answers, ``pending`` what it is being updated to. ``modified`` is in UTC."""

    name: str
    status: str
    config: str
    pending: str
    reason: str
    modified: datetime
    variants: tuple[dict[str, Any], ...]


def deployed(project: Project, rule: EndpointRule, file: Path, tell: Tell, stop: Event) -> Deployment:
    """As ``serve.deploy.deploy``: returns when it answers with the model, or was rolled back to what it had.

    Raises UserError for an endpoint that cannot be updated, StateError where nothing is decided for LONGEST, Stopped
    (the update goes on then; the same call again follows it), and what ``Client.ask`` and the bucket raise.
    """
    with closing(client_of(project, stop)) as client:
        return _Update(project, rule, file, client, tell).done()


def found(client: Client, name: str) -> HostedEndpoint | None:
    """None where there is no such endpoint. SageMaker calls that a ValidationException; lists lag behind."""
    try:
        return described(client, name)
    except RequestRefused as error:
        if error.code not in _NOT_THERE:
            raise
        return None


def described(client: Client, name: str) -> HostedEndpoint:
    answer = client.ask("describe_endpoint", name, EndpointName=name)
    return HostedEndpoint(
        name=name,
        status=said(answer, name, "EndpointStatus"),
        config=said(answer, name, "EndpointConfigName"),
        pending=(answer.get("PendingDeploymentSummary") or {}).get("EndpointConfigName", ""),
        reason=answer.get("FailureReason", ""),
        modified=said(answer, name, "LastModifiedTime").astimezone(UTC),
        variants=tuple(answer.get("ProductionVariants", ())),
    )


def model_of(client: Client, name: str) -> str:
    """The address of the artifact that the endpoint's first variant answers with."""
    config = client.ask("describe_endpoint_config", name, EndpointConfigName=described(client, name).config)
    model = said(config, name, "ProductionVariants")[0]["ModelName"]
    container = client.ask("describe_model", name, ModelName=model).get("PrimaryContainer", {})
    return str(container.get("ModelDataUrl", ""))


def statuses(project: Project, rules: Iterable[EndpointRule]) -> tuple[EndpointStatus, ...]:
    """As ``serve.project.statuses``, of these endpoints; those that are not there yet are left out."""
    made = []
    with closing(client_of(project)) as client:
        for rule in rules:
            if now := found(client, rule.name):
                _, model, version, _ = name_of(project, model_of(client, rule.name), f"endpoint {rule.name}").split("/")
                variants = tuple(
                    VariantStatus(each["VariantName"], each.get("CurrentWeight", 1.0), model, version, {})
                    for each in now.variants
                )
                pending = f"it is being updated to {now.pending}" if now.pending else ""
                made.append(EndpointStatus(now.name, now.status, now.reason or pending, variants))
    return tuple(made)


def present_model(project: Project, name: str, stop: Event | None = None) -> Path | None:
    """The file of the model that the endpoint answers with; None while there is no endpoint, or one that failed.

    Raises UserError where that model is not one of this project's.
    """
    with closing(client_of(project, stop)) as client:
        now = found(client, name)
        if now is None or now.status == FAILED:
            return None
        return fetched(project, name_of(project, model_of(client, name), f"endpoint {name}"))


def fetched(project: Project, name: str) -> Path:
    """The file of the model with this artifact: ``models/<model>/<version>/model.tar.gz``. Raises StateError."""
    _, model, version, _ = name.split("/")
    path = models_folder(project, model) / version / MODEL_FILE
    if path.exists():
        return path
    there = bucket(project)
    try:
        with there.open(name) as file:
            files = members(file, there.url(name))
    except FileNotFoundError:
        hint = "Train and deploy a model again."
        raise StateError("the model's artifact is gone", place=there.url(name), hint=hint) from None
    [data] = files.values()
    report = there.get(f"{name.rpartition('/')[0]}/{REPORT}") or b""
    return entered(project, model, data, report, there.url(name))[1]


def removed_if_failed(client: Client, name: str) -> str:
    """Remove an endpoint that never came up: nothing but that can be done with it. Why it failed."""
    now = described(client, name)
    client.ask("delete_endpoint", name, EndpointName=name)
    return now.reason or "it failed"


class _Update:
    def __init__(self, project: Project, rule: EndpointRule, file: Path, client: Client, tell: Tell) -> None:
        assert rule.hosting, "asked before"
        self._project, self._rule, self._client, self._tell = project, rule, client, tell
        self._hosting: Hosting = rule.hosting
        self._file, self._version = file, load_model(file).version
        self._place = f"endpoint {rule.name}"
        self._asked = False  # whether a change of ours was accepted
        self._wanted = ""  # the configuration that it is to have
        bucket(project).attend(client.stop)

    def done(self) -> Deployment:
        """The order matters: the artifact, the model, the configuration, and only then the endpoint."""
        model = self._model(self._file)
        shadow = self._model(self._shadow()) if self._hosting.shadow else ""
        config = self._wanted = self._config(model, shadow)
        for _ in range(_TRIES):
            now = found(self._client, self._rule.name)
            self._asked = bool(now and now.pending == config)  # by a process that ended meanwhile
            now = self._settled(now)
            if now is None and self._asked:
                raise self._deleted()
            if now is None or (now.config != config and not self._asked):
                self._change(now, config)
                now = self._settled(found(self._client, self._rule.name))
                if now is None:
                    raise self._deleted()
            # Done; or tried, and taken back. Else somebody else was faster.
            if now.config == config or self._asked:
                return self._ended(now, model, config)
        raise UserError(
            "others change it again and again", place=self._place, hint="Find out who does, then run it again."
        )

    def _change(self, now: HostedEndpoint | None, config: str) -> None:
        """One call. Refused, it is of no consequence: somebody else was faster, and the next look says with what."""
        request: dict[str, Any] = {"EndpointName": self._rule.name, "EndpointConfigName": config}
        self._check_variant(now)
        if now is None:
            operation, more = "create_endpoint", {"Tags": tags(self._client.settings)}
        else:
            operation, more = "update_endpoint", {**self._deployment(), **self._retained()}

        def known() -> bool:
            there = found(self._client, self._rule.name)
            return there is not None and self._was_faster(now, there, config)

        if self._asked_for(operation, self._place, {**request, **more}, known):
            self._asked = True
            self._await_seen(now)

    def _asked_for(self, operation: str, place: str, request: dict[str, Any], known: Callable[[], bool]) -> bool:
        """Whether the call was accepted. Where it is refused although it may be right, and it is not ``known`` why, it
        is made again a few times: SageMaker may not see yet what it names, and was made a moment ago.
        """
        for times in (*_LOOKS_AGAIN, 0):
            try:
                self._client.ask(operation, place, **request)
                return True
            except RequestRefused as error:
                if error.code != "ValidationException":
                    raise
                if known():
                    return False
                if not times:
                    raise
            self._client.wait(times * FIRST_LOOK, place)
        raise AssertionError("the last try returns or raises")

    def _await_seen(self, before: HostedEndpoint | None) -> None:
        """Until the endpoint is shown as it is since our change of it. What is shown then counts."""
        for times in _LOOKS_AGAIN:
            if found(self._client, self._rule.name) != before:
                return
            self._client.wait(times * FIRST_LOOK, self._place)

    def _check_variant(self, now: HostedEndpoint | None) -> None:
        """Raises UserError where the endpoint has other variants: SageMaker shifts calls between those of one name; or
        where it has machines and is to have none.
        """
        if now and self._hosting.serverless_mb:
            config = self._client.ask("describe_endpoint_config", self._place, EndpointConfigName=now.config)
            if not said(config, self._place, "ProductionVariants")[0].get("ServerlessConfig"):
                hint = "Give the serverless endpoint another name, and delete this one when nobody asks it any more."
                message = "it has machines, and SageMaker makes no such endpoint serverless"
                raise UserError(message, place=self._place, hint=hint)
        names = ", ".join(each["VariantName"] for each in now.variants) if now else self._rule.variant
        if names != self._rule.variant:
            hint = f"Set variant in [[endpoint]] to its name, or give the endpoint another name than {self._rule.name}."
            raise UserError(f"its variants are {names}, not {self._rule.variant}", place=self._place, hint=hint)

    def _deleted(self) -> UserError:
        return UserError("it was deleted meanwhile", place=self._place, hint="Run it again to make it.")

    def _was_faster(self, before: HostedEndpoint | None, now: HostedEndpoint, config: str) -> bool:
        """Whether the endpoint is another than when we decided: by another one, or by us, where an answer was lost."""
        self._asked = config in (now.config, now.pending)
        return self._asked or before is None or now.status in _BUSY or now.modified != before.modified

    def _settled(self, now: HostedEndpoint | None) -> HostedEndpoint | None:
        """The endpoint when nothing changes it any more; None where it is gone. Raises UserError where it cannot be
        updated.
        """
        until, pause, before = time.monotonic() + LONGEST, FIRST_LOOK, ""
        while now and now.status in _BUSY:
            if (words := f"{now.status} {now.pending or now.config}") != before:
                before = words
                self._tell(words)
            if time.monotonic() > until:
                hint = "See: whimbrel endpoint status"
                raise StateError(
                    f"it is still {now.status} after {LONGEST / 3600:g} hours", place=self._place, hint=hint
                )
            self._client.wait(pause, self._place)
            pause = min(pause * 1.5, LONGEST_LOOK)
            now = found(self._client, now.name)
        if now is None:
            return None
        ours = self._asked or now.config == self._wanted
        if now.status not in (IN_SERVICE, FAILED) or (now.status == FAILED and not ours):
            hint = f"See why, then: aws sagemaker delete-endpoint --endpoint-name {now.name}"
            raise UserError(f"it is {now.status} and cannot be updated: {now.reason}", place=self._place, hint=hint)
        return now

    def _ended(self, now: HostedEndpoint, model: str, config: str) -> Deployment:
        live, reason = now.status == IN_SERVICE and now.config == config, now.reason
        if now.status == FAILED:  # it never answered: without it the next one begins from nothing, and not from this
            reason = removed_if_failed(self._client, now.name)
        elif live:
            reason = ""
            self._scale()
        elif not reason:
            reason = f"it answers with {now.config}"
        self._tell(f"{now.status} {now.config}")
        return Deployment(now.name, config, model, self._version, live, reason)

    def _model(self, file: Path) -> str:
        """The name of SageMaker's model, which is there when this returns."""
        settings = self._client.settings
        url = bucket(self._project).url(kept(self._project, file))
        container: dict[str, Any] = {
            "Image": settings.image,
            "ModelDataUrl": url,
            "Environment": {"WHIMBREL_UNKNOWN": self._rule.unknown},
        }
        request: dict[str, Any] = {"PrimaryContainer": container, "ExecutionRoleArn": settings.role}
        if settings.subnets:
            vpc = {"Subnets": list(settings.subnets), "SecurityGroupIds": list(settings.security_groups)}
            request["VpcConfig"] = vpc
        name = self._name(load_model(file).version, request)
        return self._made("model", name, {"ModelName": name}, request | {"Tags": tags(settings)})

    def _config(self, model: str, shadow: str) -> str:
        rule, settings = self._rule, self._client.settings
        request: dict[str, Any] = {"ProductionVariants": [self._variant(rule.variant, model)]}
        if shadow:
            request["ShadowProductionVariants"] = [self._variant("Shadow", shadow)]
        if rule.capture_percent:
            request["DataCaptureConfig"] = {
                "EnableCapture": True,
                "InitialSamplingPercentage": rule.capture_percent,
                "DestinationS3Uri": bucket(self._project).url(CAPTURED),
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {
                    "CsvContentTypes": ["text/csv"],
                    "JsonContentTypes": ["application/json", "application/jsonlines"],
                },
                **({"KmsKeyId": settings.key} if settings.key else {}),
            }
        if settings.key and not self._hosting.serverless_mb:
            request["KmsKeyId"] = settings.key
        name = self._name(self._version, request)
        return self._made("endpoint_config", name, {"EndpointConfigName": name}, request | {"Tags": tags(settings)})

    def _variant(self, name: str, model: str) -> dict[str, Any]:
        hosting, variant = self._hosting, {"VariantName": name, "ModelName": model}
        if hosting.serverless_mb:
            size = {"MemorySizeInMB": hosting.serverless_mb, "MaxConcurrency": hosting.concurrency}
            return {**variant, "ServerlessConfig": size}
        machines = {"InstanceType": hosting.instance, "InitialInstanceCount": hosting.instances}
        return {**variant, **machines, "InitialVariantWeight": 1.0}

    def _made(self, what: str, name: str, named: dict[str, str], request: dict[str, Any]) -> str:
        """``name``, once there is such a thing; one that is there already is the same, as its name says."""
        place = f"{what.replace('_', ' ')} {name}"

        def known() -> bool:
            with suppress(RequestRefused):
                return bool(self._client.ask(f"describe_{what}", place, **named))
            return False

        self._asked_for(f"create_{what}", place, {**named, **request}, known)
        return name

    def _name(self, version: str, request: dict[str, Any]) -> str:
        digest = sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return f"{as_name(self._rule.name)[:24]}-{as_name(version)[:24].strip('-')}-{digest[:10]}"

    def _deployment(self) -> dict[str, Any]:
        if self._hosting.serverless_mb:
            return {}
        made = deployment_config(self._rule)
        alarms = [{"AlarmName": each} for each in self._hosting.alarms]
        rollback = {"AutoRollbackConfiguration": {"Alarms": alarms}} if alarms else {}
        return {"DeploymentConfig": {**made, **rollback}}

    def _retained(self) -> dict[str, Any]:
        """Machines that autoscaling has added stay through an update."""
        if not self._hosting.most_instances:
            return {}
        own = [{"VariantPropertyType": each} for each in ("DesiredWeight", "DataCaptureConfig")]
        return {"RetainAllVariantProperties": True, "ExcludeRetainedVariantProperties": own}

    def _scale(self) -> None:
        hosting = self._hosting
        if not hosting.most_instances:
            return
        resource = f"endpoint/{self._rule.name}/variant/{self._rule.variant}"
        of = {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": _SCALED}
        ask, service = self._client.ask, "application-autoscaling"
        capacity = {"MinCapacity": hosting.instances, "MaxCapacity": hosting.most_instances}
        ask("register_scalable_target", self._place, service, **of, **capacity)
        target = {
            "TargetValue": float(hosting.calls_per_instance),
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        }
        policy = {"PolicyName": "whimbrel", "PolicyType": "TargetTrackingScaling"}
        ask("put_scaling_policy", self._place, service, **of, **policy, TargetTrackingScalingPolicyConfiguration=target)

    def _shadow(self) -> Path:
        file = newest_model(self._project, self._hosting.shadow)
        if file is None:
            hint = f"Train it: whimbrel train --model {self._hosting.shadow}"
            raise UserError(f"the shadow's model {self._hosting.shadow!r} has no version", place=self._place, hint=hint)
        return file
