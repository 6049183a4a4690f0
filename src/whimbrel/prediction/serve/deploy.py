"""Putting a model file behind an endpoint, from any process: through the server where one runs, else in its registry.

With a server it speaks SageMaker's API through boto3, so the same calls would do it on AWS.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from whimbrel.errors import Locked, StateError, TargetUnreachable, UserError
from whimbrel.prediction.model.model import Model, load_model
from whimbrel.prediction.serve.registry import (
    FAILED,
    IN_SERVICE,
    DataCapture,
    EndpointConfig,
    Registry,
    State,
    StoredEndpoint,
    Variant,
    sole_user,
)
from whimbrel.prediction.serve.served import load
from whimbrel.prediction.serve.serving import INCOMING, check_config, take_model
from whimbrel.project.endpoint import EndpointRule

SERVER_FILE = "server.json"
_POLL = 0.1


class Keys(NamedTuple):
    """What a client signs with. Where the server asks for no token, nobody checks it."""

    key_id: str = "local"
    secret: str = "local"


@dataclass(frozen=True, slots=True)
class Deployment:
    """The outcome: ``live`` is whether the endpoint now answers with the model; else ``reason`` says why not."""

    endpoint: str
    config: str
    model: str
    version: str
    live: bool
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def deploy(
    folder: Path, rule: EndpointRule, model_file: Path, keys: Keys | None = None, *, timeout: float = 3600.0
) -> Deployment:
    """Serve ``model_file`` at the endpoint of ``rule``; returns when it is live or was rolled back.

    ``folder`` is the registry's; ``keys`` are for a server that asks for a token. Raises UserError (another update is
    under way, the model is refused), ModelDamaged, TargetUnreachable when the server goes away, StateError when nothing
    is decided within ``timeout`` seconds.
    """
    model = load_model(model_file)
    name = f"{_as_name(rule.name)[:30]}-{_as_name(model.version)[:16]}-{int(time.time() * 1000):x}"
    try:
        with sole_user(folder):
            return _in_registry(folder, rule, model_file, model, name)
    except Locked:
        return _through_server(folder, rule, model_file, model, name, keys, timeout)


def server_url(folder: Path) -> str:
    """Where the server of this registry listens. Raises UserError when none does."""
    try:
        with sole_user(folder):
            pass  # nobody has it, so what the file says is of an earlier server
    except Locked:
        # A server that has only begun names its address when it is ready.
        for _ in range(100):
            with suppress(OSError, ValueError, KeyError):
                return str(orjson.loads((folder / SERVER_FILE).read_bytes())["url"])
            time.sleep(_POLL)
    raise UserError("no server runs", place=str(folder), hint="Start it with: whimbrel serve")


def capture_of(folder: Path, rule: EndpointRule) -> DataCapture | None:
    if not rule.capture_percent:
        return None
    return DataCapture(rule.capture_percent, str(Path(rule.capture_folder or folder / "capture").absolute()))


def deployment_config(rule: EndpointRule) -> dict[str, Any]:
    """The rule's way of shifting traffic, as SageMaker's DeploymentConfig."""
    routing: dict[str, Any] = {"Type": rule.traffic, "WaitIntervalInSeconds": rule.wait}
    if rule.traffic == "CANARY":
        routing["CanarySize"] = {"Type": "CAPACITY_PERCENT", "Value": rule.step_percent}
    elif rule.traffic == "LINEAR":
        routing["LinearStepSize"] = {"Type": "CAPACITY_PERCENT", "Value": rule.step_percent}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": rule.bake}}


def client_for(url: str, service: str, keys: Keys | None = None) -> Any:
    """A boto3 client of the server."""
    import boto3
    from botocore.config import Config

    keys = keys or Keys()
    session = boto3.Session(aws_access_key_id=keys.key_id, aws_secret_access_key=keys.secret, region_name="us-east-1")
    options = Config(retries={"max_attempts": 0}, read_timeout=60, connect_timeout=5, proxies={})
    make: Callable[..., Any] = session.client
    return make(service, endpoint_url=url, config=options)


def _in_registry(folder: Path, rule: EndpointRule, file: Path, model: Model, name: str) -> Deployment:
    """No server runs: the model is checked as a server would, and the next server starts with it."""
    registry = Registry(folder)
    registry.settle()
    load(name, file, load_model, [])
    take_model(registry, name, file, model, file)
    config = EndpointConfig(name, (Variant(rule.variant, name),), time.time(), capture=capture_of(folder, rule))
    check_config(registry.state, config)

    def changed(state: State) -> State:
        now = time.time()
        fresh = StoredEndpoint(rule.name, name, IN_SERVICE, now, now)
        endpoint = state.endpoints.get(rule.name, fresh)
        endpoint = replace(endpoint, config=name, weights={}, reason="").now("InService", status=IN_SERVICE)
        return state.with_config(config).with_endpoint(endpoint)

    registry.change(changed)
    return Deployment(rule.name, name, name, model.version, live=True)


def _through_server(
    folder: Path, rule: EndpointRule, file: Path, model: Model, name: str, keys: Keys | None, timeout: float
) -> Deployment:
    from botocore.exceptions import BotoCoreError, ClientError

    url = server_url(folder)
    client = client_for(url, "sagemaker", keys)
    try:
        with _handed_over(folder, file, name) as handed:
            client.create_model(ModelName=name, PrimaryContainer={"ModelDataUrl": handed.absolute().as_uri()})
        client.create_endpoint_config(EndpointConfigName=name, **_config(folder, rule, name))
        known = {each["EndpointName"] for each in client.list_endpoints()["Endpoints"]}
        begin = client.update_endpoint if rule.name in known else client.create_endpoint
        begin(EndpointName=rule.name, EndpointConfigName=name, DeploymentConfig=deployment_config(rule))
        return _settled(client, rule.name, name, model.version, timeout)
    except ClientError as error:
        raise UserError(error.response["Error"]["Message"], place=f"endpoint {rule.name}") from None
    except BotoCoreError as error:
        raise TargetUnreachable(
            f"the server ended: {error}", place=url, hint="Start it again; it starts with the old model."
        ) from None


@contextmanager
def _handed_over(folder: Path, file: Path, name: str) -> Iterator[Path]:
    """The file in a folder that control calls may name, wherever it lies."""
    handed = folder / INCOMING / f"{name}{''.join(file.suffixes[-2:])}"
    handed.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(file, handed)
        yield handed
    finally:
        handed.unlink(missing_ok=True)


def _config(folder: Path, rule: EndpointRule, model: str) -> dict[str, Any]:
    config: dict[str, Any] = {"ProductionVariants": [{"VariantName": rule.variant, "ModelName": model}]}
    if capture := capture_of(folder, rule):
        config["DataCaptureConfig"] = {
            "InitialSamplingPercentage": capture.percent,
            "DestinationS3Uri": Path(capture.folder).as_uri(),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        }
    return config


def _settled(client: Any, endpoint: str, name: str, version: str, timeout: float) -> Deployment:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        found = client.describe_endpoint(EndpointName=endpoint)
        if found["EndpointStatus"] in (IN_SERVICE, FAILED):
            live = found["EndpointStatus"] == IN_SERVICE and found["EndpointConfigName"] == name
            return Deployment(endpoint, name, name, version, live, found.get("FailureReason", ""))
        time.sleep(_POLL)
    raise StateError(
        f"the update is still undecided after {timeout:g} seconds",
        place=f"endpoint {endpoint}",
        hint="See: whimbrel endpoint status",
    )


def _as_name(text: str) -> str:
    return "-".join(
        part for part in "".join(c if c.isascii() and c.isalnum() else "-" for c in text).split("-") if part
    )
