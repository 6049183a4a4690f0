"""Who trains a model and who answers for an endpoint: this machine, or SageMaker, as its rule says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from whimbrel.prediction.serve import project as local
from whimbrel.prediction.serve.deploy import Deployment
from whimbrel.prediction.serve.project import EndpointStatus, Predictions, Rows, endpoint_rule, only_endpoint
from whimbrel.prediction.train import project as training
from whimbrel.prediction.train.project import Data, TrainedModel
from whimbrel.project import Project
from whimbrel.project.endpoint import EndpointRule
from whimbrel.project.predict import ModelRule

Tell = Callable[[str], object]  # hears what is going on elsewhere
NEVER = threading.Event()


def train_models(
    project: Project, name: str, file: Path | None, tell: Tell, stop: threading.Event
) -> Iterator[TrainedModel]:
    """Train the model called ``name``, or every model of the project. Raises ProjectError, TrainingError; on SageMaker
    also WorkerLost, TargetError and Stopped.
    """
    for rule, data in training.data_of(project, name, file):
        yield trained(project, rule, data, tell, stop)


def trained(project: Project, rule: ModelRule, data: Data, tell: Tell, stop: threading.Event) -> TrainedModel:
    if rule.training is None:
        return training.trained(project, rule, data)
    from whimbrel.prediction.aws.train import trained_on_sagemaker

    return trained_on_sagemaker(project, rule, data, lambda status: tell(str(status)), stop)


def update(
    project: Project, endpoint: str, model: Path, tell: Tell, stop: threading.Event, *, at_once: bool = False
) -> Deployment:
    """Put a model file behind an endpoint; returns when it is live or was rolled back. Raises as its engine does."""
    rule = endpoint_rule(project, endpoint)
    if rule.hosting is None:
        return local.update(project, endpoint, model, at_once=at_once)
    from whimbrel.prediction.aws.endpoint import deployed

    if at_once:
        rule = replace(rule, traffic="ALL_AT_ONCE", wait=0, bake=0)
    return deployed(project, rule, model, lambda words: tell(f"endpoint {endpoint}: {words}"), stop)


def present_model(project: Project, endpoint: str) -> Path | None:
    """The file of the model that the endpoint answers with; None while there is no endpoint."""
    if endpoint_rule(project, endpoint).hosting is None:
        return local.present_model(project, endpoint)
    from whimbrel.prediction.aws import endpoint as hosted

    return hosted.present_model(project, endpoint)


def statuses(project: Project) -> tuple[EndpointStatus, ...]:
    """What every endpoint answers with."""
    rules = _hosted(project)
    if not rules:
        return local.statuses(project)
    from whimbrel.prediction.aws import endpoint as hosted

    names = {rule.name for rule in rules}
    here = [each for each in local.statuses(project) if each.endpoint not in names]
    return (*here, *hosted.statuses(project, rules))


def weigh(project: Project, endpoint: str, weights: Mapping[str, float]) -> None:
    """Give variants other shares of the calls, live. Raises UserError, TargetUnreachable."""
    if endpoint_rule(project, endpoint).hosting is None:
        local.weigh(project, endpoint, weights)
        return
    from whimbrel.prediction.aws.client import client_of

    with closing(client_of(project)) as client:
        local.weighed(client.service("sagemaker"), endpoint, weights)


def ask(project: Project, endpoint: str, rows: Rows) -> Predictions:
    """What the endpoint answers. Raises UserError, TargetUnreachable."""
    name = endpoint or only_endpoint(project)
    if endpoint_rule(project, name).hosting is None:
        return local.ask_server(project, name, rows)
    from whimbrel.prediction.aws.client import client_of

    with closing(client_of(project)) as client:
        return local.answered(client.service("sagemaker-runtime"), name, rows)


def captured_calls(project: Project, rule: EndpointRule) -> tuple[Path, str]:
    """The folder with the endpoint's captured calls, and since when all of them are the present model's ("": each says
    whose it is).
    """
    if rule.hosting is None:
        return Path(rule.capture_folder) / rule.name, ""
    from whimbrel.prediction.aws.captured_calls import captured

    folder = project.state / "captured"
    return folder / rule.name, f"{captured(project, rule, folder):%Y-%m-%dT%H:%M:%SZ}"


def _hosted(project: Project) -> list[EndpointRule]:
    return [rule for rule in project.predict.endpoints if rule.hosting]
