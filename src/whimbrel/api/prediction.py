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
from whimbrel.prediction import engines
from whimbrel.prediction.model.drift import Drift, InputDrift
from whimbrel.prediction.renew import abort as ended
from whimbrel.prediction.renew import project as renewals
from whimbrel.prediction.renew.abort import Aborted, Running
from whimbrel.prediction.renew.moved import EndpointDrift, endpoint_drift
from whimbrel.prediction.renew.project import Renewal, RenewalPlan
from whimbrel.prediction.serve import project as endpoints_of
from whimbrel.prediction.serve.deploy import Deployment
from whimbrel.prediction.serve.project import DeploymentPlan, EndpointStatus, Predictions, VariantStatus
from whimbrel.prediction.train import project as training
from whimbrel.prediction.train.project import TrainedModel, TrainPlan

__all__ = [
    "Aborted",
    "Deployment",
    "DeploymentPlan",
    "Drift",
    "EndpointDrift",
    "EndpointStatus",
    "InputDrift",
    "Predictions",
    "Renewal",
    "RenewalPlan",
    "Running",
    "TrainPlan",
    "TrainedModel",
    "VariantStatus",
    "abort_renewal",
    "drift",
    "endpoints",
    "plan_renew",
    "plan_train",
    "plan_update_endpoint",
    "predict",
    "renew",
    "renew_step",
    "running",
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
    following: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> tuple[TrainedModel, ...]:
    """Train the project's models, or ``model`` alone, and write for each a model file and a report.

    Each is trained from its data set as it stands, or, if one model is trained, from ``data``, a CSV or Parquet file
    with a header. ``progress`` is called with each model as soon as it is made. ``following`` hears what SageMaker says
    of a training job; ``stop`` ends the wait for it, and not the job: the same call again finds it.

    Raises ProjectError, TrainingError for data that no model can be trained from, and UserError if the extra
    ``predict`` is missing; with SageMaker also WorkerLost, TargetError and Stopped.
    """
    made: list[TrainedModel] = []
    file = Path(data) if data else None
    with opened(project) as found:
        for each in engines.train_models(found, model, file, following or _ignore, stop or threading.Event()):
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
    """Predict for ``rows`` (text in CSV, or a mapping for each row) by the endpoint, or by a model file itself.

    ``endpoint`` is needed where the project has several. Raises UserError for rows that the model does not take, and
    TargetUnreachable if the server does not answer.
    """
    with opened(project, optional=True) as found:
        if model is not None:
            return endpoints_of.ask_file(found, endpoint, Path(model), rows)
        return engines.ask(found, endpoint, rows)


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
        return engines.statuses(found)


def update_endpoint(
    project: ProjectLike,
    endpoint: str,
    *,
    model: str | os.PathLike[str],
    at_once: bool = False,
    following: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> Deployment:
    """Put a model file behind an endpoint, made if there is none; returns when it is live, or was rolled back.

    A running server does it live, on a share of the calls first unless ``at_once``. Raises UserError if the model is
    refused or another update is under way, ModelDamaged, and TargetUnreachable if the server goes away. ``following``
    and ``stop`` are for an endpoint of SageMaker, as in ``train``.
    """
    with opened(project, optional=True) as found:
        waits = stop or threading.Event()
        return engines.update(found, endpoint, Path(model), following or _ignore, waits, at_once=at_once)


def plan_update_endpoint(
    project: ProjectLike, endpoint: str, *, model: str | os.PathLike[str], at_once: bool = False
) -> DeploymentPlan:
    """What ``update_endpoint`` would do: the model file is read, nothing is done. Raises UserError, ModelDamaged."""
    with opened(project, optional=True) as found:
        return endpoints_of.plan_update(found, endpoint, Path(model), at_once=at_once)


def weigh_endpoint(project: ProjectLike, endpoint: str, weights: Mapping[str, float]) -> tuple[EndpointStatus, ...]:
    """Change the shares of an endpoint's variants, live. Raises UserError, TargetUnreachable."""
    with opened(project, optional=True) as found:
        engines.weigh(found, endpoint, weights)
        return engines.statuses(found)


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
    following: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> tuple[Renewal, ...]:
    """Export, convert, train and compare; update the endpoint if the new model is not worse. Once, for each model.

    A renewal that was stopped continues with the step that it had not done. ``progress`` is called as soon as a model
    is renewed or its renewal has failed, ``following`` with what SageMaker says meanwhile. An error in one model does
    not stop the others: the first error is raised after them. Raises ProjectError, TrainingError, TargetError,
    StateError, WorkerLost, and Stopped.
    """
    with opened(project) as found:
        return renewals.renew_all(found, model, stop or threading.Event(), progress or _ignore, following or _ignore)


def renew_step(
    project: ProjectLike,
    *,
    model: str,
    step: str,
    execution: str,
    following: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> Renewal | None:
    """One step of a renewal on SageMaker: ``export``, ``convert``, ``train``, ``gate`` or ``update``.

    ``execution`` names what runs them one after the other, each perhaps on a machine of its own. A step that is done is
    not done again. The renewal if it is over, else None. Raises as ``renew``, and UserError for a step whose
    predecessor is not done.
    """
    with opened(project) as found:
        waits = stop or threading.Event()
        return renewals.renew_step(found, model, step, execution, waits, following or _ignore)


def abort_renewal(
    project: ProjectLike, *, model: str = "", following: Callable[[str], None] | None = None
) -> tuple[Aborted, ...]:
    """End the training jobs of the model, or of all that are renewed, and the renewals that are under way.

    An update of an endpoint that has begun decides for itself. Raises ProjectError, TargetError, and Locked while a
    process of this state folder renews the model: stop that first.
    """
    with opened(project) as found:
        return ended.abort(found, model, following or _ignore)


def running(project: ProjectLike) -> tuple[Running, ...]:
    """The training jobs that cost money now, and the endpoints that are being changed, whoever began it. Asks AWS if a
    part of the project is on SageMaker, else nobody. Raises TargetError.
    """
    with opened(project, optional=True) as found:
        return ended.running(found)


def plan_renew(project: ProjectLike, *, model: str = "") -> tuple[RenewalPlan, ...]:
    """The steps that ``renew`` would do. Raises ProjectError."""
    with opened(project) as found:
        return renewals.plan_renewals(found, model)


def schedule(
    project: ProjectLike,
    *,
    due: Callable[[str, datetime], None] | None = None,
    progress: Callable[[Renewal], None] | None = None,
    following: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Renew by the cron expressions of the project, until ``stop`` is set.

    ``due`` is called at the beginning with each model and the time (UTC) at which it is renewed next; ``progress`` with
    each renewal, also one that failed: that is tried again, later each time; ``following`` as in ``renew``. Raises
    ProjectError.
    """
    with opened(project) as found:
        waits = stop or threading.Event()
        renewals.renew_by_the_clock(found, waits, due or _ignore, progress or _ignore, following or _ignore)


def _ignore(*_: object) -> None: ...
