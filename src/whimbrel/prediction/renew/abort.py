"""What costs money now, and how it is ended: training jobs that run, and renewals that nobody continues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from whimbrel.checkpoint import RunLock
from whimbrel.prediction.engines import Tell
from whimbrel.prediction.renew.places import is_shared, renewal_folder, runs_of
from whimbrel.prediction.renew.renew import ABORTED, ended
from whimbrel.prediction.renew.shared import release
from whimbrel.prediction.serve.project import endpoint_rule
from whimbrel.project import Project, models_named, renewals_named
from whimbrel.project.renew import STEPS, RenewalRule

SETTLED = ("InService", "Failed", "OutOfService")


@dataclass(frozen=True, slots=True)
class Running:
    """What is under way on SageMaker: a training ``job``, or an ``endpoint`` that is being changed."""

    kind: str  # job | endpoint
    name: str
    model: str
    status: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Aborted:
    """``jobs`` have the last status of each job that was ended; ``step`` is where the renewal was, "" without one.

    ``endpoint`` is the endpoint's status: an update that has begun decides for itself.
    """

    model: str
    jobs: dict[str, str]
    step: str
    endpoint: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def running(project: Project) -> tuple[Running, ...]:
    """What the project has under way on SageMaker, whoever began it; asks AWS. Nothing where no part is there."""
    return (*_jobs(project, ""), *_changing(project)) if project.predict.on_sagemaker else ()


def abort(project: Project, model: str, tell: Tell) -> tuple[Aborted, ...]:
    """End the training jobs of the model, or of all that have a [[renewal]], and the renewal that is under way.

    Raises Locked while a process of this state folder renews it.
    """
    return tuple(_aborted(project, rule, tell) for rule in renewals_named(project, model))


def _aborted(project: Project, rule: RenewalRule, tell: Tell) -> Aborted:
    """The order matters: what costs is ended first; the run only then is over, so that this may be repeated. Whoever is
    at its training may ask for a job in between.
    """
    with RunLock(renewal_folder(project, rule)):
        jobs = _ended_jobs(project, rule.model, tell)
        runs = runs_of(project, rule)
        run = runs.unfinished()
        step = next((name for name in STEPS if name not in run["results"]), STEPS[-1]) if run else ""
        if run:
            ended(runs, run, {"outcome": ABORTED, "step": step})
            jobs |= _ended_jobs(project, rule.model, tell)
        endpoint = ""
        if is_shared(project, rule):
            release(_bucket(project), rule.model)
            endpoint = _status_of(project, rule.endpoint)
    return Aborted(rule.model, jobs, step, endpoint)


def _status_of(project: Project, endpoint: str) -> str:
    """ "" for one that is not on SageMaker, or not there."""
    from whimbrel.prediction.aws.client import client_of
    from whimbrel.prediction.aws.endpoint import found

    if endpoint_rule(project, endpoint).hosting is None:
        return ""
    with closing(client_of(project)) as client:
        now = found(client, endpoint)
        return now.status if now else ""


def _ended_jobs(project: Project, model: str, tell: Tell) -> dict[str, str]:
    from whimbrel.prediction.aws.client import client_of
    from whimbrel.prediction.aws.training_job import stopped

    made: dict[str, str] = {}
    if models_named(project, model)[0].training is None:
        return made
    with closing(client_of(project)) as client:
        for each in list(_jobs(project, model)):
            tell(f"training job {each.name}: ending it")
            made[each.name] = stopped(client, each.name)
    return made


def _jobs(project: Project, model: str) -> Iterator[Running]:
    """A job is this project's if its rows are in the project's bucket: they were put before it was asked for."""
    from whimbrel.prediction.aws.client import client_of
    from whimbrel.prediction.aws.places import TRAINING
    from whimbrel.prediction.aws.train import ROWS
    from whimbrel.prediction.aws.training_job import running

    rules = [rule for rule in project.predict.models if rule.training and model in ("", rule.name)]
    there = _bucket(project)
    with closing(client_of(project)) as client:
        for rule in rules:
            for job in running(client, rule.name, lambda base: there.file(f"{TRAINING}/{base}/train/{ROWS}").exists()):
                yield Running("job", job.job, rule.name, f"{job.status}, {job.secondary}")


def _changing(project: Project) -> Iterator[Running]:
    from whimbrel.prediction.aws.client import client_of
    from whimbrel.prediction.aws.endpoint import found

    with closing(client_of(project)) as client:
        for rule in [rule for rule in project.predict.endpoints if rule.hosting]:
            now = found(client, rule.name)
            if now and now.status not in SETTLED:
                yield Running("endpoint", rule.name, rule.model, now.status)


def _bucket(project: Project) -> Any:
    from whimbrel.prediction.aws.places import bucket

    return bucket(project)
