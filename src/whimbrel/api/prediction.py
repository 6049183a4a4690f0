"""Models of data sets: training, serving, predictions, and renewals."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from whimbrel.api.opened import ProjectLike, opened
from whimbrel.lake.need import need
from whimbrel.prediction.model.drift import Drift, InputDrift
from whimbrel.prediction.renew import project as renewals
from whimbrel.prediction.renew.moved import EndpointDrift, endpoint_drift
from whimbrel.prediction.renew.project import Renewal, RenewalPlan
from whimbrel.prediction.serve import project as endpoints_of
from whimbrel.prediction.serve.deploy import Deployment
from whimbrel.prediction.serve.project import DeploymentPlan, EndpointStatus, Predictions, VariantStatus
from whimbrel.prediction.train import project as training
from whimbrel.prediction.train.project import TrainedModel, TrainPlan

__all__ = [
    "Deployment",
    "DeploymentPlan",
    "Drift",
    "EndpointDrift",
    "EndpointStatus",
    "InputDrift",
    "Predictions",
    "Renewal",
    "RenewalPlan",
    "TrainPlan",
    "TrainedModel",
    "VariantStatus",
    "drift",
    "endpoints",
    "plan_renew",
    "plan_train",
    "plan_update_endpoint",
    "predict",
    "renew",
    "schedule",
    "serve",
    "train",
    "update_endpoint",
    "weigh_endpoint",
]


def train(
    project: ProjectLike,
    *,
    model: str = "",
    data: str | os.PathLike[str] | None = None,
    progress: Callable[[TrainedModel], None] | None = None,
) -> tuple[TrainedModel, ...]:
    """Train the project's models, or ``model`` alone, and write for each a model file and a report.

    Each is trained from its data set as it stands, or, if one model is trained, from ``data``, a CSV or Parquet file
    with a header. ``progress`` is called with each model as soon as it is made. Raises ProjectError, TrainingError for
    data that no model can be trained from, and UserError if the extra ``predict`` is missing.
    """
    made: list[TrainedModel] = []
    with opened(project) as found:
        for each in training.train_models(found, model, Path(data) if data else None):
            made.append(each)
            if progress:
                progress(each)
    return tuple(made)


def plan_train(
    project: ProjectLike, *, model: str = "", data: str | os.PathLike[str] | None = None
) -> tuple[TrainPlan, ...]:
    """What ``train`` would do: rows, inputs, and columns that cannot be inputs. Raises as ``train`` does."""
    with opened(project) as found:
        return tuple(training.plan_models(found, model, Path(data) if data else None))


def predict(
    project: ProjectLike,
    rows: str | bytes | Iterable[Mapping[str, Any]],
    *,
    endpoint: str = "",
    model: str | os.PathLike[str] | None = None,
) -> Predictions:
    """Predict for ``rows`` (text in CSV, or a mapping for each row) by the running server, or by a model file itself.

    ``endpoint`` is needed where the project has several. Raises UserError for rows that the model does not take, and
    TargetUnreachable if the server does not answer.
    """
    with opened(project, optional=True) as found:
        if model is not None:
            return endpoints_of.ask_file(found, endpoint, Path(model), rows)
        return endpoints_of.ask_server(found, endpoint, rows)


def serve(
    project: ProjectLike,
    *,
    host: str = "",
    port: int | None = None,
    model: str | os.PathLike[str] | None = None,
    endpoint: str = "",
    ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Answer predictions over HTTP, as a SageMaker endpoint does, until ``stop`` is set. Handles no signals.

    ``host`` and ``port`` (0: a free one) replace the project's. ``model`` is put behind ``endpoint`` first. ``ready``
    is called with the URL once every endpoint answers. It tunes the process for that, so a process of its own is best.

    Raises UserError for an address that cannot be bound, or that others reach without a token, and Locked where a
    server of this project runs already.
    """
    need("httptools", "serve")
    from whimbrel.prediction.server import serve_project, until_set

    with opened(project, optional=True) as found:
        serve_project(
            found,
            host=host,
            port=port,
            model=Path(model) if model else None,
            endpoint=endpoint,
            ready=ready or _ignore,
            until=until_set(stop or threading.Event()),
        )


def endpoints(project: ProjectLike) -> tuple[EndpointStatus, ...]:
    """What every endpoint of the project answers with."""
    with opened(project, optional=True) as found:
        return endpoints_of.statuses(found)


def update_endpoint(
    project: ProjectLike, endpoint: str, *, model: str | os.PathLike[str], at_once: bool = False
) -> Deployment:
    """Put a model file behind an endpoint, made if there is none; returns when it is live, or was rolled back.

    A running server does it live, on a share of the calls first unless ``at_once``. Raises UserError if the model is
    refused or another update is under way, ModelDamaged, and TargetUnreachable if the server goes away.
    """
    with opened(project, optional=True) as found:
        return endpoints_of.update(found, endpoint, Path(model), at_once=at_once)


def plan_update_endpoint(
    project: ProjectLike, endpoint: str, *, model: str | os.PathLike[str], at_once: bool = False
) -> DeploymentPlan:
    """What ``update_endpoint`` would do: the model file is read, nothing is done. Raises UserError, ModelDamaged."""
    with opened(project, optional=True) as found:
        return endpoints_of.plan_update(found, endpoint, Path(model), at_once=at_once)


def weigh_endpoint(project: ProjectLike, endpoint: str, weights: Mapping[str, float]) -> tuple[EndpointStatus, ...]:
    """Change the shares of an endpoint's variants, live. Raises UserError, TargetUnreachable."""
    with opened(project, optional=True) as found:
        endpoints_of.weigh(found, endpoint, weights)
        return endpoints_of.statuses(found)


def drift(project: ProjectLike, *, endpoint: str = "", since: str = "") -> EndpointDrift:
    """How far captured calls (from ``since`` on, ISO 8601) and their scores have moved from the training of the model
    in service. Raises UserError for an unknown endpoint.
    """
    with opened(project, optional=True) as found:
        return endpoint_drift(found, endpoint, since)


def renew(
    project: ProjectLike,
    *,
    model: str = "",
    progress: Callable[[Renewal], None] | None = None,
    stop: threading.Event | None = None,
) -> tuple[Renewal, ...]:
    """Export, convert, train and compare; update the endpoint if the new model is not worse. Once, for each model.

    A renewal that was stopped continues with the step that it had not done. ``progress`` is called as soon as a model
    is renewed or its renewal has failed. An error in one model does not stop the others: the first
    error is raised after them. Raises ProjectError, TrainingError, TargetError, StateError, and Stopped.
    """
    with opened(project) as found:
        return renewals.renew_all(found, model, stop or threading.Event(), progress or _ignore)


def plan_renew(project: ProjectLike, *, model: str = "") -> tuple[RenewalPlan, ...]:
    """The steps that ``renew`` would do. Raises ProjectError."""
    with opened(project) as found:
        return renewals.plan_renewals(found, model)


def schedule(
    project: ProjectLike,
    *,
    due: Callable[[str, datetime], None] | None = None,
    progress: Callable[[Renewal], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Renew by the cron expressions of the project, until ``stop`` is set.

    ``due`` is called at the beginning with each model and the time (UTC) at which it is renewed next; ``progress`` with
    each renewal, also one that failed: that is tried again, later each time. Raises ProjectError.
    """
    with opened(project) as found:
        renewals.renew_by_the_clock(found, stop or threading.Event(), due or _ignore, progress or _ignore)


def _ignore(*_: object) -> None: ...
