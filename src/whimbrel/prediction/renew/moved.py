"""Drift of a project's endpoint: its captured calls beside the training of the model that answers now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import Any

from whimbrel.errors import UserError
from whimbrel.lake.manifest import asked_time
from whimbrel.prediction.engines import captured_calls, present_model
from whimbrel.prediction.model.drift import Drift
from whimbrel.prediction.model.model import load_model
from whimbrel.prediction.serve.captured_calls import captured_drift
from whimbrel.prediction.serve.project import endpoint_rule, only_endpoint
from whimbrel.project import Project


@dataclass(frozen=True, slots=True)
class EndpointDrift:
    """``drift`` has the figures; ``folder`` is where the calls were captured."""

    endpoint: str
    version: str
    folder: str
    drift: Drift

    def to_dict(self) -> dict[str, Any]:
        said = {"endpoint": self.endpoint, "version": self.version, "folder": self.folder}
        return said | self.drift.to_dict()


def endpoint_drift(project: Project, endpoint: str, since: str) -> EndpointDrift:
    """Compare the calls that the endpoint's present model answered with its training."""
    name = endpoint or only_endpoint(project)
    file = present_model(project, name)
    if file is None:
        hint = f"Make it with: whimbrel serve; on SageMaker: whimbrel endpoint update {name} --model FILE"
        raise UserError("the endpoint does not exist yet", place=name, hint=hint)
    model = load_model(file)
    rule = endpoint_rule(project, name)
    folder, answers_since = captured_calls(project, rule)
    variant = rule.variant if answers_since else ""
    found = captured_drift(model, folder, max(_moment(since), answers_since), variant=variant)
    return EndpointDrift(name, model.version, str(folder), found)


def _moment(since: str) -> str:
    """As captured calls have their time. Raises UserError."""
    return asked_time(since, "--since").astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if since else ""
