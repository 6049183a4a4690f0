"""A project's endpoints: which there are, what they answer with, and how that is changed and asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import orjson

from whimbrel.errors import TargetUnreachable, UserError
from whimbrel.prediction.model.kept import newest_model
from whimbrel.prediction.model.model import load_model
from whimbrel.prediction.model.unknown import HEADER
from whimbrel.prediction.serve.bodies import CSV, JSON_LINES
from whimbrel.prediction.serve.custom_attributes import unknown_in
from whimbrel.prediction.serve.deploy import Deployment, Keys, client_for, deploy, deployment_config, server_url
from whimbrel.prediction.serve.registry import EndpointConfig, Registry, State, StoredEndpoint
from whimbrel.prediction.serve.rollout import stages
from whimbrel.prediction.serve.secrets import control_keys, predict_keys
from whimbrel.project import Project
from whimbrel.project.endpoint import EndpointRule

DEFAULT_ENDPOINT = "ServiceEndpoint"
MOST_STATUS = 16 << 20  # bytes
Rows = str | bytes | Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class VariantStatus:
    """``metrics`` are those that the model file states."""

    variant: str
    weight: float
    model: str
    version: str
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """``status`` is SageMaker's word, ``reason`` says why it is not InService, or what became of the last update."""

    endpoint: str
    status: str
    reason: str
    variants: tuple[VariantStatus, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"variants": [asdict(each) for each in self.variants]}


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """The model, and the ``stages`` in which it would get the calls: a share (0 to 1) and its seconds each."""

    endpoint: str
    version: str
    stages: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        stages = [{"share": share, "seconds": seconds} for share, seconds in self.stages]
        return {"endpoint": self.endpoint, "version": self.version, "stages": stages}


@dataclass(frozen=True, slots=True)
class Predictions:
    """``body`` is the answer as SageMaker gives it: JSON for CSV, else a line of JSON for each row.

    ``unknown`` names the columns with categories that training never saw, which were scored as others; "" without any.
    """

    body: str
    unknown: str

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """For each row its ``score``, and its ``predicted_label`` unless it is a regression's."""
        if self.body.startswith('{"predictions"'):
            return tuple(orjson.loads(self.body)["predictions"])
        return tuple(orjson.loads(line) for line in self.body.splitlines())

    def to_dict(self) -> dict[str, Any]:
        return {"predictions": list(self.rows), "unknown": self.unknown}


def registry_folder(project: Project) -> Path:
    """Where the project's endpoints are kept."""
    return project.state / "serve"


def endpoint_rule(project: Project, name: str) -> EndpointRule:
    """The project's rule for an endpoint, or the usual one, with the place of its captured data made plain."""
    rules = {rule.name: rule for rule in project.predict.endpoints}
    rule = rules.get(name, EndpointRule(name=name, model=name))
    return replace(rule, capture_folder=str(_below(project, rule.capture_folder or "capture")))


def only_endpoint(project: Project) -> str:
    """The endpoint that is meant where none is named. Raises UserError where there are several."""
    names = [rule.name for rule in project.predict.endpoints] or list(
        Registry(registry_folder(project)).state.endpoints
    )
    if len(names) > 1:
        raise UserError(f"there are several endpoints: {', '.join(names)}", place="endpoint", hint="Name one.")
    return names[0] if names else DEFAULT_ENDPOINT


def present_model(project: Project, endpoint: str) -> Path | None:
    """The file of the model that the endpoint answers with; None while there is no endpoint."""
    registry = Registry(registry_folder(project))
    state = registry.state
    if endpoint not in state.endpoints:
        return None
    variant = state.configs[state.endpoints[endpoint].config].variants[0]
    return registry.model_path(state.models[variant.model])


def deploy_new_endpoints(project: Project, folder: Path) -> None:
    """An endpoint of the project that is not there yet begins with its model's newest version, where there is one.

    One that is on SageMaker is not this server's.
    """
    there = Registry(folder).state.endpoints
    for rule in project.predict.endpoints:
        newest = newest_model(project, rule.model)
        if rule.name not in there and newest and not rule.hosting:
            deploy(folder, endpoint_rule(project, rule.name), newest)


def update(project: Project, endpoint: str, model: Path, *, at_once: bool = False) -> Deployment:
    """Put a model file behind an endpoint; returns when it is live or was rolled back. Raises as ``deploy`` does."""
    return deploy(registry_folder(project), _update_rule(project, endpoint, at_once), model, control_keys(project))


def plan_update(project: Project, endpoint: str, model: Path, *, at_once: bool = False) -> DeploymentPlan:
    """What ``update`` would do. Raises UserError, ModelDamaged."""
    planned = stages(deployment_config(_update_rule(project, endpoint, at_once)))
    shares = tuple((stage.share, stage.seconds) for stage in planned)
    return DeploymentPlan(endpoint, load_model(model).version, shares)


def _update_rule(project: Project, endpoint: str, at_once: bool) -> EndpointRule:
    rule = endpoint_rule(project, endpoint)
    return replace(rule, traffic="ALL_AT_ONCE", wait=0, bake=0) if at_once else rule


def statuses(project: Project) -> tuple[EndpointStatus, ...]:
    """What every endpoint answers with."""
    state = Registry(registry_folder(project)).state
    return tuple(_status(state, endpoint, state.configs[endpoint.config]) for endpoint in state.endpoints.values())


def _status(state: State, endpoint: StoredEndpoint, config: EndpointConfig) -> EndpointStatus:
    variants = tuple(
        VariantStatus(
            variant=each.name,
            weight=endpoint.weights.get(each.name, each.weight),
            model=each.model,
            version=state.models[each.model].version,
            metrics=state.models[each.model].metrics,
        )
        for each in config.all_variants
    )
    return EndpointStatus(endpoint.name, endpoint.status, endpoint.reason, variants)


def live_status(project: Project) -> dict[str, Any] | None:
    """What the running server shows of its endpoints (``/status``); None where none runs. Raises TargetUnreachable."""
    try:
        url = server_url(registry_folder(project))
    except UserError:
        return None
    keys = predict_keys(project)
    headers = {"Authorization": f"Bearer {keys.secret}"} if keys != Keys() else {}
    try:
        with urlopen(Request(f"{url}/status", headers=headers), timeout=10) as answer:
            found: dict[str, Any] = orjson.loads(answer.read(MOST_STATUS))
            return found
    except (OSError, ValueError) as error:
        raise TargetUnreachable(f"the server does not answer: {error}", place=url) from None


def weigh(project: Project, endpoint: str, weights: Mapping[str, float]) -> None:
    """Give variants other shares of the calls, live. Raises UserError, TargetUnreachable."""
    weighed(client_for(server_url(registry_folder(project)), "sagemaker", control_keys(project)), endpoint, weights)


def weighed(client: Any, endpoint: str, weights: Mapping[str, float]) -> None:
    """As ``weigh``, by a client of SageMaker's API."""
    shares = [{"VariantName": name, "DesiredWeight": weight} for name, weight in weights.items()]
    called(client.update_endpoint_weights_and_capacities, EndpointName=endpoint, DesiredWeightsAndCapacities=shares)


def ask_server(project: Project, endpoint: str, rows: Rows) -> Predictions:
    """What the project's running server answers. Raises UserError, TargetUnreachable."""
    client = client_for(server_url(registry_folder(project)), "sagemaker-runtime", predict_keys(project))
    return answered(client, endpoint or only_endpoint(project), rows)


def answered(client: Any, name: str, rows: Rows) -> Predictions:
    """What an endpoint answers. Raises as ``ask_server``."""
    body, kind = _body(rows)
    answer = called(client.invoke_endpoint, EndpointName=name, Body=body, ContentType=kind)
    own = answer["ResponseMetadata"]["HTTPHeaders"].get(HEADER, "")
    unknown = own or unknown_in(answer.get("CustomAttributes", ""))
    return Predictions(str(answer["Body"].read().decode()), unknown)


def ask_file(project: Project, endpoint: str, model: Path, rows: Rows) -> Predictions:
    """What a server would answer with this model file. Raises UserError, ModelDamaged."""
    from whimbrel.prediction.serve.served import Call, Served

    body, kind = _body(rows)
    refuse = any(rule.unknown == "refuse" for rule in project.predict.endpoints if rule.name == endpoint)
    answer = Served("model", load_model(model)).answer(Call(body, kind, "", refuse))
    if answer.status != 200:
        raise UserError(answer.body.decode())
    return Predictions(answer.body.decode(), str(answer.unknown or ""))


def _body(rows: Rows) -> tuple[bytes, str]:
    if isinstance(rows, str):
        return rows.encode("utf-8", "surrogateescape"), CSV
    if isinstance(rows, bytes):
        return rows, CSV
    return b"".join(orjson.dumps(dict(row)) + b"\n" for row in rows), JSON_LINES


def called(operation: Any, **given: Any) -> Any:
    """The answer of an endpoint or its control. Raises UserError, TargetUnreachable."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return operation(**given)
    except ClientError as error:
        response: dict[str, Any] = dict(error.response)
        raise UserError(response.get("OriginalMessage") or response["Error"]["Message"]) from None
    except BotoCoreError as error:
        raise TargetUnreachable(str(error), hint="Is it running? Here it is started with: whimbrel serve") from None


def _below(project: Project, folder: str) -> Path:
    return (project.path.parent / folder if folder != "capture" else project.state / folder).absolute()
